package trainloop

import (
	"errors"
	"fmt"
	"path/filepath"
	goruntime "runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"march/runtime"
	"march/trainloop/corpus"
	"march/trainloop/safetensors"
	"march/variants"
	"march/variants/manifest"
	"march/variants/program"
)

// Engine runs a program's training graphs on one device. Parameters, AdamW's moments and
// the gradient sums each lie in one flat buffer there; the graphs are bound to slices of
// them once, and update them in place.
//
// On a CPU several micro-batches run at once, each on a thread of its own ([Replicas]).
// What the micro-batch graph takes and gives beside parameters, the manifest says: the
// arrays of a batch ([Engine.Feed]), a dropout seed, masks ([Engine.Prune]), a teacher's
// parameters ([Engine.LoadTeacher]), and further sums beside the loss.
type Engine struct {
	Manifest *manifest.Manifest

	rt      *runtime.Runtime
	buffers map[string]*runtime.Buffer // by kind: parameters and moments
	views   map[string]*runtime.Tensor // by the graphs' input names

	pruning       pruning
	shapes        corpus.Shapes // of the batches that the micro-batch graph takes
	seed          uint64        // of dropout
	dropoutParts  bool          // the micro-batch graph is told which part of a step's batch it has
	replicas      []*replica
	sessions      []*runtime.Session
	micro         *runtime.Session // that of the micro-batch graph
	merge, update *runtime.Binding // merge is nil with one replica
	total, rate   *runtime.Tensor
	step, norm    *runtime.Tensor
	recorded      bool         // the micro-batch graph is a CUDA graph
	history       *history     // of queued steps, on a GPU
	done          []StepResult // that nobody asked for yet
}

// EngineOptions say how an engine runs.
type EngineOptions struct {
	Replicas      int    // micro-batches that run at once; 0: one
	Optimization  string // of ONNX Runtime's graph rewrites: "" (all), basic, disable
	ProfilePrefix string // of the micro-batch graph's profile; "": none
	NoUpdate      bool   // leave the optimizer out
	Seed          uint64 // of dropout: see [DropoutSeed]
	// CUDAGraph has a GPU play the micro-batch's kernels back as one recorded graph: "on",
	// "off", or "auto", whichever a few runs at the start find faster; "": off. A runtime that
	// is asked to be deterministic takes auto as off.
	CUDAGraph string
	// Manifest is the program's, of somebody who has just written or verified it; nil: it is read, and all files with it.
	Manifest *manifest.Manifest
}

// CUDAGraphs lists what EngineOptions.CUDAGraph can be.
func CUDAGraphs() []string { return []string{"auto", "on", "off"} }

// The flat buffers: parameters, AdamW's moments, and gradient sums, which each replica
// has of its own; masks and the parameters under them, of models that are pruned. A
// teacher's parameters have a layout of their own.
const (
	kindParams    = "params"
	kindM         = "m"
	kindV         = "v"
	kindGrads     = "grads"
	kindMask      = "mask"
	kindEffective = "effective"
	kindTeacher   = "teacher"
	kindCopy      = "copy" // of the parameters, in bfloat16
)

// NewEngine loads the program in dir. The start values are not loaded: see
// [Engine.LoadParameters] and the checkpoints.
func NewEngine(rt *runtime.Runtime, dir string, o EngineOptions) (e *Engine, err error) {
	m := o.Manifest
	if m == nil {
		if m, err = manifest.ReadVerified(dir); err != nil {
			return nil, err
		}
	}
	e = &Engine{Manifest: m, rt: rt, seed: o.Seed, buffers: map[string]*runtime.Buffer{}, views: map[string]*runtime.Tensor{}}
	defer func() {
		if err != nil {
			err = fmt.Errorf("program %s: %w", dir, err)
			e.Close()
		}
	}()
	if err := e.allocate(o); err != nil {
		return e, err
	}
	if rt.GPU() == "" {
		if e.dropoutParts, err = DropoutParts(dir, m); err != nil {
			return e, err
		}
	}
	// Recorded kernels round differently (cuBLAS takes others), so equal runs must not leave the
	// choice to a clock.
	if o.CUDAGraph == "" || rt.GPU() == "" || len(e.replicas) > 1 || o.CUDAGraph == "auto" && rt.Deterministic() {
		o.CUDAGraph = "off"
	}
	if err := e.bindAll(dir, o); err != nil {
		return e, err
	}
	if rt.GPU() != "" {
		if e.history, err = newHistory(rt, e.replicas[0], historySlots); err != nil {
			return e, err
		}
	}
	return e, err
}

