package graphgen

import (
	"math"
	"slices"
)

var _ = register(&Op{
	Name: "ReduceSumSquare", Infer: reduceType, NoGrad: "only the optimizer uses it",
})

// AdamW holds the optimizer's constants (Loshchilov and Hutter, "Decoupled Weight Decay
// Regularization", 2019; Kingma and Ba, 2015).
type AdamW struct {
	Beta1, Beta2, Eps float64
	Decay             float64 // decoupled weight decay, for the parameters that are decayed
	Clip              float64 // largest global gradient norm; 0: no clipping
}

// AdamWStep is what all parameters of one optimizer step share.
type AdamWStep struct {
	config AdamW
	// Norm is the global norm of the mean gradient before clipping, a scalar. Where it is
	// not finite the step changes nothing.
	Norm   *Tensor
	finite *Tensor
	scale  *Tensor // of the summed gradients: clipping over count
	shared []*Tensor
}

// Begin computes the scalars of one step. grads are gradients of the summed loss (of
// any shapes), count int64 the number of labels they were summed over, lr the learning
// rate and step int64 the number of this step, counted from 1.
//
// Clipping multiplies by min(1, Clip/(norm + 1e-6)), as PyTorch's clip_grad_norm_ does.
func (c AdamW) Begin(grads []*Tensor, count, lr, step *Tensor) *AdamWStep {
	// In the order in which they come to be, so that none need wait for one that comes later.
	grads = slices.SortedFunc(slices.Values(grads), func(a, b *Tensor) int { return a.id - b.id })
	d := grads[0].DType()
	squares := sumOfSquares(grads[0])
	for _, g := range grads[1:] {
		squares = Add(squares, sumOfSquares(g))
	}
	n := Cast(count, d)
	s := &AdamWStep{config: c, Norm: Div(Sqrt(squares), n)}
	s.finite = Less(s.Norm, s.Norm.like(math.MaxFloat32))
	s.scale = Div(s.Norm.like(1), n)
	if c.Clip > 0 {
		s.scale = Mul(s.scale, Min(s.Norm.like(1), Div(s.Norm.like(c.Clip), Shift(s.Norm, 1e-6))))
	}
	gate := func(x *Tensor, otherwise float64) *Tensor { return Where(s.finite, x, x.like(otherwise)) }
	t := Cast(step, d)
	correct1, correct2 := biasCorrection(t, c.Beta1), Sqrt(biasCorrection(t, c.Beta2))
	// lr·(m/c1)/(√v/√c2 + eps) = rate·m/(√v + eps·√c2) with rate = lr·√c2/c1.
	s.shared = []*Tensor{
		gate(s.scale, 0),
		gate(lr.like(c.Beta1), 1), gate(lr.like(c.Beta2), 1),
		gate(lr.like(1-c.Beta1), 0), gate(lr.like(1-c.Beta2), 0), // 1 − β of a rounded β would be 1e-5 off
		gate(Div(Mul(lr, correct2), correct1), 0),
		Scale(correct2, c.Eps),
		s.finite,
	}
	s.shared = append(s.shared, gate(OneMinus(Scale(lr, c.Decay)), 1))
	return s
}

// normRow is the length of the rows that a flat buffer's sum of squares is taken over
// first. One float32 sum over millions of entries loses what single entries add: the norm
// of 900,000 came out 1e-4 too small.
const normRow = 4096

// sumOfSquares is the sum of squares of all entries, a scalar, in two stages.
func sumOfSquares(x *Tensor) *Tensor { return one("SumOfSquares", nil, x) }

var _ = register(&Op{
	Name: "SumOfSquares", Domain: "march", NoGrad: "only the optimizer uses it",
	Infer: func(_ *Graph, n *Node) []Type { return []Type{{n.In[0].DType(), nil}} },
	Lower: func(_ *Graph, n *Node, t Target) []*Tensor {
		if t.takesFlat(n.In[0]) {
			return kernel("SumSquares", nil, []Type{n.Out[0].typ}, n.In[0])
		}
		return []*Tensor{sumOfSquaresInStages(n.In[0])}
	},
})

func sumOfSquaresInStages(x *Tensor) *Tensor {
	if n := x.Shape().Elements(); x.Rank() == 1 && n > normRow && n%normRow == 0 {
		x = Reshape(x, n/normRow, normRow)
	}
	if x.Rank() < 2 {
		return reduce("ReduceSumSquare", x, false, allAxes(x))
	}
	rows := reduce("ReduceSumSquare", x, false, []int{-1})
	return ReduceSum(rows, false, allAxes(rows)...)
}

// biasCorrection is 1 − βᵗ. With u = t·ln β it is (1 + eᵘ)·tanh(−u/2), which does not
// cancel for β near one.
func biasCorrection(t *Tensor, beta float64) *Tensor {
	u := Scale(t, math.Log(beta))
	return Mul(Shift(Exp(u), 1), Tanh(Scale(u, -0.5)))
}

// Update is the step of one parameter (or a flat buffer of them): new parameter, first
// and second moment, for the summed gradient grad.
func (s *AdamWStep) Update(p, m, v, grad *Tensor, decay bool) (p2, m2, v2 *Tensor) {
	in := append([]*Tensor{p, m, v, grad}, s.shared...)
	out := p.g.apply("AdamW", Attrs{"_config": s.config, "_decay": decay}, in...)
	return out[0], out[1], out[2]
}

var _ = register(&Op{
	Name: "AdamW", Domain: "march", NoGrad: "an optimizer step",
	// inputs p, m, v, grad, then AdamWStep.shared; outputs p, m, v
	Infer: func(g *Graph, n *Node) []Type {
		g.same("AdamW", n.In[:4]...)
		return []Type{n.In[0].typ, n.In[1].typ, n.In[2].typ}
	},
	Lower: func(_ *Graph, n *Node, t Target) []*Tensor {
		if t.takesFlat(n.In[0]) {
			return kernel("AdamWStep", Attrs{"decay": n.Attrs.bool("_decay")}, []Type{n.In[0].typ, n.In[1].typ, n.In[2].typ}, n.In...)
		}
		p, m, v, grad := n.In[0], n.In[1], n.In[2], n.In[3]
		scale, beta1, beta2, new1, new2 := n.In[4], n.In[5], n.In[6], n.In[7], n.In[8]
		rate, eps, finite, keep := n.In[9], n.In[10], n.In[11], n.In[12]
		grad = Where(finite, grad, grad.like(0))
		root := Mul(grad, Mul(scale, Sqrt(new2))) // scalars first: one pass over the buffer less
		m = Add(Mul(m, beta1), Mul(grad, Mul(scale, new1)))
		v = Add(Mul(v, beta2), Mul(root, root))
		if n.Attrs.bool("_decay") {
			p = Mul(p, keep)
		}
		return []*Tensor{Sub(p, Mul(Div(m, Add(Sqrt(v), eps)), rate)), m, v}
	},
})
