package evalsuite

import (
	"errors"
	"fmt"
	"slices"

	"march/runtime"
	"march/variants/manifest"
)

// ONNXModel is an eval.onnx with its parameters. It may be used by one goroutine at a time.
type ONNXModel struct {
	rt        *runtime.Runtime
	session   *runtime.Session
	params    map[string]*runtime.Tensor
	arch      Architecture
	arrays    []string // the file's inputs and outputs that are no parameters
	maxLength int

	buffer   *runtime.Buffer // the architecture's arrays, one after the other, capacity elements each
	capacity int
	shapes   map[shapeKey]*shape
	clock    int // counts calls of Eval
}

// shapeKey is a batch's Rows, Length and DecoderLength.
type shapeKey [3]int

// shape is the binding for batches of one shape; arrays that the architecture lacks are nil.
type shape struct {
	tokens, lengths, decoder, documents, labels, top, logprob *runtime.Tensor

	binding *runtime.Binding
	used    int // clock of the last use
}

const (
	maxShapes    = 64  // bindings kept; the one used longest ago makes room
	capacityUnit = 512 // so that all arrays begin at a multiple of 4,096 bytes
)

// The names in eval.onnx.
const (
	tokenInput    = manifest.Tokens
	lengthInput   = manifest.Lengths
	decoderInput  = manifest.DecoderTokens
	documentInput = manifest.Documents
	labelInput    = manifest.Labels
	logprobOutput = "logprob"
	topOutput     = "top"
)

// arrays are the inputs and outputs of each architecture that are no parameters; outputs come
// last, and of those the one of the smallest element. A decoder may have documents too.
var arrays = map[Architecture][]string{
	Decoder:        {tokenInput, labelInput, topOutput, logprobOutput},
	Encoder:        {tokenInput, lengthInput, labelInput, topOutput, logprobOutput},
	EncoderDecoder: {tokenInput, lengthInput, decoderInput, labelInput, topOutput, logprobOutput},
}

func isOutput(array string) bool { return array == topOutput || array == logprobOutput }

func elementOf(array string) runtime.ElementType {
	if array == logprobOutput {
		return runtime.Float32
	}
	return runtime.Int64
}

// NewONNXModel loads eval.onnx and binds the parameters, by name, to its inputs; they are read
// where they lie, so a model that is being trained is scored as it is at the time. maxLength is the
// number of positions that the model was made for. [ONNXModel.Close] gives everything but the
// parameters back.
//
// Besides parameters the file has the inputs tokens and labels int64 [B,S], and may have documents
// int64 [B,S]; an encoder also lengths int64 [B]; an encoder-decoder lengths, decoder_tokens and labels int64 [B,T]. The outputs logprob
// float32 and top int64 have the labels' shape. B, S and T are dynamic. The inputs tell the
// architecture.
func NewONNXModel(rt *runtime.Runtime, evalOnnx string, params map[string]*runtime.Tensor, maxLength int) (*ONNXModel, error) {
	if maxLength < 1 {
		return nil, fmt.Errorf("%s: a model of %d positions: want at least 1", evalOnnx, maxLength)
	}
	session, err := rt.Session(evalOnnx, runtime.SessionOptions{})
	if err != nil {
		return nil, err
	}
	m := &ONNXModel{rt: rt, session: session, params: params, maxLength: maxLength, shapes: map[shapeKey]*shape{}}
	if err := m.check(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", evalOnnx, err), m.Close())
	}
	return m, nil
}

// check finds the architecture, and what does not fit before the first batch does: names here,
// element types and shapes by a binding of one position.
func (m *ONNXModel) check() error {
	inputs, outputs := names(m.session.Inputs()), names(m.session.Outputs())
	m.arch = Decoder
	if slices.Contains(inputs, decoderInput) {
		m.arch = EncoderDecoder
	} else if slices.Contains(inputs, lengthInput) {
		m.arch = Encoder
	}
	m.arrays = slices.Clone(arrays[m.arch])
	if m.arch == Decoder && slices.Contains(inputs, documentInput) {
		m.arrays = slices.Insert(m.arrays, 1, documentInput)
	}
	for _, info := range m.session.Inputs() {
		if _, ok := m.params[info.Name]; !ok && !slices.Contains(m.arrays, info.Name) {
			return fmt.Errorf("no parameter is named %s, as its input %s asks for", info.Name, info)
		}
	}
	for name := range m.params {
		if !slices.Contains(inputs, name) {
			return fmt.Errorf("has no input for the parameter %s: is it of another model?", name)
		}
	}
	for _, name := range m.arrays {
		if isOutput(name) && !slices.Contains(outputs, name) {
			return fmt.Errorf("has no output %s, which the eval.onnx of every %s has", name, m.arch)
		}
		if !isOutput(name) && !slices.Contains(inputs, name) {
			return fmt.Errorf("has no input %s, which the eval.onnx of every %s has", name, m.arch)
		}
	}
	key := shapeKey{1, 1, 0}
	if m.arch == EncoderDecoder {
		key[2] = 1
	}
	_, err := m.shape(key)
	return err
}

func names(infos []runtime.Info) (names []string) {
	for _, info := range infos {
		names = append(names, info.Name)
	}
	return names
}

// Architecture is what the file's inputs say.
func (m *ONNXModel) Architecture() Architecture { return m.arch }

// BatchTokens is how many positions of a batch suit the device.
func (m *ONNXModel) BatchTokens() int {
	if m.rt.GPU() == "" {
		return DefaultBatchTokens
	}
	vocab := 1
	if table := m.params[embeddingTable]; table != nil {
		vocab = int(table.Shape()[0])
	}
	return gpuBatchTokens(vocab)
}

