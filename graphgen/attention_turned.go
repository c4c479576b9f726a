package graphgen

// On a CPU the operands of an attention with small heads lie as [B,H,d,S], positions in columns. ONNX Runtime makes that of rows
// in a quarter of the time of [B,H,S,d], whose pieces of d entries it copies one by one, and the gradients of keys and values
// need no product with [Sq,Sk] transposed, which takes half again as long.

// turnedHead is the largest head that gains by it; from 64 entries on, rows take longer to turn than the products gain.
const turnedHead = 32

// turns reports whether the attention is computed so.
func (a Attention) turns(in []*Tensor, t Target) bool {
	q, v := in[0], in[2]
	static := q.Shape().Static() && in[1].Shape().Static() // as in graphs that train; others run wherever, on few positions, too
	return t.contrib() && static && !q.g.gpu && q.DType() == Float32 && a.groups() == 1 && !a.Recompute && q.Dim(1) <= turnedHead*a.Heads && v.Dim(1) <= turnedHead*a.Heads &&
		len(a.blocks(in)) == 1
}

// turn makes heads of rows: [B·S, H·d] → [B,H,d,S].
func (a Attention) turn(x *Tensor, length int) *Tensor {
	return Transpose(a.heads(x, length, a.Heads), 0, 2, 3, 1)
}

// turnBack is the inverse of turn.
func (a Attention) turnBack(x *Tensor, length int) *Tensor {
	return Reshape(Transpose(x, 0, 3, 1, 2), x.g.Product(a.Batch, length), a.Heads*x.Dim(2))
}

// turnedProbabilities are the probabilities [B,H,Sq,Sk] of turned queries and keys.
func (a Attention) turnedProbabilities(g *Graph, t Target, q, k *Tensor, in []*Tensor) *Tensor {
	return block{Attention: a}.probabilities(g, t, t.product(q, k, true, false, a.Scale), in)
}

// turnedAttend is the forward pass, [B·Sq, H·dv].
func (a Attention) turnedAttend(g *Graph, t Target, in []*Tensor) *Tensor {
	p := a.turnedProbabilities(g, t, a.turn(in[0], a.Queries), a.turn(in[1], a.Keys), in)
	return a.merge(t.product(a.dropped(p, in[5]), a.turn(in[2], a.Keys), false, true, 1), a.Queries)
}

// turnedGrad is the lowering of AttentionGrad.
func (a Attention) turnedGrad(g *Graph, t Target, n *Node) []*Tensor {
	in, dy := n.In, n.In[7]
	q, k, v, dyh := a.turn(in[0], a.Queries), a.turn(in[1], a.Keys), a.turn(in[2], a.Keys), a.turn(dy, a.Queries)
	softmax := a.turnedProbabilities(g, t, q, k, in)
	var ds *Tensor
	if t.takesSoftmax(n) {
		ds = a.softmaxGrad(softmax, a.dropped(t.product(dyh, v, true, false, 1), in[5]))
	} else {
		ds = a.turnedSlopes(g, t, in, softmax, v, dy, dyh)
	}
	out := []*Tensor{
		a.merge(t.product(ds, k, false, true, a.Scale), a.Queries),
		a.turnBack(t.product(q, ds, false, false, a.Scale), a.Keys),
		a.turnBack(t.product(dyh, a.dropped(softmax, in[5]), false, false, 1), a.Keys),
	}
	if bias := in[3]; bias != nil {
		out = append(out, a.biasGrad(ds, bias))
	}
	return out
}

// turnedSlopes is the gradient of the logits in plain operators, for turned values v and gradients dyh of dy.
func (a Attention) turnedSlopes(g *Graph, t Target, in []*Tensor, softmax, v, dy, dyh *Tensor) *Tensor {
	// See AttentionGrad on the row sums.
	sums := Transpose(ReduceSum(a.heads(Mul(a.turnedAttend(g, t, in), dy), a.Queries, a.Heads), true, -1), 0, 2, 1, 3) // [B,H,Sq,1]
	var dp *Tensor                                                                                                     // less the row sums
	if in[5] == nil {
		// As a further row of the factors.
		less := Reshape(Neg(sums), a.Batch, a.Heads, 1, a.Queries)
		dp = t.product(Concat(2, dyh, less), Concat(2, v, g.Fill(v.DType(), 1, a.Batch, a.Heads, 1, a.Keys)), true, false, 1)
	} else {
		dp = Sub(a.dropped(t.product(dyh, v, true, false, 1), in[5]), sums)
	}
	return Mul(softmax, dp)
}
