// Package nvrtc compiles CUDA sources at run time with NVIDIA's NVRTC, which is opened when it is first needed, and keeps
// what it compiled on disk: a source is compiled once for a GPU's generation and a version of NVRTC. It needs no GPU. Start at Open.
package nvrtc

/*
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "nvrtc.h"
*/
import "C"

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unsafe"

	"march/graphgen/atomicfile"
)

// Libraries are the file names that NVRTC is looked for by, the newest first.
var Libraries = []string{"libnvrtc.so.13", "libnvrtc.so.12"}

var opened struct {
	sync.Mutex
	done    bool
	version string
	err     error
}

// Compiler compiles for one generation of GPUs.
type Compiler struct {
	arch    string
	version string
	cache   string // folder; "": nothing is kept
}

// Open finds NVRTC. capability is the GPU's, such as "9.0".
func Open(capability string) (*Compiler, error) {
	opened.Lock()
	defer opened.Unlock()
	if !opened.done {
		opened.done = true
		opened.version, opened.err = open()
	}
	if opened.err != nil {
		return nil, opened.err
	}
	c := &Compiler{arch: "sm_" + strings.ReplaceAll(capability, ".", ""), version: opened.version}
	if capability == "9.0" {
		c.arch += "a" // with Hopper's own instructions, which no other GPU has
	}
	if dir, err := os.UserCacheDir(); err == nil {
		c.cache = filepath.Join(dir, "march", "kernels")
	}
	return c, nil
}

func open() (string, error) {
	var why []error
	for _, name := range Libraries {
		file := C.CString(name)
		var major, minor C.int
		message := C.nvrtc_open(file, &major, &minor)
		C.free(unsafe.Pointer(file))
		if message == nil {
			return fmt.Sprintf("%d.%d", major, minor), nil
		}
		why = append(why, errors.New(C.GoString(message)))
		C.free(unsafe.Pointer(message))
	}
	return "", fmt.Errorf("NVRTC is not there (pip install 'nvidia-cuda-nvrtc==13.*', or the CUDA toolkit): %w", why[0])
}

// Version is NVRTC's, such as "13.0".
func (c *Compiler) Version() string { return c.version }

// Compile returns the machine code of a source with macros defined ("T=bf16"), from the cache where it lies there.
func (c *Compiler) Compile(name, source string, defines []string) ([]byte, error) {
	file, options := c.kept(name, source, defines)
	if image, err := os.ReadFile(file); err == nil && len(image) > 0 {
		return image, nil
	}
	image, err := compile(name, source, options)
	if err != nil {
		return nil, fmt.Errorf("%s for %s %v: %w", name, c.arch, defines, err)
	}
	if file != "" && os.MkdirAll(c.cache, 0o777) == nil {
		_ = atomicfile.WriteFile(file, image) // a cache that cannot be written costs time only
	}
	return image, nil
}

// Forget drops what the cache has of a source: it turned out to be damaged.
func (c *Compiler) Forget(name, source string, defines []string) {
	if file, _ := c.kept(name, source, defines); file != "" {
		_ = os.Remove(file) // what cannot be removed cannot be replaced either
	}
}

// kept is the file that the cache has a source's code in, "" without a cache, and how it is compiled.
func (c *Compiler) kept(name, source string, defines []string) (file string, options []string) {
	options = []string{"--gpu-architecture=" + c.arch, "--std=c++17", "-default-device"}
	for _, d := range defines {
		options = append(options, "-D"+d)
	}
	if c.cache == "" {
		return "", options
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%q\n%s", c.version, options, source)
	return filepath.Join(c.cache, strings.TrimSuffix(name, ".cu")+"-"+hex.EncodeToString(h.Sum(nil))[:32]+".cubin"), options
}

func compile(name, source string, options []string) ([]byte, error) {
	cname, csource := C.CString(name), C.CString(source)
	defer C.free(unsafe.Pointer(cname))
	defer C.free(unsafe.Pointer(csource))
	list := make([]*C.char, len(options))
	for i, o := range options {
		list[i] = C.CString(o)
		defer C.free(unsafe.Pointer(list[i]))
	}
	array := (**C.char)(C.malloc(C.size_t(len(list)) * C.size_t(unsafe.Sizeof(list[0]))))
	defer C.free(unsafe.Pointer(array))
	copy(unsafe.Slice(array, len(list)), list)
	var image unsafe.Pointer
	var bytes C.size_t
	message := C.nvrtc_compile(cname, csource, array, C.int(len(list)), &image, &bytes)
	defer C.free(image)
	if message != nil {
		defer C.free(unsafe.Pointer(message))
		return nil, errors.New(strings.TrimSpace(C.GoString(message)))
	}
	return C.GoBytes(image, C.int(bytes)), nil
}
