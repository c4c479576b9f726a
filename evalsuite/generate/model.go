// Package generate continues texts with a trained model, one token at a time: a model whose keys and values of earlier
// tokens stay on the device, the choice of the next token, and text that comes out in whole characters. It does not train
// and prints nothing. Start at [New] and [Text].
package generate

import (
	"errors"
	"fmt"

	"march/graphgen"
	"march/runtime"
	"march/variants"
	"march/variants/manifest"
)

// Model gives the logits of the next token; see [variants.Config.Inference] for its graphs. It may be used by one
// goroutine at a time.
//
// B is 1, S the tokens of a run, P those before them, V the vocabulary.
type Model struct {
	rt      *runtime.Runtime
	config  variants.Config
	params  map[string]*runtime.Tensor
	encoder *stage // nil in decoders
	decoder *stage

	source  int // tokens that the encoder has read
	seen    int // tokens that the decoder has read: P
	newest  int // which of the two buffers of each cache has their keys and values
	caches  [2]*runtime.Buffer
	memory  *runtime.Buffer // what the encoder gave
	words   *runtime.Buffer // tokens, and the encoder's length
	results *runtime.Buffer // logits
}

// stage is one of the model's graphs.
type stage struct {
	session *runtime.Session
	params  map[string]*runtime.Tensor // that it reads
}

// New compiles a config's graphs for ONNX Runtime and binds the parameters, by name, which stay the caller's.
// [Model.Close] gives back all but those. A model without a cache is an error ([variants.Config.Cacheable]).
func New(rt *runtime.Runtime, c variants.Config, params map[string]*runtime.Tensor) (m *Model, err error) {
	graphs, err := c.Inference(variants.InferOptions{Cache: true})
	if err != nil {
		return nil, err
	}
	m = &Model{rt: rt, config: c, params: params}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	for _, g := range graphs {
		s, err := newStage(rt, g, params)
		if err != nil {
			return m, fmt.Errorf("%s.onnx: %w", g.Name, err)
		}
		if g.Name == variants.EncoderGraph {
			m.encoder = s
		} else {
			m.decoder = s
		}
	}
	return m, m.allocate()
}

func newStage(rt *runtime.Runtime, g variants.NamedGraph, params map[string]*runtime.Tensor) (*stage, error) {
	p, err := g.Compile(graphgen.ORT)
	if err != nil {
		return nil, err
	}
	b, err := p.Encode(graphgen.EncodeOptions{Name: g.Name})
	if err != nil {
		return nil, err
	}
	s := &stage{params: map[string]*runtime.Tensor{}}
	for _, x := range g.Parameters {
		if s.params[x.Name] = params[x.Name]; params[x.Name] == nil {
			return nil, fmt.Errorf("no parameter is named %s", x.Name)
		}
	}
	s.session, err = rt.SessionBytes(b, runtime.SessionOptions{})
	return s, err
}

// allocate makes room for as many tokens as the model has positions.
func (m *Model) allocate() error {
	bytes, c := 0, m.config
	for use := range c.Share.Uses {
		heads, dim := c.CacheShape(use)
		bytes += 2 * cacheBytes(heads, c.Length, dim)
	}
	type room struct {
		to    **runtime.Buffer
		bytes int
	}
	rooms := []room{{&m.caches[0], bytes}, {&m.caches[1], bytes}, {&m.words, 8 * (c.Length + 1)}, {&m.results, 4 * c.Length * c.Vocab}}
	if m.encoder != nil {
		rooms = append(rooms, room{&m.memory, bytes})
	}
	for _, r := range rooms {
		var err error
		if *r.to, err = m.rt.Alloc(r.bytes); err != nil {
			return err
		}
	}
	return nil
}

// cacheBytes is the room of one cache, which begins where a page might.
func cacheBytes(heads, tokens, dim int) int { return (4*heads*tokens*dim + 4095) / 4096 * 4096 }

// Length is the number of positions: tokens that the model can have before it.
func (m *Model) Length() int { return m.config.Length }

// Seen is the number of tokens since Start.
func (m *Model) Seen() int { return m.seen }

// Start forgets all tokens. An encoder-decoder reads the source, of which there must be one token at least; a decoder
// has none.
func (m *Model) Start(source []int64) (err error) {
	m.seen, m.source = 0, len(source)
	switch {
	case m.encoder == nil && len(source) > 0:
		return errors.New("a decoder has no encoder to read a source")
	case m.encoder == nil:
		return nil
	case len(source) == 0 || len(source) > m.config.Length:
		return fmt.Errorf("a source of %d tokens: want 1 to %d, the model's positions", len(source), m.config.Length)
	}
	var b bound
	defer func() { err = errors.Join(err, b.close()) }()
	tokens, err := b.tensor(m.words.Tensor(0, runtime.Int64, 1, int64(len(source))))
	if err != nil {
		return err
	}
	length, err := b.tensor(m.words.Tensor(8*m.config.Length, runtime.Int64, 1))
	if err != nil {
		return err
	}
	if err := errors.Join(runtime.Upload(tokens, source), runtime.Upload(length, []int64{int64(len(source))})); err != nil {
		return err
	}
	in, out := b.inputs(m.encoder), map[string]*runtime.Tensor{}
	in[manifest.Tokens], in[manifest.Lengths] = tokens, length
	if err := m.bindCaches(&b, m.memory, len(source), variants.EncoderNames, out); err != nil {
		return err
	}
	return b.run(m.encoder.session, in, out)
}

