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
// A variable that names no usable library is an error; nothing else is tried
// then. tried has a line for every place looked at and why it would not do. It
// loads each candidate to see its version, but starts none.
func Discover() (path, source string, tried []string, err error) {
	found, err := discover("")
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

// discoverFor is discover for a device.
func discoverFor(explicit string, _ Device) (discovery, error) { return discover(explicit) }

func discover(explicit string) (discovery, error) {
	var d discovery
	// Somebody's own choice is taken or is an error.
	named := func(source, path string) (discovery, error) {
		d.source = source
		lib, err := probeFile(path)
		if err != nil {
			d.tried = append(d.tried, fmt.Sprintf("%s: %v", source, err))
			return d, fmt.Errorf("ONNX Runtime (from %s): %w; name a library of version %s or later, or leave it out and run `%s`",
				source, err, ortlib.MinVersion, ortlib.SetupCommand)
		}
		d.lib = lib
		return d, nil
	}
	if explicit != "" {
		return named(SourceOption, explicit)
	}
	if path := os.Getenv(ortlib.EnvVar); path != "" {
		return named(SourceEnvironment, path)
	}
	d.tried = append(d.tried, ortlib.EnvVar+": not set")

	lib, err := probeCache()
	if err == nil {
		d.lib, d.source = lib, SourceCache
		return d, nil
	}
	d.tried = append(d.tried, fmt.Sprintf("%s: %v", SourceCache, err))

	for _, name := range systemNames() {
		lib, err := probe(name)
		if err == nil {
			d.lib, d.source = lib, SourceSystem
			return d, nil
		}
		d.tried = append(d.tried, fmt.Sprintf("%s: %v", SourceSystem, err))
	}
	return d, fmt.Errorf("ONNX Runtime not found; run `%s`, or set %s to a library of version %s or later; tried:\n  %s",
		ortlib.SetupCommand, ortlib.EnvVar, ortlib.MinVersion, strings.Join(d.tried, "\n  "))
}

// probeCache opens the library that the set-up has put into the cache.
func probeCache() (*ortc.Library, error) {
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
