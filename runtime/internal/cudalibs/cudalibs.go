// Package cudalibs says which of NVIDIA's libraries ONNX Runtime's CUDA provider
// needs, which of them the system's loader finds and where, and what to install
// for the others. It loads libraries only to see whether they load, and starts
// no GPU; cudadrv says which GPUs there are. Start at Look.
package cudalibs

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Library is one that the provider loads, by its file name.
type Library struct {
	Name      string `json:"name"`
	Needed    bool   `json:"needed"`    // the provider does not load without it
	For       string `json:"for"`       // what is missing without it, where it is not needed
	Path      string `json:"path"`      // where the loader found it, "" where it did not
	Error     string `json:"error"`     // why not
	Elsewhere string `json:"elsewhere"` // a file of that name in a folder where the loader does not look
	Package   string `json:"package"`   // of pip, as pip's requirement; "" for what comes with the driver
}

// Look reads a provider's file and looks for the libraries it names, and for
// those that it and march load by themselves when they need them. Libraries of
// the C language and the like are listed only where they are not found.
func Look(provider string) ([]Library, error) {
	needed, own, err := read(provider)
	if err != nil {
		return nil, err
	}
	var list []Library
	for _, l := range expected(needed) {
		if path := elsewhere(l.Name, own); path != "" && l.Needed {
			l.Path, l.Error = find(path)
		} else {
			l.Path, l.Error = find(l.Name)
		}
		if l.Error != "" {
			l.Elsewhere = elsewhere(l.Name, folders())
		} else if !nvidias(l.Name) {
			continue
		}
		list = append(list, l)
	}
	return list, nil
}

// read returns the libraries that the loader must find for a provider's sake,
// and the folders where it looks for this provider alone.
func read(provider string) (needed, own []string, err error) {
	f, err := elf.Open(provider)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if needed, err = f.ImportedLibraries(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", provider, err)
	}
	paths, err := f.DynString(elf.DT_RUNPATH)
	if err != nil || len(paths) == 0 {
		paths, _ = f.DynString(elf.DT_RPATH)
	}
	origin := strings.NewReplacer("$ORIGIN", filepath.Dir(provider), "${ORIGIN}", filepath.Dir(provider))
	for _, path := range paths {
		for _, dir := range filepath.SplitList(path) {
			own = append(own, origin.Replace(dir))
		}
	}
	return needed, own, nil
}

func nvidias(name string) bool {
	return strings.HasPrefix(name, "libcu") || strings.HasPrefix(name, "libnv")
}

// byItself are libraries that are loaded when they are needed, unless a provider
// names them, by CUDA's major version.
var byItself = []struct {
	stem    string
	version map[string]string
	why     string
}{
	{"libcudnn.so.", map[string]string{"12": "9", "13": "9"}, "cuDNN's attention and convolutions"},
	{"libnvrtc.so.", map[string]string{"12": "12", "13": "13"}, "kernels that are compiled at run time"},
	{"libcufft.so.", map[string]string{"12": "11", "13": "12"}, "Fourier transforms, which march does not use"},
}

// expected lists the needed libraries, and then the others.
func expected(needed []string) []Library {
	major := "13"
	for _, name := range needed {
		if v, ok := strings.CutPrefix(name, "libcudart.so."); ok {
			major, _, _ = strings.Cut(v, ".")
		}
	}
	var list []Library
	for _, name := range needed {
		list = append(list, Library{Name: name, Needed: true, Package: requirement(name, major)})
	}
	for _, other := range byItself {
		named := slices.ContainsFunc(needed, func(n string) bool { return strings.HasPrefix(n, other.stem) })
		if version := other.version[major]; version != "" && !named {
			name := other.stem + version
			list = append(list, Library{Name: name, For: other.why, Package: requirement(name, major)})
		}
	}
	return list
}

// packages are pip's packages. Their versions begin with the number in the
// library's name.
var packages = map[string]string{
	"libcublas":   "nvidia-cublas",
	"libcublasLt": "nvidia-cublas",
	"libcudart":   "nvidia-cuda-runtime",
	"libcudnn":    "nvidia-cudnn",
	"libcufft":    "nvidia-cufft",
	"libcurand":   "nvidia-curand",
	"libnvrtc":    "nvidia-cuda-nvrtc",
}

