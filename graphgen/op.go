package graphgen

import (
	"cmp"
	"fmt"
	"slices"
)

// Op is an operator: everything that is to be known of it stands in this one value.
type Op struct {
	// Name is the ONNX operator's, or march's own for one that is decomposed.
	Name string
	// Domain is "" for ai.onnx, "com.microsoft", or "march" for operators with Lower and kernels.
	Domain string
	// Infer checks the inputs and gives the outputs' types; it fails through g.
	Infer func(g *Graph, n *Node) []Type
	// Grad returns the gradient of each input given those of the outputs (nil where an
	// output has none). A nil entry stops the flow. Gradients may have the shape before
	// broadcasting undone: the driver sums them down to the input's shape.
	Grad func(g *Graph, n *Node, dy []*Tensor) []*Tensor
	// NoGrad says why Grad is nil, where that is meant.
	NoGrad string
	// Lower decomposes the node for a target, building on the lowered inputs in n.In;
	// nil for operators of ONNX or ONNX Runtime.
	Lower func(g *Graph, n *Node, t Target) []*Tensor
	// Kernel says that the operator of domain march is a kernel of march's own: target fused has it.
	Kernel bool
	// Optional lists the inputs that may be left out (nil).
	Optional []int
	// FLOPs counts multiplications and additions of matrix products; nil means none.
	FLOPs func(n *Node) int64
	// Elementwise says that output element i depends on element i of each input of the
	// output's shape, so that an output may take an input's memory.
	Elementwise bool
}

// Attrs are a node's attributes: int, float64, string, []int or bool by name. Names
// that start with an underscore are march's own and are not written to files.
type Attrs map[string]any

func (a Attrs) int(name string) int     { v, _ := a[name].(int); return v }
func (a Attrs) ints(name string) []int  { v, _ := a[name].([]int); return v }
func (a Attrs) str(name string) string  { v, _ := a[name].(string); return v }
func (a Attrs) bool(name string) bool   { v, _ := a[name].(bool); return v }
func (a Attrs) num(name string) float64 { v, _ := a[name].(float64); return v }

// registry holds the operators by name. Builders look them up here instead of naming Go
// variables, so that an operator's rule can build the operator itself.
var registry = map[string]*Op{}

// register adds an operator to the table that Ops lists.
func register(op *Op) *Op {
	if registry[op.Name] != nil {
		panic("graphgen: operator registered twice: " + op.Name)
	}
	if op.Grad == nil && op.NoGrad == "" {
		panic("graphgen: operator needs Grad or a reason in NoGrad: " + op.Name)
	}
	registry[op.Name] = op
	return op
}

// Ops lists every operator, by domain and name.
func Ops() []*Op {
	ops := make([]*Op, 0, len(registry))
	for _, op := range registry {
		ops = append(ops, op)
	}
	slices.SortFunc(ops, func(a, b *Op) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Name, b.Name))
	})
	return ops
}

// one applies an operator with a single output.
func one(op string, attrs Attrs, in ...*Tensor) *Tensor {
	return graphOf(in).apply(op, attrs, in...)[0]
}

func graphOf(in []*Tensor) *Graph {
	for _, t := range in {
		if t != nil {
			return t.g
		}
	}
	panic(&BuildError{Message: "an operator without inputs", Caller: callerOutside()})
}

// same fails unless the tensors share one element type, and returns it.
func (g *Graph) same(op string, ts ...*Tensor) DType {
	for _, t := range ts[1:] {
		if t.DType() != ts[0].DType() {
			g.fail("%s: element types differ: %s and %s", op, ts[0], t)
		}
	}
	return ts[0].DType()
}

// wantRank fails unless t has the given rank.
func (g *Graph) wantRank(op string, t *Tensor, rank int) {
	if t.Rank() != rank {
		g.fail("%s: %s has rank %d, wanted %d", op, t, t.Rank(), rank)
	}
}

// wantAxis fails unless t has dimension axis, counted from the first.
func (g *Graph) wantAxis(op string, t *Tensor, axis int) {
	if axis < 0 || axis >= t.Rank() {
		g.fail("%s: %s has no axis %d", op, t, axis)
	}
}

// broadcast gives the shape of an elementwise operator's result (NumPy's rule).
func (g *Graph) broadcast(op string, a, b Shape) Shape {
	n := max(len(a), len(b))
	out := make(Shape, n)
	for i := range out {
		x, y := 1, 1
		if j := i - n + len(a); j >= 0 {
			x = a[j]
		}
		if j := i - n + len(b); j >= 0 {
			y = b[j]
		}
		switch {
		case x == y || y == 1:
			out[i] = x
		case x == 1:
			out[i] = y
		default:
			g.fail("%s: shapes %s and %s do not broadcast", op, g.formatShape(a), g.formatShape(b))
		}
	}
	return out
}

// checkRegistry reports operators that break a rule of the table: each has a type rule, and
// march's own have a decomposition.
func checkRegistry() error {
	for _, op := range Ops() {
		if op.Infer == nil {
			return fmt.Errorf("operator %s has no type rule", op.Name)
		}
		if (op.Domain == "march") != (op.Lower != nil || op.Kernel) {
			return fmt.Errorf("operator %s.%s: domain march goes together with a decomposition or a kernel", op.Domain, op.Name)
		}
	}
	return nil
}
