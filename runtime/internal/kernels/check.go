package kernels

import (
	"fmt"
	"slices"
	"strings"
)

// String is the type's name, as messages have it.
func (t Type) String() string {
	names := map[Type]string{Absent: "absent", Float32: "float32", Int32: "int32", Int64: "int64", Bool: "bool", BFloat16: "bfloat16"}
	if name := names[t]; name != "" {
		return name
	}
	return fmt.Sprintf("ONNX type %d", int(t))
}

// gives reports whether the node has output i.
func (n Node) gives(i int) bool { return i < len(n.Out) && n.Out[i].Type != Absent }

// optional is the address of input i, null where it is left out.
func (n Node) optional(i int) Arg {
	if n.Has(i) {
		return In(i)
	}
	return null
}

var null = Long(0)

// check collects what is wrong with a node's inputs and outputs; the first complaint stays.
type check struct {
	n   Node
	err error
}

func (c *check) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// A shape for check: any one that has elements.
var anyShape []int

func (c *check) tensor(what string, t Tensor, shape []int, types []Type) {
	if !slices.Contains(types, t.Type) {
		var names []string
		for _, t := range types {
			names = append(names, t.String())
		}
		c.fail("%s is %s, wanted %s", what, t.Type, strings.Join(names, " or "))
	}
	if shape != nil && !slices.Equal(t.Shape, shape) {
		c.fail("%s is %v, wanted %v", what, t.Shape, shape)
	}
	if t.Elements() <= 0 {
		c.fail("%s of shape %v has no elements", what, t.Shape)
	}
}

// in wants input i, of one of the types and the shape (anyShape: any).
func (c *check) in(i int, name string, shape []int, types ...Type) Tensor {
	if !c.n.Has(i) {
		c.fail("input %d (%s) is missing", i, name)
		return Tensor{}
	}
	c.tensor(fmt.Sprintf("input %d (%s)", i, name), c.n.In[i], shape, types)
	return c.n.In[i]
}

// may is in, for an input that can be left out.
func (c *check) may(i int, name string, shape []int, types ...Type) {
	if c.n.Has(i) {
		c.in(i, name, shape, types...)
	}
}

// out wants output i.
func (c *check) out(i int, name string, shape []int, types ...Type) {
	if !c.n.gives(i) {
		c.fail("output %d (%s) is missing", i, name)
		return
	}
	c.tensor(fmt.Sprintf("output %d (%s)", i, name), c.n.Out[i], shape, types)
}

// outputs wants no more than so many.
func (c *check) outputs(most int) {
	for i := most; i < len(c.n.Out); i++ {
		if c.n.gives(i) {
			c.fail("there is no output %d", i)
		}
	}
}

// matrix is a tensor as rows [N,D] of its last dimension.
func (c *check) matrix(i int, name string, types ...Type) (t Tensor, rows, columns int) {
	t = c.in(i, name, anyShape, types...)
	if c.err != nil {
		return t, 1, 1
	}
	return t, t.Rows(), t.Last()
}

// multiprocessors is how many a GPU is taken to have where a grid is a compromise, an H100's: with other numbers of them
// all stays right.
const multiprocessors = 132

// pack is the elements in 16 bytes.
func (t Type) pack() int { return 16 / t.Size() }

// vec is the elements in one access to rows of so many: a pack, where every row starts at a multiple of 16 bytes, as all
// tensors do. Else 1.
func (t Type) vec(columns int) int {
	if columns%t.pack() == 0 {
		return t.pack()
	}
	return 1
}

func define(name string, value any) string { return fmt.Sprintf("%s=%v", name, value) }

func ceil(n, by int) int { return (n + by - 1) / by }

// fit32 refuses what kernels count in 32 bits.
func (c *check) fit32(what string, n int) {
	if n > 1<<31-1 {
		c.fail("%s: %d do not fit 32 bits", what, n)
	}
}