// requirement names the package with a library for CUDA's major version, as pip
// wants it.
func requirement(name, major string) string {
	stem, version, _ := strings.Cut(name, ".so.")
	p := packages[stem]
	if p == "" {
		return ""
	}
	// Since CUDA 13 only cuDNN's package says in its name which CUDA it is for.
	if major == "12" || stem == "libcudnn" {
		p += "-cu" + major
	}
	if version, _, _ = strings.Cut(version, "."); version != "" {
		p += "==" + version + ".*"
	}
	return p
}

// folders are places where NVIDIA's libraries are put but the loader does not
// look by itself: Python's packages, and CUDA's own folder.
func folders() []string {
	var prefixes []string
	for _, variable := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		prefixes = append(prefixes, os.Getenv(variable))
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		for _, python := range []string{"python3", "python"} {
			path := filepath.Join(dir, python)
			if _, err := os.Stat(path); err != nil {
				continue
			}
			prefixes = append(prefixes, filepath.Dir(dir))
			if real, err := filepath.EvalSymlinks(path); err == nil {
				prefixes = append(prefixes, filepath.Dir(filepath.Dir(real)))
			}
		}
	}
	if home, err := os.UserHomeDir(); err == nil {
		prefixes = append(prefixes, filepath.Join(home, ".local"))
	}
	prefixes = append(prefixes, "/usr", "/usr/local")
	var patterns, list []string
	for _, p := range prefixes {
		if filepath.IsAbs(p) {
			for _, packages := range []string{"site-packages", "dist-packages"} {
				patterns = append(patterns, filepath.Join(quote(p), "lib", "python3*", packages, "nvidia", "*", "lib"))
			}
			patterns = append(patterns, filepath.Join(quote(p), "lib", "python3", "dist-packages", "nvidia", "*", "lib"))
		}
	}
	patterns = append(patterns, "/usr/local/cuda/lib64", "/usr/local/cuda-*/lib64", "/usr/local/cuda-*/targets/*/lib", "/opt/cuda/lib64")
	for _, pattern := range patterns {
		found, _ := filepath.Glob(pattern)
		for _, dir := range found {
			if !slices.Contains(list, dir) {
				list = append(list, dir)
			}
		}
	}
	return list
}

// quote makes a path a pattern of itself.
func quote(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func elsewhere(name string, folders []string) string {
	for _, dir := range folders {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	return ""
}

// SearchPath is what to put before LD_LIBRARY_PATH, so that the loader finds
// what lies elsewhere; "" where that would not help.
func SearchPath(libraries []Library) string {
	var dirs []string
	for _, l := range libraries {
		if dir := filepath.Dir(l.Elsewhere); l.Elsewhere != "" && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return strings.Join(dirs, string(os.PathListSeparator))
}

// Install lists pip's packages with the libraries that are nowhere: those that
// are needed, and those that are not.
func Install(libraries []Library) (needed, others []string) {
	for _, l := range libraries {
		to := &others
		if l.Needed {
			to = &needed
		}
		if l.Path == "" && l.Elsewhere == "" && l.Package != "" && !slices.Contains(*to, l.Package) {
			*to = append(*to, l.Package)
		}
	}
	return needed, others
}

// version is what a release's number looks like among a library's strings.
var version = regexp.MustCompile(`\x00(1\.[0-9]{1,3}\.[0-9]{1,3})\x00`)

// Version finds the version of ONNX Runtime that a provider was built for, by
// the only text in its constants that looks like one; "" where there is none or
// more than one.
func Version(provider string) (string, error) {
	f, err := elf.Open(provider)
	if err != nil {
		return "", err
	}
	defer f.Close()
	section := f.Section(".rodata")
	if section == nil {
		return "", nil
	}
	data, err := section.Data()
	if err != nil {
		return "", fmt.Errorf("%s: %w", provider, err)
	}
	found := ""
	for at := version.FindSubmatchIndex(data); at != nil; at = version.FindSubmatchIndex(data) {
		if v := string(data[at[2]:at[3]]); found == "" {
			found = v
		} else if v != found {
			return "", nil
		}
		data = data[at[3]:] // its last byte may be the next one's first
	}
	return found, nil
}
