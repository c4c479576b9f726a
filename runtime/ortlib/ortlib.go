// Package ortlib is the one place that says which ONNX Runtime march uses: the
// pinned version, the digests of its packages and libraries for each platform,
// and where the set-up keeps the library. It neither downloads nor loads
// anything: tools/setup does the first, package runtime the second. Start at
// Current and Platform.Path; the build for NVIDIA's GPUs is in cuda.go.
package ortlib

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"

	"march/graphgen/atomicfile"
)

const (
	// Version is the ONNX Runtime release the set-up installs.
	Version = "1.30.0"
	// MinVersion is the oldest release that offers APIVersion.
	MinVersion = "1.24"
	// APIVersion is the C interface version asked of the library, the one
	// onnxruntime_go asks for.
	APIVersion = 24

	// EnvVar overrides every other way to find the library.
	EnvVar = "MARCH_ONNXRUNTIME_LIB"
	// SetupCommand installs the pinned library into the cache.
	SetupCommand = "make setup"
	// SetupCUDACommand installs one that can use an NVIDIA GPU.
	SetupCUDACommand = "make setup-cuda"

	// NPMPackage and PipPackage are the packages that hold official builds
	// of the library.
	NPMPackage = "onnxruntime-node"
	PipPackage = "onnxruntime"
)

// File is a file whose content is known beforehand. Name is a path inside an
// archive, with forward slashes.
type File struct {
	Name   string
	Size   int64
	SHA256 string // lower-case hexadecimal
}

// NPMArchive is the npm package of Version; it serves every platform.
var NPMArchive = File{
	Name:   "onnxruntime-node-1.30.0.tgz",
	Size:   113507888,
	SHA256: "6e3390d6b783e7be946fad629292799da28d0b42f84856e50d2c1b0383291e75",
}

// Platform is one operating system and processor that the set-up serves.
type Platform struct {
	OS, Arch string // as GOOS and GOARCH
	Library  string // the library's file name in the cache
	NPM      File   // the library inside NPMArchive

	// The wheel stands in where npm is not there or cannot reach its
	// registry. Its library is another build of the same version.
	WheelTag     string // pip's platform tag
	Wheel        File   // the wheel for CPython WheelPython
	WheelLibrary File   // the library inside it
}

// WheelPython is the Python version whose wheel is pinned. Any Python can
// download it: the library does not depend on Python.
const WheelPython = "3.12"

// Platforms are those with a pinned library.
var Platforms = []Platform{
	{
		OS: "linux", Arch: "amd64", Library: "libonnxruntime.so.1",
		NPM: File{"package/bin/napi-v6/linux/x64/libonnxruntime.so.1", 45828512,
			"ffb75a925ba05e47b235bb66e3e3911714a80b328a9c9425539feb204aa32a23"},
		WheelTag: "manylinux_2_28_x86_64",
		Wheel: File{"onnxruntime-1.30.0-cp312-cp312-manylinux_2_28_x86_64.whl", 23585654,
			"fa688e7891a6aa206636fe7372e27ee75fd17713289f6b4fc7b190e0a7de9328"},
		WheelLibrary: File{"onnxruntime/capi/libonnxruntime.so.1.30.0", 28985152,
			"c902c70b3003c0e99fada202f37478c515ae9bba7944c2b2abd0017bae0c82ed"},
	},
	{
		OS: "linux", Arch: "arm64", Library: "libonnxruntime.so.1",
		NPM: File{"package/bin/napi-v6/linux/arm64/libonnxruntime.so.1", 25135496,
			"1f549d46250b005580b597f4164984aaf75b3bcb9f3aeb07c7f8a8fe60b23c76"},
		WheelTag: "manylinux_2_28_aarch64",
		Wheel: File{"onnxruntime-1.30.0-cp312-cp312-manylinux_2_28_aarch64.whl", 21345202,
			"6c32a000d5139a38ba9349030b0032e3331acb559d596b22738d9d2b343a2b83"},
		WheelLibrary: File{"onnxruntime/capi/libonnxruntime.so.1.30.0", 25135496,
			"8a218e1e446880131115c368ec7005969a5022af9a15a26173de648fef0b7789"},
	},
	{
		OS: "darwin", Arch: "arm64", Library: "libonnxruntime.1.dylib",
		NPM: File{"package/bin/napi-v6/darwin/arm64/libonnxruntime.1.dylib", 44589928,
			"685d2be5dba1309c89d3a5324b7fd06a5c42f1a61bfea32d14c4cc28d072121d"},
		WheelTag: "macosx_14_0_arm64",
		Wheel: File{"onnxruntime-1.30.0-cp312-cp312-macosx_14_0_arm64.whl", 21544867,
			"001ed726c9bd5e2bc92faade7d37d889e9606a350b7d5529f0227df2e3bb57fd"},
		WheelLibrary: File{"onnxruntime/capi/libonnxruntime.1.30.0.dylib", 33209560,
			"b46713ea6a25a5227541c21001f6422c1ccdeaecc369aa026a61b752520325c3"},
	},
}

