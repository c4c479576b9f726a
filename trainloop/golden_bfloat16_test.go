package trainloop

import (
	"math"
	"path/filepath"
	"testing"

	"march/graphgen"
	"march/runtime"
	"march/trainloop/safetensors"
	"march/variants"
	"march/variants/manifest"
	"march/variants/program"
)

// TestBFloat16 holds the gradients that a GPU computes in bfloat16 to the independent
// implementation's in float64: ‖difference‖ at most 2 % of ‖gradient‖ over the whole model
// and 5 % of any tensor's. A tensor with less than a hundredth of the model's norm is held to that
// hundredth: some gradients, such as the keys' bias's, are zero by mathematics.
func TestBFloat16(t *testing.T) {
	rt := openRuntime(t)
	if rt.GPU() == "" {
		t.Skip("MARCH_TEST_DEVICE=cuda asks for it: ONNX Runtime computes in bfloat16 on GPUs only")
	}
	files, err := filepath.Glob(filepath.Join(goldens, "*", "case.json"))
	if err != nil || len(files) < 100 {
		t.Fatalf("found %d goldens in %s, want more than 100: %v", len(files), goldens, err)
	}
	worst, ran := [2]float64{}, 0
	for _, file := range files {
		g, want := readGolden(t, filepath.Dir(file))
		if len(g.Masks.Places) > 0 {
			continue // the same models with dropout masks given
		}
		ran++
		t.Run(g.Case, func(t *testing.T) {
			whole, tensor := checkBFloat16(t, rt, g, want)
			worst = [2]float64{max(worst[0], whole), max(worst[1], tensor)}
		})
	}
	t.Logf("%d cases; at worst %.2g of the whole gradient, %.2g of a tensor's", ran, worst[0], worst[1])
}

func checkBFloat16(t *testing.T, rt *runtime.Runtime, g golden, want *safetensors.File) (whole, tensor float64) {
	folder := t.TempDir()
	o := program.Options{Target: graphgen.ORT, Precision: "bf16", Batch: g.Batch, Length: g.Seq, DecoderLength: g.DecoderSeq, Graphs: []string{"grad", "update"}}
	if _, err := program.Write(folder, variants.Variant{Study: "goldens", Base: g.Case, Config: g.config(t)}, o); err != nil {
		t.Fatal(err)
	}
	e, err := NewEngine(rt, folder, EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, p := range append(g.Parameters, g.Teacher.Parameters...) {
		v := p.values(t)
		if err := runtime.Upload(e.views[p.Name], v); err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
		if e.views[variants.CopyName(p.Name)] != nil {
			if err := e.uploadCopy(p.Name, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	g.prune(t, e, g.Prune.Sparsity, g.Prune.Masked)
	sums, err := micro(e, g.batch())
	if err != nil {
		t.Fatal(err)
	}
	if sums.Count != g.Count || relative(sums.Loss, g.LossSum) > 1e-2 {
		t.Errorf("loss %v over %d labels, the oracle's %v over %d", sums.Loss, sums.Count, g.LossSum, g.Count)
	}
	type norms struct{ difference, reference float64 }
	all, each := norms{}, map[string]norms{}
	for _, p := range g.Parameters {
		got, err := e.tensor(kindGrads, manifest.Parameter{Name: p.Name, Shape: p.Shape})
		if err != nil {
			t.Fatal(err)
		}
		oracle, n := g.gradient(t, want, p.Name, len(got)), norms{}
		for i := range got {
			d := float64(got[i]) - oracle[i]
			n.difference += d * d
			n.reference += oracle[i] * oracle[i]
		}
		each[p.Name] = n
		all.difference += n.difference
		all.reference += n.reference
	}
	whole = math.Sqrt(all.difference / all.reference)
	if !(whole <= 2e-2) {
		t.Errorf("the gradient is off by %.2g of its norm", whole)
	}
	for name, n := range each {
		d := math.Sqrt(n.difference / max(n.reference, 1e-4*all.reference))
		if tensor = max(tensor, d); !(d <= 5e-2) {
			t.Errorf("the gradient of %s is off by %.2g of its norm", name, d)
		}
	}
	// A step with the optimizer, which writes the copies anew.
	if _, err := e.Update(1e-3, 1, sums.Count); err != nil {
		t.Fatal(err)
	}
	for _, p := range g.Parameters {
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
