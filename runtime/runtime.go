// Package runtime runs ONNX models: it finds and loads ONNX Runtime, opens
// sessions, holds the memory that parameters and optimizer state live in, and
// binds that memory to a model's inputs and outputs, so that a training step
// copies nothing. It knows nothing of transformers, and nothing else in march
// talks to ONNX Runtime. Start at Open, then Runtime.Alloc, Runtime.Session and
// Session.Bind.
//
// A Runtime owns its sessions and buffers, a session its bindings, a buffer its
// tensors; closing an owner closes what it owns, and closing twice is no error.
// All methods may be called from several goroutines. Runs of different bindings
// go in parallel, runs of one binding one after the other. What is not guarded
// is the content of memory: do not upload to or download from a tensor while a
// binding that uses it runs.
//
// Runs are bitwise reproducible for a fixed number of threads, library and
// processor.
package runtime

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	ort "github.com/yalue/onnxruntime_go"

	"march/runtime/internal/cudadrv"
	"march/runtime/internal/customop"
	"march/runtime/internal/hostcpu"
	"march/runtime/internal/launch"
	"march/runtime/internal/ortc"
	"march/runtime/ortlib"
)

// Device is where models run.
type Device struct {
	Kind  string `json:"kind"`  // "cpu", "cuda", or "auto": the GPU where there is one that works, else the CPU
	Index int    `json:"index"` // of the GPU
}

// ParseDevice reads "auto", "cpu", "cuda" or "cuda:1". The empty string is "auto".
func ParseDevice(s string) (Device, error) {
	switch kind, index, indexed := strings.Cut(s, ":"); {
	case s == "" || s == "auto":
		return Device{Kind: "auto"}, nil
	case s == "cpu":
		return Device{Kind: "cpu"}, nil
	case s == "cuda":
		return Device{Kind: "cuda"}, nil
	case kind == "cuda" && indexed:
		if n, err := strconv.ParseUint(index, 10, 16); err == nil {
			return Device{Kind: "cuda", Index: int(n)}, nil
		}
	}
	return Device{}, fmt.Errorf("device %q: want auto, cpu, cuda or cuda:N", s)
}

// String is the form that ParseDevice reads.
func (d Device) String() string {
	if d.Kind == "cuda" {
		return "cuda:" + strconv.Itoa(d.Index)
	}
	return d.Kind
}

// Options say how to open a Runtime. The zero value is good.
type Options struct {
	Library string // path of the ONNX Runtime library; "": see Discover
	Device  Device // zero: the same as ParseDevice("auto")
	Threads int    // threads an operator may use; 0: one for each physical core allowed to this process, on a GPU one
	// TF32 lets a GPU round the factors of float32 matrix products to 10 bits of mantissa.
	TF32 bool
	// Deterministic asks a GPU for reproducible kernels where there are others.
	Deterministic bool
}

// Runtime is ONNX Runtime on one device.
type Runtime struct {
	lib     *ortc.Library
	source  string
	device  Device
	threads int
	why     string // why "auto" is not the GPU that is there; else ""

	gpu           *cudadrv.Device // nil on a CPU
	launcher      *launch.Device  // of march's kernels, once they are asked for
	kernels       *customop.Operators
	tf32          bool
	deterministic bool

	// mu guards what exists: the maps below, and in sessions, bindings,
	// buffers and tensors the fields that say whether they are closed and who
	// uses them.
	mu       sync.Mutex
	closed   bool
	sessions map[*Session]struct{}
	buffers  map[*Buffer]struct{}
}

// process is the library that this process has loaded. onnxruntime_go has one
// environment a process and ONNX Runtime's libraries do not all survive being
// unloaded, so the first Open decides and nothing is ever unloaded.
var process struct {
	sync.Mutex
	lib *ortc.Library
}

