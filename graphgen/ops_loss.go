package graphgen

// The loss head: the output projection with the cross-entropy of its softmax, as one
// operator, so that a target can compute both without keeping the logits.

// IgnoreLabel marks positions without a loss.
const IgnoreLabel = -100

var _ = register(&Op{
	Name: "LossHead", Domain: "march", Optional: []int{2}, // inputs h [N,D], table [V,D], bias [V] or nil, labels int64 [N]
	Infer: func(g *Graph, n *Node) []Type {
		h, table, labels := n.In[0], n.In[1], n.In[3]
		if h.Rank() != 2 || table.Rank() != 2 || h.Dim(1) != table.Dim(1) || labels.Rank() != 1 || labels.Dim(0) != h.Dim(0) || labels.DType() != Int64 {
			g.fail("LossHead: h %s, table %s and labels %s do not fit", h, table, labels)
		}
		if b := n.In[2]; b != nil && (b.Rank() != 1 || b.Dim(0) != table.Dim(0) || b.DType() != h.DType()) {
			g.fail("LossHead: the bias %s does not fit the table %s", b, table)
		}
		return []Type{{g.same("LossHead", h, table), nil}}
	},
	Lower: func(_ *Graph, n *Node, _ Target) []*Tensor {
		x := lossHeadOf(n)
		loss := Neg(logProbability(x.logits, x.p, x.label))
		return []*Tensor{ReduceSum(Where(x.valid, loss, loss.like(0)), false, 0, 1)}
	},
	Grad: func(g *Graph, n *Node, dy []*Tensor) []*Tensor {
		d := g.apply("LossHeadGrad", nil, append(n.In[:4:4], dy[0])...)
		if n.In[2] == nil {
			return []*Tensor{d[0], d[1], nil, nil}
		}
		return []*Tensor{d[0], d[1], d[2], nil}
	},
	FLOPs: lossHeadFLOPs,
})

// logProbability is log p of each row's label [N,1], for p = softmax(logits) [N,V]. With
// the largest logit and its probability, log p = (logit − largest) + log(p of the largest):
// exact where the label's own p underflows, for the largest's is at least 1/V, and where
// the logits are large, for their difference is taken before anything is rounded.
func logProbability(logits, p, label *Tensor) *Tensor {
	below := Sub(gatherElements(logits, label), ReduceMax(logits, true, 1))
	return Add(below, Log(ReduceMax(p, true, 1)))
}

func lossHeadFLOPs(n *Node) int64 {
	return 2 * int64(n.In[0].Shape().Elements()) * int64(n.In[1].Dim(0))
}

// lossHead holds what the loss and its gradient share.
type lossHead struct {
	logits, p    *Tensor // [N,V]
	valid, label *Tensor // [N,1]; label is 0 where there is none
}

func lossHeadOf(n *Node) lossHead {
	h, table, bias := n.In[0], n.In[1], n.In[2]
	labels := Reshape(n.In[3], n.In[3].Dim(0), 1)
	logits := LinearT(h, table, bias)
	zero := labels.like(0)
	return lossHead{logits, Softmax(logits), GreaterOrEqual(labels, zero), Max(labels, zero)}
}

var _ = register(&Op{
	Name: "LossHeadGrad", Domain: "march", Optional: []int{2}, NoGrad: secondOrder, // inputs h, table, bias, labels, dloss
	FLOPs: lossHeadGradFLOPs,
	Infer: lossHeadGradType,
	Lower: func(g *Graph, n *Node, _ Target) []*Tensor {
		dloss, x := n.In[4], lossHeadOf(n)
		// (p − one-hot) without the rows' weights: those are applied to h [N,D] and to the
		// result [N,D], which are far smaller than [N,V].
		return headGradients(n, x.lessLabel(), Where(x.valid, dloss, dloss.like(0)))
	},
})

func lossHeadGradFLOPs(n *Node) int64 { return 2 * lossHeadFLOPs(n) }

func lossHeadGradType(_ *Graph, n *Node) []Type {
	types := []Type{n.In[0].typ, n.In[1].typ}
	if n.In[2] != nil {
		types = append(types, n.In[2].typ)
	}
	return types
}

// lessLabel is p − one-hot(label), the gradient of each row's cross-entropy.
func (x lossHead) lessLabel() *Tensor {
	return scatterAdd(x.p, x.label, x.p.g.Fill(x.p.DType(), -1, x.label.Shape()...), 1)
}

// headGradients are those of h, table and, where there is one, bias, for the logits'
// gradient d [N,V] with a weight for each row [N,1].
func headGradients(n *Node, d, weight *Tensor) []*Tensor {
	h, table := n.In[0], n.In[1]
	out := []*Tensor{
		Mul(gemm(d, table, nil, false, false, 1), weight),
		gemm(d, Mul(h, weight), nil, true, false, 1),
	}
	if n.In[2] != nil {
		out = append(out, Reshape(gemm(weight, d, nil, true, false, 1), d.Dim(1)))
	}
	return out
}

func gatherElements(x, index *Tensor) *Tensor {
	return one("GatherElements", Attrs{"axis": 1}, x, index)
}

// LossHead is Σ −log softmax(h·tableᵀ + bias)[label] over the positions that have a
// label, a scalar: h [N,D], table [V,D], bias [V] or nil, labels int64 [N]. Negative
// labels ([IgnoreLabel]) mark positions without a loss.
func LossHead(h, table, bias, labels *Tensor) *Tensor {
	return one("LossHead", nil, h, table, bias, labels)
}

// LabelCount is how many labels count towards the loss: an int64 scalar.
func LabelCount(labels *Tensor) *Tensor {
	valid := Cast(GreaterOrEqual(labels, labels.like(0)), Int64)
	return ReduceSum(valid, false, allAxes(labels)...)
}

func allAxes(t *Tensor) []int {
	axes := make([]int, t.Rank())
	for i := range axes {
		axes[i] = i
	}
	return axes
}

// LabelScores gives, for logits [N,V] and labels int64 [N], the log-probability of each
// label [N] (0 where there is none) and the most likely token int64 [N].
func LabelScores(logits, labels *Tensor) (logprob, top *Tensor) {
	labels = Reshape(labels, labels.Dim(0), 1)
	zero := labels.like(0)
	lp := logProbability(logits, Softmax(logits), Max(labels, zero))
	lp = Where(GreaterOrEqual(labels, zero), lp, lp.like(0))
	return Reshape(lp, labels.Dim(0)), ArgMax(logits)
}
