package runtime

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	ort "github.com/yalue/onnxruntime_go"

	"march/runtime/internal/ortc"
)

// SessionOptions say how a model is loaded. The zero value is good.
type SessionOptions struct {
	// Optimization is how far ONNX Runtime rewrites the graph: "all", the
	// default, "extended", "basic" or "disable".
	Optimization string
	// Threads an operator may use; 0: the runtime's. One is right where several
	// bindings run at once.
	Threads int
	// ProfilePrefix turns profiling on where it is not empty. The profile is
	// written to a file whose path starts with it; see Session.EndProfiling
	// and SummarizeProfile.
	ProfilePrefix string
	// Whole, on a GPU, refuses models of which a part would run on the CPU, with copies
	// between the two; the error names the operators.
	Whole bool
	// CUDAGraph, on a GPU, has the driver record a run's kernels once and play them back.
	// The first run of a binding runs the model several times: state that it reads and
	// writes must be put back afterwards. Only for models of static shapes that run on the
	// GPU as a whole, with one binding.
	CUDAGraph bool
	// Kernels has the session know march's own operators, which models of target fused are made of; see Runtime.Kernels.
	Kernels bool
}

var optimizationLevels = map[string]ort.GraphOptimizationLevel{
	"":         ort.GraphOptimizationLevelEnableAll,
	"all":      ort.GraphOptimizationLevelEnableAll,
	"extended": ort.GraphOptimizationLevelEnableExtended,
	"basic":    ort.GraphOptimizationLevelEnableBasic,
	"disable":  ort.GraphOptimizationLevelDisableAll,
}

// Info is an input or output of a model.
type Info struct {
	Name    string
	Type    ElementType
	Shape   []int64  // -1 for a dynamic dimension
	Symbols []string // the name of each dynamic dimension, "" where it has none
}

// String is the form of the model's own description, such as
// "tokens int64[B S]".
func (i Info) String() string {
	dims := make([]string, len(i.Shape))
	for d, n := range i.Shape {
		switch {
		case n >= 0:
			dims[d] = fmt.Sprint(n)
		case i.Symbols[d] != "":
			dims[d] = i.Symbols[d]
		default:
			dims[d] = "?"
		}
	}
	return fmt.Sprintf("%s %v[%s]", i.Name, i.Type, strings.Join(dims, " "))
}

// Session is a loaded model.
type Session struct {
	rt      *Runtime
	name    string // for messages
	inner   *ort.DynamicAdvancedSession
	inputs  []Info
	outputs []Info
	thread  *thread // that runs go through; nil: any

	// Guarded by rt.mu.
	closed      bool
	bindings    map[*Binding]struct{}
	profiling   bool
	profileFile string
}

// Session loads the ONNX model at path.
func (r *Runtime) Session(path string, o SessionOptions) (*Session, error) {
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("model %s: no such file", path)
	case err != nil:
		return nil, fmt.Errorf("model: %w", err)
	case info.IsDir():
		return nil, fmt.Errorf("model %s: is a folder, want an ONNX file", path)
	case info.Size() == 0:
		return nil, fmt.Errorf("model %s: is empty", path)
	}
	return r.session("model "+path, o, func(so *ort.SessionOptions) (*ort.DynamicAdvancedSession, error) {
		return ort.NewDynamicAdvancedSession(path, nil, nil, so)
	})
}

// SessionBytes loads a model from memory, which is not needed afterwards. It
// cannot have external data.
func (r *Runtime) SessionBytes(model []byte, o SessionOptions) (*Session, error) {
	name := fmt.Sprintf("model of %d bytes", len(model))
	if len(model) == 0 {
		return nil, fmt.Errorf("%s: is empty", name)
	}
	return r.session(name, o, func(so *ort.SessionOptions) (*ort.DynamicAdvancedSession, error) {
		return ort.NewDynamicAdvancedSessionWithONNXData(model, nil, nil, so)
	})
}

func (r *Runtime) session(name string, o SessionOptions, load func(*ort.SessionOptions) (*ort.DynamicAdvancedSession, error)) (*Session, error) {
	if r.isClosed() {
		return nil, fmt.Errorf("%s: %w", name, errClosed)
	}
	options, err := r.sessionOptions(o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer options.Destroy()
	var inner *ort.DynamicAdvancedSession
	// May take a second: not under r.mu. Constants are folded here, in the same
	// arithmetic that runs use.
	load1 := func() error {
		var err error
		inner, err = load(options)
		return err
	}
	if r.gpu != nil {
		err = ortc.KeepSignals(load1)
	} else {
		err = ortc.FlushDenormals(load1)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, r.tidy(err))
	}
	s := &Session{rt: r, name: name, inner: inner, bindings: map[*Binding]struct{}{}, profiling: o.ProfilePrefix != ""}
	if err := s.describe(); err != nil {
		inner.Destroy()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		inner.Destroy()
		return nil, fmt.Errorf("%s: %w", name, errClosed)
	}
	if o.CUDAGraph && r.gpu != nil {
		s.thread = newThread()
	}
	r.sessions[s] = struct{}{}
	return s, nil
}

