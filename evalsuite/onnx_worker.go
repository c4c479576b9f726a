package evalsuite

import (
	"errors"
	"fmt"

	"march/runtime"
)

// worker runs batches of a model on arrays of its own; all workers share session and parameters.
type worker struct {
	model *ONNXModel

	buffer   *runtime.Buffer // the arrays, one after the other, capacity elements each
	capacity int
	shapes   map[shapeKey]*shape
	clock    int // counts calls of Eval

	// Of a batch that is scored by score.onnx, [M]: positions, and what they have.
	scored, labels, top []int64
	logprob             []float32
}

// shapeKey are the sizes of a batch's arrays.
type shapeKey struct {
	rows, length, decoderLength int
	scored                      int // M of score.onnx; 0 in eval.onnx
}

func (k shapeKey) positions() int { return k.rows * max(k.length, k.decoderLength) }

// shape is the binding for batches of one shape; arrays that the file lacks are nil.
type shape struct {
	tokens, lengths, decoder, documents, scored, labels, top, logprob *runtime.Tensor

	binding *runtime.Binding
	used    int // clock of the last use
}

const (
	maxShapes    = 64  // bindings kept; the one used longest ago makes room
	capacityUnit = 512 // so that all arrays begin at a multiple of 4,096 bytes
	scoredUnit   = 32  // see scoredLength
)

// Architecture is the model's.
func (w *worker) Architecture() Architecture { return w.model.arch }

// MaxLength is the model's.
func (w *worker) MaxLength() int { return w.model.maxLength }

// Eval scores one batch; see [Model]. A shape that occurred before costs the copies in, the run and
// two copies out.
func (w *worker) Eval(b *Batch) error {
	key := shapeKey{rows: b.Rows, length: b.Length, decoderLength: b.DecoderLength}
	labels, top, logprob := b.Labels, b.Top, b.LogProb
	if w.model.scored {
		w.gather(b)
		key.scored = len(w.scored)
		labels, top, logprob = w.labels, w.top, w.logprob
	}
	s, err := w.shape(key)
	if err != nil {
		return err
	}
	if err := errors.Join(upload(s.tokens, b.Tokens), upload(s.lengths, b.Lengths),
		upload(s.decoder, b.DecoderTokens), upload(s.documents, b.Documents), upload(s.scored, w.scored), upload(s.labels, labels)); err != nil {
		return err
	}
	if err := s.binding.Run(); err != nil {
		if b.DecoderLength > 0 {
			return fmt.Errorf("%d sequences of %d and %d tokens: %w", b.Rows, b.Length, b.DecoderLength, err)
		}
		return fmt.Errorf("%d sequences of %d tokens: %w", b.Rows, b.Length, err)
	}
	if err := errors.Join(runtime.Download(s.logprob, logprob), runtime.Download(s.top, top)); err != nil {
		return err
	}
	if w.model.scored {
		w.scatter(b)
	}
	return nil
}

// gather lists the positions that have labels; what it is made up with has none.
func (w *worker) gather(b *Batch) {
	w.scored, w.labels = w.scored[:0], w.labels[:0]
	for at, label := range b.Labels {
		if label != Unscored {
			w.scored, w.labels = append(w.scored, int64(at)), append(w.labels, label)
		}
	}
	for n := scoredLength(len(w.scored), len(b.Labels)); len(w.scored) < n; {
		w.scored, w.labels = append(w.scored, 0), append(w.labels, Unscored)
	}
	w.top, w.logprob = resized(w.top, len(w.scored)), resized(w.logprob, len(w.scored))
}

// scoredLength makes the number of scored positions up to a multiple of scoredUnit, in large batches of more, so that fewer shapes
// occur; by a sixteenth of the batch's positions at the most, and to no more than those.
func scoredLength(scored, positions int) int {
	unit := scoredUnit
	for unit*32 <= positions {
		unit *= 2
	}
	return max(1, min((scored+unit-1)/unit*unit, positions))
}

// scatter puts what was found to the positions that were asked for.
func (w *worker) scatter(b *Batch) {
	for i, at := range w.scored {
		if w.labels[i] != Unscored {
			b.Top[at], b.LogProb[at] = w.top[i], w.logprob[i]
		}
	}
}

