package runtime

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"march/runtime/internal/kernels"
)

// Reached is what the GPU reaches here and now: bytes a second in a copy of 256 MiB, each read and written, and floating-point
// operations a second in a product of two matrices of 8,192 × 8,192 in bfloat16, of numbers that look random. Kernels are held to that.
func (r *Runtime) Reached() (bytes, flops float64, err error) {
	if r.gpu == nil {
		return 0, 0, errors.New("no GPU")
	}
	if err := r.Kernels(); err != nil {
		return 0, 0, err
	}
	const n, copied = 8192, 256 << 20
	memory, err := r.gpu.Alloc(2 * copied)
	if err != nil {
		return 0, 0, err
	}
	defer r.gpu.Free(memory)
	noise, state := make([]byte, 2*n*n), uint32(1) // of bfloat16
	for i := 0; i < len(noise); i += 2 {
		state = state*1664525 + 1013904223
		binary.LittleEndian.PutUint16(noise[i:], uint16(state>>16)&0x807f|0x3f00) // from −1 to −1/2 and from 1/2 to 1
	}
	at := [3]unsafe.Pointer{memory, unsafe.Add(memory, len(noise)), unsafe.Add(memory, 2*len(noise))}
	for _, p := range at[:2] {
		if err := r.gpu.Upload(p, noise); err != nil {
			return 0, 0, err
		}
	}
	matrix := kernels.Tensor{Type: kernels.BFloat16, Shape: []int{n, n}}
	plan, err := kernels.PlanFor(kernels.Node{Op: "Linear", In: []kernels.Tensor{matrix, matrix}, Out: []kernels.Tensor{matrix}})
	if err != nil {
		return 0, 0, err
	}
	product, err := r.seconds(plan, at[:2], at[2:])
	if err != nil {
		return 0, 0, err
	}
	moved, err := r.seconds(kernels.Plan{Steps: []kernels.Step{kernels.Copy{From: kernels.In(0), To: kernels.Out(0), Bytes: copied}}},
		at[:1], []unsafe.Pointer{unsafe.Add(at[0], copied)})
	if err != nil {
		return 0, 0, err
	}
	return 2 * copied / moved, 2 * n * n * n / product, nil
}

// seconds is how long a plan takes on the GPU, on average over some runs behind each other.
func (r *Runtime) seconds(plan kernels.Plan, in, out []unsafe.Pointer) (float64, error) {
	program, err := r.launcher.Prepare(plan, kernels.Cost{Op: fmt.Sprintf("measured %d", len(in))})
	if err != nil {
		return 0, err
	}
	const warm, runs = 3, 10
	for i := range warm + runs {
		if i == warm {
			if err := r.launcher.BeginProfile(); err != nil {
				return 0, err
			}
		}
		if err := program.Run(in, out); err != nil {
			_, _ = r.launcher.EndProfile() // the run's error says more
			return 0, err
		}
	}
	timings, err := r.launcher.EndProfile()
	if err != nil {
		return 0, err
	}
	spent := time.Duration(0)
	for _, t := range timings {
		spent += time.Duration(1e6 * t.MS)
	}
	return spent.Seconds() / runs, nil
}
