package graphgen

import (
	"math"
	"slices"
	"sync"
)

// Activations and gated linear units, each with its gradient as one operator.

// activation is an elementwise function and its derivative times a given gradient. Both
// are written for the fewest passes over memory: intermediates that they share are
// computed once.
type activation struct {
	name    string
	forward func(x *Tensor) *Tensor
	// grad is dy·f'(x), for y = f(x).
	grad func(x, y, dy *Tensor) *Tensor
	// kernel is the contrib operator that is the function; "": none.
	kernel string
	// slope is f', of functions whose derivative may be looked up.
	slope func(x float64) float64
}

// apply is f(x): of large arrays one kernel, where the target has one, a pass in place of
// six and nothing but x and f(x) to keep until the gradient. What fits a cache is written
// out, for the derivative then finds half of itself there; graphs whose sizes are known only when they run have none.
func (f activation) apply(x *Tensor, t Target) *Tensor {
	if f.kernel != "" && t.contrib() && (x.DType() == BFloat16 || x.large() || !x.Shape().Static()) {
		return contribActivation(f.kernel, x)
	}
	return f.forward(x)
}

// gradient is dy·f'(x).
func (f activation) gradient(x, dy *Tensor, t Target) *Tensor {
	if f.slope != nil && t.contrib() {
		switch {
		case x.DType() == BFloat16:
			return Mul(dy, f.lookUp(x))
		case x.onGPU():
			return Mul(dy, f.lookUpFine(x))
		}
	}
	return f.grad(x, f.apply(x, t), dy)
}

// A table of slopes holds f'(i/slopeSteps) for |i| ≤ slopeBound·slopeSteps.
const (
	slopeSteps = 2048 // bfloat16 from 1/16 on, and its sums with 0, are multiples of 1/slopeSteps
	slopeBound = 8    // beyond it the slopes are 0 and 1 to bfloat16
)

// lookUp is f'(x) for x in bfloat16, which has few values: those from 1/16 on are looked up
// exactly, smaller ones are rounded towards zero by at most 1/2048, which changes no slope
// near zero by more than rounding to bfloat16 does. What is negative counts
// from the table's end. With the product that is 15 reads and writes of an array (scale, two
// bounds, index of twice the size, look-up), by arithmetic 29 for GELU.
func (f activation) lookUp(x *Tensor) *Tensor {
	table := f.slopes()
	at := Scale(Max(Min(x, x.like(slopeBound)), x.like(-slopeBound)), slopeSteps)
	return one("Gather", Attrs{"axis": 0}, x.g.constant(Type{x.DType(), Shape{len(table.Floats)}}, table), Cast(at, Int32))
}

// slopes is the table of slopes, which all layers share.
func (f activation) slopes() *Value {
	if v, ok := slopeTables.Load(f.name); ok {
		return v.(*Value)
	}
	const n = slopeBound * slopeSteps
	list := make([]float64, 2*n+1)
	for i := -n; i <= n; i++ {
		list[(i+len(list))%len(list)] = f.slope(float64(i) / slopeSteps)
	}
	v := &Value{Floats: list}
	v.bits() // now: graphs that are built at the same time share it
	first, _ := slopeTables.LoadOrStore(f.name, v)
	return first.(*Value)
}

var slopeTables sync.Map // by the activation's name
// slopeFineness is the number of slopes to a unit in tables for float32. The nearest is off by at most 1/2 of a step times the largest
// second derivative of a GELU, 0.8: by 2.5·10⁻⁵, as often up as down.
const slopeFineness = 1 << 14

// lookUpFine is f'(x) for x in float32, with the product 11 reads and writes of an array, by arithmetic 29. The entries that are
// used lie in a GPU's second-level cache; a CPU takes twice as long for it as by arithmetic.
func (f activation) lookUpFine(x *Tensor) *Tensor {
	const n = slopeBound * slopeFineness // the entry of 0
	// One kernel scales and bounds; cutting off rounds to the nearest, for it is half an entry higher.
	at := one("HardSigmoid", Attrs{"alpha": 0.5 / slopeBound, "beta": 0.5 + 0.25/n}, x)
	slopes := x.g.constant(Type{x.DType(), Shape{2*n + 1}}, fineSlopes[f.name]())
	return one("Gather", Attrs{"axis": 0}, slopes, Cast(Scale(at, 2*n), Int32))
}

// fineSlopes are the tables for float32, made when they are first asked for.
var fineSlopes = map[string]func() *Value{}