// upload fills an array that the architecture has.
func upload(t *runtime.Tensor, from []int64) error {
	if t == nil {
		return nil
	}
	return runtime.Upload(t, from)
}

// shape returns the binding for batches of one shape, a kept one where there is one.
func (w *worker) shape(key shapeKey) (*shape, error) {
	if w.model.session == nil {
		return nil, errors.New("the model is closed")
	}
	w.clock++
	if s := w.shapes[key]; s != nil {
		s.used = w.clock
		return s, nil
	}
	if err := w.reserve(key.positions()); err != nil {
		return nil, err
	}
	if len(w.shapes) >= maxShapes {
		var oldest shapeKey
		for k, s := range w.shapes {
			if old := w.shapes[oldest]; old == nil || s.used < old.used {
				oldest = k
			}
		}
		if err := w.drop(oldest); err != nil {
			return nil, err
		}
	}
	s := &shape{used: w.clock}
	inputs, outputs := map[string]*runtime.Tensor{}, map[string]*runtime.Tensor{}
	for name, t := range w.model.params {
		inputs[name] = t
	}
	offset := 0
	for _, name := range w.model.arrays {
		place, dims := s.array(name), key.shapeOf(name)
		t, err := w.buffer.Tensor(offset, elementOf(name), dims...)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		*place = t
		if isOutput(name) {
			outputs[name] = t
		} else {
			inputs[name] = t
		}
		offset += w.capacity * elementOf(name).Size()
	}
	var err error
	if s.binding, err = w.model.session.Bind(inputs, outputs); err != nil {
		return nil, errors.Join(err, s.close())
	}
	w.shapes[key] = s
	return s, nil
}

// shapeOf is an array's shape.
func (k shapeKey) shapeOf(array string) []int64 {
	rows, length, decoderLength := int64(k.rows), int64(k.length), int64(k.decoderLength)
	switch {
	case array == lengthInput:
		return []int64{rows}
	case array == tokenInput || array == documentInput:
		return []int64{rows, length}
	case array == decoderInput:
		return []int64{rows, decoderLength}
	case k.scored > 0: // scored, labels and the outputs
		return []int64{int64(k.scored)}
	case k.decoderLength > 0:
		return []int64{rows, decoderLength}
	}
	return []int64{rows, length}
}

// array is the place of an array by its name in the file.
func (s *shape) array(name string) **runtime.Tensor {
	return map[string]**runtime.Tensor{
		tokenInput: &s.tokens, lengthInput: &s.lengths, decoderInput: &s.decoder, documentInput: &s.documents,
		scoredInput: &s.scored, labelInput: &s.labels, topOutput: &s.top, logprobOutput: &s.logprob,
	}[name]
}

// reserve makes room for n positions in each array. More room than there was means new memory and
// new bindings, so it grows by doubling.
func (w *worker) reserve(n int) error {
	if n <= w.capacity {
		return nil
	}
	n = (max(n, 2*w.capacity) + capacityUnit - 1) / capacityUnit * capacityUnit
	if err := w.release(); err != nil {
		return err
	}
	bytes := 0
	for _, name := range w.model.arrays {
		bytes += n * elementOf(name).Size()
	}
	buffer, err := w.model.rt.Alloc(bytes)
	if err != nil {
		return err
	}
	w.buffer, w.capacity = buffer, n
	return nil
}

// release closes all bindings and frees the arrays.
func (w *worker) release() error {
	var errs []error
	for key := range w.shapes {
		errs = append(errs, w.drop(key))
	}
	if w.buffer != nil {
		errs = append(errs, w.buffer.Free())
	}
	w.buffer, w.capacity = nil, 0
	return errors.Join(errs...)
}

func (w *worker) drop(key shapeKey) error {
	s := w.shapes[key]
	delete(w.shapes, key)
	return s.close()
}

func (s *shape) close() error {
	var errs []error
	if s.binding != nil {
		errs = append(errs, s.binding.Close())
	}
	for _, t := range []*runtime.Tensor{s.tokens, s.lengths, s.decoder, s.documents, s.scored, s.labels, s.top, s.logprob} {
		if t != nil {
			errs = append(errs, t.Close())
		}
	}
	return errors.Join(errs...)
}