func (r *Runtime) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// sessionOptions are what every session is made with.
func (r *Runtime) sessionOptions(o SessionOptions) (*ort.SessionOptions, error) {
	level, ok := optimizationLevels[o.Optimization]
	if !ok {
		return nil, fmt.Errorf("optimization %q: want all, extended, basic or disable", o.Optimization)
	}
	so, err := ort.NewSessionOptions()
	if err != nil {
		return nil, tidy(err)
	}
	set := []error{
		so.SetGraphOptimizationLevel(level),
		// One operator at a time, each on all threads: a training graph is a
		// chain of large operators, and the order of additions stays fixed.
		so.SetExecutionMode(ort.ExecutionModeSequential),
		so.SetIntraOpNumThreads(cmp.Or(o.Threads, r.threads)),
		so.SetInterOpNumThreads(1),
		so.SetCpuMemArena(true),
		// On a GPU the memory of the first run, before which ONNX Runtime plans nothing, stays beside what it
		// plans from then on: twice as much as is used.
		so.SetMemPattern(r.gpu == nil),
		so.SetLogSeverityLevel(ort.LoggingLevelFatal), // errors are returned, see start
	}
	for key, value := range sessionConfig {
		set = append(set, so.AddSessionConfigEntry(key, value))
	}
	if o.ProfilePrefix != "" {
		// ONNX Runtime would drop the profile without a word.
		if dir := filepath.Dir(o.ProfilePrefix); !isDir(dir) {
			so.Destroy()
			return nil, fmt.Errorf("profile %s: no folder %s", o.ProfilePrefix, dir)
		}
		set = append(set, so.EnableProfiling(o.ProfilePrefix))
	}
	if r.gpu == nil && o.Kernels {
		set = append(set, r.addKernels(so))
	}
	if r.gpu != nil {
		// Graphs for a GPU transpose factors of products because the products are quicker then (graphgen's summedLast).
		// This fusion would make attributes of the products of that again.
		set = append(set, so.AddSessionConfigEntry("optimization.disable_specified_optimizers", "GemmTransposeFusion"))
		if o.Whole {
			set = append(set, so.AddSessionConfigEntry("session.disable_cpu_ep_fallback", "1"))
		}
		set = append(set, ortc.KeepSignals(func() error { return r.appendCUDA(so, o) }))
		if o.Kernels {
			set = append(set, r.addKernels(so))
		}
	}
	if err := errors.Join(set...); err != nil {
		so.Destroy()
		return nil, tidy(err)
	}
	return so, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// sessionConfig are ONNX Runtime's settings by name; libraries that do not know
// one ignore it.
var sessionConfig = map[string]string{
	// How long an idle thread spins before it sleeps; by default for very
	// long. On two quiet cores all lengths are equally fast (80 ms for a
	// graph of 321 nodes); on two busy ones spinning takes the time from the
	// threads that work, and the same graph takes half again to twice as long
	// as with this.
	"session.intra_op.spin_duration_us": "20",
	// Denormal numbers are zero. A causal softmax makes them by the million:
	// the exponential of a hidden position is one before it is rounded, and
	// costs six times a normal number's time. Binding.Run and session do the
	// same for the calling thread.
	"session.set_denormal_as_zero": "1",
}

// describe asks the loaded model for its inputs and outputs.
func (s *Session) describe() error {
	handle, err := ortc.SessionHandle(s.inner)
	if err != nil {
		return err
	}
	inputs, outputs, err := s.rt.lib.Ports(handle)
	if err != nil {
		return tidy(err)
	}
	if s.inputs, err = infos("input", inputs); err != nil {
		return err
	}
	s.outputs, err = infos("output", outputs)
	return err
}

func infos(kind string, ports []ortc.Port) ([]Info, error) {
	list := make([]Info, len(ports))
	for i, p := range ports {
		if !p.Tensor {
			return nil, fmt.Errorf("%s %s: is no tensor; only tensors are supported", kind, p.Name)
		}
		list[i] = Info{Name: p.Name, Type: ElementType(p.Type), Shape: p.Shape, Symbols: p.Symbols}
		if list[i].Type.Size() == 0 {
			return nil, fmt.Errorf("%s %s: %v is not supported", kind, p.Name, list[i].Type)
		}
	}
	return list, nil
}

// Inputs lists what the model takes, in the model's order.
func (s *Session) Inputs() []Info { return slices.Clone(s.inputs) }

// Outputs lists what the model gives, in the model's order.
func (s *Session) Outputs() []Info { return slices.Clone(s.outputs) }

// EndProfiling stops profiling, writes the profile and returns its file's path.
// It is an error where profiling was never on. Later calls return the same
// path.
func (s *Session) EndProfiling() (string, error) {
	r := s.rt
	r.mu.Lock()
	defer r.mu.Unlock()
	return s.endProfiling()
}

func (s *Session) endProfiling() (string, error) {
	switch {
	case s.profileFile != "":
		return s.profileFile, nil
	case !s.profiling:
		return "", fmt.Errorf("%s: profiling is not on; set SessionOptions.ProfilePrefix", s.name)
	}
	handle, err := ortc.SessionHandle(s.inner)
	if err != nil {
		return "", err
	}
	s.profiling = false
	path, err := s.rt.lib.EndProfiling(handle)
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.name, tidy(err))
	}
	s.profileFile = path
	return path, nil
}

// Close closes the session's bindings, waiting for those that run, and gives
// the model's memory back. Where profiling was on and not yet ended it writes
// the profile.
func (s *Session) Close() error {
	r := s.rt
	r.mu.Lock()
	if s.closed {
		r.mu.Unlock()
		return nil
	}
	s.closed = true // no new bindings from here on
	bindings := keys(s.bindings)
	r.mu.Unlock()
	for _, b := range bindings {
		b.Close()
	}
	if s.thread != nil {
		s.thread.stop() // no binding is left that runs
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, s)
	var err error
	if s.profiling {
		_, err = s.endProfiling()
	}
	return errors.Join(err, s.inner.Destroy())
}