// ErrPlatform is wrapped by Current where no library is pinned.
var ErrPlatform = errors.New("no pinned ONNX Runtime for this platform")

// Current returns the platform this process runs on.
func Current() (Platform, error) {
	return find(goruntime.GOOS, goruntime.GOARCH)
}

func find(goos, goarch string) (Platform, error) {
	var have []string
	for _, p := range Platforms {
		if p.OS == goos && p.Arch == goarch {
			return p, nil
		}
		have = append(have, p.OS+"/"+p.Arch)
	}
	return Platform{}, fmt.Errorf("%w: this is %s/%s, pinned are %s; set %s to a library of version %s or later",
		ErrPlatform, goos, goarch, strings.Join(have, ", "), EnvVar, MinVersion)
}

// Path is where the set-up puts the platform's library:
// $XDG_CACHE_HOME/march/onnxruntime/VERSION/OS-ARCH/, with ~/.cache in place of
// an unset (or, as its specification demands, relative) XDG_CACHE_HOME.
func (p Platform) Path() (string, error) {
	folder, err := cacheFolder(p.OS + "-" + p.Arch)
	if err != nil {
		return "", err
	}
	return filepath.Join(folder, p.Library), nil
}

// cacheFolder is where the set-up keeps a build of that name.
func cacheFolder(build string) (string, error) {
	base := os.Getenv("XDG_CACHE_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil || !filepath.IsAbs(home) {
			return "", errors.New("no cache folder: neither XDG_CACHE_HOME nor HOME is an absolute path")
		}
		base = filepath.Join(home, ".cache")
	}
	return filepath.Join(base, "march", "onnxruntime", Version, build), nil
}

// Verify reads the whole file at path and returns which package the library
// came from ("npm" or "pip"), or an error where it is none of the pinned ones.
// A missing file is an error that wraps fs.ErrNotExist.
func (p Platform) Verify(path string) (origin string, err error) {
	sum, err := atomicfile.SHA256(path)
	switch {
	case err != nil:
		return "", err
	case sum == p.NPM.SHA256:
		return "npm", nil
	case sum == p.WheelLibrary.SHA256:
		return "pip", nil
	}
	return "", fmt.Errorf("%s: sha256 %s, want %s (npm) or %s (pip) for ONNX Runtime %s on %s/%s",
		path, sum, p.NPM.SHA256, p.WheelLibrary.SHA256, Version, p.OS, p.Arch)
}

// Plausible is the cheap part of Verify, for every start of the program: the
// file is there and has the size of a pinned library.
func (p Platform) Plausible(path string) error {
	return plausible(path, p.NPM.Size, p.WheelLibrary.Size)
}

func plausible(path string, sizes ...int64) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: not there", path)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: not a regular file", path)
	case !slices.Contains(sizes, info.Size()):
		want := make([]string, len(sizes))
		for i, size := range sizes {
			want[i] = strconv.FormatInt(size, 10)
		}
		return fmt.Errorf("%s: %d bytes, want %s: incomplete or changed", path, info.Size(), strings.Join(want, " or "))
	}
	return nil
}
