package evalsuite

import (
	"errors"
	"fmt"
	"slices"

	"march/runtime"
)

// ONNXModel is a decoder's eval.onnx with its parameters. It may be used by one goroutine at a
// time.
type ONNXModel struct {
	rt        *runtime.Runtime
	session   *runtime.Session
	params    map[string]*runtime.Tensor
	maxLength int

	buffer   *runtime.Buffer // tokens, labels, top, logprob, one after the other, capacity elements each
	capacity int
	shapes   map[[2]int]*shape
	clock    int // counts calls of Eval
}

// shape is the binding for one batch × length.
type shape struct {
	tokens, labels, logprob, top *runtime.Tensor
	binding                      *runtime.Binding
	used                         int // clock of the last use
}

const (
	maxShapes     = 64      // bindings kept; the one used longest ago makes room
	capacityUnit  = 512     // so that all four arrays begin at a multiple of 4,096 bytes
	positionBytes = 3*8 + 4 // tokens, labels, top: int64; logprob: float32
)

// The names in eval.onnx.
const (
	tokenInput    = "tokens"
	labelInput    = "labels"
	logprobOutput = "logprob"
	topOutput     = "top"
)

// NewONNXModel loads eval.onnx and binds the parameters, by name, to its inputs; they are read
// where they lie, so a model that is being trained is scored as it is at the time. Besides
// parameters the file has the inputs tokens and labels int64 [B,S] and the outputs logprob float32
// [B,S] and top int64 [B,S], B and S dynamic. maxLength is the number of positions that the model
// was made for. [ONNXModel.Close] gives everything but the parameters back.
func NewONNXModel(rt *runtime.Runtime, evalOnnx string, params map[string]*runtime.Tensor, maxLength int) (*ONNXModel, error) {
	if maxLength < 1 {
		return nil, fmt.Errorf("%s: a model of %d positions: want at least 1", evalOnnx, maxLength)
	}
	session, err := rt.Session(evalOnnx, runtime.SessionOptions{})
	if err != nil {
		return nil, err
	}
	m := &ONNXModel{rt: rt, session: session, params: params, maxLength: maxLength, shapes: map[[2]int]*shape{}}
	if err := m.check(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", evalOnnx, err), m.Close())
	}
	return m, nil
}

// check finds what does not fit before the first batch does: names here, element types and shapes
// by a binding of one position.
func (m *ONNXModel) check() error {
	var inputs []string
	for _, info := range m.session.Inputs() {
		inputs = append(inputs, info.Name)
		if info.Name == "lengths" || info.Name == "decoder_tokens" {
			return fmt.Errorf("has the input %s, which encoders and encoder-decoders have: only decoders can be scored", info.Name)
		}
		if _, ok := m.params[info.Name]; !ok && info.Name != tokenInput && info.Name != labelInput {
			return fmt.Errorf("no parameter is named %s, as its input %s asks for", info.Name, info)
		}
	}
	for name := range m.params {
		if !slices.Contains(inputs, name) {
			return fmt.Errorf("has no input for the parameter %s: is it of another model?", name)
		}
	}
	_, err := m.shape(1, 1)
	return err
}

// MaxLength is the number of positions that the model was made for.
func (m *ONNXModel) MaxLength() int { return m.maxLength }

// Eval scores one batch; see [Model]. A shape that occurred before costs two copies in, the run and
// two copies out.
func (m *ONNXModel) Eval(batch, length int, tokens, labels []int64, logprob []float32, top []int64) error {
	s, err := m.shape(batch, length)
	if err != nil {
		return err
	}
	if err := errors.Join(runtime.Upload(s.tokens, tokens), runtime.Upload(s.labels, labels)); err != nil {
		return err
	}
	if err := s.binding.Run(); err != nil {
		return fmt.Errorf("%d sequences of %d tokens: %w", batch, length, err)
	}
	return errors.Join(runtime.Download(s.logprob, logprob), runtime.Download(s.top, top))
}

// shape returns the binding for batch × length, a kept one where there is one.
func (m *ONNXModel) shape(batch, length int) (*shape, error) {
	if m.session == nil {
		return nil, errors.New("the model is closed")
	}
	m.clock++
	key := [2]int{batch, length}
	if s := m.shapes[key]; s != nil {
		s.used = m.clock
		return s, nil
	}
	if err := m.reserve(batch * length); err != nil {
		return nil, err
	}
	if len(m.shapes) >= maxShapes {
		var oldest [2]int
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
	dims := []int64{int64(batch), int64(length)}
	offset := 0
	for _, array := range []struct {
		tensor  **runtime.Tensor
		element runtime.ElementType
	}{{&s.tokens, runtime.Int64}, {&s.labels, runtime.Int64}, {&s.top, runtime.Int64}, {&s.logprob, runtime.Float32}} {
		var err error
		if *array.tensor, err = m.buffer.Tensor(offset, array.element, dims...); err != nil {
			return nil, errors.Join(err, s.close())
		}
		offset += m.capacity * array.element.Size()
	}
	inputs := map[string]*runtime.Tensor{tokenInput: s.tokens, labelInput: s.labels}
	for name, t := range m.params {
		inputs[name] = t
	}
	var err error
	outputs := map[string]*runtime.Tensor{logprobOutput: s.logprob, topOutput: s.top}
	if s.binding, err = m.session.Bind(inputs, outputs); err != nil {
		return nil, errors.Join(err, s.close())
	}
	m.shapes[key] = s
	return s, nil
}

// reserve makes room for n positions. More room than there was means new memory and new bindings,
// so it grows by doubling.
func (m *ONNXModel) reserve(n int) error {
	if n <= m.capacity {
		return nil
	}
	n = (max(n, 2*m.capacity) + capacityUnit - 1) / capacityUnit * capacityUnit
	if err := m.release(); err != nil {
		return err
	}
	buffer, err := m.rt.Alloc(n * positionBytes)
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

func (m *ONNXModel) drop(key [2]int) error {
	s := m.shapes[key]
	delete(m.shapes, key)
	return s.close()
}

func (s *shape) close() error {
	var errs []error
	if s.binding != nil {
		errs = append(errs, s.binding.Close())
	}
	for _, t := range []*runtime.Tensor{s.tokens, s.labels, s.top, s.logprob} {
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
