package trainloop

import (
	"errors"
	"fmt"

	"march/runtime"
	"march/trainloop/corpus"
	"march/variants"
)

// StepResult is what one optimizer step gave.
type StepResult struct {
	Step int64
	Sums Sums
	Norm float64 // of the mean gradient, before clipping; where it is not finite the step changed nothing
}

// noLabels is the error of a step whose micro-batches have no label.
func noLabels(step, first, n int64) error {
	return fmt.Errorf("step %d (micro-batches %d to %d) has no label: there is nothing to learn from", step, first, first+n-1)
}

// Step takes optimizer step number step (from 1) with n micro-batches from number first on:
// [Engine.Accumulate] and [Engine.Update] in one. On a GPU it leaves loss and norm on the device. While
// a micro-batch runs, the next one is prepared: with more, also that of the next step, from number
// first+n on. [Engine.Results] gives what came of it.
func (e *Engine) Step(step, first, n int64, rate float64, more bool) error {
	if e.history == nil {
		sums, err := e.Accumulate(step, first, n)
		if err != nil {
			return err
		}
		if sums.Count == 0 {
			return noLabels(step, first, n)
		}
		if more {
			e.Ahead(first+n, n)
		}
		norm, err := e.Update(rate, step, sums.Count)
		if err != nil {
			return err
		}
		e.done = append(e.done, StepResult{step, sums, norm})
		return nil
	}
	if !e.history.fits(n) {
		if err := e.collect(); err != nil {
			return err
		}
		if n > int64(e.history.slots) {
			if err := e.history.close(); err != nil {
				return err
			}
			var err error
			if e.history, err = newHistory(e.rt, e.replicas[0], int(n)); err != nil {
				return err
			}
		}
	}
	r, count := e.replicas[0], int64(0)
	for k := first; k < first+n; k++ {
		if r.feed.from == nil {
			return errNoFeed
		}
		b := r.feed.take(k)
		if more || k+1 < first+n {
			r.feed.ahead(k + 1)
		}
		labels := countLabels(b)
		if err := r.queue(b, e.dropoutSeed(step, k, k-first)); err != nil {
			return err
		}
		if err := e.history.micro(r, labels); err != nil {
			return err
		}
		count += labels
	}
	if count == 0 {
		return noLabels(step, first, n)
	}
	if err := e.queueUpdate(rate, step, count); err != nil {
		return err
	}
	return e.history.step(step, e.norm)
}

// Results are those of all steps since the last call, in order. On a GPU it waits for them.
func (e *Engine) Results() ([]StepResult, error) {
	err := e.collect()
	list := e.done
	e.done = nil
	return list, err
}

// collect moves what the history holds to done.
func (e *Engine) collect() error {
	if e.history == nil {
		return nil
	}
	list, err := e.history.read()
	e.done = append(e.done, list...)
	return err
}

func countLabels(b *corpus.Batch) (n int64) {
	for _, l := range b.Labels {
		if l >= 0 {
			n++
		}
	}
	return n
}

// history keeps the scalars of queued steps on the device until somebody asks, since asking
// means waiting.
type history struct {
	slots  int
	sums   map[string][]*runtime.Tensor // by output: a slot for each micro-batch
	norms  []*runtime.Tensor            // a slot for each step
	whole  map[string]*runtime.Tensor   // by output: all slots
	norm   *runtime.Tensor
	memory []*runtime.Buffer

	counts []int64 // labels of the micro-batches held
	steps  []queued
}

// queued is a step in the history.
type queued struct {
	step int64
	end  int // its micro-batches end here
}

// historySlots is how many micro-batches, and steps, a history holds; more where one step has more.
const historySlots = 256

// newHistory makes room for the scalars that a micro-batch and a step give.
func newHistory(rt *runtime.Runtime, r *replica, slots int) (h *history, err error) {
	h = &history{slots: slots, sums: map[string][]*runtime.Tensor{}, whole: map[string]*runtime.Tensor{}}
	column := func() (whole *runtime.Tensor, parts []*runtime.Tensor, err error) {
		b, err := rt.Alloc(slots * runtime.Float32.Size())
		if err != nil {
			return nil, nil, err
		}
		h.memory = append(h.memory, b)
		if whole, err = b.Tensor(0, runtime.Float32, int64(slots)); err != nil {
			return nil, nil, err
		}
		parts = make([]*runtime.Tensor, slots)
		for i := range parts {
			if parts[i], err = b.Tensor(i*runtime.Float32.Size(), runtime.Float32); err != nil {
				return nil, nil, err
			}
		}
		return whole, parts, nil
	}
	for name := range r.outputs {
		if name == variants.Count {
			continue // known before it is queued
		}
		if h.whole[name], h.sums[name], err = column(); err != nil {
			return nil, errors.Join(err, h.close())
		}
	}
	if h.norm, h.norms, err = column(); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

func (h *history) close() error {
	var errs []error
	for _, b := range h.memory {
		errs = append(errs, b.Free())
	}
	return errors.Join(errs...)
}

func (h *history) fits(micros int64) bool {
	return len(h.counts)+int(micros) <= h.slots && len(h.steps) < h.slots
}

// micro keeps the outputs of the micro-batch that was queued last.
func (h *history) micro(r *replica, labels int64) error {
	for name, parts := range h.sums {
		if err := parts[len(h.counts)].CopyFrom(r.outputs[name]); err != nil {
			return err
		}
	}
	h.counts = append(h.counts, labels)
	return nil
}

// step keeps the gradient norm of the step that was queued last.
func (h *history) step(step int64, norm *runtime.Tensor) error {
	if err := h.norms[len(h.steps)].CopyFrom(norm); err != nil {
		return err
	}
	h.steps = append(h.steps, queued{step, len(h.counts)})
	return nil
}

// read waits for the steps held and empties the history.
func (h *history) read() ([]StepResult, error) {
	if len(h.steps) == 0 {
		return nil, nil
	}
	column := func(t *runtime.Tensor) ([]float32, error) {
		v := make([]float32, h.slots)
		return v, runtime.Download(t, v)
	}
	norms, err := column(h.norm)
	if err != nil {
		return nil, err
	}
	sums := map[string][]float32{}
	for name, t := range h.whole {
		if sums[name], err = column(t); err != nil {
			return nil, err
		}
	}
	list, at := make([]StepResult, len(h.steps)), 0
	for i, q := range h.steps {
		x := StepResult{Step: q.step, Norm: float64(norms[i])}
		for ; at < q.end; at++ {
			part := Sums{Count: h.counts[at]}
			for name, v := range sums {
				part.set(name, float64(v[at]))
			}
			x.Sums.add(part)
		}
		list[i] = x
	}
	h.counts, h.steps = h.counts[:0], h.steps[:0]
	return list, nil
}
