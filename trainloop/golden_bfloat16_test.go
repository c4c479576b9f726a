package trainloop

import (
	"math"
	"path/filepath"
	"testing"

	"march/graphgen"
	"march/runtime"
	"march/variants"
	"march/variants/program"
)

// TestBFloat16 holds the gradients that a GPU computes in bfloat16 to float32's on the CPU,
// which TestGoldens holds to the independent implementation: every variant of each architecture.
// ‖difference‖ may be 2 % of ‖gradient‖ over the whole model and 5 % of any tensor's; a tensor
// with less than a hundredth of the model's norm is held to that hundredth, for some
// gradients, such as the keys' bias's, are zero by mathematics.
//
// Both sides start from bfloat16Values; every model has its own activation.
func TestBFloat16(t *testing.T) {
	gpu := openGPU(t) // ONNX Runtime computes in bfloat16 there only
	cpu, err := runtime.Open(runtime.Options{Device: runtime.Device{Kind: "cpu"}, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer cpu.Close()
	files, err := filepath.Glob(filepath.Join(goldens, "*", "case.json"))
	if err != nil || len(files) < 100 {
		t.Fatalf("found %d goldens in %s, want more than 100: %v", len(files), goldens, err)
	}
	for _, target := range []graphgen.Target{graphgen.ORT, graphgen.Fused} {
		if err := gpu.Kernels(); target == graphgen.Fused && err != nil {
			t.Log("skipped: target fused: ", err)
			continue
		}
		worst, ran := [2]float64{}, 0
		for _, file := range files {
			g, _ := readGolden(t, filepath.Dir(file))
			if len(g.Masks.Places) > 0 {
				continue // the same models with dropout masks given
			}
			ran++
			t.Run(string(target)+"/"+g.Case, func(t *testing.T) {
				whole, tensor := checkBFloat16(t, cpu, gpu, g, target)
				worst = [2]float64{max(worst[0], whole), max(worst[1], tensor)}
			})
		}
		t.Logf("%s: %d cases; at worst %.2g of the whole gradient, %.2g of a tensor's", target, ran, worst[0], worst[1])
	}
}

// bfloat16Engine is an engine with the case's model and bfloat16Values.
func bfloat16Engine(t *testing.T, rt *runtime.Runtime, g golden, target graphgen.Target, precision string) *Engine {
	t.Helper()
	folder, c := t.TempDir(), g.config(t)
	o := program.Options{Target: target, Precision: precision, Batch: g.Batch, Length: g.Seq, DecoderLength: g.DecoderSeq, Graphs: []string{"grad", "update"}}
	if _, err := program.Write(folder, variants.Variant{Study: "goldens", Base: g.Case, Config: c}, o); err != nil {
		t.Fatal(err)
	}
	e, err := NewEngine(rt, folder, EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	for name, v := range bfloat16Values(t, folder, c, e.Manifest) {
		if err := runtime.Upload(e.views[name], v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if e.views[variants.CopyName(name)] != nil {
			if err := e.uploadCopy(name, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	if g.Prune.Masked != 0 {
		if err := e.Prune(g.Prune.Sparsity); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func checkBFloat16(t *testing.T, cpu, gpu *runtime.Runtime, g golden, target graphgen.Target) (whole, tensor float64) {
	reference, e := bfloat16Engine(t, cpu, g, graphgen.ORT, "fp32"), bfloat16Engine(t, gpu, g, target, "bf16")
	wantSums, err := micro(reference, g.batch())
	if err != nil {
		t.Fatal(err)
	}
	sums, err := micro(e, g.batch())
	if err != nil {
		t.Fatal(err)
	}
	if sums.Count != wantSums.Count || relative(sums.Loss, wantSums.Loss) > 1e-2 {
		t.Errorf("loss %v over %d labels, in float32 %v over %d", sums.Loss, sums.Count, wantSums.Loss, wantSums.Count)
	}
	type norms struct{ difference, reference float64 }
	all, each := norms{}, map[string]norms{}
	for _, p := range e.Manifest.Parameters {
		got, err := e.tensor(kindGrads, p)
		if err != nil {
			t.Fatal(err)
		}
		want, err := reference.tensor(kindGrads, p)
		if err != nil {
			t.Fatal(err)
		}
		n := norms{}
		for i := range got {
			d := float64(got[i]) - float64(want[i])
			n.difference += d * d
			n.reference += float64(want[i]) * float64(want[i])
		}
		each[p.Name] = n
		all.difference += n.difference
		all.reference += n.reference
	}
	const boundWhole, boundTensor = 2e-2, 5e-2
	whole = math.Sqrt(all.difference / all.reference)
	if !(whole <= boundWhole) {
		t.Errorf("the gradient is off by %.2g of its norm", whole)
	}
	for name, n := range each {
		d := math.Sqrt(n.difference / max(n.reference, 1e-4*all.reference))
		if tensor = max(tensor, d); !(d <= boundTensor) {
			t.Errorf("the gradient of %s is off by %.2g of its norm", name, d)
		}
	}
	// A step with the optimizer, which writes the copies anew.
	if _, err := e.Update(1e-3, 1, sums.Count); err != nil {
		t.Fatal(err)
	}
	for _, p := range e.Manifest.Parameters {
		c := e.views[variants.CopyName(p.Name)]
		if c == nil {
			continue
		}
		v, raw := make([]float32, c.Len()), make([]byte, c.Bytes())
		if err := runtime.Download(e.views[p.Name], v); err != nil {
			t.Fatal(err)
		}
		if err := c.DownloadBytes(raw); err != nil {
			t.Fatal(err)
		}
		for i, x := range v {
			if got := uint16(raw[2*i]) | uint16(raw[2*i+1])<<8; got != bfloat16(x) {
				t.Fatalf("%s: entry %d is %v, its copy %#x, wanted %#x", p.Name, i, x, got, bfloat16(x))
			}
		}
	}
	return whole, tensor
}

func TestRoundBFloat16(t *testing.T) {
	for _, test := range []struct {
		x    float32
		want uint16
	}{
		{0, 0}, {1, 0x3f80}, {-2, 0xc000}, {1 + 1.0/256, 0x3f80}, {1 + 3.0/256, 0x3f82}, {1 + 1.0/256 + 1e-6, 0x3f81},
		{math.MaxFloat32, 0x7f80}, {float32(math.Inf(-1)), 0xff80},
	} {
		if got := bfloat16(test.x); got != test.want {
			t.Errorf("%v becomes %#x, wanted %#x", test.x, got, test.want)
		}
	}
	if got := bfloat16(float32(math.NaN())); got&0x7f80 != 0x7f80 || got&0x7f == 0 {
		t.Errorf("a NaN becomes %#x", got)
	}
}
