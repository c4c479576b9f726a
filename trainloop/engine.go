package trainloop

import (
	"fmt"
	"path/filepath"

	"march/runtime"
	"march/trainloop/safetensors"
	"march/variants"
	"march/variants/manifest"
	"march/variants/program"
)

// Engine runs a program's training graphs on one device. Parameters, AdamW's moments and
// the gradient sums each lie in one flat buffer there; both graphs are bound to slices of
// them once, and update them in place.
type Engine struct {
	Manifest *manifest.Manifest

	rt      *runtime.Runtime
	buffers map[string]*runtime.Buffer // by kind: see kinds
	views   map[string]*runtime.Tensor // by the graphs' input names

	grad, update   *runtime.Binding
	gradSession    *runtime.Session
	tokens, labels *runtime.Tensor
	loss, count    *runtime.Tensor
	total, rate    *runtime.Tensor
	step, norm     *runtime.Tensor
}

// EngineOptions are switches for measuring.
type EngineOptions struct {
	Optimization  string // of ONNX Runtime's graph rewrites: "" (all), basic, disable
	ProfilePrefix string // of the micro-batch graph's profile; "": none
	NoUpdate      bool   // leave the optimizer out
}

// The flat buffers: parameters, AdamW's moments, gradient sums.
const (
	kindParams = "params"
	kindM      = "m"
	kindV      = "v"
	kindGrads  = "grads"
)

// NewEngine loads the program in dir. The start values are not loaded: see
// [Engine.LoadParameters] and the checkpoints.
func NewEngine(rt *runtime.Runtime, dir string, o EngineOptions) (e *Engine, err error) {
	m, err := manifest.Read(dir)
	if err != nil {
		return nil, err
	}
	if err := m.Verify(dir); err != nil {
		return nil, err
	}
	e = &Engine{Manifest: m, rt: rt, buffers: map[string]*runtime.Buffer{}, views: map[string]*runtime.Tensor{}}
	defer func() {
		if err != nil {
			err = fmt.Errorf("program %s: %w", dir, err)
			e.Close()
		}
	}()
	if err := e.allocate(o); err != nil {
		return e, err
	}
	if e.gradSession, e.grad, err = e.bind(dir, "grad", o); err != nil {
		return e, err
	}
	if !o.NoUpdate {
		o.ProfilePrefix = ""
		if _, e.update, err = e.bind(dir, "update", o); err != nil {
			return e, err
		}
	}
	return e, nil
}

// allocate makes the buffers and a view for every input and output of the graphs.
func (e *Engine) allocate(o EngineOptions) error {
	kinds := []string{kindParams, kindGrads}
	if !o.NoUpdate {
		kinds = append(kinds, kindM, kindV)
	}
	for _, kind := range kinds {
		b, err := e.rt.Alloc(e.Manifest.BufferBytes())
		if err != nil {
			return err
		}
		e.buffers[kind] = b
	}
	for _, p := range e.Manifest.Parameters {
		shape := make([]int64, len(p.Shape))
		for i, d := range p.Shape {
			shape[i] = int64(d)
		}
		if err := e.view(p.Name, p.Offset, shape...); err != nil {
			return err
		}
	}
	for _, r := range e.Manifest.Ranges {
		if err := e.view(r.Name, r.Offset, int64(r.Elements)); err != nil {
			return err
		}
	}
	var err error
	scalar := func(t runtime.ElementType, shape ...int64) (x *runtime.Tensor) {
		if err == nil {
			x, err = e.rt.NewTensor(t, shape...)
		}
		return x
	}
	b, s := int64(e.Manifest.Batch), int64(e.Manifest.Length)
	e.tokens, e.labels = scalar(runtime.Int64, b, s), scalar(runtime.Int64, b, s)
	e.loss, e.count = scalar(runtime.Float32), scalar(runtime.Int64)
	e.total, e.rate = scalar(runtime.Int64), scalar(runtime.Float32)
	e.step, e.norm = scalar(runtime.Int64), scalar(runtime.Float32)
	return err
}

// view makes the tensors of one slice: its parameters, gradients and moments.
func (e *Engine) view(name string, offset int, shape ...int64) error {
	m, v := variants.MomentNames(name)
	for kind, input := range map[string]string{kindParams: name, kindGrads: variants.GradName(name), kindM: m, kindV: v} {
		if e.buffers[kind] == nil {
			continue
		}
		t, err := e.buffers[kind].Tensor(offset, runtime.Float32, shape...)
		if err != nil {
			return err
		}
		e.views[input] = t
	}
	return nil
}

