package graphgen

// The loss head of a model that is taught by another (Hinton, Vinyals and Dean,
// Distilling the Knowledge in a Neural Network, 2015): beside the cross-entropy of the
// labels, how far the student's distribution is from the teacher's, both softened by a
// temperature. One operator for both, so that the logits' gradient is summed before it
// meets the table: two matrix products in place of four.

var _ = register(&Op{
	// Inputs h [N,D], table [V,D], bias [V] or nil, labels int64 [N], teacher's logits [N,V];
	// outputs the cross-entropy and the distance, both summed over the labelled positions.
	Name: "DistillHead", Domain: "march", Optional: []int{2},
	Infer: func(g *Graph, n *Node) []Type {
		loss := registry["LossHead"].Infer(g, n)[0]
		h, table, teacher := n.In[0], n.In[1], n.In[4]
		if teacher.Rank() != 2 || teacher.Dim(0) != h.Dim(0) || teacher.Dim(1) != table.Dim(0) || teacher.DType() != h.DType() {
			g.fail("DistillHead: the teacher's logits %s do not fit h %s and table %s", teacher, h, table)
		}
		if t := n.Attrs.num("_temperature"); !(t > 0) {
			g.fail("DistillHead: temperature %v, wanted a positive number", t)
		}
		return []Type{loss, loss}
	},
	Lower: func(_ *Graph, n *Node, _ Target) []*Tensor {
		x := distillHeadOf(n)
		sum := func(rows *Tensor) *Tensor { return ReduceSum(Where(x.valid, rows, rows.like(0)), false, 0, 1) }
		return []*Tensor{sum(Neg(logProbability(x.logits, x.p, x.label))), Scale(sum(x.apart()), x.t*x.t)}
	},
	Grad: func(g *Graph, n *Node, dy []*Tensor) []*Tensor {
		in := append(n.In[:5:5], dy...)
		for i, d := range dy {
			if d == nil {
				in[5+i] = g.Scalar(n.Out[i].DType(), 0)
			}
		}
		d := g.apply("DistillHeadGrad", n.Attrs, in...)
		if n.In[2] == nil {
			return []*Tensor{d[0], d[1], nil, nil, nil}
		}
		return []*Tensor{d[0], d[1], d[2], nil, nil}
	},
	FLOPs: lossHeadFLOPs,
})

// apart is KL(teacher ‖ student) of each row [N,1]. In bfloat16 the logarithms of the sums
// of exponentials are taken once a row, from the label's logit and probability: no array
// [N,V] of logarithms, which are large numbers where their difference is small.
func (x distillHead) apart() *Tensor {
	mean := func(of *Tensor) *Tensor { return ReduceSum(Mul(x.teacher, of), true, 1) }
	if x.logits.DType() != BFloat16 {
		return mean(Sub(logDistribution(x.taught, x.teacher), logDistribution(x.soft, x.student)))
	}
	logSum := func(soft, p *Tensor) *Tensor {
		return Sub(Cast(gatherElements(soft, x.label), Float32), logProbability(soft, p, x.label))
	}
	return Sub(Cast(mean(Sub(x.taught, x.soft)), Float32), Sub(logSum(x.taught, x.teacher), logSum(x.soft, x.student)))
}

// logDistribution is log p for p = softmax(x) [N,V], exact where p underflows: see
// logProbability.
func logDistribution(x, p *Tensor) *Tensor {
	return Add(Sub(x, ReduceMax(x, true, 1)), Log(ReduceMax(p, true, 1)))
}

// distillHead holds what the two losses and their gradient share.
type distillHead struct {
	lossHead
	t                float64
	soft, taught     *Tensor // the student's and the teacher's logits / t
	student, teacher *Tensor // their softmax
}

func distillHeadOf(n *Node) distillHead {
	x := distillHead{lossHead: lossHeadOf(n), t: n.Attrs.num("_temperature")}
	x.soft, x.taught = Scale(x.logits, 1/x.t), Scale(n.In[4], 1/x.t)
	x.student, x.teacher = Softmax(x.soft), Softmax(x.taught)
	return x
}

var _ = register(&Op{
	Name: "DistillHeadGrad", Domain: "march", Optional: []int{2}, NoGrad: secondOrder, // inputs of DistillHead, dloss, ddistill
	FLOPs: lossHeadGradFLOPs,
	Infer: lossHeadGradType,
	Lower: func(_ *Graph, n *Node, _ Target) []*Tensor {
		dloss, ddistill, x := n.In[5], n.In[6], distillHeadOf(n)
		// Of T²·KL it is T·(student − teacher).
		typ := x.p.DType()
		d := Add(Mul(x.p, Cast(dloss, typ)), Mul(Sub(x.student, x.teacher), Cast(Scale(ddistill, x.t), typ)))
		return x.gradients(d, Cast(x.valid, dloss.DType()), dloss)
	},
})

// DistillHead is [LossHead]'s cross-entropy, and beside it
//
//	T² Σ KL(softmax(teacher/T) ‖ softmax(logits/T)),  logits = h·tableᵀ + bias,
//
// over the same positions, for a teacher's logits [N,V] and the temperature T. No
// gradient flows to the teacher.
func DistillHead(h, table, bias, labels, teacher *Tensor, temperature float64) (loss, distill *Tensor) {
	out := graphOf([]*Tensor{h}).apply("DistillHead", Attrs{"_temperature": temperature}, h, table, bias, labels, teacher)
	return out[0], out[1]
}
