package runtime

import (
	"errors"
	"fmt"

	ort "github.com/yalue/onnxruntime_go"

	"march/runtime/internal/customop"
	"march/runtime/internal/launch"
	"march/runtime/internal/ortc"
	"march/runtime/ortlib"
)

// Kernels makes march's own kernels ready, or says why this runtime cannot have them: it is on a CPU, or NVRTC,
// which compiles them, is not there.
func (r *Runtime) Kernels() error {
	if r.gpu == nil {
		return errors.New("march's kernels run on NVIDIA's GPUs only")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errClosed
	}
	if r.kernels != nil {
		return nil
	}
	d, err := launch.Open(launch.Options{Context: r.gpu.Context(), Stream: r.gpu.Stream(), Capability: r.gpu.Capability, Deterministic: r.deterministic, TF32: r.tf32})
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
