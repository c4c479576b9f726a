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
		return []Type{{summedType(g.same("LossHead", h, table)), nil}}
	},
	Lower: func(_ *Graph, n *Node, t Target) []*Tensor {
		if t.takesHead(n) {
			return fusedHead(n)[:1]
		}
		if n.Attrs.int("_chunks") > 1 {
			return []*Tensor{chunkedHeadOf(n).loss}
		}
		return []*Tensor{lossHeadOf(n).loss()}
	},
	Grad: func(g *Graph, n *Node, dy []*Tensor) []*Tensor {
		d := g.apply("LossHeadGrad", n.Attrs, append(n.In[:4:4], dy[0])...)
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
//
// In bfloat16 it is the logarithm of the label's own p. Either p is rounded by 1/512 of
// itself, so both forms are off by 0.002 at most, at random; but the largest would be two
// passes over [N,V] whose logits are half as many bytes. A probability of 10⁻³⁸ and less
// counts as that: no loss is above 87, and none is infinite.
//
// Large arrays in float32 have that form too: ONNX Runtime's CUDA provider takes 3.6 ms for one
// of the two row maxima of [16384,16384] on an H100, more than for the product that makes it.
func logProbability(logits, p, label *Tensor) *Tensor {
	if p.DType() == BFloat16 || p.DType() == Float32 && p.large() {
		own := Cast(gatherElements(p, label), Float32)
		return Log(Shift(own, smallest)) // a sum: what is not a number stays so
	}
	below := Sub(gatherElements(logits, label), ReduceMax(logits, true, 1))
	return Add(below, Log(ReduceMax(p, true, 1)))
}

// smallest is a little above the smallest normal number of float32.
const smallest = 1.2e-38

func lossHeadFLOPs(n *Node) int64 {
	return 2 * int64(n.In[0].Shape().Elements()) * int64(n.In[1].Dim(0))
}

// lossHead holds what the loss and its gradient share.
type lossHead struct {
	h, table, bias *Tensor
	logits, p      *Tensor // [N,V]
	valid, label   *Tensor // [N,1]; label is 0 where there is none
}

func lossHeadOf(n *Node) lossHead { return newLossHead(n.In[0], n.In[1], n.In[2], n.In[3]) }

func newLossHead(h, table, bias, labels *Tensor) lossHead {
	labels = Reshape(labels, labels.Dim(0), 1)
	logits := LinearT(h, table, bias)
	zero := labels.like(0)
	return lossHead{h, table, bias, logits, Softmax(logits), GreaterOrEqual(labels, zero), Max(labels, zero)}
}

// loss is the sum of the rows' cross-entropies.
func (x lossHead) loss() *Tensor {
	loss := Neg(logProbability(x.logits, x.p, x.label))
	return ReduceSum(Where(x.valid, loss, loss.like(0)), false, 0, 1)
}

// chunkedHead is the loss with its gradients for dloss = 1, some rows at a time.
type chunkedHead struct {
	loss  *Tensor
	grads []*Tensor // of h, table and, where there is one, bias
}

// chunkedHeadOf computes one chunk's loss and gradients before the next one's logits, so that
// there are never more than one chunk's. The loss asks for the gradients too, and they for
// the loss's probabilities: what is equal is there once.
func chunkedHeadOf(n *Node) (sum chunkedHead) {
	h, labels, chunks := n.In[0], n.In[3], n.Attrs.int("_chunks")
	rows := h.Dim(0) / chunks
	var dh []*Tensor
	for c := range chunks {
		part := stretch(h, 0, c*rows, rows)
		if c > 0 {
			part = after(part, sum.grads[1])
		}
		x := newLossHead(part, n.In[1], n.In[2], stretch(labels, 0, c*rows, rows))
		loss := x.loss()
		grads := x.gradients(x.p, Cast(x.valid, loss.DType()), loss.like(1))
		dh = append(dh, grads[0])
		if c == 0 {
			sum = chunkedHead{loss, grads}
			continue
		}
		sum.loss = Add(sum.loss, loss)
		for i := range grads[1:] {
			sum.grads[1+i] = Add(sum.grads[1+i], grads[1+i])
		}
	}
	sum.grads[0] = Concat(0, dh...)
	return sum
}

var _ = register(&Op{
	Name: "LossHeadGrad", Domain: "march", Optional: []int{2}, NoGrad: secondOrder, // inputs h, table, bias, labels, dloss
	FLOPs: lossHeadGradFLOPs,
	Infer: lossHeadGradType,
	Lower: func(g *Graph, n *Node, t Target) []*Tensor {
		dloss := n.In[4]
		if t.takesHead(n) {
			return scaled(fusedHead(n)[1:], dloss)
		}
		if n.Attrs.int("_chunks") > 1 {
			return scaled(chunkedHeadOf(n).grads, dloss)
		}
		x := lossHeadOf(n)
		// p − one-hot without the rows' weights: those are applied to h [N,D] and to the
		// result [N,D], which are far smaller than [N,V].
		return x.gradients(x.p, Where(x.valid, dloss, dloss.like(0)), dloss.like(1))
	},
})

// scaled are gradients for dloss = 1 made those for another.
func scaled(grads []*Tensor, dloss *Tensor) []*Tensor {
	if v, ok := dloss.Const().splat(); ok && v == 1 {
		return grads
	}
	out := make([]*Tensor, len(grads))
	for i, d := range grads {
		out[i] = Mul(d, Cast(dloss, d.DType()))
	}
	return out
}

func lossHeadGradFLOPs(n *Node) int64 { return 2 * lossHeadFLOPs(n) }

func lossHeadGradType(_ *Graph, n *Node) []Type {
	types := []Type{n.In[0].typ, {summedType(n.In[1].DType()), n.In[1].Shape()}}
	if n.In[2] != nil {
		types = append(types, Type{summedType(n.In[2].DType()), n.In[2].Shape()})
	}
	return types
}

// gradients are those of h, table and, where there is one, bias, for the logits'
// gradient weight·(d − labelled·one-hot) with d [N,V], a weight for each row [N,1] and a
// scalar. No array of [N,V] is made of d: what the label takes off is a row of the table
// [N,D] in one place, and a row added to it in the other.
func (x lossHead) gradients(d, weight, labelled *Tensor) []*Tensor {
	h, table, ids := x.h, x.table, Reshape(x.label, x.label.Dim(0))
	typ := h.DType()
	less := Cast(Neg(weight), typ) // rounded before it meets both terms, which must cancel
	weight, labelled = Cast(weight, typ), Cast(labelled, typ)
	dh := Mul(Sub(gemm(d, table, nil, false, false, 1), Mul(Embedding(table, ids), labelled)), weight)
	rows := Mul(h, less)
	dtable := Cast(gemm(d, rows, nil, true, false, -1), summedType(typ))
	out := []*Tensor{dh, addRows(dtable, ids, Mul(rows, labelled))}
	if x.bias != nil {
		dbias := Cast(Reshape(gemm(less, d, nil, true, false, -1), d.Dim(1)), summedType(typ))
		once := Cast(Reshape(Mul(less, labelled), ids.Shape()...), summedType(typ))
		out = append(out, scatterAdd(dbias, ids, once, 0))
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
	return LossHeadInChunks(h, table, bias, labels, 1)
}

// LossHeadInChunks is LossHead with its gradient, so many equal chunks of rows one after another: what is as
// large as [N,V] is there for one chunk only.
func LossHeadInChunks(h, table, bias, labels *Tensor, chunks int) *Tensor {
	if chunks < 1 || chunks > 1 && (!h.Shape().Static() || h.Dim(0)%chunks != 0) {
		h.g.fail("LossHead: %s in %d chunks of rows", h, chunks)
	}
	return one("LossHead", Attrs{"_chunks": chunks}, h, table, bias, labels)
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
	top = ArgMax(logits)
	return labelScores(logits, labels, top), top
}

// LabelScoresInBlocks is LabelScores as a CPU is quickest at it.
func LabelScoresInBlocks(logits, labels *Tensor) (logprob, top *Tensor) {
	top = argMaxBlocks(logits)
	return labelScores(logits, labels, top), top
}

// labelScores is the log-probability of each label, where top is known.
func labelScores(logits, labels, top *Tensor) *Tensor {
	labels = Reshape(labels, labels.Dim(0), 1)
	zero := labels.like(0)
	label, p := Max(labels, zero), Softmax(logits)
	var lp *Tensor
	if logits.DType() == Float32 && !p.large() {
		// As logProbability, without its two passes over [N,V]: where the largest logit stands is known.
		at := Reshape(top, labels.Dim(0), 1)
		lp = Add(Sub(gatherElements(logits, label), gatherElements(logits, at)), Log(gatherElements(p, at)))
	} else {
		lp = logProbability(logits, p, label)
	}
	lp = Where(GreaterOrEqual(labels, zero), lp, lp.like(0))
	return Reshape(lp, labels.Dim(0))
}
