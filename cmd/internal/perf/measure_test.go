package perf

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"march/graphgen"
	"march/runtime"
	"march/variants"
)

// micro is a decoder that a step of takes milliseconds.
func micro(t *testing.T, length int) Workload {
	t.Helper()
	v, err := variants.Find("sharing/baseline+d=16+heads=2+qkv_dim=8+ff=32+vocab=64", "tiny", "decoder")
	if err != nil {
		t.Fatal(err)
	}
	v.Config.Length = length
	return Workload{Name: "micro", Variant: v, Batch: 2, Length: length}
}

// TestMeasureSteps: operators and FLOPs are those of a whole step, whatever it is made of and however long its rows are.
func TestMeasureSteps(t *testing.T) {
	rt, err := runtime.Open(runtime.Options{Device: runtime.Device{Kind: "cpu"}, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	o := Options{Targets: []graphgen.Target{graphgen.ORT}, Warmup: 1, Steps: 3, Rounds: 2, Ops: true}
	measure := func(w Workload, micro int) Result {
		t.Helper()
		o.MicroBatches = micro
		list, err := Measure(t.Context(), rt, []Workload{w}, o, func(Result) {})
		if err != nil {
			t.Fatal(err)
		}
		return list[0]
	}
	gemms := func(r Result) int {
		for _, op := range r.Ops {
			if op.Op == "Gemm" {
				return op.Calls
			}
		}
		return 0
	}
	one, three := measure(micro(t, 32), 1), measure(micro(t, 32), 3)
	if n := gemms(one); n == 0 || gemms(three) != 3*n {
		t.Errorf("%d Gemms a step of one micro-batch, %d of three", n, gemms(three))
	}
	if one.Replicas != 1 {
		t.Errorf("operators were timed with %d replicas at once", one.Replicas)
	}
	short, shorter := micro(t, 32), micro(t, 16)
	short.Length = 16
	flops := func(r Result) float64 { return r.GFLOPS * r.MS }
	if a, b := flops(measure(short, 1)), flops(measure(shorter, 1)); math.Abs(a-b) > 1e-9*b {
		t.Errorf("rows of 16 tokens in a model of 32 positions cost %v MFLOP, in one of 16 %v", a, b)
	}
}

// TestMeasureStops where its context ends, and leaves nothing behind.
func TestMeasureStops(t *testing.T) {
	rt, err := runtime.Open(runtime.Options{Device: runtime.Device{Kind: "cpu"}, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("that will do")
	o := Options{Targets: []graphgen.Target{graphgen.ORT}, Steps: 1 << 40}
	ended := make(chan error)
	go func() {
		_, err := Measure(ctx, rt, []Workload{micro(t, 16)}, o, func(Result) {})
		ended <- err
	}()
	cancel(why)
	if err := <-ended; !errors.Is(err, why) {
		t.Errorf("stopped with %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "march-perf-*")); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}
