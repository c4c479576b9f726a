package variants

import (
	"math"

	"march/graphgen"
)

// The attentions of a layer. Names are those of parameters (at: decoder.3.attn), use is
// the layer's number in the forward pass and i its set of parameters.

// selfAttention is attention of x [N,D] over itself, and with unified attention over the
// encoder layer's keys and values too.
func (s *stack) selfAttention(use, i int, at string, x *graphgen.Tensor) *graphgen.Tensor {
	c := s.c
	heads, kv, dim := c.heads(i), c.kvHeads(i), c.qkvDim(i)
	q := s.queries(i, at, x)
	k := s.linear(x, at+".wk", kv*dim, c.Bias.QKV, at+".bk")
	v := graphgen.Linear(x, s.normal(at+".wv", c.valueStd(), c.D, kv*dim), s.bias(c.Bias.QKV, at+".bv", kv*dim))
	s.keys, s.values = append(s.keys, k), append(s.values, v) // as projected: the decoder reads them without positions
	if c.Pos.Kind == "rope" {
		q = graphgen.Rotate(q, s.batch, s.past, s.length, heads, positionBase)
		k = graphgen.Rotate(k, s.batch, s.past, s.length, kv, positionBase)
	}
	if s.past != 0 {
		k, v = s.remember(use, k, v)
	}
	a := graphgen.Attention{
		Batch: s.batch, Queries: s.length, Keys: s.own(), Past: s.past,
		Heads: heads, KVHeads: kv, Scale: c.scale(i), Causal: s.causal, Window: c.window(use), Recompute: s.recompute == RecomputeAttention,
	}
	o := graphgen.AttentionInputs{Lengths: s.lengths, Documents: s.documents, Bias: s.positionBias(heads)}
	switch {
	case c.Attn.Linformer > 0:
		k, v = s.compress(at+".linformer.keys", k), s.compress(at+".linformer.values", v)
		a.Keys, o.Lengths = c.Attn.Linformer, nil
	case c.Attn.Unified && s.memory != nil:
		k, v = s.behind(k, s.memory.keys[use]), s.behind(v, s.memory.values[use])
		a.Keys, a.Memory, o.Lengths = s.g.Sum(s.own(), s.memory.length), s.memory.length, s.memory.lengths
		if o.Bias != nil { // none for the encoder's keys
			none := graphgen.Expand(s.g.Fill(o.Bias.DType(), 0, 1, 1, 1), heads, s.length, s.memory.length)
			o.Bias = graphgen.Concat(2, o.Bias, none)
		}
	}
	o.Dropout = s.dropMask(s.place(use, "attn.weights"), c.Dropout.Rate, s.batch, heads, s.length, a.Keys)
	return s.join(i, at, x, a.Apply(q, k, v, o))
}

// crossAttention reads the keys and values of the same layer of the encoder, as they are
// or projected once more.
func (s *stack) crossAttention(use, i int, at string, x *graphgen.Tensor) *graphgen.Tensor {
	c, memory := s.c, s.memory
	heads, kv := c.heads(i), c.kvHeads(i)
	k, v := s.crossKeys(use, i, at)
	a := graphgen.Attention{Batch: s.batch, Queries: s.length, Keys: memory.length, Heads: heads, KVHeads: kv, Scale: c.scale(i), Recompute: s.recompute == RecomputeAttention}
	y := a.Apply(s.queries(i, at, x), k, v, graphgen.AttentionInputs{
		Lengths: memory.lengths,
		Dropout: s.dropMask(s.place(use, "cross.weights"), c.Dropout.Rate, s.batch, heads, s.length, memory.length),
	})
	return s.join(i, at, x, y)
}

// crossKeys are the keys and values that the cross-attention of a use reads, rows [B·S,n].
func (s *stack) crossKeys(use, i int, at string) (k, v *graphgen.Tensor) {
	k, v = s.memory.keys[use], s.memory.values[use]
	if s.c.Attn.CrossKV != "own" || s.memory.ready {
		return k, v
	}
	n := s.c.kvHeads(i) * s.c.qkvDim(i)
	return s.linear(k, at+".wk", n, s.c.Bias.QKV, at+".bk"), s.linear(v, at+".wv", n, s.c.Bias.QKV, at+".bv")
}