// allocate makes the buffers, the replicas, and a view for every input of the graphs.
func (e *Engine) allocate(o EngineOptions) error {
	kinds := []string{kindParams}
	if !o.NoUpdate {
		kinds = append(kinds, kindM, kindV)
	}
	for _, kind := range kinds {
		b, err := e.rt.Alloc(e.Manifest.BufferBytes())
		if err != nil {
			return err
		}
		e.buffers[kind] = b
		if err := sliceViews(e.Manifest, b, kind, e.views); err != nil {
			return err
		}
	}
	grad, err := e.graph("grad")
	if err != nil {
		return err
	}
	if e.shapes, err = shapesOf(grad); err != nil {
		return err
	}
	if err := e.allocatePruning(grad); err != nil {
		return err
	}
	if err := e.allocateTeacher(); err != nil {
		return err
	}
	if err := e.allocateCopies(grad); err != nil {
		return err
	}
	for range max(1, o.Replicas) {
		r, err := newReplica(e.rt, e.Manifest, grad)
		if err != nil {
			return err
		}
		e.replicas = append(e.replicas, r)
	}
	for _, x := range []struct {
		to *(*runtime.Tensor)
		t  runtime.ElementType
	}{{&e.total, runtime.Int64}, {&e.rate, runtime.Float32}, {&e.step, runtime.Int64}, {&e.norm, runtime.Float32}} {
		var err error
		if *x.to, err = e.rt.NewTensor(x.t); err != nil {
			return err
		}
	}
	return nil
}

// sliceViews makes a view of every parameter's and every range's slice of a flat buffer,
// under the graphs' names for what the buffer holds.
func sliceViews(m *manifest.Manifest, b *runtime.Buffer, kind string, views map[string]*runtime.Tensor) error {
	add := func(name string, offset int, shape ...int64) (err error) {
		views[viewName(kind, name)], err = b.Tensor(offset, runtime.Float32, shape...)
		return err
	}
	for _, p := range m.Parameters {
		shape := make([]int64, len(p.Shape))
		for i, d := range p.Shape {
			shape[i] = int64(d)
		}
		if err := add(p.Name, p.Offset, shape...); err != nil {
			return err
		}
	}
	for _, r := range m.Ranges {
		if err := add(r.Name, r.Offset, int64(r.Elements)); err != nil {
			return err
		}
	}
	return nil
}

// bind binds what a graph's manifest lists to the tensors of that name; an output
// NAME.new goes where the input NAME lies.
func bind(s *runtime.Session, g *manifest.Graph, known ...map[string]*runtime.Tensor) (*runtime.Binding, error) {
	find := func(name string) *runtime.Tensor {
		for _, k := range known {
			if t := k[name]; t != nil {
				return t
			}
			if t := k[strings.TrimSuffix(name, variants.NewName(""))]; t != nil {
				return t
			}
		}
		return nil
	}
	in, out := map[string]*runtime.Tensor{}, map[string]*runtime.Tensor{}
	for _, list := range []struct {
		ports []manifest.Port
		to    map[string]*runtime.Tensor
	}{{g.Inputs, in}, {g.Outputs, out}} {
		for _, p := range list.ports {
			if list.to[p.Name] = find(p.Name); list.to[p.Name] == nil {
				return nil, fmt.Errorf("%s has an input or output %q that training does not know", g.File, p.Name)
			}
		}
	}
	return s.Bind(in, out)
}

func (e *Engine) bindUpdate(s *runtime.Session) (err error) {
	e.update, err = bind(s, e.Manifest.Graphs["update"], e.views, e.replicas[0].views, map[string]*runtime.Tensor{
		variants.Count: e.total, variants.Rate: e.rate, variants.Step: e.step, variants.GradNorm: e.norm})
	return err
}

