package runtime

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	ort "github.com/yalue/onnxruntime_go"

	"march/runtime/internal/cudadrv"
	"march/runtime/internal/ortc"
	"march/runtime/ortlib"
)

// On a GPU everything follows one stream: ONNX Runtime's kernels in all sessions, and the
// copies and fills of this package. So what is queued first is done first. ONNX Runtime waits
// for each run (Binding.Run); copies and fills are not waited for, Download is.

const cudaProvider = "CUDAExecutionProvider"

// openGPU makes the GPU ready and proves with a small model that ONNX Runtime can use it.
func (r *Runtime) openGPU() error {
	gpus, err := cudadrv.GPUs()
	if err == nil && r.device.Index < len(gpus) && !slices.Contains(r.Providers(), cudaProvider) {
		err = fmt.Errorf("the ONNX Runtime library %s (%s) is built without CUDA; `%s` installs one that has it", r.lib.Version, r.lib.Path, ortlib.SetupCUDACommand)
		r.why = fmt.Sprintf("%s: %v", gpus[r.device.Index].Name, err)
		return err
	}
	if err == nil {
		// The provider and NVIDIA's libraries that it needs are some hundred megabytes: they are loaded while the GPU starts.
		loaded := make(chan struct{})
		go func() {
			defer close(loaded)
			_ = ortc.KeepSignals(loadProvider) // the first session says what is wrong
		}()
		r.gpu, err = cudadrv.Open(r.device.Index)
		<-loaded
	}
	if err != nil {
		// No driver or no GPU is nothing that "auto" need explain.
		if text := err.Error(); !strings.HasPrefix(text, "no NVIDIA driver") && !strings.Contains(text, "CUDA_ERROR_NO_DEVICE") {
			r.why = text
		}
		return err
	}
	r.device.Kind = "cuda"
	if err := r.selfTest(); err != nil {
		err = fmt.Errorf("ONNX Runtime %s cannot use it: %w; `march doctor` says what is missing", r.lib.Version, err)
		r.why = fmt.Sprintf("%s: %v", r.gpu.Name, err)
		r.gpu.Close()
		r.gpu = nil
		return err
	}
	return nil
}

// loadProvider has ONNX Runtime load its CUDA provider.
func loadProvider() error {
	options, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	return options.Destroy()
}

// Unused says, where "auto" was asked for and the CPU is taken though there is a GPU, why;
// else it is empty.
func (r *Runtime) Unused() string { return r.why }

// GPU is the name of the GPU that models run on, "" on a CPU.
func (r *Runtime) GPU() string {
	if r.gpu == nil {
		return ""
	}
	return r.gpu.Name
}

// Deterministic reports whether the GPU was asked for reproducible kernels. A graph must do its
// part: package graphgen's Reproducible.
func (r *Runtime) Deterministic() bool { return r.gpu != nil && r.deterministic }

// TF32 reports whether the GPU rounds the factors of float32 matrix products ([Options].TF32); a CPU never does.
func (r *Runtime) TF32() bool { return r.gpu != nil && r.tf32 }

// GPUMemoryInUse is how many bytes of the GPU's memory are taken, by all processes; 0 on a
// CPU.
func (r *Runtime) GPUMemoryInUse() (int64, error) {
	if r.gpu == nil {
		return 0, nil
	}
	return r.gpu.MemoryInUse()
}

// Synchronize waits until all that was queued is done. On a CPU it always is.
func (r *Runtime) Synchronize() error {
	if r.gpu == nil {
		return nil
	}
	if err := r.gpu.Synchronize(); err != nil {
		return fmt.Errorf("%s: %w", r.gpu.Name, err)
	}
	return nil
}

// appendCUDA makes sessions of these options run on the GPU.
func (r *Runtime) appendCUDA(so *ort.SessionOptions, o SessionOptions) error {
	cuda, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer cuda.Destroy()
	flag := func(on bool) string {
		if on {
			return "1"
		}
		return "0"
	}
	err = cuda.Update(map[string]string{
		"device_id":               fmt.Sprint(r.device.Index),
		"has_user_compute_stream": "1",
		"user_compute_stream":     fmt.Sprint(uintptr(r.gpu.Stream())),
		"use_tf32":                flag(r.tf32),
		"enable_cuda_graph":       flag(o.CUDAGraph),
		// Chunks of what is asked for: with doubling ones a step of 10 GB takes 16.
		"arena_extend_strategy": "kSameAsRequested",
	})
	if err != nil {
		return err
	}
	if r.deterministic {
		handle, err := ortc.OptionsHandle(so)
		if err != nil {
			return err
		}
		if err := r.lib.Deterministic(handle); err != nil {
			return err
		}
	}
	return so.AppendExecutionProviderCUDA(cuda)
}

// outOfMemory says what helps where a message of ONNX Runtime tells of a full GPU.
func outOfMemory(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, sign := range []string{"Failed to allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"} {
		if strings.Contains(text, sign) && !errors.Is(err, cudadrv.ErrMemory) {
			return fmt.Errorf("%w: %w", cudadrv.ErrMemory, err)
		}
	}
	return err
}

// IsOutOfMemory reports whether a GPU had no memory left.
func IsOutOfMemory(err error) bool { return errors.Is(err, cudadrv.ErrMemory) }
