package graphgen

import (
	"math"
	"slices"
)

// Activations and gated linear units, each with its gradient as one operator.

// activation is an elementwise function and its derivative times a given gradient. Both
// are written for the fewest passes over memory: intermediates that they share are
// computed once.
type activation struct {
	name    string
	forward func(x *Tensor) *Tensor
	// grad is dy·f'(x).
	grad func(x, dy *Tensor) *Tensor
}

// The tanh form of GELU (Hendrycks and Gimpel, 2016), x/2·(1 + tanh u) with
// u = √(2/π)·(x + 0.044715·x³), equals x·σ(2u): fewer passes than with tanh.
const (
	geluC = 2 * 0.7978845608028654 // 2·√(2/π)
	geluK = geluC * 0.044715
)

// geluGate is σ(z) with z = 2u.
func geluGate(x *Tensor) *Tensor {
	return Sigmoid(Mul(x, Shift(Scale(Mul(x, x), geluK), geluC)))
}

// positive is where x > 0: in bfloat16, which has no comparisons, where relu(x) is not zero.
func positive(x *Tensor) *Tensor {
	if x.DType() == BFloat16 {
		return Cast(Relu(x), Bool)
	}
	return Greater(x, x.like(0))
}

// normCDF is Φ(x), the standard normal distribution's.
func normCDF(x *Tensor) *Tensor { return Shift(Scale(Erf(Scale(x, math.Sqrt2/2)), 0.5), 0.5) }

var activations = []activation{
	{"relu",
		Relu,
		func(x, dy *Tensor) *Tensor { return Where(positive(x), dy, x.like(0)) }},
	{"squared_relu",
		func(x *Tensor) *Tensor { r := Relu(x); return Mul(r, r) },
		func(x, dy *Tensor) *Tensor { return Mul(dy, Scale(Relu(x), 2)) }},
	{"gelu_tanh",
		func(x *Tensor) *Tensor { return Mul(x, geluGate(x)) },
		func(x, dy *Tensor) *Tensor {
			// f' = σ + y·(1−σ)·z' with y = x·σ from the forward pass and z' = 3·geluK·x² + geluC.
			s := geluGate(x)
			dz := Shift(Scale(Mul(x, x), 3*geluK), geluC)
			return Mul(dy, Add(s, Mul(Mul(Mul(x, s), OneMinus(s)), dz)))
		}},
	{"gelu", // exact: x·Φ(x)
		func(x *Tensor) *Tensor { return Mul(x, normCDF(x)) },
		func(x, dy *Tensor) *Tensor {
			density := Scale(Exp(Scale(Mul(x, x), -0.5)), 1/math.Sqrt(2*math.Pi))
			return Mul(dy, Add(normCDF(x), Mul(x, density)))
		}},
	{"silu",
		func(x *Tensor) *Tensor { return Mul(x, Sigmoid(x)) },
		func(x, dy *Tensor) *Tensor {
			s := Sigmoid(x)
			return Mul(dy, Mul(s, Shift(Mul(x, OneMinus(s)), 1)))
		}},
	{"sigmoid",
		Sigmoid,
		func(x, dy *Tensor) *Tensor { s := Sigmoid(x); return Mul(dy, Mul(s, OneMinus(s))) }},
	{"tanh",
		Tanh,
		func(x, dy *Tensor) *Tensor { y := Tanh(x); return Mul(dy, OneMinus(Mul(y, y))) }},
	{"identity",
		func(x *Tensor) *Tensor { return x },
		func(_, dy *Tensor) *Tensor { return dy }},
}

// ActivationNames lists the activations that Activation and GLU know.
func ActivationNames() []string {
	names := make([]string, len(activations))
	for i, a := range activations {
		names[i] = a.name
	}
	return names
}

func (n *Node) activation() activation {
	name := n.Attrs.str("kind")
	return activations[slices.IndexFunc(activations, func(a activation) bool { return a.name == name })]
}

func (g *Graph) wantActivation(kind string) {
	if !slices.Contains(ActivationNames(), kind) {
		g.fail("activation %q is not one of %v", kind, ActivationNames())
	}
}

func sameAsInputs(names ...string) func(g *Graph, n *Node) []Type {
	return func(g *Graph, n *Node) []Type {
		for _, t := range n.In[1:] {
			if !t.Shape().Equal(n.In[0].Shape()) {
				g.fail("%s: shapes of %s and %s differ", n.Op.Name, n.In[0], t)
			}
		}
		g.same(n.Op.Name, n.In...)
		return slices.Repeat([]Type{n.In[0].typ}, len(names))
	}
}

var _ = register(&Op{
	Name: "Activation", Domain: "march", Infer: sameAsInputs("y"),
	Lower: func(_ *Graph, n *Node, _ Target) []*Tensor { return []*Tensor{n.activation().forward(n.In[0])} },
	Grad: func(_ *Graph, n *Node, dy []*Tensor) []*Tensor {
		return []*Tensor{one("ActivationGrad", n.Attrs, n.In[0], dy[0])}
	},
})

var _ = register(&Op{
	Name: "ActivationGrad", Domain: "march", NoGrad: secondOrder, // inputs x, dy
	Infer: sameAsInputs("dx"),
	Lower: func(_ *Graph, n *Node, _ Target) []*Tensor { return []*Tensor{n.activation().grad(n.In[0], n.In[1])} },
})

const secondOrder = "second derivatives are not needed"

// Activation applies the named function elementwise ([ActivationNames]).
func Activation(kind string, x *Tensor) *Tensor {
	x.g.wantActivation(kind)
	if kind == "identity" {
		return x
	}
	return one("Activation", Attrs{"kind": kind}, x)
}

var _ = register(&Op{
	Name: "GLU", Domain: "march", Infer: sameAsInputs("y"), // inputs gate, up
	Lower: func(_ *Graph, n *Node, _ Target) []*Tensor {
		return []*Tensor{Mul(n.activation().forward(n.In[0]), n.In[1])}
	},
	Grad: func(_ *Graph, n *Node, dy []*Tensor) []*Tensor {
		return n.In[0].g.apply("GLUGrad", n.Attrs, n.In[0], n.In[1], dy[0])
	},
})

var _ = register(&Op{
	Name: "GLUGrad", Domain: "march", NoGrad: secondOrder, // inputs gate, up, dy
	Infer: sameAsInputs("dgate", "dup"),
	Lower: func(_ *Graph, n *Node, _ Target) []*Tensor {
		gate, up, dy := n.In[0], n.In[1], n.In[2]
		f := n.activation()
		return []*Tensor{f.grad(gate, Mul(dy, up)), Mul(dy, f.forward(gate))}
	},
})

// GLU is f(gate) · up, elementwise, with the named activation f (Shazeer, "GLU Variants
// Improve Transformer", 2020).
func GLU(kind string, gate, up *Tensor) *Tensor {
	gate.g.wantActivation(kind)
	return one("GLU", Attrs{"kind": kind}, gate, up)
}
