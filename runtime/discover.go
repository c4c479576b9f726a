package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"

	"march/runtime/internal/ortc"
	"march/runtime/ortlib"
)

// Where a library was found.
const (
	SourceOption      = "option"       // Options.Library
	SourceEnvironment = ortlib.EnvVar  // the environment variable
	SourceCache       = "set-up cache" // put there by the set-up
	SourceSystem      = "system"       // where the system's loader looks
)

// Discover finds the ONNX Runtime library that Open would take and returns its
// path and one of the Source constants. In order: the environment variable
// MARCH_ONNXRUNTIME_LIB, the set-up's cache, libraries installed in the system.
// In the cache, the build with CUDA goes first where the machine has NVIDIA's
// driver, whatever the device: a process can load one library only. A variable
// that names no usable library is an error; nothing else is tried then. tried has
// a line for every place looked at and why it would not do. It loads each
// candidate to see its version, but starts none.
func Discover() (path, source string, tried []string, err error) {
	found, err := search("", false)
	if err != nil {
		return "", "", found.tried, err
	}
	defer found.lib.Close()
	return found.lib.Path, found.source, found.tried, nil
}

// discovery is the outcome of a search. After an error lib is nil, and source is
// whose choice was no good, "" where nothing was found anywhere.
type discovery struct {
	lib    *ortc.Library
	source string
	tried  []string
}

// discoverFor finds the library for a device: for "cuda" one that has its CUDA
// provider beside it, for others any. Where there is no such GPU, that is the
// error, and not what would have to be installed for it.
func discoverFor(explicit string, device Device) (discovery, error) {
	if device.Kind != "cuda" {
		return search(explicit, false)
	}
	if err := diagnoseGPUs().noGPU(device); err != nil {
		return discovery{}, err
	}
	d, err := search(explicit, true)
	if err != nil {
		err = fmt.Errorf("device %s: %w", device, err)
	}
	return d, err
}

// search finds a library, with cuda one that has its CUDA provider beside it.
func search(explicit string, cuda bool) (discovery, error) {
	var d discovery
	accept := func(source, path string, open func(string) (*ortc.Library, error)) error {
		lib, err := open(path)
		if err == nil && cuda && providerBeside(lib.Path) == "" {
			err = fmt.Errorf("%s: has no CUDA provider (%s) beside it", lib.Path, ortlib.CUDAProvider)
			lib.Close()
		}
		if err != nil {
			d.tried = append(d.tried, fmt.Sprintf("%s: %v", source, err))
			return err
		}
		d.lib, d.source = lib, source
		return nil
	}
	what, setup := "ONNX Runtime", ortlib.SetupCommand
	if cuda {
		what, setup = "ONNX Runtime with CUDA", ortlib.SetupCUDACommand
	}

	// Somebody's own choice is taken or is an error.
	own := explicit
	if own != "" {
		d.source = SourceOption
	} else if own = os.Getenv(ortlib.EnvVar); own != "" {
		d.source = SourceEnvironment
	}
	if own != "" {
		if err := accept(d.source, own, probeFile); err != nil {
			return d, fmt.Errorf("ONNX Runtime (from %s): %w; name a library of version %s or later, or leave it out and run `%s`",
				d.source, err, ortlib.MinVersion, setup)
		}
		return d, nil
	}
	d.tried = append(d.tried, ortlib.EnvVar+": not set")

	if cuda || nvidiaDriver() && cudaInstalled() {
		if accept(SourceCache, "", probeCUDACache) == nil {
			return d, nil
		}
	}
	if accept(SourceCache, "", probeCache) == nil {
		return d, nil
	}
	for _, name := range systemNames() {
		if accept(SourceSystem, name, probe) == nil {
			return d, nil
		}
	}
	return d, fmt.Errorf("%s not found; run `%s`, or set %s to a library of version %s or later; tried:\n  %s",
		what, setup, ortlib.EnvVar, ortlib.MinVersion, strings.Join(d.tried, "\n  "))
}

// probeCache opens the library that the set-up has put into the cache.
func probeCache(string) (*ortc.Library, error) {
	platform, err := ortlib.Current()
	if err != nil {
		return nil, err
	}
	path, err := platform.Path()
	if err != nil {
		return nil, err
	}
	if err := platform.Plausible(path); err != nil {
		return nil, err
	}
	return probe(path)
}

// probeCUDACache opens the build with CUDA that the set-up has put there.
func probeCUDACache(string) (*ortc.Library, error) {
	build, err := ortlib.CurrentCUDA()
	if err != nil {
		return nil, err
	}
	folder, err := build.Folder()
	if err != nil {
		return nil, err
	}
	if err := build.Plausible(folder); err != nil {
		return nil, err
	}
	return probe(filepath.Join(folder, build.Core()))
}

// cudaInstalled says whether the set-up was asked for the build with CUDA.
func cudaInstalled() bool {
	build, err := ortlib.CurrentCUDA()
	if err != nil {
		return false
	}
	folder, err := build.Folder()
	if err != nil {
		return false
	}
	_, err = os.Stat(folder)
	return err == nil
}

// providerBeside is the path of the CUDA provider that the core at path would
// load, from its own folder, or "".
func providerBeside(path string) string {
	provider := filepath.Join(filepath.Dir(path), ortlib.CUDAProvider)
	if info, err := os.Stat(provider); err != nil || info.IsDir() {
		return ""
	}
	return provider
}

// nvidiaDriver says whether the machine has NVIDIA's driver, at no cost; whether
// it works, the driver's library must tell.
func nvidiaDriver() bool {
	for _, path := range []string{"/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg"} {
		if _, err := os.Stat(path); err == nil {
			return true
		}
	}
	return false
}

// probeFile is probe for a path that a person gave: relative ones count from
// the current folder, not from where the system's loader looks.
func probeFile(path string) (*ortc.Library, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	switch info, err := os.Stat(abs); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: no such file", path)
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s: is a folder, want the library file inside", path)
	}
	return probe(abs)
}

// probe opens a library and refuses it where it is none of ONNX Runtime's or
// too old: calling into an old one would end the process.
func probe(name string) (*ortc.Library, error) {
	lib, err := ortc.Open(name)
	if err != nil {
		text := strings.TrimPrefix(err.Error(), name+": ") // the loader's messages begin with the name
		return nil, fmt.Errorf("%s: cannot be used: %s", name, text)
	}
	if !lib.AtLeast(ortlib.MinVersion) {
		defer lib.Close()
		return nil, fmt.Errorf("%s: ONNX Runtime %s is too old, version %s or later is required", lib.Path, lib.Version, ortlib.MinVersion)
	}
	return lib, nil
}

// systemNames are the file names under which ONNX Runtime is installed.
func systemNames() []string {
	if goruntime.GOOS == "darwin" {
		return []string{"libonnxruntime.dylib", "/opt/homebrew/lib/libonnxruntime.dylib", "/usr/local/lib/libonnxruntime.dylib"}
	}
	return []string{"libonnxruntime.so.1", "libonnxruntime.so"}
}
