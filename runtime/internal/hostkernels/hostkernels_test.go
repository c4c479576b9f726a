package hostkernels

import (
	"strings"
	"testing"

	"march/runtime/internal/kernels"
)

func TestPrepareRefuses(t *testing.T) {
	f32 := func(shape ...int) kernels.Tensor { return kernels.Tensor{Type: kernels.Float32, Shape: shape} }
	half := kernels.Tensor{Type: kernels.BFloat16, Shape: []int{4, 8}}
	kind := map[string]string{"kind": "relu"}
	for _, c := range []struct {
		n    kernels.Node
		want string
	}{
		{kernels.Node{Op: "Linear"}, "no kernel Linear for a CPU; it has [Activate "},
		{kernels.Node{Op: "Activate", Strings: kind, In: []kernels.Tensor{half}, Out: []kernels.Tensor{half}}, "Activate: a tensor is bfloat16; on a CPU there is float32 alone"},
		{kernels.Node{Op: "Activate", Strings: map[string]string{"kind": "cubed"}, In: []kernels.Tensor{f32(4)}, Out: []kernels.Tensor{f32(4)}}, `kind "cubed" is not one of`},
		{kernels.Node{Op: "Activate", Strings: kind, In: []kernels.Tensor{f32(4)}, Out: []kernels.Tensor{f32(5)}}, "output 0 (y) is [5], wanted [4]"},
		{kernels.Node{Op: "Normalize", In: []kernels.Tensor{f32(4, 8), f32(8), f32(8), f32(4, 8)}, Out: []kernels.Tensor{f32(4, 8), f32(4, 2), f32(4, 8)}}, "input 3 (residual), which there is on a GPU alone"},
		{kernels.Node{Op: "MaskedSoftmax", In: []kernels.Tensor{f32(4, 8)}, Out: []kernels.Tensor{f32(8, 4)}}, "wanted matrices of float32, alike"},
		{kernels.Node{Op: "MaskedSoftmax", In: []kernels.Tensor{f32(4, 8), f32(4, 8)}, Out: []kernels.Tensor{f32(4, 8)}}, "2 inputs and 1 outputs, wanted one of each"},
		{kernels.Node{Op: "MaskedSoftmax", Ints: map[string]int{"causal": 1, "past": 5}, In: []kernels.Tensor{f32(4, 8)}, Out: []kernels.Tensor{f32(4, 8)}}, "wanted a key for each query's position"},
		{kernels.Node{Op: "SoftmaxGrad", Ints: map[string]int{"window": -1}, In: []kernels.Tensor{f32(4, 8), f32(4, 8)}, Out: []kernels.Tensor{f32(4, 8)}}, "window -1 and past 0, wanted 0 or more"},
	} {
		if _, err := Prepare(c.n); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, wanted %q", c.n.Op, err, c.want)
		}
	}
}
