package graphgen

import (
	"fmt"
	"slices"
)

// DType is the type of a tensor's elements.
type DType uint8

// The element types that march's graphs hold.
const (
	Invalid DType = iota
	Float32
	Float64
	BFloat16
	Float16 // of exported models; no graph that trains has it
	Int64
	Int32
	Bool
)

var dtypeNames = [...]string{"invalid", "float32", "float64", "bfloat16", "float16", "int64", "int32", "bool"}

func (d DType) String() string { return dtypeNames[d] }

// narrow reports the types of two bytes, in which sums over many entries are kept in float32.
func (d DType) narrow() bool { return d == BFloat16 || d == Float16 }

// Float reports whether d is a floating-point type, so whether gradients flow through it.
func (d DType) Float() bool { return d == Float32 || d == Float64 || d.narrow() }

// Size is the bytes of one element.
func (d DType) Size() int { return [...]int{0, 4, 8, 2, 2, 8, 4, 1}[d] }

// Shape lists a tensor's dimensions. A negative entry is a symbol declared by
// [Graph.Symbol] or [Graph.Product]: a size that is known only when the graph runs.
type Shape []int

// Equal reports whether two shapes have the same dimensions, symbols included.
func (s Shape) Equal(o Shape) bool { return slices.Equal(s, o) }

// spreadsTo reports whether broadcasting s to o gives o.
func (s Shape) spreadsTo(o Shape) bool {
	lead := len(o) - len(s)
	if lead < 0 {
		return false
	}
	for i, d := range s {
		if d != 1 && d != o[lead+i] {
			return false
		}
	}
	return true
}

// Static reports whether no dimension is a symbol.
func (s Shape) Static() bool {
	return !slices.ContainsFunc(s, func(d int) bool { return d < 0 })
}

// Elements is the number of elements of a static shape; 1 for a scalar.
func (s Shape) Elements() int {
	n := 1
	for _, d := range s {
		if d < 0 {
			panic(&BuildError{Message: "a shape with a dimension that is known only when the graph runs has no number of elements yet"})
		}
		n *= d
	}
	return n
}

// largeArray is the number of elements from which an array fits no cache of a CPU, so that
// passes over it cost what memory does.
const largeArray = 1 << 22

// large reports an array that fits no cache.
func (t *Tensor) large() bool { return t.Shape().Static() && t.Shape().Elements() >= largeArray }

// Type is what is known of a tensor before a graph runs.
type Type struct {
	DType DType
	Shape Shape
}

// Tensor is a value in a graph: an input, a constant, or an output of a node.
type Tensor struct {
	g     *Graph
	id    int
	name  string // of an input; "" otherwise
	typ   Type
	node  *Node // producer; nil for inputs and constants
	out   int   // which of the producer's outputs
	value *Value
}

// DType is the element type.
func (t *Tensor) DType() DType { return t.typ.DType }

// Shape is the tensor's shape. The caller must not change it.
func (t *Tensor) Shape() Shape { return t.typ.Shape }

// Dim is dimension i; negative i counts from the last.
func (t *Tensor) Dim(i int) int {
	at := i
	if at < 0 {
		at += t.Rank()
	}
	if at < 0 || at >= t.Rank() {
		t.g.fail("%s has no dimension %d", t, i)
	}
	return t.typ.Shape[at]
}

// Rank is the number of dimensions.
func (t *Tensor) Rank() int { return len(t.typ.Shape) }

// Graph is the graph that holds the tensor.
func (t *Tensor) Graph() *Graph { return t.g }

// Const is the value of a constant, nil of any other tensor.
func (t *Tensor) Const() *Value { return t.value }

func (t *Tensor) String() string {
	what := t.name
	switch {
	case t.value != nil:
		what = "constant"
	case t.node != nil:
		what = t.node.String()
	}
	return fmt.Sprintf("%s %s%s", what, t.typ.DType, t.g.formatShape(t.typ.Shape))
}

// Value is the content of a constant tensor. Exactly one of Floats and Ints is set; a
// single element stands for a tensor filled with it.
type Value struct {
	Floats []float64
	Ints   []int64

	key string // what bits gives, once a graph asked for it; of a large table a name, for its entries are the same wherever it is used
}

// splat returns the one number that fills the constant.
func (v *Value) splat() (float64, bool) {
	switch {
	case v == nil:
	case len(v.Floats) == 1:
		return v.Floats[0], true
	case len(v.Ints) == 1:
		return float64(v.Ints[0]), true
	}
	return 0, false
}
