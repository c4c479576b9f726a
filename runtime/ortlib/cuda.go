package ortlib

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	goruntime "runtime"

	"march/graphgen/atomicfile"
)

const (
	// CUDAPackage is pip's package that holds official builds with it.
	CUDAPackage = "onnxruntime-gpu"
	// CUDAProvider is the provider's file, which the core loads from its own
	// folder.
	CUDAProvider = "libonnxruntime_providers_cuda.so"
)

// CUDABuild is the build of Version with the CUDA provider. It lies in a folder
// of its own in the cache, beside the build for CPUs.
type CUDABuild struct {
	OS, Arch  string // as GOOS and GOARCH
	WheelTag  string // pip's platform tag
	Wheel     File   // the wheel for CPython WheelPython
	Libraries []File // inside the wheel, the core last: with it the folder is complete
}

// CUDA is the one there is: for Linux on x86-64, by CUDA 13.
var CUDA = CUDABuild{
	OS: "linux", Arch: "amd64",
	WheelTag: "manylinux_2_28_x86_64",
	Wheel: File{"onnxruntime_gpu-1.30.0-cp312-cp312-manylinux_2_28_x86_64.whl", 246685715,
		"6acc0f4b3d5ac5f2984432faa59dd8fcce6775f8b43a7140afa0f322c7a703b1"},
	Libraries: []File{
		{"onnxruntime/capi/" + CUDAProvider, 272049904,
			"35da2e7ed0dd0d1aec5cdb16ce11a51d06c0c48cf62d1b1c9332946a4fae14fc"},
		{"onnxruntime/capi/libonnxruntime_providers_shared.so", 14632,
			"086ec1d5388f64153d9c63470d126693db9a182c8ce236d3a1119068471b8a0d"},
		{"onnxruntime/capi/libonnxruntime.so.1.30.0", 29062976,
			"5a140dc17c8b60b35b2ceab0bb533e65ac54f06a208948417c1f9c31df6afc4c"},
	},
}

// CurrentCUDA returns the build for the platform this process runs on.
func CurrentCUDA() (CUDABuild, error) { return findCUDA(goruntime.GOOS, goruntime.GOARCH) }

func findCUDA(goos, goarch string) (CUDABuild, error) {
	if CUDA.OS == goos && CUDA.Arch == goarch {
		return CUDA, nil
	}
	return CUDABuild{}, fmt.Errorf("%w with CUDA: this is %s/%s, pinned is %s/%s; set %s to a library of version %s or later with its CUDA provider beside it",
		ErrPlatform, goos, goarch, CUDA.OS, CUDA.Arch, EnvVar, MinVersion)
}

// Folder is where the set-up puts the libraries:
// …/march/onnxruntime/VERSION/OS-ARCH-cuda, beside Platform.Path's.
func (b CUDABuild) Folder() (string, error) { return cacheFolder(b.OS + "-" + b.Arch + "-cuda") }

// FileName is the name in Folder of a library in the wheel: the core loads its
// providers by the names they have there.
func (b CUDABuild) FileName(library File) string { return filepath.Base(library.Name) }

// Core is the file name in Folder of the library to load.
func (b CUDABuild) Core() string { return b.FileName(b.Libraries[len(b.Libraries)-1]) }

// Verify reads all libraries in the folder. A missing one is an error that
// wraps fs.ErrNotExist, unless another is wrong.
func (b CUDABuild) Verify(folder string) error {
	var missing error
	for _, library := range b.Libraries {
		path := filepath.Join(folder, b.FileName(library))
		switch sum, err := atomicfile.SHA256(path); {
		case errors.Is(err, fs.ErrNotExist):
			missing = err
		case err != nil:
			return err
		case sum != library.SHA256:
			return fmt.Errorf("%s: sha256 %s, want %s for ONNX Runtime %s with CUDA on %s/%s", path, sum, library.SHA256, Version, b.OS, b.Arch)
		}
	}
	return missing
}

// Plausible is the cheap part of Verify: all libraries are there and have the
// right sizes.
func (b CUDABuild) Plausible(folder string) error {
	for _, library := range b.Libraries {
		if err := plausible(filepath.Join(folder, b.FileName(library)), library.Size); err != nil {
			return err
		}
	}
	return nil
}
