// Package customop gives ONNX Runtime's CUDA or CPU provider march's own operators, of the domain march: it asks package kernels
// what a node launches, or package hostkernels what it runs, when a session is made, and does that in each run. Start at New.
//
// A node's inputs are the operator's in their order. Where some are left out, the node lists in its attribute
// inputs which it has: ONNX Runtime takes no gaps where any types are allowed.
package customop

/*
#cgo LDFLAGS: -ldl
#cgo CFLAGS: -Wno-unused-parameter
#include <stdlib.h>
#include "customop.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime/cgo"
	"unsafe"

	"march/runtime/internal/hostkernels"
	"march/runtime/internal/kernels"
	"march/runtime/internal/launch"
)

// Domain is the operators' domain.
const Domain = "march"

// Operators are march's operators on one GPU, or on the CPU.
type Operators struct {
	api    C.customop_api
	device *launch.Device // nil: the CPU
	domain unsafe.Pointer
}

// New makes the operators of a GPU or, where d is nil, of the CPU. api is an OrtApi of that version. They stay for as long as the process does.
func New(api unsafe.Pointer, version int, d *launch.Device) (*Operators, error) {
	o := &Operators{api: C.customop_api(api), device: d}
	names, provider := kernels.Ops(), "CUDAExecutionProvider"
	if d == nil {
		names, provider = hostkernels.Ops(), "CPUExecutionProvider"
	}
	list := (**C.char)(C.malloc(C.size_t(len(names)+1) * C.size_t(unsafe.Sizeof((*C.char)(nil)))))
	defer C.free(unsafe.Pointer(list))
	for i, name := range names {
		c := C.CString(name)
		defer C.free(unsafe.Pointer(c))
		unsafe.Slice(list, len(names))[i] = c
	}
	domain, of := C.CString(Domain), C.CString(provider)
	defer C.free(unsafe.Pointer(domain))
	defer C.free(unsafe.Pointer(of))
	err := take(C.customop_domain(o.api, C.uint32_t(version), domain, of, list, C.int(len(names)), C.uintptr_t(cgo.NewHandle(o)), &o.domain))
	return o, err
}

// Add makes the operators known to sessions of these options (an OrtSessionOptions).
func (o *Operators) Add(options unsafe.Pointer) error {
	return take(C.customop_add(o.api, options, o.domain))
}

func take(message *C.char) error {
	if message == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(message))
	return errors.New(C.GoString(message))
}

//export customop_create
func customop_create(handle C.uintptr_t, name *C.char, info unsafe.Pointer, kernel *unsafe.Pointer) *C.char {
	o := cgo.Handle(handle).Value().(*Operators)
	k, err := o.create(C.GoString(name), info)
	if err != nil {
		return C.CString(err.Error())
	}
	*kernel = k
	return nil
}

func (o *Operators) create(name string, info unsafe.Pointer) (k unsafe.Pointer, err error) {
	defer func() { // a planner's slip must not end the process from within ONNX Runtime
		if r := recover(); r != nil {
			err = fmt.Errorf("kernel %s: %v", name, r)
		}
	}()
	n := kernels.Node{Op: name, Ints: map[string]int{}, Floats: map[string]float64{}, Strings: map[string]string{}}
	if o.device != nil {
		n.Shared = o.device.SharedMemory()
	}
	o.attributes(info, &n)
	inputs, err := o.ports(info, 0)
	if err != nil {
		return nil, err
	}
	outputs, err := o.ports(info, 1)
	if err != nil {
		return nil, err
	}
	if n.Out, err = tensors(outputs); err != nil {
		return nil, fmt.Errorf("kernel %s: output %w", name, err)
	}
	given, err := tensors(inputs)
	if err != nil {
		return nil, fmt.Errorf("kernel %s: input %w", name, err)
	}
	slots, err := o.slots(info, len(given))
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", name, err)
	}
	for i, slot := range slots {
		for len(n.In) <= slot {
			n.In = append(n.In, kernels.Tensor{})
		}
		n.In[slot] = given[i]
	}
	c := (*C.customop_kernel)(C.calloc(1, C.sizeof_customop_kernel))
	if err := o.prepare(n, c); err != nil {
		C.free(unsafe.Pointer(c))
		return nil, err
	}
	c.api, c.inputs, c.outputs = o.api, C.int(len(inputs)), C.int(len(outputs))
	for i, slot := range slots {
		c.slots[i] = C.int(slot)
	}
	copy(c.shapes[:], outputs)
	return unsafe.Pointer(c), nil
}

// prepare sets what the kernel runs for a node.
func (o *Operators) prepare(n kernels.Node, c *C.customop_kernel) error {
	if o.device == nil {
		node, err := hostkernels.Prepare(n)
		if err != nil {
			return err
		}
		c.host = (*C.hostkernels_node)(node)
		*(*unsafe.Pointer)(unsafe.Pointer(&c.run_host)) = hostkernels.Runner()
		return nil
	}
	plan, err := kernels.PlanFor(n)
	if err != nil {
		return err
	}
	program, err := o.device.Prepare(plan, kernels.CostOf(n))
	if err != nil {
		return fmt.Errorf("kernel %s: %w", n.Op, err)
	}
	c.device, c.steps, c.count = (*C.launch_device)(program.Device()), (*C.launch_step)(program.Steps()), C.int(program.Count())
	c.label = C.int(program.Label())
	*(*unsafe.Pointer)(unsafe.Pointer(&c.run)) = launch.Runner()
	return nil
}

// slots are the operator's inputs that the node's are.
func (o *Operators) slots(info unsafe.Pointer, count int) ([]int, error) {
	name := C.CString("inputs")
	defer C.free(unsafe.Pointer(name))
	var values [C.CUSTOMOP_MAX_PORTS]C.int64_t
	size := C.size_t(len(values))
	stated := C.customop_ints(o.api, info, name, &values[0], &size) != 0
	if stated && int(size) != count {
		return nil, fmt.Errorf("the attribute inputs lists %d, the node has %d", size, count)
	}
	list, next := make([]int, count), 0
	for i := range list {
		list[i] = i
		if stated {
			list[i] = int(values[i])
		}
		if list[i] < next || list[i] >= C.CUSTOMOP_MAX_PORTS {
			return nil, fmt.Errorf("the attribute inputs is %v, wanted rising numbers below %d", values[:size], C.CUSTOMOP_MAX_PORTS)
		}
		next = list[i] + 1
	}
	return list, nil
}

func (o *Operators) attributes(info unsafe.Pointer, n *kernels.Node) {
	for _, name := range kernels.IntAttributes {
		c := C.CString(name)
		var v C.int64_t
		if C.customop_int(o.api, info, c, &v) != 0 {
			n.Ints[name] = int(v)
		}
		C.free(unsafe.Pointer(c))
	}
	for _, name := range kernels.FloatAttributes {
		c := C.CString(name)
		var v C.float
		if C.customop_float(o.api, info, c, &v) != 0 {
			n.Floats[name] = float64(v)
		}
		C.free(unsafe.Pointer(c))
	}
	for _, name := range kernels.StringAttributes {
		c := C.CString(name)
		var v [256]C.char
		if C.customop_string(o.api, info, c, &v[0], C.size_t(len(v))) != 0 {
			n.Strings[name] = C.GoString(&v[0])
		}
		C.free(unsafe.Pointer(c))
	}
}

func (o *Operators) ports(info unsafe.Pointer, outputs C.int) ([]C.customop_port, error) {
	var count C.size_t
	if err := take(C.customop_count(o.api, info, outputs, &count)); err != nil {
		return nil, err
	}
	if count > C.CUSTOMOP_MAX_PORTS {
		return nil, fmt.Errorf("a node with %d inputs or outputs, at most %d are possible", count, C.CUSTOMOP_MAX_PORTS)
	}
	list := make([]C.customop_port, count)
	for i := range list {
		if err := take(C.customop_port_of(o.api, info, outputs, C.size_t(i), &list[i])); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func tensors(ports []C.customop_port) ([]kernels.Tensor, error) {
	list := make([]kernels.Tensor, len(ports))
	for i, p := range ports {
		if p.rank < 0 {
			return nil, fmt.Errorf("%d has no shape, or too many dimensions", i)
		}
		list[i] = kernels.Tensor{Type: kernels.Type(p._type), Shape: make([]int, p.rank)}
		for d := range list[i].Shape {
			if list[i].Shape[d] = int(p.shape[d]); list[i].Shape[d] < 0 {
				return nil, fmt.Errorf("%d has a dimension that is not known yet; kernels need static shapes", i)
			}
		}
	}
	return list, nil
}
