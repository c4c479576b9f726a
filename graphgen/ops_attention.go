package graphgen

import "slices"

// Attention describes scaled dot-product attention of several heads (Vaswani et al.,
// 2017): softmax(scale·q·kᵀ + bias + mask)·v, head by head.
//
// B is the batch, Sq and Sk the lengths of queries and keys, H the heads. Rows of q, k
// and v are tokens, so that projections are plain matrix products: q [B·Sq, H·dk],
// k [B·Sk, Hkv·dk], v [B·Sk, Hkv·dv]; the result is [B·Sq, H·dv].
type Attention struct {
	Batch, Queries, Keys int
	Heads                int
	KVHeads              int     // heads of keys and values, each shared by Heads/KVHeads queries' heads; 0: Heads
	Scale                float64 // of the logits; 0: 1
	Causal               bool    // position i sees j ≤ i
	Window               int     // position i sees j > i − Window only; 0: no bound
	Memory               int     // so many keys at the end are another sequence's, which every query sees; 0: none
	Recompute            bool    // the gradient computes the probabilities anew, so that they need not be kept
	// Past is the first query's position: so many keys stand in front of the queries' own, of earlier tokens (a cache) or of
	// earlier blocks.
	Past int
}

// AttentionInputs are an attention's further inputs; each may be nil.
type AttentionInputs struct {
	Bias    *Tensor // [H or 1, Sq, Sk], added to the logits
	Lengths *Tensor // int64 [B]: keys from that position on are hidden (of the memory, where there is one)
	Dropout *Tensor // [B, H, Sq, Sk], multiplied with the probabilities
	// Documents int64 [B,S], where queries and keys are of one sequence: a query sees keys of its own number only.
	Documents *Tensor
}

// Apply adds the operator.
func (a Attention) Apply(q, k, v *Tensor, o AttentionInputs) *Tensor {
	if a.KVHeads == 0 {
		a.KVHeads = a.Heads
	}
	if a.Scale == 0 {
		a.Scale = 1
	}
	if a.Window < 0 {
		q.g.fail("Attention: window %d, wanted at least 1, or 0 for no bound", a.Window)
	}
	if a.Heads <= 0 || a.KVHeads <= 0 || a.Heads%a.KVHeads != 0 || q.Dim(1)%a.Heads != 0 || k.Dim(1)%a.KVHeads != 0 || v.Dim(1)%a.KVHeads != 0 {
		q.g.fail("Attention: %d heads and %d key/value heads do not divide q %s, k %s, v %s", a.Heads, a.KVHeads, q, k, v)
	}
	return one("Attention", Attrs{"_attention": a}, q, k, v, o.Bias, o.Lengths, o.Dropout, o.Documents)
}

func (n *Node) attention() Attention { return n.Attrs["_attention"].(Attention) }

var _ = register(&Op{
	Name: "Attention", Domain: "march", Optional: []int{3, 4, 5, 6}, // inputs q, k, v and those of AttentionInputs
	Infer: func(g *Graph, n *Node) []Type {
		a, q, k, v := n.attention(), n.In[0], n.In[1], n.In[2]
		g.same("Attention", q, k, v)
		if q.Dim(0) != g.Product(a.Batch, a.Queries) || k.Dim(0) != g.Product(a.Batch, a.Keys) || v.Dim(0) != k.Dim(0) ||
			q.Dim(1)/a.Heads != k.Dim(1)/a.KVHeads {
			g.fail("Attention: q %s, k %s and v %s do not fit", q, k, v)
		}
		if b := n.In[3]; b != nil && (b.DType() != q.DType() || b.Rank() != 3 || b.Dim(0) != 1 && b.Dim(0) != a.Heads || b.Dim(1) != a.Queries || b.Dim(2) != a.Keys) {
			g.fail("Attention: the bias %s is not [heads or 1, queries, keys]", b)
		}
		if l := n.In[4]; l != nil && (l.DType() != Int64 || l.Rank() != 1 || l.Dim(0) != a.Batch) {
			g.fail("Attention: the lengths %s are not int64 [batch]", l)
		}
		if m := n.In[5]; m != nil && (m.DType() != q.DType() || !m.Shape().Equal(Shape{a.Batch, a.Heads, a.Queries, a.Keys})) {
			g.fail("Attention: the dropout mask %s is not [batch, heads, queries, keys]", m)
		}
		if d := n.In[6]; d != nil && (a.Memory != 0 || a.Queries != a.Keys || d.DType() != Int64 || !d.Shape().Equal(Shape{a.Batch, a.Queries})) {
			g.fail("Attention: the documents %s are not int64 [batch, length] of one sequence", d)
		}
		return []Type{{q.DType(), Shape{q.Dim(0), v.Dim(1) / a.KVHeads * a.Heads}}}
	},
	Lower: func(g *Graph, n *Node, t Target) []*Tensor {
		if a := n.attention(); a.flashes(n, t) {
			return a.flash(n)[:1]
		}
		return []*Tensor{n.attention().attend(g, t, n.In)}
	},
	FLOPs: func(n *Node) int64 { return n.attention().flops(n.In) }, // q·kᵀ and p·v
	Grad: func(g *Graph, n *Node, dy []*Tensor) []*Tensor {
		d := g.apply("AttentionGrad", n.Attrs, append(slices.Clone(n.In), dy[0])...)
		if n.In[3] == nil {
			return []*Tensor{d[0], d[1], d[2], nil, nil, nil, nil}
		}
		return []*Tensor{d[0], d[1], d[2], d[3], nil, nil, nil}
	},
})