// Open finds the library (see Discover), loads it and starts ONNX Runtime.
// Opening again, at the same time or later, is allowed with the same library;
// another library is an error.
func Open(o Options) (*Runtime, error) {
	switch o.Device.Kind {
	case "", "auto":
		o.Device = Device{Kind: "auto"}
	case "cpu", "cuda":
	default:
		return nil, fmt.Errorf("device %q: want auto, cpu or cuda", o.Device.Kind)
	}
	if o.Device.Kind != "cuda" && o.Device.Index != 0 {
		return nil, fmt.Errorf("device %s: index %d, want 0", o.Device.Kind, o.Device.Index)
	}
	if o.Threads < 0 || o.Threads > maxThreads {
		return nil, fmt.Errorf("threads: %d, want 1 to %d, or 0 for one a core", o.Threads, maxThreads)
	}
	lib, source, err := load(o.Library, o.Device)
	if err != nil {
		return nil, err
	}
	r := &Runtime{
		lib: lib, source: source, device: o.Device, threads: o.Threads, tf32: o.TF32, deterministic: o.Deterministic,
		sessions: map[*Session]struct{}{}, buffers: map[*Buffer]struct{}{},
	}
	if o.Device.Kind != "cpu" {
		if err := r.openGPU(); err != nil && o.Device.Kind == "cuda" {
			return nil, fmt.Errorf("device %s: %w", o.Device, err)
		}
	}
	if r.gpu == nil {
		r.device = Device{Kind: "cpu"}
	}
	switch {
	case r.threads > 0:
	case r.gpu != nil:
		r.threads = 1
	default:
		r.threads = DefaultThreads()
	}
	return r, nil
}

// DefaultThreads is what Options.Threads 0 stands for: one for each physical core allowed
// to this process.
func DefaultThreads() int { return hostcpu.Read().Threads() }

// maxThreads only catches slips: ONNX Runtime starts whatever it is asked for.
const maxThreads = 1024

// load returns the process's library, which it loads and starts the first time.
func load(explicit string, d Device) (*ortc.Library, string, error) {
	process.Lock()
	defer process.Unlock()
	found, err := discoverFor(explicit, d)
	if err != nil {
		return nil, "", err
	}
	if process.lib != nil {
		defer found.lib.Close()
		if !sameFile(process.lib.Path, found.lib.Path) {
			return nil, "", fmt.Errorf("ONNX Runtime: this process has loaded %s and cannot load %s (from %s) as well",
				process.lib.Path, found.lib.Path, found.source)
		}
		return process.lib, found.source, nil
	}
	if err := start(found.lib); err != nil {
		return nil, "", fmt.Errorf("ONNX Runtime %s (%s): %w", found.lib.Version, found.lib.Path, err)
	}
	process.lib = found.lib
	return found.lib, found.source, nil
}

// start makes the environment.
func start(lib *ortc.Library) error {
	if err := lib.Use(ortlib.APIVersion); err != nil {
		return err
	}
	ortc.NoTelemetry()
	ort.SetSharedLibraryPath(lib.Path)
	// ONNX Runtime logs an error to stderr and then returns it as well; those
	// it returns are enough.
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		return err
	}
	return ort.DisableTelemetry() // for builds that do not know the variable
}

func sameFile(a, b string) bool {
	ra, err1 := filepath.EvalSymlinks(a)
	rb, err2 := filepath.EvalSymlinks(b)
	return a == b || err1 == nil && err2 == nil && ra == rb
}

// Version is the library's version, such as "1.30.0".
func (r *Runtime) Version() string { return r.lib.Version }

// Library is the path of the loaded library.
func (r *Runtime) Library() string { return r.lib.Path }

// Source says how the library was found: one of the Source constants.
func (r *Runtime) Source() string { return r.source }

// Device is where models run.
func (r *Runtime) Device() Device { return r.device }

// Threads is the number of threads an operator may use.
func (r *Runtime) Threads() int { return r.threads }

// Providers lists the execution providers that the library holds, such as
// "CPUExecutionProvider". That one is there does not mean that its device is.
func (r *Runtime) Providers() []string {
	list, err := r.lib.Providers()
	if err != nil {
		return nil // only for want of memory
	}
	return list
}

var errClosed = errors.New("runtime is closed")

// Close closes all sessions and frees all buffers.
func (r *Runtime) Close() error {
	r.mu.Lock()
	r.closed = true
	sessions, buffers := keys(r.sessions), keys(r.buffers)
	r.mu.Unlock()
	var errs []error
	for _, s := range sessions {
		errs = append(errs, s.Close())
	}
	for _, b := range buffers {
		errs = append(errs, b.Free())
	}
	if r.launcher != nil {
		r.launcher.Close()
	}
	if r.gpu != nil {
		r.gpu.Close()
	}
	return errors.Join(errs...)
}

func keys[K comparable](m map[K]struct{}) []K {
	list := make([]K, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	return list
}
