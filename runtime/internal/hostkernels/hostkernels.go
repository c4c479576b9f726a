// Package hostkernels holds march's own operators for a CPU, in C: norms, activations and GLU with their gradients, softmax, sums and the
// optimizer, in float32. What a node's inputs and outputs must be is what package kernels says; package customop runs them. Start at Prepare.
package hostkernels

/*
#cgo CFLAGS: -O2 -Wno-psabi -Wno-unused-parameter
#cgo LDFLAGS: -lm
#include <stdlib.h>
#include "hostkernels.h"
*/
import "C"

import (
	"fmt"
	"slices"
	"unsafe"

	"march/runtime/internal/kernels"
)

var ops = []string{"Activate", "ActivateGrad", "AdamWStep", "ColumnSum", "Gate", "GateGrad", "MaskedSoftmax", "Normalize", "NormalizeGrad", "SoftmaxGrad", "SumSquares"}

// Ops lists the operators that there are kernels for.
func Ops() []string { return slices.Clone(ops) }

// part is about how many elements a part of a node's work has: enough to be worth a thread's waking, and few enough for its arrays to
// stay in a core's cache.
const part = 1 << 14

// mostSums is how many parts leave sums of columns at most, which one thread adds up.
const mostSums = 64

// Prepare gives what a node runs, a hostkernels_node that belongs to the caller, in C's memory; or says what of the node no kernel can do.
func Prepare(n kernels.Node) (unsafe.Pointer, error) {
	if !slices.Contains(ops, n.Op) {
		return nil, fmt.Errorf("march has no kernel %s for a CPU; it has %v", n.Op, ops)
	}
	if err := check(n); err != nil {
		return nil, err
	}
	c := (*C.hostkernels_node)(C.calloc(1, C.sizeof_hostkernels_node))
	x := n.In[0]
	rows, columns := x.Rows(), x.Last()
	sums := 0 // of columns that a part leaves
	switch n.Op {
	case "Activate", "Gate", "AdamWStep", "SumSquares":
		rows, columns = x.Elements(), 1
	case "ActivateGrad":
		sums = len(n.Out) - 1
	case "GateGrad":
		sums = len(n.Out) - 2
	case "NormalizeGrad":
		sums = len(n.Out) - 1
	case "ColumnSum":
		sums = 1
	}
	c.queries, c.past, c.window, c.causal = 1, C.int64_t(n.Ints["past"]), C.int64_t(n.Ints["window"]), C.int(n.Ints["causal"])
	if d := len(x.Shape); d > 1 {
		c.queries = C.int64_t(x.Shape[d-2])
	}
	span := max(1, part/columns)
	if sums > 0 {
		span = max(span, (rows+mostSums-1)/mostSums)
	}
	c.total, c.columns, c.span = C.int64_t(rows), C.int64_t(columns), C.int64_t(span)
	c.parts = (c.total + c.span - 1) / c.span
	c.partial = C.int64_t(sums * columns)
	if n.Op == "SumSquares" {
		c.partial = 1
	}
	c.eps, c.rms, c.decay = C.float(n.Floats["eps"]), C.int(n.Ints["rms"]), C.int(n.Ints["decay"])
	op, kind := C.CString(n.Op), C.CString(n.Strings["kind"])
	defer C.free(unsafe.Pointer(op))
	defer C.free(unsafe.Pointer(kind))
	if C.hostkernels_find(c, op, kind, C.int(sums)) == 0 {
		C.free(unsafe.Pointer(c))
		return nil, fmt.Errorf("kernel %s: no kind %q", n.Op, n.Strings["kind"])
	}
	return unsafe.Pointer(c), nil
}

// check refuses nodes that are none of a GPU's kernels, and what of those there is on a GPU alone.
func check(n kernels.Node) error {
	if n.Op == "MaskedSoftmax" {
		return checkMasked(n)
	}
	if _, err := kernels.PlanFor(n); err != nil {
		return err
	}
	for _, t := range slices.Concat(n.In, n.Out) {
		if t.Type == kernels.BFloat16 {
			return fmt.Errorf("kernel %s: a tensor is bfloat16; on a CPU there is float32 alone", n.Op)
		}
	}
	if n.Op == "Normalize" && n.Has(3) {
		return fmt.Errorf("kernel %s: input 3 (residual), which there is on a GPU alone", n.Op)
	}
	if n.Op == "SoftmaxGrad" {
		return checkPositions(n)
	}
	return nil
}

// checkPositions: attributes causal, window, past of matrices [..., Sq, Sk]. Query i has the position past + i; it sees the keys up to its own,
// where causal, and those from window − 1 before it on, where window is not 0.
func checkPositions(n kernels.Node) error {
	causal, window, past := n.Ints["causal"] != 0, n.Ints["window"], n.Ints["past"]
	if window < 0 || past < 0 {
		return fmt.Errorf("kernel %s: window %d and past %d, wanted 0 or more", n.Op, window, past)
	}
	if !causal && window == 0 {
		return nil
	}
	s := n.In[0].Shape
	if d := len(s); d < 2 || past+s[d-2] > s[d-1] {
		return fmt.Errorf("kernel %s: %v with %d keys before the first query's, wanted a key for each query's position", n.Op, s, past)
	}
	return nil
}

// checkMasked: x [..., Sq, Sk]; output softmax(x) over the keys that a query sees (checkPositions), alike.
func checkMasked(n kernels.Node) error {
	if len(n.In) != 1 || len(n.Out) != 1 {
		return fmt.Errorf("kernel %s: %d inputs and %d outputs, wanted one of each", n.Op, len(n.In), len(n.Out))
	}
	x, y := n.In[0], n.Out[0]
	if x.Type != kernels.Float32 || len(x.Shape) < 2 || x.Elements() == 0 || y.Type != x.Type || !slices.Equal(x.Shape, y.Shape) {
		return fmt.Errorf("kernel %s: x is %s %v and y %s %v, wanted matrices of float32, alike", n.Op, x.Type, x.Shape, y.Type, y.Shape)
	}
	return checkPositions(n)
}

// Runner is the address of hostkernels_run.
func Runner() unsafe.Pointer { return unsafe.Pointer(C.hostkernels_run) }
