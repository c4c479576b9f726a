package variants

import (
	"fmt"

	"march/graphgen"
)

// stack is one column of layers, the encoder or the decoder, over a batch of sequences.
// Activations are rows, [N,D] with N = B·S.
type stack struct {
	*model
	name    string // encoder or decoder: the first part of its parameters' names
	batch   int    // dimensions; symbols in graphs of dynamic size
	length  int
	causal  bool
	lengths *graphgen.Tensor // int64 [B]: positions from there on are padding; nil: none are
	memory  *stack           // the encoder that a decoder reads; nil: none
	past    int              // a dimension: tokens before these, whose keys and values are inputs; 0: none
	ready   bool             // of a memory: keys and values are as cross-attention reads them

	documents *graphgen.Tensor // int64 [B,S]: attention stays within equal numbers; nil: a row is one document

	keys, values []*graphgen.Tensor // of each use's self-attention, rows [N, heads·K]
	before       []cached           // with a past: its keys and values in each use
	present      []cached           // with a past: those that the next tokens read
	ponder       *graphgen.Tensor   // with halting: the uses that each position took and its remainder, [N]
	steps        *graphgen.Tensor   // with halting: the uses alone, [N]
}

// rows is the dimension N = B·S.
func (s *stack) rows() int { return s.g.Product(s.batch, s.length) }

// run is the stack over tokens int64 [B,S]: hidden states [N,D].
func (s *stack) run(tokens *graphgen.Tensor) *graphgen.Tensor {
	x := s.embed(tokens)
	if s.c.Halting.Kind == "act" {
		x = s.halting(x)
	} else {
		for use := range s.c.Share.Uses {
			s.in(use, func() { x = s.layer(use, s.stepped(use, x)) })
		}
	}
	if s.c.Norm.Place == "pre" {
		s.g.In(s.name, func() { x = s.norm(s.name+".norm", x) })
	}
	return x
}

// in builds a use, which gradients may compute anew as a whole.
func (s *stack) in(use int, f func()) {
	s.g.In(fmt.Sprintf("%s.%d", s.name, use), func() {
		if s.recompute == RecomputeBlock {
			s.g.Recomputed(f)
		} else {
			f()
		}
	})
}

// stepped adds the use's own vector, where the config has one (Dehghani et al., Universal
// Transformers, 2019).
func (s *stack) stepped(use int, x *graphgen.Tensor) *graphgen.Tensor {
	if !s.c.Share.StepEmbedding {
		return x
	}
	steps := s.normal(s.name+".steps", s.c.InitStd, s.c.Share.Uses, s.c.D)
	return graphgen.Add(x, graphgen.Embedding(steps, s.g.Ints([]int64{int64(use)}, 1)))
}

// layer is self-attention, cross-attention where there is a memory, attention to the
// database where there is one, and the feed-forward layer. Sharing assigns parameters
// to it; the window belongs to the use, not to the parameters.
func (s *stack) layer(use int, x *graphgen.Tensor) *graphgen.Tensor {
	i := s.c.Share.Layer(use)
	at := fmt.Sprintf("%s.%d", s.name, i)
	part := func(name string, residual bool, f func(h *graphgen.Tensor) *graphgen.Tensor) {
		s.g.In(name, func() { x = s.subLayer(at+"."+name, s.place(use, name), residual, x, f) })
	}
	part("attn", s.c.Attn.Residual, func(h *graphgen.Tensor) *graphgen.Tensor { return s.selfAttention(use, i, at+".attn", h) })
	if s.memory != nil && !s.c.Attn.Unified {
		part("cross", true, func(h *graphgen.Tensor) *graphgen.Tensor { return s.crossAttention(use, i, at+".cross", h) })
	}
	if s.c.Database.Rows > 0 {
		part("database", true, func(h *graphgen.Tensor) *graphgen.Tensor { return s.database(use, i, at+".database", h) })
	}
	if j := s.c.FFLayer(use); j >= 0 {
		at = fmt.Sprintf("%s.ff.%d", s.name, j)
		s.g.In("ff", func() {
			x = s.subLayer(at, s.place(use, "ff"), true, x, func(h *graphgen.Tensor) *graphgen.Tensor { return s.feedForward(use, at, h) })
		})
		return x
	}
	part("ff", true, func(h *graphgen.Tensor) *graphgen.Tensor { return s.feedForward(use, at+".ff", h) })
	return x
}

// place names a part of a use for dropout.
func (s *stack) place(use int, part string) string { return fmt.Sprintf("%s.%d.%s", s.name, use, part) }

// subLayer is x + drop(f(norm x)), or norm(x + drop(f(x))) where norms stand behind; or
// either without the residual connection.
func (s *stack) subLayer(at, place string, residual bool, x *graphgen.Tensor, f func(h *graphgen.Tensor) *graphgen.Tensor) *graphgen.Tensor {
	h := x
	if s.c.Norm.Place == "pre" {
		h = s.norm(at+".norm", x)
	}
	y := s.drop(place, s.c.Dropout.Rate, f(h), s.batch, s.length, s.c.D)
	if residual {
		y = graphgen.Add(x, y)
	}
	if s.c.Norm.Place == "post" {
		y = s.norm(at+".norm", y)
	}
	return y
}

// feedForward is act(x·up)·down, (act(x·gate) · x·up)·down, or mixed.
func (s *stack) feedForward(use int, at string, x *graphgen.Tensor) *graphgen.Tensor {
	c := s.c
	in := func(name string) *graphgen.Tensor {
		return s.linear(x, at+"."+name, c.FF, c.Bias.FF, at+"."+name+"_bias")
	}
	var h *graphgen.Tensor
	switch {
	case c.Mix != "none":
		slow := s.drop(s.place(use, "ff.slow"), c.Dropout.Slow, graphgen.Sigmoid(in("slow")), s.batch, s.length, c.FF)
		h = graphgen.Add(slow, graphgen.Relu(in("fast")))
		if c.Mix == "mean" {
			h = graphgen.Scale(h, 0.5)
		}
	case c.GLU:
		h = graphgen.GLU(c.Act, in("gate"), in("up"))
	default:
		h = graphgen.Activation(c.Act, in("up"))
	}
	h = s.drop(s.place(use, "ff.hidden"), c.Dropout.Rate, h, s.batch, s.length, c.FF)
	return s.linear(h, at+".down", c.D, c.Bias.FF, at+".down_bias")
}
