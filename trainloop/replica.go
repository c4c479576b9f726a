package trainloop

import (
	"errors"
	"fmt"
	"sync"

	"march/graphgen"
	"march/runtime"
	"march/variants"
	"march/variants/manifest"
)

// replica runs micro-batches one after the other: buffers of its own for tokens, results
// and gradient sums, and the engine's parameters.
type replica struct {
	grads          *runtime.Buffer
	views          map[string]*runtime.Tensor // of the sums, by the graphs' input names
	tokens, labels *runtime.Tensor
	loss, count    *runtime.Tensor
	binding        *runtime.Binding
}

// Replicas is how many of n micro-batches of a step an engine had best run at once on a
// number of threads: the largest divisor of n that is no more than the threads. On small
// models two micro-batches on a thread each are faster than one on two threads: nothing
// waits for another thread, operators that use one thread only run twice at once, and
// each half stays in its core's cache.
func Replicas(n int64, threads int) int {
	for r := int64(threads); r > 1; r-- {
		if n%r == 0 {
			return int(r)
		}
	}
	return 1
}

func newReplica(rt *runtime.Runtime, m *manifest.Manifest) (r *replica, err error) {
	r = &replica{views: map[string]*runtime.Tensor{}}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.grads, err = rt.Alloc(m.BufferBytes()); err != nil {
		return nil, err
	}
	if err := sliceViews(m, r.grads, kindGrads, r.views); err != nil {
		return nil, err
	}
	b, s := int64(m.Batch), int64(m.Length)
	if r.tokens, err = rt.NewTensor(runtime.Int64, b, s); err != nil {
		return nil, err
	}
	if r.labels, err = rt.NewTensor(runtime.Int64, b, s); err != nil {
		return nil, err
	}
	if r.loss, err = rt.NewTensor(runtime.Float32); err != nil {
		return nil, err
	}
	r.count, err = rt.NewTensor(runtime.Int64)
	return r, err
}

func (r *replica) close() error {
	var errs []error
	for _, t := range []*runtime.Tensor{r.tokens, r.labels, r.loss, r.count} {
		if t != nil {
			errs = append(errs, t.Close())
		}
	}
	if r.grads != nil {
		errs = append(errs, r.grads.Free())
	}
	return errors.Join(errs...)
}

// bindReplicas loads the micro-batch graph and binds every replica to it, and the graph
// that adds up their sums.
func (e *Engine) bindReplicas(dir string, o EngineOptions) error {
	threads := max(1, e.rt.Threads()/len(e.replicas))
	s, g, err := e.open(dir, "grad", threads, o)
	if err != nil {
		return err
	}
	for _, r := range e.replicas {
		r.binding, err = bind(s, g, e.views, r.views, map[string]*runtime.Tensor{
			variants.Tokens: r.tokens, variants.Labels: r.labels, variants.Loss: r.loss, variants.Count: r.count})
		if err != nil {
			return err
		}
	}
	if len(e.replicas) == 1 {
		return nil
	}
	return e.bindMerge(o)
}

// bindMerge makes the graph that adds the sums of all replicas to those of the first.
func (e *Engine) bindMerge(o EngineOptions) error {
	g := graphgen.New()
	bound, out := map[string]*runtime.Tensor{}, map[string]*runtime.Tensor{}
	for _, r := range e.Manifest.Ranges {
		name := variants.GradName(r.Name)
		sum := g.Input(name, graphgen.Float32, r.Elements)
		bound[name], out[variants.NewName(name)] = e.replicas[0].views[name], e.replicas[0].views[name]
		for i, replica := range e.replicas[1:] {
			part := fmt.Sprintf("%s.%d", name, i+1)
			sum = graphgen.Add(sum, g.Input(part, graphgen.Float32, r.Elements))
			bound[part] = replica.views[name]
		}
		g.Output(variants.NewName(name), sum)
	}
	p, err := g.Compile(graphgen.Portable)
	if err != nil {
		return err
	}
	for _, r := range e.Manifest.Ranges {
		if err := p.Graph.SafeInPlace(variants.GradName(r.Name), variants.NewName(variants.GradName(r.Name))); err != nil {
			return err
		}
	}
	model, err := p.Encode(graphgen.EncodeOptions{Name: "merge"})
	if err != nil {
		return err
	}
	s, err := e.rt.SessionBytes(model, runtime.SessionOptions{Optimization: o.Optimization})
	if err != nil {
		return err
	}
	e.sessions = append(e.sessions, s)
	e.merge, err = s.Bind(bound, out)
	return err
}

// Accumulate runs forward and backward pass of micro-batches first … first+n−1 and adds
// their gradients to the sums. fill gives a micro-batch's tokens and labels [B·S]; it is
// called from several goroutines. The result is the summed loss and the number of labels.
//
// Which replica runs which micro-batch is fixed, and so is the order of all sums: equal
// calls on equal engines give equal bits.
func (e *Engine) Accumulate(first, n int64, fill func(micro int64, tokens, labels []int64)) (loss float64, count int64, err error) {
	losses, counts := make([]float64, n), make([]int64, n)
	errs := make([]error, len(e.replicas))
	var wait sync.WaitGroup
	for i, r := range e.replicas {
		wait.Go(func() {
			tokens := make([]int64, e.Manifest.Batch*e.Manifest.Length)
			labels := make([]int64, len(tokens))
			for k := int64(i); k < n && errs[i] == nil; k += int64(len(e.replicas)) {
				fill(first+k, tokens, labels)
				losses[k], counts[k], errs[i] = r.run(tokens, labels)
			}
		})
	}
	wait.Wait()
	for k := range losses {
		loss, count = loss+losses[k], count+counts[k]
	}
	return loss, count, errors.Join(errs...)
}

// run is one micro-batch.
func (r *replica) run(tokens, labels []int64) (loss float64, count int64, err error) {
	if err := runtime.Upload(r.tokens, tokens); err != nil {
		return 0, 0, err
	}
	if err := runtime.Upload(r.labels, labels); err != nil {
		return 0, 0, err
	}
	if err := r.binding.Run(); err != nil {
		return 0, 0, err
	}
	l, err := read[float32](r.loss)
	if err != nil {
		return 0, 0, err
	}
	count, err = read[int64](r.count)
	return float64(l), count, err
}

// Merge adds all replicas' gradient sums to the first one's; [Engine.Update] does so by
// itself.
func (e *Engine) Merge() error {
	if e.merge == nil {
		return nil
	}
	if err := e.merge.Run(); err != nil {
		return err
	}
	for _, r := range e.replicas[1:] {
		if err := r.grads.Zero(); err != nil {
			return err
		}
	}
	return nil
}
