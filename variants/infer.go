package variants

import (
	"fmt"

	"march/graphgen"
)

// Graphs of trained models: tokens to logits, whole or token by token with a cache of keys and values.

// Names of the graphs of [Config.Inference], and of the output that all but the encoder's have.
const (
	InferGraph   = "infer"
	EncoderGraph = "encoder"
	DecoderGraph = "decoder"
	Logits       = "logits"
)

// PastNames are the inputs with the keys and values of earlier tokens in use N of the decoder's layers, [B, key/value
// heads, P, qkv_dim]. Rotary positions are in the keys already.
func PastNames(use int) (key, value string) { return cacheNames("past_key_values", use) }

// PresentNames are the outputs with those of the earlier tokens and of these, [B, key/value heads, P+S, qkv_dim]: the
// next run's past.
func PresentNames(use int) (key, value string) { return cacheNames("present", use) }

// EncoderNames are the encoder's keys and values that use N of the decoder's layers reads, [B, key/value heads, S, qkv_dim].
func EncoderNames(use int) (key, value string) { return cacheNames("encoder", use) }

func cacheNames(prefix string, use int) (key, value string) {
	return fmt.Sprintf("%s.%d.key", prefix, use), fmt.Sprintf("%s.%d.value", prefix, use)
}

// CacheShape is the key/value heads and the qkv_dim of the caches of a use.
func (c Config) CacheShape(use int) (heads, dim int) {
	i := c.Share.Layer(use)
	return c.kvHeads(i), c.qkvDim(i)
}

// InferOptions say what a trained model's graphs are like.
type InferOptions struct {
	// Compute is the type of parameters, activations, matrix products and caches: Float32 (so is Invalid, the zero
	// value), Float16 or BFloat16. Logits are float32 in each.
	Compute graphgen.DType
	// Dims are the sizes of a graph without a cache; the zero value: any.
	Dims Dims
	// Cache adds the keys and values of earlier tokens as inputs, and those that the next run wants as outputs.
	Cache bool
}

// NamedGraph is one of a model's graphs.
type NamedGraph struct {
	Name string
	*Graph
}

// Cacheable reports why a model can keep no keys and values from one token to the next; nil where it can.
func (c Config) Cacheable() error {
	switch {
	case c.Attn.Linformer > 0:
		return fmt.Errorf("attn.linformer %d mixes the keys of all positions, so that none can be kept for later tokens: a cache needs arch decoder or encoder-decoder", c.Attn.Linformer)
	case c.Arch == Encoder:
		return fmt.Errorf("arch encoder: every position sees those behind it, so that no key or value can be kept for later tokens: a cache needs arch decoder or encoder-decoder")
	}
	return nil
}

// Inference lists a trained model's graphs; all sizes are dynamic. Without a cache it is one, infer: tokens int64 [B,S]
// (lengths [B] and decoder_tokens [B,T] where the architecture has them) to logits float32 [B,S,V], of an
// encoder-decoder [B,T,V]. With a cache a decoder's infer also takes the keys and values of P ≥ 0 earlier tokens
// ([PastNames]) and gives those of all P+S ([PresentNames]). An encoder-decoder is then two graphs: encoder, from tokens
// and lengths to the keys and values that the decoder reads ([EncoderNames]), and decoder, from those, lengths,
// decoder_tokens and the past to logits and the present.
func (c Config) Inference(o InferOptions) (list []NamedGraph, err error) {
	c.Training.DocumentMask = false // a row is one document
	add := func(name string, declare func(m *model) error) error {
		g, err := c.inference(o.Compute, declare)
		list = append(list, NamedGraph{name, g})
		return err
	}
	switch {
	case !o.Cache:
		err = add(InferGraph, func(m *model) error {
			d, err := m.sizes(o.Dims)
			if err == nil {
				m.forward(d).outputLogits()
			}
			return err
		})
		return list, err
	case c.Cacheable() != nil:
		return nil, c.Cacheable()
	case c.Arch == Decoder:
		err = add(InferGraph, func(m *model) error {
			d := m.dynamic()
			d.past = m.g.Symbol("past_length")
			f := m.forward(d)
			f.outputLogits()
			f.last.outputPresent()
			return nil
		})
		return list, err
	}
	if err = add(EncoderGraph, (*model).encode); err == nil {
		err = add(DecoderGraph, (*model).decode)
	}
	return list, err
}

// Infer is the graph of [Config.Inference] without options (infer.onnx).
func (c Config) Infer() (*Graph, error) { return c.InferOf(Dims{}) }

// InferOf is Infer for batches of these sizes; of the zero value, for any.
func (c Config) InferOf(d Dims) (*Graph, error) {
	list, err := c.Inference(InferOptions{Dims: d})
	if err != nil {
		return nil, err
	}
	return list[0].Graph, nil
}

// inference builds a graph that does not train. Its parameters are inputs of the type that it computes in.
func (c Config) inference(compute graphgen.DType, declare func(m *model) error) (*Graph, error) {
	m := newModel(c)
	if compute != graphgen.Invalid {
		m.compute = compute
	}
	err := build(func() error { return declare(m) })
	if err != nil {
		return nil, err
	}
	params := m.read()
	if m.compute == graphgen.Float32 {
		return &Graph{m.g, params}, nil
	}
	g := m.g.LiftCasts(func(input string) string {
		if m.tensor[input] == nil {
			return ""
		}
		return input // nothing reads it in float32
	})
	return &Graph{g, params}, nil
}

