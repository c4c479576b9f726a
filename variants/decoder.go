package variants

import (
	"fmt"

	"march/graphgen"
)

// decoder is the stack over tokens int64 [B,S]: the hidden states [N,D] that the output
// table turns into logits.
func (m *model) decoder(tokens *graphgen.Tensor) *graphgen.Tensor {
	x := m.embed(tokens)
	for use := range m.c.Share.Uses {
		m.g.In(fmt.Sprintf("decoder.%d", use), func() { x = m.layer(use, x) })
	}
	m.g.In("decoder", func() { x = m.norm("decoder.norm", x) })
	return x
}

// layer is one pre-norm block: x + attention(norm x), then x + feedForward(norm x).
// Sharing assigns parameters to it; the window belongs to the use, not to the parameters.
func (m *model) layer(use int, x *graphgen.Tensor) *graphgen.Tensor {
	p := fmt.Sprintf("decoder.%d", m.c.Share.Layer(use))
	m.g.In("attn", func() {
		x = graphgen.Add(x, m.attention(p+".attn", m.norm(p+".attn.norm", x), m.c.window(use)))
	})
	m.g.In("ff", func() {
		x = graphgen.Add(x, m.feedForward(p+".ff", m.norm(p+".ff.norm", x)))
	})
	return x
}

// embed is table[tokens] + positions, [N,D].
func (m *model) embed(tokens *graphgen.Tensor) (x *graphgen.Tensor) {
	m.g.In("embed", func() {
		x = graphgen.Embedding(m.table(), tokens)
		if m.c.Pos.Kind == "learned" {
			p := m.param(Parameter{Name: "embed.positions", Shape: []int{m.c.Length, m.c.D}, Decay: true, Init: "normal", Std: m.c.Pos.Std})
			x = graphgen.Add(x, graphgen.First(p, 0, m.length))
		}
		x = graphgen.Reshape(x, m.rows(), m.c.D)
	})
	return x
}

// table is the embedding [V,D], which is the output projection too.
func (m *model) table() *graphgen.Tensor {
	return m.param(Parameter{Name: "embed.tokens", Shape: []int{m.c.Vocab, m.c.D}, Decay: true, Init: "normal", Std: m.c.InitStd})
}

// attention is causal self-attention of x [N,D] with the parameters at p.
func (m *model) attention(p string, x *graphgen.Tensor, window int) *graphgen.Tensor {
	c := m.c
	q := graphgen.Linear(x, m.matrix(p+".wq", c.D, c.Heads*c.QKVDim), m.bias(c.Bias.QKV, p+".bq", c.Heads*c.QKVDim))
	k := graphgen.Linear(x, m.matrix(p+".wk", c.D, c.kvHeads()*c.QKVDim), m.bias(c.Bias.QKV, p+".bk", c.kvHeads()*c.QKVDim))
	v := graphgen.Linear(x, m.matrix(p+".wv", c.D, c.kvHeads()*c.QKVDim), m.bias(c.Bias.QKV, p+".bv", c.kvHeads()*c.QKVDim))
	y := graphgen.Attention{
		Batch: m.batch, Queries: m.length, Keys: m.length,
		Heads: c.Heads, KVHeads: c.kvHeads(), Scale: c.scale(), Causal: true, Window: window,
	}.Apply(q, k, v, nil, nil)
	return graphgen.Linear(y, m.matrix(p+".wo", c.Heads*c.QKVDim, c.D), m.bias(c.Bias.Out, p+".bo", c.D))
}

// feedForward is act(x·up)·down, or (act(x·gate) · x·up)·down.
func (m *model) feedForward(p string, x *graphgen.Tensor) *graphgen.Tensor {
	c := m.c
	var h *graphgen.Tensor
	if c.GLU {
		gate := graphgen.Linear(x, m.matrix(p+".gate", c.D, c.FF), m.bias(c.Bias.FF, p+".gate_bias", c.FF))
		up := graphgen.Linear(x, m.matrix(p+".up", c.D, c.FF), m.bias(c.Bias.FF, p+".up_bias", c.FF))
		h = graphgen.GLU(c.Act, gate, up)
	} else {
		h = graphgen.Activation(c.Act, graphgen.Linear(x, m.matrix(p+".up", c.D, c.FF), m.bias(c.Bias.FF, p+".up_bias", c.FF)))
	}
	return graphgen.Linear(h, m.matrix(p+".down", c.FF, c.D), m.bias(c.Bias.FF, p+".down_bias", c.D))
}
