package trainloop

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"march/graphgen"
	"march/runtime"
	"march/variants/manifest"
)

// An engine's sessions. To make one takes as long as a hundred steps, so all are made at the same time, and bound one after
// the other. Nothing may be queued on a GPU while it records a CUDA graph, not even by somebody else.

// loading is a session that is being made.
type loading struct {
	graph   string // the program's
	threads int
	o       EngineOptions

	session *runtime.Session
	err     error
}

// open makes sessions of the program's graphs, at the same time. The engine closes those that were made.
func (e *Engine) open(dir string, list ...*loading) {
	var wait sync.WaitGroup
	for _, l := range list {
		wait.Go(func() { l.session, l.err = e.session(dir, l) })
	}
	wait.Wait()
	for _, l := range list {
		if l.session != nil {
			e.sessions = append(e.sessions, l.session)
		}
	}
}

func (e *Engine) session(dir string, l *loading) (*runtime.Session, error) {
	g, err := e.graph(l.graph)
	if err != nil {
		return nil, err
	}
	for op := range g.Operators {
		if gpu := e.rt.GPU() != ""; !graphgen.HasKernel(op, gpu) {
			return nil, fmt.Errorf("%s: has the operator %s, of which march has no kernel on a %s; wanted a program written for it", filepath.Join(dir, g.File), op, map[bool]string{true: "GPU", false: "CPU"}[gpu])
		}
	}
	return e.rt.Session(filepath.Join(dir, g.File), runtime.SessionOptions{
		Optimization: l.o.Optimization, ProfilePrefix: l.o.ProfilePrefix, Threads: l.threads, Whole: true,
		Kernels: e.Manifest.Target == string(graphgen.Fused), CUDAGraph: l.o.CUDAGraph == "on"})
}

// unload closes a session, and its bindings.
func (e *Engine) unload(l *loading) error {
	e.sessions = slices.DeleteFunc(e.sessions, func(s *runtime.Session) bool { return s == l.session })
	return l.session.Close()
}

// graph is what the manifest says of one of the program's graphs.
func (e *Engine) graph(name string) (*manifest.Graph, error) {
	if g := e.Manifest.Graphs[name]; g != nil {
		return g, nil
	}
	return nil, fmt.Errorf("the program has no %s.onnx", name)
}

// bindAll loads the program's graphs and binds every replica to the micro-batch graph.
func (e *Engine) bindAll(dir string, o EngineOptions) error {
	// All replicas run one session. Its threads are the runs' own, of which each counts as one, and workers that they share.
	micro := func(cudaGraph string) *loading {
		l := &loading{graph: "grad", threads: max(1, e.rt.Threads()-len(e.replicas)+1), o: o}
		l.o.CUDAGraph = cudaGraph
		return l
	}
	var plain, recorded, update *loading
	var list []*loading
	if o.CUDAGraph != "on" {
		plain = micro("off")
		list = append(list, plain)
	}
	if o.CUDAGraph != "off" {
		recorded = micro("on")
		list = append(list, recorded)
	}
	if !o.NoUpdate {
		update = &loading{graph: "update", o: o}
		update.o.ProfilePrefix, update.o.CUDAGraph = "", "off"
		list = append(list, update)
	}
	e.open(dir, list...)
	for _, l := range list {
		if l.err != nil && !(l == recorded && plain != nil) { // what cannot be recorded runs as it is
			return l.err
		}
	}
	switch {
	case recorded == nil:
		if err := e.bindMicro(plain); err != nil {
			return err
		}
	case plain == nil:
		if err := e.bindMicro(recorded); err != nil {
			return err
		}
		// Recording runs the graph more than once: the sums must be put back to zero.
		if _, err := e.trial(1); err != nil {
			return fmt.Errorf("recording a CUDA graph: %w", err)
		}
		e.recorded = true
	default:
		if err := e.bindFaster(dir, plain, recorded); err != nil {
			return err
		}
	}
	if len(e.replicas) > 1 {
		if err := e.bindMerge(o); err != nil {
			return err
		}
	}
	if update == nil {
		return nil
	}
	return e.bindUpdate(update.session)
}

// bindMicro binds every replica to the micro-batch graph.
func (e *Engine) bindMicro(l *loading) (err error) {
	e.micro = l.session
	for _, r := range e.replicas {
		if r.binding, err = bind(l.session, e.Manifest.Graphs[l.graph], e.views, r.views, r.inputs, r.outputs); err != nil {
			return err
		}
	}
	return nil
}

// bindFaster binds the micro-batch graph as it is, then as a CUDA graph, and leaves bound what takes
// less time. A graph that cannot be recorded is no reason to stop.
func (e *Engine) bindFaster(dir string, plain, recorded *loading) error {
	if err := e.bindMicro(plain); err != nil {
		return err
	}
	plainTook, err := e.trial(trials)
	if err != nil {
		return err
	}
	// Not beside the other one's memory.
	if err := e.unload(plain); err != nil {
		return err
	}
	if recorded.err == nil {
		recordedTook := math.Inf(1)
		if err := e.bindMicro(recorded); err == nil {
			if recordedTook, err = e.trial(trials); err != nil {
				recordedTook = math.Inf(1)
			}
		}
		if e.recorded = recordedTook < plainTook; e.recorded {
			return nil
		}
		if err := e.unload(recorded); err != nil {
			return err
		}
	}
	if err := e.replicas[0].grads.Zero(); err != nil { // a run may have added to them
		return err
	}
	if e.open(dir, plain); plain.err != nil {
		return plain.err
	}
	return e.bindMicro(plain)
}

// trials is how many runs are timed.
const trials = 3

// trial runs the micro-batch graph on whatever its inputs hold, once to load kernels and to be recorded and then n times, and
// returns the seconds of the quickest of these. It leaves sums of zero.
func (e *Engine) trial(n int) (float64, error) {
	r := e.replicas[0]
	if err := r.binding.Run(); err != nil {
		return 0, err
	}
	quickest := math.Inf(1)
	for range n {
		began := time.Now()
		if err := r.binding.Run(); err != nil {
			return 0, err
		}
		quickest = min(quickest, time.Since(began).Seconds())
	}
	return quickest, r.grads.Zero()
}

// Recorded reports whether micro-batches run as a CUDA graph.
func (e *Engine) Recorded() bool { return e.recorded }