func init() {
	for _, f := range activations {
		if f.slope == nil {
			continue
		}
		fineSlopes[f.name] = sync.OnceValue(func() *Value {
			const n = slopeBound * slopeFineness
			v := &Value{Floats: make([]float64, 2*n+1), key: "slopes of " + f.name}
			for i := range v.Floats {
				v.Floats[i] = f.slope(float64(i-n) / slopeFineness)
			}
			return v
		})
	}
	register(&Op{
		Name: "HardSigmoid", Elementwise: true, NoGrad: "only decompositions use it", // alpha·x + beta, between 0 and 1
		Infer: func(_ *Graph, n *Node) []Type { return []Type{n.In[0].typ} },
	})
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
	{name: "relu",
		forward: Relu,
		grad:    func(x, _, dy *Tensor) *Tensor { return Where(positive(x), dy, x.like(0)) }},
	{name: "squared_relu",
		forward: func(x *Tensor) *Tensor { r := Relu(x); return Mul(r, r) },
		grad:    func(x, _, dy *Tensor) *Tensor { return Mul(dy, Scale(Relu(x), 2)) }},
	{name: "gelu_tanh", kernel: "FastGelu",
		forward: func(x *Tensor) *Tensor { return Mul(x, geluGate(x)) },
		grad: func(x, y, dy *Tensor) *Tensor {
			// f' = σ + y·(1−σ)·z' with y = x·σ and z' = 3·geluK·x² + geluC.
			s := geluGate(x)
			dz := Shift(Scale(Mul(x, x), 3*geluK), geluC)
			return Mul(dy, Add(s, Mul(Mul(y, OneMinus(s)), dz)))
		},
		slope: func(x float64) float64 {
			s := 1 / (1 + math.Exp(-x*(geluC+geluK*x*x)))
			return s + x*s*(1-s)*(3*geluK*x*x+geluC)
		}},
	{name: "gelu", kernel: "Gelu", // exact: x·Φ(x)
		forward: func(x *Tensor) *Tensor { return Mul(x, normCDF(x)) },
		grad: func(x, _, dy *Tensor) *Tensor {
			density := Scale(Exp(Scale(Mul(x, x), -0.5)), 1/math.Sqrt(2*math.Pi))
			return Mul(dy, Add(normCDF(x), Mul(x, density)))
		},
		slope: func(x float64) float64 {
			return 0.5*math.Erfc(-x/math.Sqrt2) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
		}},
	{name: "silu", kernel: "QuickGelu",
		forward: func(x *Tensor) *Tensor { return Mul(x, Sigmoid(x)) },
		grad: func(x, _, dy *Tensor) *Tensor {
			s := Sigmoid(x)
			return Mul(dy, Mul(s, Shift(Mul(x, OneMinus(s)), 1)))
		}},
	{name: "sigmoid",
		forward: Sigmoid,
		grad:    func(x, _, dy *Tensor) *Tensor { s := Sigmoid(x); return Mul(dy, Mul(s, OneMinus(s))) }},
	{name: "tanh",
		forward: Tanh,
		grad:    func(_, y, dy *Tensor) *Tensor { return Mul(dy, OneMinus(Mul(y, y))) }},
	{name: "identity",
		forward: func(x *Tensor) *Tensor { return x },
		grad:    func(_, _, dy *Tensor) *Tensor { return dy }},
}

// contribActivation is one of ONNX Runtime's activations: FastGelu, the tanh form of GELU;
// Gelu, the exact one; QuickGelu, x·σ(x).
func contribActivation(kernel string, x *Tensor) *Tensor {
	if kernel == "QuickGelu" {
		return one(kernel, Attrs{"alpha": 1.0}, x)
	}
	return one(kernel, nil, x)
}

func init() {
	for _, name := range []string{"FastGelu", "Gelu", "QuickGelu"} {
		register(&Op{
			Name: name, Domain: "com.microsoft", Elementwise: true, NoGrad: "only decompositions use it",
			Infer: func(_ *Graph, n *Node) []Type { return []Type{n.In[0].typ} },
		})
	}
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
	Lower: func(_ *Graph, n *Node, t Target) []*Tensor {
		if t.takes(n, "Activate") {
			return kernel("Activate", n.Attrs, []Type{n.Out[0].typ}, n.In...)
		}
		return []*Tensor{n.activation().apply(n.In[0], t)}
	},
	Grad: func(_ *Graph, n *Node, dy []*Tensor) []*Tensor {
		return []*Tensor{one("ActivationGrad", n.Attrs, n.In[0], dy[0])}
	},
})

var _ = register(&Op{
	Name: "ActivationGrad", Domain: "march", NoGrad: secondOrder, // inputs x, dy
	Infer: sameAsInputs("dx"),
	Lower: func(_ *Graph, n *Node, t Target) []*Tensor {
		if t.takes(n, "ActivateGrad") {
			return kernel("ActivateGrad", n.Attrs, []Type{n.Out[0].typ}, n.In...)
		}
		return []*Tensor{n.activation().gradient(n.In[0], n.In[1], t)}
	},
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
	Lower: func(_ *Graph, n *Node, t Target) []*Tensor {
		if t.takes(n, "Gate") {
			return kernel("Gate", n.Attrs, []Type{n.Out[0].typ}, n.In...)
		}
		return []*Tensor{Mul(n.activation().apply(n.In[0], t), n.In[1])}
	},
	Grad: func(_ *Graph, n *Node, dy []*Tensor) []*Tensor {
		return n.In[0].g.apply("GLUGrad", n.Attrs, n.In[0], n.In[1], dy[0])
	},
})

var _ = register(&Op{
	Name: "GLUGrad", Domain: "march", NoGrad: secondOrder, // inputs gate, up, dy
	Infer: sameAsInputs("dgate", "dup"),
	Lower: func(_ *Graph, n *Node, t Target) []*Tensor {
		gate, up, dy := n.In[0], n.In[1], n.In[2]
		if t.takes(n, "GateGrad") {
			return kernel("GateGrad", n.Attrs, []Type{n.Out[0].typ, n.Out[1].typ}, n.In...)
		}
		f := n.activation()
		return []*Tensor{f.gradient(gate, Mul(dy, up), t), Mul(dy, f.apply(gate, t))}
	},
})

// GLU is f(gate) · up, elementwise, with the named activation f (Shazeer, "GLU Variants
// Improve Transformer", 2020).
func GLU(kind string, gate, up *Tensor) *Tensor {
	gate.g.wantActivation(kind)
	return one("GLU", Attrs{"kind": kind}, gate, up)
}
