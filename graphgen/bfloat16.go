package graphgen

import "slices"

// Graphs that compute in bfloat16 or float16: which operators may, and the passes that go with it.

// evidence says how it is known that a kernel exists.
type evidence string

const (
	seen   evidence = "seen running on an H100"
	listed evidence = "in ONNX Runtime's list of kernels"
)

// bf16Operators are those that ONNX Runtime's CUDA provider has in bfloat16, opset 18. An
// operator that is not listed is computed in float32 between casts ([widen]), whatever the
// target: a portable graph is most likely run there too. A line that turns out wrong is
// removed here, and nowhere else.
//
// Known to be missing: ReduceMean, ReduceMax, LogSoftmax, Log, Reciprocal, Sin, Cos, Clip and
// comparisons. ScatterElements that adds is there and was wrong.
var bf16Operators = map[string]evidence{
	"Add": seen, "Sub": seen, "Mul": seen, "Tanh": seen, "Softmax": seen, "LayerNormalization": seen,
	"MatMul": seen, "FusedMatMul": seen, "ReduceSum": seen, "FastGelu": seen,
	"Cast": seen, "Gather": seen, "Transpose": seen, "Split": seen, "Concat": seen, "Reshape": seen,

	"Gemm": listed, "Div": listed, "Sqrt": listed, "Exp": listed, "Sigmoid": listed, "Erf": listed, "Relu": listed,
	"Where": listed, "Max": listed, "Min": listed, "Neg": listed, "Sum": listed, "Gelu": listed, "QuickGelu": listed,
	"GatherElements": listed, "Expand": listed, "Identity": listed, "Slice": listed, "Unsqueeze": listed,
}

// HasBF16 reports whether graphs may have the operator in bfloat16.
func HasBF16(op string) bool { return bf16Operators[op] != "" }

// f16Operators are those that graphs have in float16: matrix products, and what neither adds up many entries nor leaves
// the type's range (65,504). All others are computed in float32 between casts: softmax, sums, quotients, roots, exponentials
// and the error function. LayerNormalization keeps its statistics in float32 by the standard.
var f16Operators = map[string]bool{
	"MatMul": true, "FusedMatMul": true, "Gemm": true, "LayerNormalization": true,
	"Add": true, "Sub": true, "Mul": true, "Neg": true, "Max": true, "Min": true, "Relu": true, "Tanh": true, "Sigmoid": true,
	"Cast": true, "Identity": true, "Gather": true, "Transpose": true, "Split": true, "Concat": true, "Reshape": true, "Slice": true,
	"Unsqueeze": true, "Expand": true, "Where": true,
}

// HasF16 reports whether graphs may have the operator in float16.
func HasF16(op string) bool { return f16Operators[op] }

// widen computes in float32, between casts, what graphs have not in bfloat16 or float16. Where one
// such node reads another, the value between them is not rounded.
func widen(src *Graph) *Graph {
	if !slices.ContainsFunc(src.nodes, (*Node).lacksKernel) {
		return src
	}
	c, wide := newCopier(src), map[*Tensor]*Tensor{} // copied narrow tensors as they were before rounding
	for _, n := range src.nodes {
		c.node(n, func(in []*Tensor) []*Tensor {
			if !n.lacksKernel() {
				return c.dst.apply(n.Op.Name, n.Attrs, in...)
			}
			for i, t := range in {
				switch {
				case t == nil || !t.DType().narrow():
				case wide[t] != nil:
					in[i] = wide[t]
				case t.value != nil: // not rounded either
					in[i] = c.dst.constant(Type{Float32, t.Shape()}, t.value)
				default:
					in[i] = Cast(t, Float32)
				}
			}
			out := slices.Clone(c.dst.apply(n.Op.Name, n.Attrs, in...))
			for i, o := range out {
				if d := n.Out[i].DType(); d.narrow() {
					out[i] = Cast(o, d)
					wide[out[i]] = o
				}
			}
			return out
		})
	}
	return prune(c.finish(src))
}

// lacksKernel reports a node that would need a kernel in bfloat16 or float16 that graphs may not ask for.
func (n *Node) lacksKernel() bool {
	lacking := func(t *Tensor) bool {
		return t != nil && (t.DType() == BFloat16 && !HasBF16(n.Op.Name) || t.DType() == Float16 && !HasF16(n.Op.Name))
	}
	return !n.Op.Kernel && (slices.ContainsFunc(n.In, lacking) || slices.ContainsFunc(n.Out, lacking))
}

// LiftCasts makes an input of each cast of a float32 input to bfloat16 or float16, so that whoever
// runs the graph keeps such copies instead of having them made in every run. name is what
// the copy of an input is called, "" where it stays as it is. An input of which
// only the copy was read is left out.
func (g *Graph) LiftCasts(name func(input string) string) *Graph {
	lifted := func(n *Node) bool {
		return n.Op.Name == "Cast" && n.Out[0].DType().narrow() && n.In[0].name != "" && name(n.In[0].name) != ""
	}
	copies, read := map[*Tensor]*Tensor{}, map[*Tensor]bool{}
	for _, n := range g.nodes {
		if lifted(n) {
			copies[n.In[0]] = n.Out[0]
			continue
		}
		for _, t := range n.In {
			read[t] = true
		}
	}
	c := &copier{New(), map[*Tensor]*Tensor{}}
	c.dst.symbols, c.dst.gpu, c.dst.blocks = slices.Clone(g.symbols), g.gpu, g.blocks
	for _, in := range g.inputs {
		if copies[in] == nil || read[in] {
			c.of[in] = c.dst.Input(in.name, in.DType(), in.Shape()...)
		}
		if made := copies[in]; made != nil {
			c.of[made] = c.dst.Input(name(in.name), made.DType(), in.Shape()...)
		}
	}
	for _, n := range g.nodes {
		if !lifted(n) {
			c.node(n, func(in []*Tensor) []*Tensor { return c.dst.apply(n.Op.Name, n.Attrs, in...) })
		}
	}
	return c.finish(g)
}

// summedType is the type that sums over many positions are kept in: gradients of tables,
// losses.
func summedType(d DType) DType {
	if d.narrow() {
		return Float32
	}
	return d
}

// copyOf is the input that x is a copy of in a narrower type, or nil.
func (t *Tensor) copyOf() *Tensor {
	if n := t.node; n != nil && n.Op.Name == "Cast" && n.In[0].name != "" && n.In[0].DType() == summedType(t.DType()) {
		return n.In[0]
	}
	return nil
}
