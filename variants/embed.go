package variants

import (
	"math"

	"march/graphgen"
)

// positionBase is the base of the angles of rotary and sinusoidal positions.
const positionBase = 10_000

// T5's relative positions (Raffel et al., 2020).
const (
	relativeBuckets  = 32
	relativeDistance = 128
)

// table is the embedding [V,D], which is the output projection too.
func (m *model) table() *graphgen.Tensor {
	return m.normal("embed.tokens", m.c.tableStd(), m.c.Vocab, m.c.D)
}

// embed is what the first layer sees of tokens int64 [B,S], rows [N,D].
func (s *stack) embed(tokens *graphgen.Tensor) (x *graphgen.Tensor) {
	c := s.c
	s.g.In(s.name+".embed", func() {
		x = s.drop(s.name+".embed", c.Dropout.Rate, graphgen.Embedding(s.table(), tokens), s.batch, s.length, c.D)
		switch c.Pos.Kind {
		case "learned":
			p := s.positions(s.normal("embed.positions", c.Pos.Std, c.Length, c.D))
			x = graphgen.Add(x, s.dropShared(s.name+".position", c.Dropout.Rate, p, s.length, c.D))
			if c.Pos.Combine == "average" {
				x = graphgen.Scale(x, 0.5)
			}
		case "sinusoidal":
			p := s.g.Sinusoids(x.DType(), s.past, s.length, c.D, positionBase)
			x = graphgen.Add(x, s.dropShared(s.name+".position", c.Dropout.Rate, p, s.length, c.D))
		}
		x = graphgen.Reshape(x, s.rows(), c.D)
		if c.Norm.Embed {
			x = s.norm("embed.norm", x)
		}
	})
	return x
}

// positions are the rows of a table of positions that the tokens have, [S,D]. Behind a past they are looked up one by one:
// that fails where the table ends, and a slice would be short without a word.
func (s *stack) positions(table *graphgen.Tensor) *graphgen.Tensor {
	if s.past == 0 {
		return graphgen.First(table, 0, s.length)
	}
	return graphgen.Embedding(table, s.g.Positions(s.past, s.length))
}

// positionBias is added to the logits of self-attention, [H,S,S] or with a past [H,S,P+S]; nil for positions that
// live elsewhere.
func (s *stack) positionBias(heads int) *graphgen.Tensor {
	switch s.c.Pos.Kind {
	case "alibi":
		return s.g.Alibi(s.compute, heads, s.past, s.length, s.own())
	case "relative":
		table := s.param(Parameter{Name: s.name + ".relative", Shape: []int{relativeBuckets, heads}, Decay: true, Init: "zeros"})
		return graphgen.RelativeBias(table, s.past, s.length, s.own(), s.c.Length, relativeDistance, s.causal)
	}
	return nil
}

// output makes of the last hidden states x [N,D] what the table turns into logits.
func (m *model) output(x *graphgen.Tensor) *graphgen.Tensor {
	c := m.c
	m.g.In("output", func() {
		if c.Output.Transform {
			x = graphgen.Activation(c.Act, m.linear(x, "output.dense", c.D, c.Bias.Output, "output.dense_bias"))
			x = m.norm("output.norm", x)
		}
		if c.Output.Scaled {
			x = graphgen.Scale(x, 1/math.Sqrt(float64(c.D)))
		}
	})
	return x
}

// outputBias is the output projection's own, [V] or nil.
func (m *model) outputBias() *graphgen.Tensor {
	return m.bias(m.c.Bias.Output, "output.bias", m.c.Vocab)
}