var _ = register(&Op{
	Name: "AttentionGrad", Domain: "march", Optional: []int{3, 4, 5, 6}, NoGrad: secondOrder, // inputs those of Attention, dy
	FLOPs: func(n *Node) int64 { // two products for each of the forward pass, and where they are not kept the logits once more
		a := n.attention()
		sum := 2 * a.flops(n.In)
		if a.Recompute {
			sum += a.productFLOPs(n.In[1])
		}
		return sum
	},
	Infer: func(_ *Graph, n *Node) []Type {
		types := []Type{n.In[0].typ, n.In[1].typ, n.In[2].typ}
		if n.In[3] != nil {
			types = append(types, n.In[3].typ)
		}
		return types
	},
	Lower: func(g *Graph, n *Node, t Target) []*Tensor {
		a, dy := n.attention(), n.In[7]
		switch {
		case a.flashes(n, t):
			return a.flashGrad(n)
		case a.turns(n.In, t):
			return a.turnedGrad(g, t, n)
		}
		qh, kh, vh := a.split(n.In[0], a.Queries, a.Heads), a.split(n.In[1], a.Keys, a.KVHeads), a.split(n.In[2], a.Keys, a.KVHeads)
		dyh := a.split(dy, a.Queries, a.Heads)
		// The softmax gradient's row sums Σ p·dp equal Σ y·dy (Dao et al., FlashAttention,
		// 2022), taken over dv instead of Sk entries and without an array as large as p. With
		// dropout it is the same sum: the mask is a factor on both sides.
		var sums *Tensor
		kernel := t.takesSoftmax(n)
		if !kernel {
			sums = ReduceSum(a.heads(Mul(a.attend(g, t, n.In), dy), a.Queries, a.Heads), true, -1)
			sums = Transpose(sums, a.headsFirst()...)
		}

		var ds *Tensor
		var dq []*Tensor
		dk, dv := newKeySums(a), newKeySums(a)
		for _, b := range a.blocks(n.In) {
			q, k, v, dyb := b.queries(qh), b.keys(kh), b.keys(vh), b.queries(dyh)
			seen := q
			if a.Recompute {
				seen = after(q, dyb)
			}
			softmax := b.probabilities(g, t, t.product(seen, k, false, true, a.Scale), n.In)
			p := b.dropped(softmax, n.In[5])
			switch {
			case kernel:
				ds = b.softmaxGrad(softmax, b.dropped(t.product(dyb, v, false, true, 1), n.In[5]))
			case n.In[5] == nil && b.Keys >= longAttention*v.Dim(-1):
				ds = Mul(softmax, t.productLess(dyb, v, b.queries(sums)))
			default:
				ds = Mul(softmax, Sub(b.dropped(t.product(dyb, v, false, true, 1), n.In[5]), b.queries(sums)))
			}
			dq = append(dq, t.product(ds, k, false, false, a.Scale))
			dk.add(b, t.product(ds, q, true, false, a.Scale))
			dv.add(b, t.product(p, dyb, true, false, 1))
		}
		out := []*Tensor{a.merge(Concat(qh.Rank()-2, dq...), a.Queries), a.mergeKV(dk.sum()), a.mergeKV(dv.sum())}
		if bias := n.In[3]; bias != nil { // then there is one block
			out = append(out, a.biasGrad(ds, bias))
		}
		return out
	},
})

// biasGrad sums the gradient of the logits.
func (a Attention) biasGrad(ds, bias *Tensor) *Tensor {
	return sumTo(Reshape(ReduceSum(ds, false, 0), a.Heads, a.Queries, a.Keys), bias.Shape())
}