// outputLogits declares the logits, in the shape of the tokens.
func (f *forward) outputLogits() {
	logits := f.logits()
	f.g.In("output", func() {
		x := graphgen.Cast(logits, graphgen.Float32)
		f.g.Output(Logits, graphgen.Reshape(x, f.dims.Batch, f.dims.labelled(), f.c.Vocab))
	})
}

// cached are the keys and values of a use, heads first: [B, key/value heads, tokens, qkv_dim].
type cached struct{ keys, values *graphgen.Tensor }

// own is how many tokens a decoder's queries and those before them are.
func (s *stack) own() int {
	if s.past == 0 {
		return s.length
	}
	return s.g.Sum(s.past, s.length)
}

// headsFirst are rows [B·S, heads·K] as a cache has them, and rows the way back.
func (s *stack) headsFirst(x *graphgen.Tensor, heads int) *graphgen.Tensor {
	return graphgen.Transpose(graphgen.Reshape(x, s.batch, s.length, heads, x.Dim(1)/heads), 0, 2, 1, 3)
}

func (s *stack) rowsOf(x *graphgen.Tensor) *graphgen.Tensor {
	return graphgen.Reshape(graphgen.Transpose(x, 0, 2, 1, 3), s.g.Product(x.Dim(0), x.Dim(2)), x.Dim(1)*x.Dim(3))
}

// cacheInputs declares keys and values of tokens that are known already.
func (s *stack) cacheInputs(names func(use int) (key, value string), use, tokens int) cached {
	heads, dim := s.c.CacheShape(use)
	key, value := names(use)
	return cached{s.g.Input(key, s.compute, s.batch, heads, tokens, dim), s.g.Input(value, s.compute, s.batch, heads, tokens, dim)}
}

// goOn has a decoder go on behind past earlier tokens, whose keys and values it declares.
func (s *stack) goOn(past int) {
	s.past = past
	for use := range s.c.Share.Uses {
		s.before = append(s.before, s.cacheInputs(PastNames, use, past))
	}
}

// remember puts the keys and values of a use, rows [B·S,n], behind those of the past: rows [B·(P+S),n].
func (s *stack) remember(use int, k, v *graphgen.Tensor) (keys, values *graphgen.Tensor) {
	heads, _ := s.c.CacheShape(use)
	past := s.before[use]
	now := cached{graphgen.Concat(2, past.keys, s.headsFirst(k, heads)), graphgen.Concat(2, past.values, s.headsFirst(v, heads))}
	s.present = append(s.present, now)
	return s.rowsOf(now.keys), s.rowsOf(now.values)
}

// outputPresent declares what the next run has as its past.
func (s *stack) outputPresent() {
	for use, c := range s.present {
		key, value := PresentNames(use)
		s.g.Output(key, c.keys)
		s.g.Output(value, c.values)
	}
}

// encode is the encoder's graph: tokens and lengths to what the decoder's attentions read.
func (m *model) encode() error {
	batch, length := m.g.Symbol("batch"), m.g.Symbol("length")
	encoder := &stack{model: m, name: Encoder, batch: batch, length: length}
	tokens := m.input(Tokens, batch, length)
	encoder.lengths = m.input(Lengths, batch)
	encoder.run(tokens)
	decoder := &stack{model: m, name: Decoder, memory: encoder}
	for use := range m.c.Share.Uses {
		i := m.c.Share.Layer(use)
		heads, _ := m.c.CacheShape(use)
		key, value := EncoderNames(use)
		decoder.in(use, func() {
			k, v := decoder.crossKeys(use, i, fmt.Sprintf("%s.%d.cross", Decoder, i))
			m.g.Output(key, encoder.headsFirst(k, heads))
			m.g.Output(value, encoder.headsFirst(v, heads))
		})
	}
	return nil
}

// decode is the decoder's graph, which reads what encode gave.
func (m *model) decode() error {
	batch, length, source := m.g.Symbol("batch"), m.g.Symbol("decoder_length"), m.g.Symbol("length")
	tokens := m.input(DecoderTokens, batch, length)
	encoder := &stack{model: m, name: Encoder, batch: batch, length: source, lengths: m.input(Lengths, batch), ready: true}
	for use := range m.c.Share.Uses {
		given := encoder.cacheInputs(EncoderNames, use, source)
		encoder.keys, encoder.values = append(encoder.keys, encoder.rowsOf(given.keys)), append(encoder.values, encoder.rowsOf(given.values))
	}
	decoder := &stack{model: m, name: Decoder, batch: batch, length: length, causal: true, memory: encoder}
	decoder.goOn(m.g.Symbol("past_length"))
	f := &forward{model: m, dims: Dims{Batch: batch, Length: length}, last: decoder}
	f.hidden = m.output(decoder.run(tokens))
	f.outputLogits()
	decoder.outputPresent()
	return nil
}
