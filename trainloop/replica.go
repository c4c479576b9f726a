package trainloop

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"march/graphgen"
	"march/runtime"
	"march/trainloop/corpus"
	"march/variants"
	"march/variants/manifest"
)

// replica runs micro-batches one after the other: buffers of its own for what a micro-batch
// takes, results and gradient sums, and the engine's parameters.
type replica struct {
	grads   *runtime.Buffer
	views   map[string]*runtime.Tensor // of the sums, by the graphs' input names
	inputs  map[string]*runtime.Tensor // a batch's arrays, and the dropout seed
	outputs map[string]*runtime.Tensor // scalars: loss, count and further sums
	feed    feed
	binding *runtime.Binding
}

// Replicas is how many of n micro-batches of a step an engine had best run at once on a
// number of threads: the largest divisor of n that is no more than the threads. Two
// micro-batches on a thread each are faster than one on two threads: nothing
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

// leastTokens is what a part of a micro-batch has at least: products of fewer rows are slower by the row, and the
// sums of all parts' gradients cost the same however few tokens they are of.
const leastTokens = 64

// Parts is into how many micro-batches a batch of sequences is best cut on a number of threads, so that they run at
// once as [Replicas]: the largest divisor of its sequences that is no more than the threads and leaves each part
// leastTokens tokens. It follows from the shapes and the threads alone, so that a run can be repeated.
func Parts(sequences, length, threads int) int {
	for p := min(sequences, threads); p > 1; p-- {
		if sequences%p == 0 && sequences/p*length >= leastTokens {
			return p
		}
	}
	return 1
}

// PartsOn is [Parts] for a runtime's device: a GPU is kept busy by one micro-batch.
func PartsOn(rt *runtime.Runtime, sequences, length int) int {
	if rt.GPU() != "" {
		return 1
	}
	return Parts(sequences, length, rt.Threads())
}

// ReplicasOn is [Replicas] for a runtime's device: a GPU is kept busy by one micro-batch.
func ReplicasOn(rt *runtime.Runtime, n int64) int {
	if rt.GPU() != "" {
		return 1
	}
	return Replicas(n, rt.Threads())
}

// newReplica makes a replica with memory for what the micro-batch graph takes and gives beside
// parameters and their sums.
func newReplica(rt *runtime.Runtime, m *manifest.Manifest, g *manifest.Graph) (r *replica, err error) {
	made := &replica{views: map[string]*runtime.Tensor{}, inputs: map[string]*runtime.Tensor{}, outputs: map[string]*runtime.Tensor{}}
	defer func() {
		if err != nil {
			made.close()
		}
	}()
	r = made
	if r.grads, err = rt.Alloc(m.BufferBytes()); err != nil {
		return nil, err
	}
	if err := sliceViews(m, r.grads, kindGrads, r.views); err != nil {
		return nil, err
	}
	for _, p := range g.Inputs {
		seed := p.Name == variants.DropoutSeed && p.DType == "int64" && len(p.Shape) == 0
		if !seed && !slices.Contains(corpus.Arrays(), p.Name) {
			continue
		}
		shape := make([]int64, len(p.Shape))
		for i, d := range p.Shape {
			shape[i] = int64(d)
		}
		if r.inputs[p.Name], err = rt.NewTensor(runtime.Int64, shape...); err != nil {
			return nil, err
		}
	}
	for _, p := range g.Outputs {
		var t runtime.ElementType
		switch {
		case len(p.Shape) > 0 || strings.HasSuffix(p.Name, variants.NewName("")):
			continue // a parameter's sum, or nothing that training knows
		case p.Name == variants.Count && p.DType == "int64":
			t = runtime.Int64
		case p.Name != variants.Count && p.DType == "float32":
			t = runtime.Float32
		default:
			continue
		}
		if r.outputs[p.Name], err = rt.NewTensor(t); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{variants.Loss, variants.Count} {
		if r.outputs[name] == nil {
			return nil, fmt.Errorf("%s has no scalar output %q", g.File, name)
		}
	}
	return r, nil
}

func (r *replica) close() error {
	r.feed.stop()
	var errs []error
	for _, list := range []map[string]*runtime.Tensor{r.inputs, r.outputs} {
		for _, t := range list {
			if t != nil {
				errs = append(errs, t.Close())
			}
		}
	}
	if r.grads != nil {
		errs = append(errs, r.grads.Free())
	}
	return errors.Join(errs...)
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

var errNoFeed = errors.New("no batches to accumulate: Engine.Feed sets them")

// Accumulate runs forward and backward pass of micro-batches first … first+n−1, counted over the
// whole run, all those of optimizer step number step (from 1), and adds their gradients to the sums. The
// micro-batches come from [Engine.Feed], from several goroutines, each filled while the one before
// it runs.
//
// Which replica runs which micro-batch is fixed, and so is the order of all sums: equal
// calls on equal engines give equal bits.
func (e *Engine) Accumulate(step, first, n int64) (Sums, error) {
	parts := make([]Sums, n)
	errs := make([]error, len(e.replicas))
	at := int64(len(e.replicas))
	var wait sync.WaitGroup
	for i, r := range e.replicas {
		if r.feed.from == nil {
			return Sums{}, errNoFeed
		}
		wait.Go(func() {
			for k := int64(i); k < n && errs[i] == nil; k += at {
				b := r.feed.take(first + k)
				if k+at < n {
					r.feed.ahead(first + k + at)
				}
				parts[k], errs[i] = r.run(b, e.dropoutSeed(step, first+k, k))
			}
		})
	}
	wait.Wait()
	var sums Sums
	for _, p := range parts {
		sums.add(p)
	}
	return sums, errors.Join(errs...)
}

// run is one micro-batch.
func (r *replica) run(b *corpus.Batch, dropoutSeed int64) (s Sums, err error) {
	if err := r.queue(b, dropoutSeed); err != nil {
		return s, err
	}
	for name, t := range r.outputs {
		if name == variants.Count {
			if s.Count, err = read[int64](t); err != nil {
				return s, err
			}
			continue
		}
		x, err := read[float32](t)
		if err != nil {
			return s, err
		}
		s.set(name, float64(x))
	}
	return s, nil
}

// queue uploads one micro-batch and runs it; it reads nothing back.
func (r *replica) queue(b *corpus.Batch, dropoutSeed int64) (err error) {
	for name, t := range r.inputs {
		if name == variants.DropoutSeed {
			err = write(t, dropoutSeed)
		} else {
			err = runtime.Upload(t, b.Array(name))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return r.binding.Run()
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
