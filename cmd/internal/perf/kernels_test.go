package perf

import (
	"slices"
	"testing"
	"time"

	"march/runtime"
)

func TestMedians(t *testing.T) {
	pass := func(a, b time.Duration) []runtime.KernelTiming {
		return []runtime.KernelTiming{{Op: "Linear", Detail: "a", Calls: 2, Time: a, Bytes: 7}, {Op: "Linear", Detail: "b", Calls: 4, Time: b, FLOPs: 9}}
	}
	passes := [][]runtime.KernelTiming{pass(10, 5), pass(90, 4), pass(11, 70), pass(12, 6), pass(9, 3)}
	slices.Reverse(passes[3]) // kernels are told apart by name, not by place
	if got, want := medians(passes), pass(11, 5); !slices.Equal(got, want) {
		t.Errorf("medians = %v, want %v", got, want)
	}
	if passes[0][0].Time != 10 {
		t.Errorf("the first pass was changed to %v", passes[0])
	}
}
