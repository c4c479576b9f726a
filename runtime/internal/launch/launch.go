// Package launch runs plans of kernels on a GPU: it compiles their sources once, keeps what it compiled on disk, and queues
// launches, fills, copies and cuBLASLt's matrix products on one stream. It knows nothing of ONNX Runtime; package customop
// calls it from there. Start at Open.
package launch

/*
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "launch.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"march/runtime/internal/kernels"
	"march/runtime/internal/nvrtc"
)

func take(message *C.char) error {
	if message == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(message))
	return errors.New(C.GoString(message))
}

// Device is a GPU ready for kernels. Its methods may be called from several goroutines; programs run one at a time.
type Device struct {
	c          *C.launch_device
	compiler   *nvrtc.Compiler
	tf32       bool
	chosen     choices
	capability string // the GPU's generation

	mu       sync.Mutex
	modules  map[string]unsafe.Pointer
	products map[C.launch_shape]unsafe.Pointer
	labels   []kernels.Cost // of what profiles tell apart
}

// Options say how a device works.
type Options struct {
	Context, Stream unsafe.Pointer // CUcontext and CUstream
	GPU             string         // its name
	Capability      string         // and its generation, such as "9.0"
	Deterministic   bool           // no choice by clock, no sums in whatever order
	TF32            bool           // of float32 products' factors
}

// Open makes a device ready, or says which library is missing.
func Open(o Options) (*Device, error) {
	if err := take(C.launch_open()); err != nil {
		return nil, err
	}
	compiler, err := nvrtc.Open(o.Capability)
	if err != nil {
		return nil, err
	}
	// What a session would fail with otherwise: a generation that this NVRTC does not know, or a part of it that is missing.
	if major, _, _ := strings.Cut(o.Capability, "."); len(major) < 2 && major < "8" {
		return nil, fmt.Errorf("a GPU of compute capability %s has no arithmetic in bfloat16: 8.0 (Ampere) is the oldest that march's kernels run on", o.Capability)
	}
	if _, err := compiler.Compile("probe.cu", `extern "C" __global__ void probe() {}`, nil); err != nil {
		return nil, err
	}
	d := &Device{compiler: compiler, tf32: o.TF32, capability: o.Capability, chosen: choicesOn(o, uint64(C.launch_version())), modules: map[string]unsafe.Pointer{}, products: map[C.launch_shape]unsafe.Pointer{}}
	if err := take(C.launch_device_new(o.Context, o.Stream, flag(o.Deterministic), &d.c)); err != nil {
		return nil, err
	}
	return d, nil
}

// SharedMemory is the bytes of shared memory that a block can have: on GPUs for servers more than on others (CUDA C++ Programming Guide,
// technical specifications by compute capability).
func (d *Device) SharedMemory() int {
	switch d.capability {
	case "8.0", "8.7":
		return 163 << 10
	case "9.0", "10.0", "10.3", "11.0":
		return 227 << 10
	}
	return 99 << 10
}

func flag(on bool) C.int {
	if on {
		return 1
	}
	return 0
}

// Close gives the device's memory back. No program may run any more.
func (d *Device) Close() {
	if d.c != nil {
		C.launch_device_free(d.c)
		d.c = nil
	}
}

// Program is a plan ready to run.
type Program struct {
	device *C.launch_device
	steps  *C.launch_step // on C's heap
	count  int
	label  int
}

// Device, Steps and Count are what launch_run takes. Steps belong to the caller, who frees them with C's free.
func (p *Program) Device() unsafe.Pointer { return unsafe.Pointer(p.device) }

// Steps is a launch_step for each of Count.
func (p *Program) Steps() unsafe.Pointer { return unsafe.Pointer(p.steps) }

// Runner is the C function launch_run.
func Runner() unsafe.Pointer { return unsafe.Pointer(C.launch_run) }

// Count is the number of steps.
func (p *Program) Count() int { return p.count }

// Label is what profiles file the program under.
func (p *Program) Label() int { return p.label }

// Prepare compiles what a plan needs and chooses its products' algorithms. cost is what profiles say of it.
func (d *Device) Prepare(p kernels.Plan, cost kernels.Cost) (*Program, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.Elsewhere != nil && d.capability != "9.0" {
		p = *p.Elsewhere
	}
	if err := take(C.launch_reserve(d.c, C.size_t(kernels.Round(p.Scratch, 256)))); err != nil {
		return nil, err
	}
	program := &Program{d.c, (*C.launch_step)(C.calloc(C.size_t(max(1, len(p.Steps))), C.sizeof_launch_step)), len(p.Steps), d.label(cost)}
	steps := unsafe.Slice(program.steps, len(p.Steps))
	for i, s := range p.Steps {
		if err := d.step(&steps[i], s); err != nil {
			C.free(unsafe.Pointer(program.steps))
			return nil, err
		}
	}
	return program, nil
}

func (d *Device) step(c *C.launch_step, s kernels.Step) error {
	switch s := s.(type) {
	case kernels.Launch:
		f, err := d.function(s)
		if err != nil {
			return err
		}
		c.kind, c.function, c.shared = C.LAUNCH_STEP_KERNEL, f, C.uint(s.Shared)
		for i := range 3 {
			c.grid[i], c.block[i] = C.uint(max(1, s.Grid[i])), C.uint(max(1, s.Block[i]))
		}
		return arguments(c, s.Args...)
	case kernels.Zero:
		c.kind, c.bytes = C.LAUNCH_STEP_ZERO, C.size_t(s.Bytes)
		return arguments(c, s.At)
	case kernels.Copy:
		c.kind, c.bytes = C.LAUNCH_STEP_COPY, C.size_t(s.Bytes)
		return arguments(c, s.To, s.From)
	case kernels.Product:
		c.kind = C.LAUNCH_STEP_PRODUCT
		addend := s.C
		if s.Accumulate {
			addend = s.D
		}
		var err error
		if c.product, err = d.product(s); err != nil {
			return err
		}
		return arguments(c, s.A, s.B, addend, s.D, s.Bias)
	}
	return fmt.Errorf("a step of type %T", s)
}

func arguments(c *C.launch_step, args ...kernels.Arg) error {
	if len(args) > C.LAUNCH_MAX_ARGS {
		return fmt.Errorf("%d arguments, at most %d are possible", len(args), C.LAUNCH_MAX_ARGS)
	}
	kinds := map[kernels.ArgKind]C.int{kernels.Number: C.LAUNCH_NUMBER, kernels.Input: C.LAUNCH_INPUT, kernels.Output: C.LAUNCH_OUTPUT, kernels.ScratchAt: C.LAUNCH_SCRATCH}
	c.count = C.int(len(args))
	boxes := 0
	for i, a := range args {
		c.args[i] = C.launch_arg{kind: kinds[a.Kind], index: C.int64_t(a.Index), bits: C.uint64_t(a.Bits), rows: C.uint64_t(a.Rows), columns: C.uint64_t(a.Columns), wide: 64}
		if a.Wide > 0 {
			c.args[i].wide = C.uint(a.Wide)
		}
		if a.Rows > 0 {
			boxes++
		}
	}
	if boxes > C.LAUNCH_MAX_BOXES {
		return fmt.Errorf("%d matrices in boxes, at most %d are possible", boxes, C.LAUNCH_MAX_BOXES)
	}
	return nil
}

// function is a kernel of a source, compiled for this GPU.
func (d *Device) function(l kernels.Launch) (unsafe.Pointer, error) {
	source, err := kernels.Source(l.Source)
	if err != nil {
		return nil, err
	}
	key := l.Source + fmt.Sprint(l.Defines)
	module := d.modules[key]
	if module == nil {
		if module, err = d.load(l.Source, source, l.Defines); err != nil {
			d.compiler.Forget(l.Source, source, l.Defines) // the cache may hold something else
			if module, err = d.load(l.Source, source, l.Defines); err != nil {
				return nil, err
			}
		}
		d.modules[key] = module
	}
	name := C.CString(l.Kernel)
	defer C.free(unsafe.Pointer(name))
	var f unsafe.Pointer
	if err := take(C.launch_function(d.c, module, name, C.int(l.Shared), &f)); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", l.Source, l.Kernel, err)
	}
	return f, nil
}

func (d *Device) load(name, source string, defines []string) (module unsafe.Pointer, err error) {
	image, err := d.compiler.Compile(name, source, defines)
	if err != nil {
		return nil, err
	}
	if err := take(C.launch_module(d.c, unsafe.Pointer(&image[0]), &module)); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return module, nil
}

// product is a product of a shape with the algorithm chosen for it.
func (d *Device) product(p kernels.Product) (unsafe.Pointer, error) {
	trans := func(on bool) C.int { return flag(on) }
	s := C.launch_shape{type_in: C.int(p.TypeA), type_out: C.int(p.TypeD), m: C.int64_t(p.M), n: C.int64_t(p.N), k: C.int64_t(p.K),
		lda: C.int64_t(p.LDA), ldb: C.int64_t(p.LDB), ldd: C.int64_t(p.LDD), trans_a: trans(p.TransA), trans_b: trans(p.TransB), alpha: C.float(p.Alpha),
		bias: flag(p.Bias.Kind != kernels.Number), addend: flag(p.Accumulate || p.C.Kind != kernels.Number), tf32: flag(d.tf32)}
	if made := d.products[s]; made != nil {
		return made, nil
	}
	var made unsafe.Pointer
	shape := fmt.Sprintf("%+v", s)
	known := d.chosen.read(shape)
	algo := known
	if err := take(C.launch_product(d.c, &s, (*C.launch_algorithm)(unsafe.Pointer(&algo)), &made)); err != nil {
		return nil, fmt.Errorf("[%d,%d]·[%d,%d]: %w", p.M, p.K, p.K, p.N, err)
	}
	if algo != known {
		d.chosen.keep(shape, algo)
	}
	d.products[s] = made
	return made, nil
}

// Run queues a program once. Inputs and outputs are addresses on the device.
func (p *Program) Run(inputs, outputs []unsafe.Pointer) error {
	array := func(list []unsafe.Pointer) *unsafe.Pointer {
		c := (*unsafe.Pointer)(C.malloc(C.size_t((len(list) + 1) * int(unsafe.Sizeof(list[0])))))
		copy(unsafe.Slice(c, len(list)), list)
		return c
	}
	in, out := array(inputs), array(outputs)
	defer C.free(unsafe.Pointer(in))
	defer C.free(unsafe.Pointer(out))
	return take(C.launch_run(p.device, p.steps, C.int(p.count), in, out, C.int(p.label)))
}

func (d *Device) label(c kernels.Cost) int {
	at := slices.Index(d.labels, c)
	if at < 0 {
		at, d.labels = len(d.labels), append(d.labels, c)
	}
	return at
}

// Timing is what a profile says of the nodes of one cost.
type Timing struct {
	kernels.Cost
	Calls int
	MS    float64 // of all calls
}

// BeginProfile times what runs from here on. It must not be on while a CUDA graph is recorded.
func (d *Device) BeginProfile() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return take(C.launch_profile(d.c, 1, 0, nil, nil))
}

// EndProfile waits for the GPU and returns what ran since BeginProfile.
func (d *Device) EndProfile() ([]Timing, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	calls, ms := make([]C.int64_t, len(d.labels)+1), make([]C.double, len(d.labels)+1)
	if err := take(C.launch_profile(d.c, 0, C.int(len(d.labels)), &calls[0], &ms[0])); err != nil {
		return nil, err
	}
	var list []Timing
	for i, c := range d.labels {
		if calls[i] > 0 {
			list = append(list, Timing{c, int(calls[i]), float64(ms[i])})
		}
	}
	return list, nil
}