// Update takes optimizer step number step (from 1) with the gradients summed since the
// last one over count labels, and starts new sums. It returns the global norm of the
// mean gradient before clipping; where that is not finite, nothing was changed.
func (e *Engine) Update(rate float64, step, count int64) (norm float64, err error) {
	if err := e.queueUpdate(rate, step, count); err != nil {
		return 0, err
	}
	n, err := read[float32](e.norm)
	return float64(n), err
}

// queueUpdate is Update, but for reading the norm.
func (e *Engine) queueUpdate(rate float64, step, count int64) error {
	if err := e.Merge(); err != nil {
		return err
	}
	if err := write(e.rate, float32(rate)); err != nil {
		return err
	}
	if err := write(e.step, step); err != nil {
		return err
	}
	if err := write(e.total, count); err != nil {
		return err
	}
	if err := e.update.Run(); err != nil {
		return err
	}
	return e.replicas[0].grads.Zero()
}

func read[T runtime.Element](t *runtime.Tensor) (T, error) {
	var v [1]T
	err := runtime.Download(t, v[:])
	return v[0], err
}

func write[T runtime.Element](t *runtime.Tensor, v T) error { return runtime.Upload(t, []T{v}) }

// Parameters are the model's parameters on the device, by name.
func (e *Engine) Parameters() map[string]*runtime.Tensor {
	list := map[string]*runtime.Tensor{}
	for _, p := range e.Manifest.Parameters {
		list[p.Name] = e.views[p.Name]
	}
	return list
}

// tensor reads one parameter's slice of a flat buffer.
func (e *Engine) tensor(kind string, p manifest.Parameter) ([]float32, error) {
	views := e.views
	if kind == kindGrads {
		views = e.replicas[0].views
	}
	v := make([]float32, p.Elements())
	return v, runtime.Download(views[viewName(kind, p.Name)], v)
}

func viewName(kind, param string) string {
	m, v := variants.MomentNames(param)
	return map[string]string{kindParams: param, kindEffective: param, kindM: m, kindV: v,
		kindGrads: variants.GradName(param), kindMask: variants.PruneMaskName(param)}[kind]
}

// LoadParameters copies every parameter from a safetensors file to the device.
func (e *Engine) LoadParameters(path string) error {
	f, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return e.load(kindParams, f, e.Manifest.Parameters)
}

// LoadStart loads the program's start values.
func (e *Engine) LoadStart(dir string) error {
	return e.LoadParameters(filepath.Join(dir, program.InitFile))
}

// load uploads tensors of a file, several at a time: to read, to check and to round them takes longer than the way to a GPU.
func (e *Engine) load(kind string, f *safetensors.File, params []manifest.Parameter) error {
	var work errgroup.Group
	work.SetLimit(min(goruntime.GOMAXPROCS(0), 8))
	for _, p := range params {
		work.Go(func() error {
			v := make([]float32, p.Elements())
			if err := safetensors.Read(f, viewName(kind, p.Name), v); err != nil {
				return err
			}
			if err := runtime.Upload(e.views[viewName(kind, p.Name)], v); err != nil {
				return err
			}
			if kind == kindParams {
				return e.uploadCopy(p.Name, v)
			}
			return nil
		})
	}
	return work.Wait()
}

// Profile ends profiling and returns the file with the micro-batch graph's profile.
func (e *Engine) Profile() (string, error) { return e.micro.EndProfiling() }

// Close gives the device memory back. The runtime, which the caller opened, stays.
func (e *Engine) Close() error {
	var errs []error
	for _, r := range e.replicas {
		r.feed.stop()
	}
	for _, s := range e.sessions { // and their bindings
		errs = append(errs, s.Close())
	}
	for _, r := range e.replicas {
		errs = append(errs, r.close())
	}
	for _, t := range []*runtime.Tensor{e.total, e.rate, e.step, e.norm} {
		if t != nil {
			errs = append(errs, t.Close())
		}
	}
	for _, b := range e.buffers {
		errs = append(errs, b.Free())
	}
	if e.history != nil {
		errs = append(errs, e.history.close())
	}
	return errors.Join(errs...)
}
