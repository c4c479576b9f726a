// Package kernels holds march's own CUDA kernels, as sources, and for each operator of the domain
// march what its node launches: with static shapes all of it is known before the first run. It
// knows neither ONNX Runtime nor the driver; package customop runs a [Plan]. Start at [PlanFor].
package kernels

import (
	"fmt"
	"math"
	"slices"
)

// Type is the element type of a tensor: a number of ONNX's TensorProto.DataType.
type Type int

// The element types that kernels take.
const (
	Absent   Type = 0 // an optional input that is left out
	Float32  Type = 1
	Int32    Type = 6
	Int64    Type = 7
	Bool     Type = 9
	BFloat16 Type = 16
)

// Size is the bytes of one element.
func (t Type) Size() int {
	return map[Type]int{Float32: 4, Int32: 4, Int64: 8, Bool: 1, BFloat16: 2}[t]
}

// C is the type's name in the sources.
func (t Type) C() string {
	return map[Type]string{Float32: "float", Int32: "int", Int64: "long long", Bool: "bool", BFloat16: "bf16"}[t]
}

// Tensor is the type and static shape of an input or output.
type Tensor struct {
	Type  Type
	Shape []int
}

// Elements is the number of elements.
func (t Tensor) Elements() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Rows is the number of elements over the length of the last dimension.
func (t Tensor) Rows() int { return t.Elements() / t.Last() }

// Last is the length of the last dimension; 1 for a scalar.
func (t Tensor) Last() int {
	if len(t.Shape) == 0 {
		return 1
	}
	return t.Shape[len(t.Shape)-1]
}

// Node is a node of the domain march as ONNX Runtime gives it.
type Node struct {
	Op      string
	Ints    map[string]int
	Floats  map[string]float64
	Strings map[string]string
	In, Out []Tensor
	Shared  int // bytes of shared memory that a block can have on the GPU; 0 where it is not known
}

// Has reports whether input i is given.
func (n Node) Has(i int) bool { return i < len(n.In) && n.In[i].Type != Absent }

// Plan is what a node does in each run, one step after the other on one stream.
type Plan struct {
	Steps   []Step
	Scratch int // bytes of memory that only this node's steps use; at any multiple of 256
	// Elsewhere is the plan for GPUs other than Hopper, whose own instructions the steps need; nil: they run anywhere.
	Elsewhere *Plan
}

// Step is a [Launch], a [Zero], a [Copy] or a [Product].
type Step interface{ step() }

// Launch runs a kernel.
type Launch struct {
	Source  string   // file in this package: "norm.cu"
	Defines []string // macros that the source is compiled with: "TYPE=bf16"; not T, which NVRTC's own header uses
	Kernel  string   // extern "C" name
	Grid    [3]int   // blocks; 0 counts as 1
	Block   [3]int   // threads; 0 counts as 1
	Shared  int      // bytes of dynamic shared memory
	Args    []Arg
}

// Zero fills memory with zeros.
type Zero struct {
	At    Arg
	Bytes int
}

// Copy copies memory, unless both are the same: an output may lie where an input does.
type Copy struct {
	From, To Arg
	Bytes    int
}

func (Launch) step()  {}
func (Zero) step()    {}
func (Copy) step()    {}
func (Product) step() {}

// Arg is a kernel's argument: the address of a tensor or of scratch memory, or a number.
type Arg struct {
	Kind  ArgKind
	Index int    // of the input or output, or bytes from the scratch memory's begin
	Bits  uint64 // the number, in its low Size bytes; of an input or output, bytes from its begin
	Size  int    // bytes that the argument has

	Rows, Columns int // of a matrix in boxes ([Arg.Boxes]); else 0
	Wide          int // columns of a box: 32, or 64 where it is 0
}

// ArgKind says what an argument is.
type ArgKind int

// The kinds of arguments.
const (
	Number ArgKind = iota
	Input
	Output
	ScratchAt
)

// In is the address of input i, null where it is left out.
func In(i int) Arg { return Arg{Kind: Input, Index: i, Size: 8} }

// Out is the address of output i.
func Out(i int) Arg { return Arg{Kind: Output, Index: i, Size: 8} }

// Scratch is an address in the node's scratch memory.
func Scratch(offset int) Arg { return Arg{Kind: ScratchAt, Index: offset, Size: 8} }

// Plus is the address so many bytes further on.
func (a Arg) Plus(bytes int) Arg {
	switch a.Kind {
	case Number:
		panic("kernels: a number has no address")
	case ScratchAt:
		a.Index += bytes
	default:
		a.Bits += uint64(bytes)
	}
	return a
}

// Boxes is the matrix in bfloat16 [rows, columns] at an address as a Hopper's copying engine knows it, a Map in the sources: in boxes
// of 64 rows and 64 columns, or Wide ones. The address and the rows' bytes are multiples of 16.
func (a Arg) Boxes(rows, columns int) Arg {
	a.Rows, a.Columns, a.Size = rows, columns, 128
	return a
}

// Int is an int (32 bits).
func Int(v int) Arg {
	if v != int(int32(v)) {
		panic(fmt.Sprintf("kernels: argument %d does not fit 32 bits", v))
	}
	return Arg{Bits: uint64(uint32(int32(v))), Size: 4}
}

// Long is a long long (64 bits).
func Long(v int) Arg { return Arg{Bits: uint64(v), Size: 8} }

// Float is a float.
func Float(v float64) Arg { return Arg{Bits: uint64(math.Float32bits(float32(v))), Size: 4} }

// planners make the plan of a node, by operator.
var planners = map[string]func(n Node) (Plan, error){}

// Ops lists the operators that there are kernels for.
func Ops() []string {
	var names []string
	for name := range planners {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// PlanFor says what a node launches, or what of the node no kernel can do.
func PlanFor(n Node) (Plan, error) {
	f := planners[n.Op]
	if f == nil {
		return Plan{}, fmt.Errorf("march has no kernel %s; it has %v", n.Op, Ops())
	}
	p, err := f(n)
	if err != nil {
		return Plan{}, fmt.Errorf("kernel %s: %w", n.Op, err)
	}
	return p, nil
}

// Round is the smallest multiple of to that is at least n.
func Round(n, to int) int { return (n + to - 1) / to * to }

// Product is a matrix product by cuBLASLt, of row-major matrices: D = Alpha·op(A)·op(B) + C (+ bias). A is [M,K]
// ([K,M] where TransA), B [K,N] ([N,K] where TransB), C and D [M,N]. Leading dimensions are lengths of rows in
// elements.
type Product struct {
	A, B, C, D     Arg  // C is the addend, of D's type; Kind Number: none
	Bias           Arg  // [N], of D's type; Kind Number: none
	TypeA, TypeD   Type // B has A's type
	M, N, K        int
	LDA, LDB, LDD  int // C has D's
	TransA, TransB bool
	Alpha          float64
	Accumulate     bool // add to D as it is: C is D
}
