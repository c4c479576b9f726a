package runtime

import (
	"errors"
	"fmt"
	"time"

	ort "github.com/yalue/onnxruntime_go"

	"march/runtime/internal/customop"
	"march/runtime/internal/launch"
	"march/runtime/internal/ortc"
	"march/runtime/ortlib"
)

// Kernels makes march's own kernels ready, or says why this runtime cannot have them: on a GPU, NVRTC, which compiles
// them, may not be there.
func (r *Runtime) Kernels() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errClosed
	}
	if r.kernels != nil {
		return nil
	}
	if r.gpu == nil {
		operators, err := customop.New(r.lib.API(), ortlib.APIVersion, nil)
		if err != nil {
			return fmt.Errorf("march's kernels: %w", err)
		}
		r.kernels = operators
		return nil
	}
	d, err := launch.Open(launch.Options{Context: r.gpu.Context(), Stream: r.gpu.Stream(), GPU: r.gpu.Name, Capability: r.gpu.Capability, Deterministic: r.deterministic, TF32: r.tf32})
	if err != nil {
		return fmt.Errorf("march's kernels: %w", err)
	}
	operators, err := customop.New(r.lib.API(), ortlib.APIVersion, d)
	if err != nil {
		d.Close()
		return fmt.Errorf("march's kernels: %w", err)
	}
	r.launcher, r.kernels = d, operators
	return nil
}

// addKernels makes sessions of these options know march's operators.
func (r *Runtime) addKernels(so *ort.SessionOptions) error {
	if err := r.Kernels(); err != nil {
		return err
	}
	handle, err := ortc.OptionsHandle(so)
	if err != nil {
		return err
	}
	return r.kernels.Add(handle)
}

// tensorFLOPs are what a multiprocessor's tensor cores do a clock in dense products of bfloat16 added up in float32, by
// compute capability, from NVIDIA's architecture papers; of TF32 half as many.
var tensorFLOPs = map[string]float64{"8.0": 2048, "8.6": 512, "8.7": 1024, "8.9": 512, "9.0": 4096, "10.0": 8192, "12.0": 512}

// Peak is what the GPU can do at most: bytes a second to and from its memory, and floating-point operations a second
// in matrix products of bfloat16, at its highest clock. Both are 0 where they are not known.
func (r *Runtime) Peak() (bytes, flops float64) {
	if r.gpu == nil {
		return 0, 0
	}
	return float64(r.gpu.Bandwidth), tensorFLOPs[r.gpu.Capability] * float64(r.gpu.Multiprocessors) * 1000 * float64(r.gpu.Clock)
}

// KernelTiming is what a profile says of equal nodes of march's kernels.
type KernelTiming struct {
	Op, Detail string
	Calls      int
	Time       time.Duration // on the GPU, of all calls
	Bytes      int64         // that one call must read and write
	FLOPs      int64         // that one call must do in matrix products
}

// ProfileKernels times march's kernels on the GPU while f runs, and nothing else: f must not record a CUDA graph.
func (r *Runtime) ProfileKernels(f func() error) ([]KernelTiming, error) {
	if r.launcher == nil {
		return nil, f()
	}
	if err := r.launcher.BeginProfile(); err != nil {
		return nil, err
	}
	err := f()
	list, err2 := r.launcher.EndProfile()
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	var timings []KernelTiming
	for _, t := range list {
		timings = append(timings, KernelTiming{t.Op, t.Detail, t.Calls, time.Duration(t.MS * 1e6), t.Bytes, t.FLOPs})
	}
	return timings, nil
}
