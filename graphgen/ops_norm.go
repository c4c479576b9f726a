package graphgen

import "slices"

// Layer normalisation (Ba et al., 2016) and root-mean-square normalisation (Zhang and
// Sennrich, 2019), over the last dimension of x [N,D].

var _ = register(&Op{
	// ai.onnx 17: inputs x, weight, bias; outputs y, and in float32 whatever x is, mean and 1/std
	Name:   "LayerNormalization",
	NoGrad: "LayerNorm is the operator with a gradient",
	Infer: func(_ *Graph, n *Node) []Type {
		stat := slices.Clone(n.In[0].Shape())
		stat[len(stat)-1] = 1
		return []Type{n.In[0].typ, {Float32, stat}, {Float32, stat}}
	},
})

func layerNormalization(x, w, b *Tensor, eps float64) (y, mean, inv *Tensor) {
	out := x.g.apply("LayerNormalization", Attrs{"axis": -1, "epsilon": eps}, x, w, b)
	return out[0], out[1], out[2]
}

func normType(g *Graph, n *Node) []Type {
	x := n.In[0]
	g.wantRank(n.Op.Name, x, 2)
	g.same(n.Op.Name, n.In...)
	for _, p := range n.In[1:] {
		if p.Rank() != 1 || p.Dim(0) != x.Dim(-1) {
			g.fail("%s: the parameter %s does not fit %s", n.Op.Name, p, x)
		}
	}
	return []Type{x.typ}
}

// normGradType: inputs x, weight, dy [, bias]; outputs dx, dweight [, dbias].
func normGradType(outputs int) func(g *Graph, n *Node) []Type {
	return func(_ *Graph, n *Node) []Type {
		sum := Type{summedType(n.In[1].DType()), n.In[1].Shape()}
		return append([]Type{n.In[0].typ}, slices.Repeat([]Type{sum}, outputs-1)...)
	}
}

var _ = register(&Op{
	Name: "LayerNorm", Domain: "march", Infer: normType, // inputs x, weight, bias
	Lower: func(_ *Graph, n *Node, t Target) []*Tensor {
		if t.takesNorm(n) {
			return normalize(n)[:1]
		}
		y, _, _ := layerNormalization(n.In[0], n.In[1], n.In[2], n.Attrs.num("eps"))
		return []*Tensor{y}
	},
	Grad: func(g *Graph, n *Node, dy []*Tensor) []*Tensor {
		return g.apply("LayerNormGrad", n.Attrs, n.In[0], n.In[1], n.In[2], dy[0])
	},
})

var _ = register(&Op{
	Name: "LayerNormGrad", Domain: "march", NoGrad: secondOrder, // inputs x, weight, bias, dy
	Infer: normGradType(3),
	Lower: func(g *Graph, n *Node, t Target) []*Tensor {
		if t.takesNorm(n) {
			return normalizeGrad(n, n.In[3])
		}
		x, w, b, dy := n.In[0], n.In[1], n.In[2], n.In[3]
		_, mean, inv := layerNormalization(x, w, b, n.Attrs.num("eps"))
		mean, inv = Cast(mean, x.DType()), Cast(inv, x.DType())
		xhat := Mul(Sub(x, mean), inv)
		if x.DType() == BFloat16 || x.large() { // one kernel, and in bfloat16 one rounding in place of four
			xhat, _, _ = layerNormalization(x, g.Fill(w.DType(), 1, w.Shape()...), g.Fill(b.DType(), 0, b.Shape()...), n.Attrs.num("eps"))
		}
		dyx := Mul(dy, xhat)
		// The row means of dy·w and of dy·w·x̂ are matrix-vector products with w/D, which
		// read what lies there already instead of writing two more arrays.
		wd := Reshape(Scale(w, 1/float64(w.Dim(0))), w.Dim(0), 1)
		m1, m2 := Linear(dy, wd, nil), Linear(dyx, wd, nil)
		// inv·(dy·w − x̂·m2 − m1), as a sum of two, to which what comes past the norm is added.
		less := Neg(inv)
		dx := Add(Mul(Mul(dy, w), inv), Add(Mul(xhat, Mul(less, m2)), Mul(less, m1)))
		return []*Tensor{dx, sumRows(dyx), sumRows(dy)}
	},
})

// LayerNorm is (x − mean)/√(variance + eps)·weight + bias over the last dimension of x [N,D].
func LayerNorm(x, weight, bias *Tensor, eps float64) *Tensor {
	return one("LayerNorm", Attrs{"eps": eps}, x, weight, bias)
}

// rms gives 1/√(mean x² + eps) [N,1]; what comes after the sums is float32, whatever x is.
func rms(x *Tensor, eps float64) *Tensor {
	d := x.DType()
	if d == Float16 { // whose squares end at 256
		x = Cast(x, Float32)
	}
	squares := Cast(ReduceSum(Mul(x, x), true, -1), summedType(x.DType()))
	root := Sqrt(Shift(Scale(squares, 1/float64(x.Dim(-1))), eps))
	return Cast(Div(root.like(1), root), d)
}

var _ = register(&Op{
	Name: "RMSNorm", Domain: "march", Infer: normType, // inputs x, weight
	Lower: func(_ *Graph, n *Node, t Target) []*Tensor {
		x := n.In[0]
		if t.takesNorm(n) {
			return normalize(n)[:1]
		}
		return []*Tensor{Mul(Mul(x, rms(x, n.Attrs.num("eps"))), n.In[1])}
	},
	Grad: func(g *Graph, n *Node, dy []*Tensor) []*Tensor {
		return g.apply("RMSNormGrad", n.Attrs, n.In[0], n.In[1], dy[0])
	},
})

var _ = register(&Op{
	Name: "RMSNormGrad", Domain: "march", NoGrad: secondOrder, // inputs x, weight, dy
	Infer: normGradType(2),
	Lower: func(_ *Graph, n *Node, t Target) []*Tensor {
		x, w, dy := n.In[0], n.In[1], n.In[2]
		if t.takesNorm(n) {
			return normalizeGrad(n, dy)
		}
		inv := rms(x, n.Attrs.num("eps"))
		xhat := Mul(x, inv)
		dyx := Mul(dy, xhat)
		m := Linear(dyx, Reshape(Scale(w, 1/float64(w.Dim(0))), w.Dim(0), 1), nil)
		return []*Tensor{Mul(inv, Sub(Mul(dy, w), Mul(xhat, m))), sumRows(dyx)}
	},
})

// RMSNorm is x/√(mean x² + eps)·weight over the last dimension of x [N,D].
func RMSNorm(x, weight *Tensor, eps float64) *Tensor {
	return one("RMSNorm", Attrs{"eps": eps}, x, weight)
}