// after is x as a value of its own that exists only once the others do: a node that reads it is
// not the equal node that reads x, neither here nor to a runtime that joins equal nodes. It adds
// nothing to x, unless what one of the others begins with is not finite.
func after(x *Tensor, others ...*Tensor) *Tensor {
	var sum *Tensor
	for _, y := range others {
		for axis := range y.Rank() {
			y = First(y, axis, 1)
		}
		y = Reshape(y)
		if sum == nil {
			sum = y
		} else {
			sum = Add(Cast(sum, Float32), Cast(y, Float32))
		}
	}
	return Add(x, Cast(Scale(sum, 0), x.DType()))
}

// attend is the forward pass, [B·Sq, H·dv].
func (a Attention) attend(g *Graph, t Target, in []*Tensor) *Tensor {
	if a.turns(in, t) {
		return a.turnedAttend(g, t, in)
	}
	qh, kh, vh := a.split(in[0], a.Queries, a.Heads), a.split(in[1], a.Keys, a.KVHeads), a.split(in[2], a.Keys, a.KVHeads)
	var y []*Tensor
	for _, b := range a.blocks(in) {
		p := b.dropped(b.probabilities(g, t, t.product(b.queries(qh), b.keys(kh), false, true, a.Scale), in), in[5])
		y = append(y, t.product(p, b.keys(vh), false, false, 1))
	}
	return a.merge(Concat(qh.Rank()-2, y...), a.Queries)
}

// longAttention is how many keys there must be for each entry of a head before queries and
// keys are copied to spare an array of probabilities a pass. The copies have columns of unequal
// numbers, which ONNX Runtime's CUDA provider joins by way of small tables that it uploads.
const longAttention = 16

// productLess is a·bᵀ − less for less [..., 1], as one product: a has a further column with
// −less, b one with ones. More columns make the length a multiple of eight, which matrix
// units want.
func (t Target) productLess(a, b, less *Tensor) *Tensor {
	g, last := a.g, a.Rank()-1
	columns := func(x *Tensor, v float64, n int) *Tensor {
		return g.Fill(x.DType(), v, append(slices.Clone(x.Shape()[:last]), n)...)
	}
	more := 8 - a.Dim(-1)%8
	left := []*Tensor{a, Neg(less)}
	if more > 1 {
		left = append(left, columns(a, 0, more-1))
	}
	return t.product(Concat(last, left...), Concat(last, b, columns(b, 1, more)), false, true, 1)
}

// dropped multiplies probabilities, or their gradient, with the mask if there is one.
func (a Attention) dropped(p, mask *Tensor) *Tensor {
	if mask == nil {
		return p
	}
	return Mul(p, Reshape(mask, p.Shape()...))
}

// flops counts the two matrix products of the forward pass, over all positions.
func (a Attention) flops(in []*Tensor) int64 {
	return a.productFLOPs(in[1]) + a.productFLOPs(in[2])
}

// productFLOPs counts q·kᵀ for k, or p·v for v.
func (a Attention) productFLOPs(kv *Tensor) int64 {
	return 2 * int64(a.Batch*a.Heads) * int64(a.Queries) * int64(a.Keys) * int64(kv.Dim(1)/a.KVHeads)
}

// groups is how many queries' heads share a key/value head.
func (a Attention) groups() int { return a.Heads / a.KVHeads }

// heads splits rows into heads: [B·S, h·d] → [B, S, h, d], or [B, S, KVHeads, h/KVHeads, d]
// where heads are grouped.
func (a Attention) heads(x *Tensor, length, h int) *Tensor {
	if a.groups() == 1 {
		return Reshape(x, a.Batch, length, h, x.Dim(1)/h)
	}
	return Reshape(x, a.Batch, length, a.KVHeads, h/a.KVHeads, x.Dim(1)/h)
}

// headsFirst is the permutation between [B,S,heads…,d] and [B,heads…,S,d].
func (a Attention) headsFirst() []int {
	if a.groups() == 1 {
		return []int{0, 2, 1, 3}
	}
	return []int{0, 2, 3, 1, 4}
}

// split is heads with the positions behind the heads: [B, heads…, S, d].
func (a Attention) split(x *Tensor, length, h int) *Tensor {
	return Transpose(a.heads(x, length, h), a.headsFirst()...)
}

// merge is the inverse of split for queries: [B, heads…, S, d] → [B·S, H·d].
func (a Attention) merge(x *Tensor, length int) *Tensor {
	perm := []int{0, 2, 1, 3}
	if a.groups() > 1 {
		perm = []int{0, 3, 1, 2, 4}
	}
	return Reshape(Transpose(x, perm...), x.g.Product(a.Batch, length), a.Heads*x.Dim(-1))
}