// Next reads tokens behind those before and gives the logits [V] of what follows the last of them. dst is used if it has
// the room.
func (m *Model) Next(tokens []int64, dst []float32) ([]float32, error) {
	if err := m.read(tokens); err != nil {
		return nil, err
	}
	v := m.config.Vocab
	return m.logits(dst, 4*(len(tokens)-1)*v, 1, v)
}

// logits copies rows of the last run's.
func (m *Model) logits(dst []float32, offset, rows, v int) ([]float32, error) {
	t, err := m.results.Tensor(offset, runtime.Float32, int64(rows), int64(v))
	if err != nil {
		return nil, err
	}
	if cap(dst) < rows*v {
		dst = make([]float32, rows*v)
	}
	dst = dst[:rows*v]
	return dst, errors.Join(runtime.Download(t, dst), t.Close())
}

// read runs the decoder over tokens; their logits are in results.
func (m *Model) read(tokens []int64) (err error) {
	switch {
	case len(tokens) == 0:
		return errors.New("no tokens to read")
	case m.seen+len(tokens) > m.config.Length:
		return fmt.Errorf("%d tokens behind %d: the model has %d positions", len(tokens), m.seen, m.config.Length)
	case m.encoder != nil && m.source == 0:
		return errors.New("an encoder-decoder reads a source first")
	}
	var b bound
	defer func() { err = errors.Join(err, b.close()) }()
	in, out := b.inputs(m.decoder), map[string]*runtime.Tensor{}
	words, err := b.tensor(m.words.Tensor(0, runtime.Int64, 1, int64(len(tokens))))
	if err != nil {
		return err
	}
	if err := runtime.Upload(words, tokens); err != nil {
		return err
	}
	in[manifest.Tokens] = words
	if m.encoder != nil {
		delete(in, manifest.Tokens)
		in[manifest.DecoderTokens] = words
		if in[manifest.Lengths], err = b.tensor(m.words.Tensor(8*m.config.Length, runtime.Int64, 1)); err != nil {
			return err
		}
		if err := m.bindCaches(&b, m.memory, m.source, variants.EncoderNames, in); err != nil {
			return err
		}
	}
	if out[variants.Logits], err = b.tensor(m.results.Tensor(0, runtime.Float32, 1, int64(len(tokens)), int64(m.config.Vocab))); err != nil {
		return err
	}
	if err := m.bindCaches(&b, m.caches[m.newest], m.seen, variants.PastNames, in); err != nil {
		return err
	}
	if err := m.bindCaches(&b, m.caches[1-m.newest], m.seen+len(tokens), variants.PresentNames, out); err != nil {
		return err
	}
	if err := b.run(m.decoder.session, in, out); err != nil {
		return err
	}
	m.newest, m.seen = 1-m.newest, m.seen+len(tokens)
	return nil
}

// bindCaches adds the keys and values of each use, of so many tokens, as they lie in a buffer.
func (m *Model) bindCaches(b *bound, buffer *runtime.Buffer, tokens int, names func(use int) (key, value string), to map[string]*runtime.Tensor) error {
	at := 0
	for use := range m.config.Share.Uses {
		heads, dim := m.config.CacheShape(use)
		key, value := names(use)
		for _, name := range []string{key, value} {
			var t *runtime.Tensor
			var err error
			if tokens == 0 {
				t, err = b.tensor(buffer.Empty(runtime.Float32, 1, int64(heads), 0, int64(dim)))
			} else {
				t, err = b.tensor(buffer.Tensor(at, runtime.Float32, 1, int64(heads), int64(tokens), int64(dim)))
			}
			if err != nil {
				return err
			}
			to[name] = t
			at += cacheBytes(heads, m.config.Length, dim)
		}
	}
	return nil
}

// bound is what a run of one shape binds.
type bound struct {
	binding *runtime.Binding
	tensors []*runtime.Tensor
}

func (b *bound) tensor(t *runtime.Tensor, err error) (*runtime.Tensor, error) {
	if err == nil {
		b.tensors = append(b.tensors, t)
	}
	return t, err
}

// inputs are a stage's parameters, to which the others are added.
func (b *bound) inputs(s *stage) map[string]*runtime.Tensor {
	in := make(map[string]*runtime.Tensor, len(s.params))
	for name, t := range s.params {
		in[name] = t
	}
	return in
}

func (b *bound) run(s *runtime.Session, in, out map[string]*runtime.Tensor) (err error) {
	if b.binding, err = s.Bind(in, out); err != nil {
		return err
	}
	return b.binding.Run()
}

func (b *bound) close() error {
	var errs []error
	if b.binding != nil {
		errs = append(errs, b.binding.Close())
	}
	for _, t := range b.tensors {
		errs = append(errs, t.Close())
	}
	return errors.Join(errs...)
}

// Close gives back all but the parameters.
func (m *Model) Close() error {
	var errs []error
	for _, s := range []*stage{m.encoder, m.decoder} {
		if s != nil && s.session != nil {
			errs = append(errs, s.session.Close())
		}
	}
	for _, b := range []*runtime.Buffer{m.caches[0], m.caches[1], m.memory, m.words, m.results} {
		if b != nil {
			errs = append(errs, b.Free())
		}
	}
	return errors.Join(errs...)
}