// gpuBatchTokens are enough positions that a GPU computes for longer than its kernels take to start, with logits of
// 512 MiB at most where that leaves a CPU's batch.
func gpuBatchTokens(vocab int) int {
	const most, logits = 8192, 512 << 20
	return max(DefaultBatchTokens, min(most, logits/4/vocab))
}

// embeddingTable is the parameter with a row for each entry of the vocabulary.
const embeddingTable = "embed.tokens"

// MaxLength is the number of positions that the model was made for.
func (m *ONNXModel) MaxLength() int { return m.maxLength }

// Eval scores one batch; see [Model]. A shape that occurred before costs the copies in, the run and
// two copies out.
func (m *ONNXModel) Eval(b *Batch) error {
	s, err := m.shape(shapeKey{b.Rows, b.Length, b.DecoderLength})
	if err != nil {
		return err
	}
	if err := errors.Join(upload(s.tokens, b.Tokens), upload(s.lengths, b.Lengths),
		upload(s.decoder, b.DecoderTokens), upload(s.documents, b.Documents), upload(s.labels, b.Labels)); err != nil {
		return err
	}
	if err := s.binding.Run(); err != nil {
		if b.DecoderLength > 0 {
			return fmt.Errorf("%d sequences of %d and %d tokens: %w", b.Rows, b.Length, b.DecoderLength, err)
		}
		return fmt.Errorf("%d sequences of %d tokens: %w", b.Rows, b.Length, err)
	}
	return errors.Join(runtime.Download(s.logprob, b.LogProb), runtime.Download(s.top, b.Top))
}

// upload fills an array that the architecture has.
func upload(t *runtime.Tensor, from []int64) error {
	if t == nil {
		return nil
	}
	return runtime.Upload(t, from)
}

// shape returns the binding for batches of one shape, a kept one where there is one.
func (m *ONNXModel) shape(key shapeKey) (*shape, error) {
	if m.session == nil {
		return nil, errors.New("the model is closed")
	}
	m.clock++
	if s := m.shapes[key]; s != nil {
		s.used = m.clock
		return s, nil
	}
	if err := m.reserve(key[0] * max(key[1], key[2])); err != nil {
		return nil, err
	}
	if len(m.shapes) >= maxShapes {
		var oldest shapeKey
		for k, s := range m.shapes {
			if old := m.shapes[oldest]; old == nil || s.used < old.used {
				oldest = k
			}
		}
		if err := m.drop(oldest); err != nil {
			return nil, err
		}
	}
	s := &shape{used: m.clock}
	inputs, outputs := map[string]*runtime.Tensor{}, map[string]*runtime.Tensor{}
	for name, t := range m.params {
		inputs[name] = t
	}
	rows, length, labels := int64(key[0]), int64(key[1]), int64(key[1])
	if m.arch == EncoderDecoder {
		labels = int64(key[2])
	}
	offset := 0
	for _, name := range m.arrays {
		place, dims := s.array(name), []int64{rows, labels}
		switch name {
		case tokenInput, documentInput:
			dims = []int64{rows, length}
		case lengthInput:
			dims = []int64{rows}
		}
		t, err := m.buffer.Tensor(offset, elementOf(name), dims...)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		*place = t
		if isOutput(name) {
			outputs[name] = t
		} else {
			inputs[name] = t
		}
		offset += m.capacity * elementOf(name).Size()
	}
	var err error
	if s.binding, err = m.session.Bind(inputs, outputs); err != nil {
		return nil, errors.Join(err, s.close())
	}
	m.shapes[key] = s
	return s, nil
}

// array is the place of an array by its name in the file.
func (s *shape) array(name string) **runtime.Tensor {
	return map[string]**runtime.Tensor{
		tokenInput: &s.tokens, lengthInput: &s.lengths, decoderInput: &s.decoder, documentInput: &s.documents,
		labelInput: &s.labels, topOutput: &s.top, logprobOutput: &s.logprob,
	}[name]
}

// reserve makes room for n positions in each array. More room than there was means new memory and
// new bindings, so it grows by doubling.
func (m *ONNXModel) reserve(n int) error {
	if n <= m.capacity {
		return nil
	}
	n = (max(n, 2*m.capacity) + capacityUnit - 1) / capacityUnit * capacityUnit
	if err := m.release(); err != nil {
		return err
	}
	bytes := 0
	for _, name := range m.arrays {
		bytes += n * elementOf(name).Size()
	}
	buffer, err := m.rt.Alloc(bytes)
	if err != nil {
		return err
	}
	m.buffer, m.capacity = buffer, n
	return nil
}

// release closes all bindings and frees the arrays.
func (m *ONNXModel) release() error {
	var errs []error
	for key := range m.shapes {
		errs = append(errs, m.drop(key))
	}
	if m.buffer != nil {
		errs = append(errs, m.buffer.Free())
	}
	m.buffer, m.capacity = nil, 0
	return errors.Join(errs...)
}

func (m *ONNXModel) drop(key shapeKey) error {
	s := m.shapes[key]
	delete(m.shapes, key)
	return s.close()
}

func (s *shape) close() error {
	var errs []error
	if s.binding != nil {
		errs = append(errs, s.binding.Close())
	}
	for _, t := range []*runtime.Tensor{s.tokens, s.lengths, s.decoder, s.documents, s.labels, s.top, s.logprob} {
		if t != nil {
			errs = append(errs, t.Close())
		}
	}
	return errors.Join(errs...)
}

// Close gives back all but the parameters, which are the caller's. Closing twice is no error.
func (m *ONNXModel) Close() error {
	if m.session == nil {
		return nil
	}
	err := errors.Join(m.release(), m.session.Close())
	m.session = nil
	return err
}