// mergeKV is merge for keys and values: the queries' heads that share one add up.
func (a Attention) mergeKV(x *Tensor) *Tensor {
	if a.groups() > 1 {
		x = ReduceSum(x, false, 2)
	}
	return Reshape(Transpose(x, 0, 2, 1, 3), x.g.Product(a.Batch, a.Keys), a.KVHeads*x.Dim(-1))
}

// probabilities is softmax(s + bias + mask), [B, heads…, Sq, Sk], of heads, for s = scale·q·kᵀ.
func (a block) probabilities(g *Graph, t Target, s *Tensor, in []*Tensor) *Tensor {
	bias, lengths, documents := in[3], in[4], in[6]
	if bias != nil {
		if a.groups() > 1 && bias.Dim(0) > 1 {
			bias = Reshape(bias, a.KVHeads, a.groups(), a.Queries, a.Keys)
		}
		s = Add(s, bias)
	}
	masks := documents == nil && a.masks(t, s)
	var seen *Tensor
	if !masks {
		seen = a.byPosition(g) // one mask for all layers with the same rule
	}
	switch {
	case documents != nil:
		own := a.sameDocument(documents, s.Rank())
		if seen != nil {
			own = And(own, seen)
		}
		s = hide(s, own)
	case seen != nil:
		s = Add(s, penalty(seen, s.DType()))
	}
	if lengths != nil {
		shape := slices.Repeat(Shape{1}, s.Rank())
		shape[0], shape[len(shape)-1] = a.Batch, a.Keys
		var seen *Tensor // [B,Sk]
		if a.Memory == 0 {
			seen = Less(g.Iota(a.Keys), Unsqueeze(lengths, 1))
		} else { // the queries' own keys stand first
			seen = Less(Sub(g.Iota(a.Keys), g.dimensionScalar(a.own(g))), Unsqueeze(lengths, 1))
		}
		s = hide(s, Reshape(seen, shape...))
	}
	if masks {
		return kernel("MaskedSoftmax", a.positions(), []Type{s.typ}, s)[0]
	}
	return Softmax(s)
}

// byPosition tells whether a query may see a key by its position, [Sq,Sk]; nil where it may
// see all.
func (a Attention) byPosition(g *Graph) *Tensor {
	if !a.Causal && a.Window == 0 {
		return nil
	}
	i, j := Reshape(g.Iota(a.Queries), a.Queries, 1), g.Iota(a.Keys)
	if a.Past != 0 {
		i = Add(i, g.dimensionScalar(a.Past))
	}
	var seen *Tensor
	if a.Causal {
		seen = LessOrEqual(j, i)
	}
	if a.Memory != 0 {
		seen = Or(seen, GreaterOrEqual(j, g.dimensionScalar(a.own(g))))
	}
	if a.Window > 0 {
		near := Greater(j, Sub(i, g.Scalar(Int64, float64(a.Window))))
		if seen == nil {
			seen = near
		} else {
			seen = And(seen, near)
		}
	}
	return seen
}

// sameDocument tells whether the block's queries and keys are of one document, [B, 1…, Sq, Sk]
// of so many dimensions.
func (a block) sameDocument(documents *Tensor, rank int) *Tensor {
	i := Unsqueeze(stretch(documents, 1, a.query, a.Queries), 2)
	j := Unsqueeze(stretch(documents, 1, a.key, a.Keys), 1)
	for range rank - 3 {
		i, j = Unsqueeze(i, 1), Unsqueeze(j, 1)
	}
	return Equal(i, j)
}

// hide makes logits of keys that are not seen, in a shape that broadcasts, too small to count.
func hide(s, seen *Tensor) *Tensor {
	if s.DType().narrow() {
		// ONNX Runtime may make one operator of an addition and the softmax (BiasSoftmax),
		// which has no kernel in bfloat16.
		return Where(seen, s, s.like(hidden(s.DType())))
	}
	return Add(s, penalty(seen, s.DType()))
}

// own is how many keys come before the memory's: those of the past and the queries' own.
func (a Attention) own(g *Graph) int {
	if a.Past == 0 {
		return a.Queries
	}
	return g.Sum(a.Past, a.Queries)
}

// hidden is added to the logits of keys that a query must not see: far below any logit,
// and finite, also twice, so that a row without any visible key stays a number.
func hidden(d DType) float64 {
	if d == Float16 {
		return -3e4
	}
	return -1e30
}

func penalty(seen *Tensor, d DType) *Tensor {
	return Where(seen, seen.g.Scalar(d, 0), seen.g.Scalar(d, hidden(d)))
}
