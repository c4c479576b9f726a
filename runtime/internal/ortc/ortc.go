// Package ortc holds the few calls to ONNX Runtime's C interface that
// onnxruntime_go lacks: looking at a library before it is used, tensors over
// memory of one's own in any shape, what a loaded session takes and gives, and
// the end of profiling. It is not a second binding: environment, sessions and
// runs go through onnxruntime_go. Start at Open, then see internals.go for how
// the two packages share C objects.
package ortc

/*
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "ortc.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unsafe"
)

// Library is a loaded ONNX Runtime library. It stays loaded until Close.
type Library struct {
	Path    string // the file the system's loader took
	Version string // as the library names it, such as "1.30.0"

	handle, base unsafe.Pointer
	api          C.ortc_api
}

// take turns a C message into an error and frees it.
func take(message *C.char) error {
	if message == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(message))
	return errors.New(strings.TrimSpace(C.GoString(message)))
}

// takeString copies and frees a C string.
func takeString(s *C.char) string {
	defer C.free(unsafe.Pointer(s))
	return C.GoString(s)
}

// Open loads the library at path, or of that file name where the system's
// loader looks. It asks the library for nothing but its version: call Use
// before anything else.
func Open(path string) (*Library, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var l Library
	var file, version *C.char
	if err := take(C.ortc_open(name, &l.handle, &l.base, &file, &version)); err != nil {
		return nil, err
	}
	l.Path, l.Version = takeString(file), takeString(version)
	return &l, nil
}

// AtLeast reports whether the library's version is minimum ("1.24") or later.
// A version that cannot be read counts as too old.
func (l *Library) AtLeast(minimum string) bool {
	return compareVersions(l.Version, minimum) >= 0
}

// compareVersions compares the leading numbers of two dotted versions.
func compareVersions(a, b string) int {
	number := func(s *string) int {
		part, rest, _ := strings.Cut(*s, ".")
		*s = rest
		digits := strings.IndexFunc(part, func(r rune) bool { return r < '0' || r > '9' })
		if digits >= 0 {
			part = part[:digits]
		}
		n, _ := strconv.Atoi(part) // 0 where there is no number
		return n
	}
	for a != "" || b != "" {
		if x, y := number(&a), number(&b); x != y {
			return x - y
		}
	}
	return 0
}

// Use fetches the function table of that version of the C interface.
func (l *Library) Use(apiVersion int) error {
	if l.api = C.ortc_get_api(l.base, C.uint32_t(apiVersion)); l.api == nil {
		return fmt.Errorf("version %s does not offer C interface version %d", l.Version, apiVersion)
	}
	return nil
}

// API is the function table that Use fetched, an OrtApi.
func (l *Library) API() unsafe.Pointer { return unsafe.Pointer(l.api) }

// Close unloads the library unless somebody else has it loaded.
func (l *Library) Close() {
	if l.handle != nil {
		C.ortc_close(l.handle)
		l.handle, l.base, l.api = nil, nil, nil
	}
}

// NoTelemetry keeps ONNX Runtime from collecting and sending usage data. It
// must come before the environment is made.
func NoTelemetry() { C.ortc_no_telemetry() }

// Providers lists the execution providers compiled into the library.
func (l *Library) Providers() ([]string, error) {
	var names **C.char
	var count C.int
	if err := take(C.ortc_providers(l.api, &names, &count)); err != nil {
		return nil, err
	}
	defer C.ortc_release_providers(l.api, names, count)
	var list []string
	for _, name := range unsafe.Slice(names, count) {
		list = append(list, C.GoString(name))
	}
	return list, nil
}

// Host stands for the host's memory in place of a GPU's number.
const Host = -1

// NewTensor makes a tensor over memory outside the Go heap, which must outlive
// it: the GPU's of that number, or the host's where gpu is Host. elementType is a number
// of ONNX's TensorProto.DataType. An empty shape is a scalar. The result is an OrtValue.
func (l *Library) NewTensor(gpu int, data unsafe.Pointer, bytes int, shape []int64, elementType int) (unsafe.Pointer, error) {
	var value unsafe.Pointer
	err := take(C.ortc_new_tensor(l.api, C.int(gpu), data, C.size_t(bytes), (*C.int64_t)(unsafe.SliceData(shape)), C.size_t(len(shape)),
		C.int(elementType), &value))
	return value, err
}

// ReleaseValue releases an OrtValue, not the memory it lies over.
func (l *Library) ReleaseValue(value unsafe.Pointer) { C.ortc_release_value(l.api, value) }

// Port is an input or output of a session.
type Port struct {
	Name    string
	Tensor  bool // else a sequence, map or the like, and the rest is empty
	Type    int  // a number of TensorProto.DataType
	Shape   []int64
	Symbols []string // the names of dynamic dimensions, "" where there is none
}

// Ports lists a session's inputs and outputs in the model's order. session is
// an OrtSession.
func (l *Library) Ports(session unsafe.Pointer) (inputs, outputs []Port, err error) {
	if inputs, err = l.ports(session, 0); err != nil {
		return nil, nil, err
	}
	outputs, err = l.ports(session, 1)
	return inputs, outputs, err
}

func (l *Library) ports(session unsafe.Pointer, outputs C.int) ([]Port, error) {
	var count C.size_t
	if err := take(C.ortc_count(l.api, session, outputs, &count)); err != nil {
		return nil, err
	}
	list := make([]Port, 0, count)
	for i := range count {
		p, err := l.port(session, outputs, i)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

func (l *Library) port(session unsafe.Pointer, outputs C.int, index C.size_t) (Port, error) {
	var c C.ortc_port
	defer C.ortc_free_port(&c)
	err := take(C.ortc_describe(l.api, session, outputs, index, &c))
	p := Port{Name: C.GoString(c.name)}
	if err != nil {
		return p, fmt.Errorf("%s: %w", p.Name, err)
	}
	if c.rank < 0 {
		return p, nil
	}
	p.Tensor, p.Type = true, int(c._type)
	p.Shape = make([]int64, c.rank)
	p.Symbols = make([]string, c.rank)
	for i := range p.Shape {
		p.Shape[i] = int64(c.shape[i])
		if c.symbols[i] != nil {
			p.Symbols[i] = C.GoString(c.symbols[i])
		}
	}
	return p, nil
}

// EndProfiling stops a session's profiling, writes the profile and returns its
// path. session is an OrtSession.
func (l *Library) EndProfiling(session unsafe.Pointer) (string, error) {
	var path *C.char
	if err := take(C.ortc_end_profiling(l.api, session, &path)); err != nil {
		return "", err
	}
	return takeString(path), nil
}

// Deterministic asks for the operators' reproducible kernels, where there are two.
// options is an OrtSessionOptions.
func (l *Library) Deterministic(options unsafe.Pointer) error {
	return take(C.ortc_deterministic(l.api, options))
}

// signals counts the calls of KeepSignals that are under way.
var signals struct {
	sync.Mutex
	calls int
}

// KeepSignals calls f and puts back the signal handlers that it replaced, as CUDA's start
// does: Go's own would be gone, and Ctrl-C would end the process in the middle of a step.
// Of calls at the same time the first one knows Go's handlers, and each puts them back.
func KeepSignals(f func() error) error {
	signals.Lock()
	if signals.calls == 0 {
		C.ortc_signals_save()
	}
	signals.calls++
	signals.Unlock()
	defer func() {
		signals.Lock()
		defer signals.Unlock()
		C.ortc_signals_restore()
		signals.calls--
	}()
	return f()
}