// bind loads one graph and binds what its manifest lists.
func (e *Engine) bind(dir, name string, o EngineOptions) (*runtime.Session, *runtime.Binding, error) {
	g := e.Manifest.Graphs[name]
	if g == nil {
		return nil, nil, fmt.Errorf("the program has no %s.onnx", name)
	}
	s, err := e.rt.Session(filepath.Join(dir, g.File), runtime.SessionOptions{Optimization: o.Optimization, ProfilePrefix: o.ProfilePrefix})
	if err != nil {
		return nil, nil, err
	}
	known := map[string]*runtime.Tensor{
		variants.Tokens: e.tokens, variants.Labels: e.labels, variants.Loss: e.loss,
		variants.Rate: e.rate, variants.Step: e.step, variants.GradNorm: e.norm,
	}
	known[variants.Count] = e.count
	if name == "update" {
		known[variants.Count] = e.total
	}
	for input, t := range e.views {
		known[input], known[variants.NewName(input)] = t, t
	}
	in, out := map[string]*runtime.Tensor{}, map[string]*runtime.Tensor{}
	for _, p := range g.Inputs {
		if in[p.Name] = known[p.Name]; in[p.Name] == nil {
			return s, nil, fmt.Errorf("%s has an input %q that training does not know", g.File, p.Name)
		}
	}
	for _, p := range g.Outputs {
		if out[p.Name] = known[p.Name]; out[p.Name] == nil {
			return s, nil, fmt.Errorf("%s has an output %q that training does not know", g.File, p.Name)
		}
	}
	b, err := s.Bind(in, out)
	return s, b, err
}

// Micro runs forward and backward pass of one micro-batch, tokens and labels [B·S], and
// adds its gradients to the sums. It returns the summed loss and the number of labels.
func (e *Engine) Micro(tokens, labels []int64) (loss float64, count int64, err error) {
	if err := runtime.Upload(e.tokens, tokens); err != nil {
		return 0, 0, err
	}
	if err := runtime.Upload(e.labels, labels); err != nil {
		return 0, 0, err
	}
	if err := e.grad.Run(); err != nil {
		return 0, 0, err
	}
	l, err := read[float32](e.loss)
	if err != nil {
		return 0, 0, err
	}
	n, err := read[int64](e.count)
	return float64(l), n, err
}

// Update takes optimizer step number step (from 1) with the gradients summed since the
// last one over count labels, and starts new sums. It returns the global norm of the
// mean gradient before clipping; where that is not finite, nothing was changed.
func (e *Engine) Update(rate float64, step, count int64) (norm float64, err error) {
	if err := write(e.rate, float32(rate)); err != nil {
		return 0, err
	}
	if err := write(e.step, step); err != nil {
		return 0, err
	}
	if err := write(e.total, count); err != nil {
		return 0, err
	}
	if err := e.update.Run(); err != nil {
		return 0, err
	}
	if err := e.buffers[kindGrads].Zero(); err != nil {
		return 0, err
	}
	n, err := read[float32](e.norm)
	return float64(n), err
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

// tensor reads one slice of a flat buffer: kindParams, kindM, kindV or kindGrads.
func (e *Engine) tensor(kind string, p manifest.Parameter) ([]float32, error) {
	v := make([]float32, p.Elements())
	return v, runtime.Download(e.views[viewName(kind, p.Name)], v)
}

func viewName(kind, param string) string {
	m, v := variants.MomentNames(param)
	return map[string]string{kindParams: param, kindM: m, kindV: v, kindGrads: variants.GradName(param)}[kind]
}

// LoadParameters copies every parameter from a safetensors file to the device.
func (e *Engine) LoadParameters(path string) error {
	f, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return e.load(kindParams, f)
}

// LoadStart loads the program's start values.
func (e *Engine) LoadStart(dir string) error {
	return e.LoadParameters(filepath.Join(dir, program.InitFile))
}

func (e *Engine) load(kind string, f *safetensors.File) error {
	for _, p := range e.Manifest.Parameters {
		v := make([]float32, p.Elements())
		if err := safetensors.Read(f, p.Name, v); err != nil {
			return err
		}
		if err := runtime.Upload(e.views[viewName(kind, p.Name)], v); err != nil {
			return err
		}
	}
	return nil
}

// Profile ends profiling and returns the file with the micro-batch graph's profile.
func (e *Engine) Profile() (string, error) { return e.gradSession.EndProfiling() }

// Close gives the device memory back. The runtime, which the caller opened, stays.
func (e *Engine) Close() error {
	var first error
	for _, b := range []*runtime.Binding{e.grad, e.update} {
		if b != nil {
			if err := b.Close(); err != nil && first == nil {
				first = err
			}
		}
	}
	for _, t := range []*runtime.Tensor{e.tokens, e.labels, e.loss, e.count, e.total, e.rate, e.step, e.norm} {
		if t != nil {
			t.Close()
		}
	}
	for _, b := range e.buffers {
		if err := b.Free(); err != nil && first == nil {
			first = err
		}
	}
	return first
}