// database is attention to learned keys and values, the same for all heads and layers:
// every head's query is a row of one attention with a single head.
func (s *stack) database(use, i int, at string, x *graphgen.Tensor) *graphgen.Tensor {
	c := s.c
	heads, dim, rows := c.heads(i), c.qkvDim(i), c.Database.Rows
	q := s.queries(i, at, x)
	n := s.g.Product(s.rows(), heads)
	a := graphgen.Attention{Batch: 1, Queries: n, Keys: rows, Heads: 1, Scale: c.scale(i), Recompute: s.recompute == RecomputeAttention}
	o := graphgen.AttentionInputs{}
	if mask := s.dropMask(s.place(use, "database.weights"), c.Dropout.Rate, s.batch, heads, s.length, rows); mask != nil {
		o.Dropout = graphgen.Reshape(graphgen.Transpose(mask, 0, 2, 1, 3), 1, 1, n, rows)
	}
	y := a.Apply(graphgen.Reshape(q, n, dim), s.normal("database.keys", 1, rows, dim), s.normal("database.values", 1, rows, dim), o)
	return s.linear(graphgen.Reshape(y, s.rows(), heads*dim), at+".wo", c.D, c.Bias.Out, at+".bo")
}

// queries is x·wq.
func (s *stack) queries(i int, at string, x *graphgen.Tensor) *graphgen.Tensor {
	n := s.c.heads(i) * s.c.qkvDim(i)
	return graphgen.Linear(x, s.normal(at+".wq", s.c.queryStd(i), s.c.D, n), s.bias(s.c.Bias.QKV, at+".bq", n))
}

// join makes the heads' outputs y [N, H·K] one output [N,D], of the layer's input x.
func (s *stack) join(i int, at string, x, y *graphgen.Tensor) *graphgen.Tensor {
	heads, dim := s.c.heads(i), s.c.qkvDim(i)
	if s.c.Attn.Role { // Schlag et al., Enhancing the Transformer With Explicit Relational Encoding, 2019
		y = graphgen.Mul(y, s.linear(x, at+".wr", heads*dim, false, ""))
	}
	if s.c.Attn.Summed {
		y = graphgen.ReduceSum(graphgen.Reshape(y, s.rows(), heads/2, 2, dim), false, 2)
		y = graphgen.Reshape(y, s.rows(), heads/2*dim)
	}
	return s.linear(y, at+".wo", s.c.D, s.c.Bias.Out, at+".bo")
}

// compress projects keys or values [B·S,n] along the length to [B·k,n] (Wang et al.,
// Linformer, 2020): padding is zeroed first, and sequences shorter than the model's
// positions use the first rows of the matrix. Its start values keep the variance, whatever
// the model's other matrices start with.
func (s *stack) compress(name string, x *graphgen.Tensor) *graphgen.Tensor {
	k, n := s.c.Attn.Linformer, x.Dim(1)
	e := graphgen.First(s.normal(name, 1/math.Sqrt(float64(s.c.Length)), s.c.Length, k), 0, s.length)
	x = graphgen.Reshape(x, s.batch, s.length, n)
	if s.lengths != nil {
		own := graphgen.Less(s.g.Iota(s.length), graphgen.Unsqueeze(s.lengths, 1))
		x = graphgen.Mul(x, graphgen.Reshape(graphgen.Cast(own, x.DType()), s.batch, s.length, 1))
	}
	return graphgen.Reshape(graphgen.MatMul(graphgen.SwapLast(e), x), s.g.Product(s.batch, k), n)
}

// behind puts the encoder's rows behind the decoder's, sequence by sequence:
// [B·T,n], [B·S,n] → [B·(T+S),n]; T counts the past's too.
func (s *stack) behind(own, memory *graphgen.Tensor) *graphgen.Tensor {
	n := own.Dim(1)
	both := graphgen.Concat(1, graphgen.Reshape(own, s.batch, s.own(), n), graphgen.Reshape(memory, s.batch, s.memory.length, n))
	return graphgen.Reshape(both, s.g.Product(s.batch, both.Dim(1)), n)
}
