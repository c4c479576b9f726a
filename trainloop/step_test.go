package trainloop

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"march/graphgen"
	"march/runtime"
	"march/trainloop/corpus"
	"march/variants"
	"march/variants/manifest"
	"march/variants/program"
)

// TestSingleStep: step.onnx, a whole training step in one graph with nothing of march's
// around it, gives the losses and norms of grad.onnx and update.onnx.
func TestSingleStep(t *testing.T) {
	rt := openRuntime(t)
	for _, name := range []string{"micro_combined", "heads_database", "sharing_decoder_universal_act", "sharing_encoder_distill", "sharing_decoder_prune"} {
		g, _ := readGolden(t, filepath.Join(goldens, name))
		for _, target := range graphgen.StockTargets() {
			t.Run(name+"/"+string(target), func(t *testing.T) { checkSingle(t, rt, g, target) })
		}
	}
}

func checkSingle(t *testing.T, rt *runtime.Runtime, g golden, target graphgen.Target) {
	dir := t.TempDir()
	v := variants.Variant{Study: "goldens", Base: g.Case, Config: g.config(t)}
	m, err := program.Write(dir, v, program.Options{Target: target, Batch: g.Batch, Length: g.Seq, DecoderLength: g.DecoderSeq, Graphs: []string{"grad", "update", "step"}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEngine(rt, dir, EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	single := newSingle(t, rt, dir, m)
	for name, v := range g.start(t) {
		if err := runtime.Upload(e.Parameters()[name], v); err != nil {
			t.Fatal(err)
		}
		if x := single.in[name]; x != nil { // one that has an effect
			upload(t, x, v)
		}
	}
	for _, p := range g.Teacher.Parameters {
		for _, x := range []*runtime.Tensor{e.views[p.Name], single.in[p.Name]} {
			upload(t, x, p.values(t))
		}
	}
	upload(t, single.in[variants.Rate], []float32{float32(g.Optimizer.LR)})
	for i, s := range g.Steps {
		g.prune(t, e, s.Sparsity, s.Masked)
		for _, p := range e.pruning.matrices {
			name := variants.PruneMaskName(p.Name)
			upload(t, single.in[name], download[float32](t, e.views[name]))
		}
		sums, err := micro(e, s.batch())
		if err != nil {
			t.Fatal(err)
		}
		loss, count := sums.Loss, sums.Count
		norm, err := e.Update(g.Optimizer.LR, int64(i+1), count)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range corpus.Arrays() {
			if x := single.in[name]; x != nil {
				upload(t, x, s.batch().Array(name))
			}
		}
		upload(t, single.in[variants.Step], []int64{int64(i + 1)})
		single.run(t)
		loss2, norm2 := float64(download[float32](t, single.out[variants.Loss])[0]), float64(download[float32](t, single.out[variants.GradNorm])[0])
		if count2 := download[int64](t, single.out[variants.Count])[0]; count2 != count || relative(loss2, loss) > 1e-6 || relative(norm2, norm) > 1e-5 {
			t.Errorf("step %d: loss %v over %d labels, norm %v; of two graphs %v over %d, %v", i+1, loss2, count2, norm2, loss, count, norm)
		}
	}
	for name, x := range e.Parameters() {
		if strings.HasSuffix(name, ".bk") || single.in[name] == nil {
			continue // see checkAfter; or one without effect, which update.onnx decays
		}
		want, got := download[float32](t, x), download[float32](t, single.in[name])
		for i := range want {
			if d := math.Abs(float64(got[i] - want[i])); d > 2e-5 {
				t.Errorf("%s after ten steps: entry %d is off by %.1e", name, i, d)
				break
			}
		}
	}
}

// single is step.onnx with memory for all that it takes and gives.
type single struct {
	in, out map[string]*runtime.Tensor
	binding *runtime.Binding
}

func newSingle(t *testing.T, rt *runtime.Runtime, dir string, m *manifest.Manifest) single {
	t.Helper()
	s, err := rt.Session(filepath.Join(dir, m.Graphs["step"].File), runtime.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	tensors := func(ports []manifest.Port) map[string]*runtime.Tensor {
		list := map[string]*runtime.Tensor{}
		for _, p := range ports {
			shape := make([]int64, len(p.Shape))
			for i, d := range p.Shape {
				shape[i] = int64(d)
			}
			x, err := rt.NewTensor(map[string]runtime.ElementType{"float32": runtime.Float32, "int64": runtime.Int64}[p.DType], shape...)
			if err != nil {
				t.Fatal(err)
			}
			list[p.Name] = x
		}
		return list
	}
	x := single{in: tensors(m.Graphs["step"].Inputs), out: tensors(m.Graphs["step"].Outputs)}
	if x.binding, err = s.Bind(x.in, x.out); err != nil {
		t.Fatal(err)
	}
	return x
}

// run takes a step, and makes what it gave the next step's input.
func (x single) run(t *testing.T) {
	t.Helper()
	if err := x.binding.Run(); err != nil {
		t.Fatal(err)
	}
	for name, in := range x.in {
		if out := x.out[variants.NewName(name)]; out != nil {
			upload(t, in, download[float32](t, out))
		}
	}
}

func upload[T runtime.Element](t *testing.T, x *runtime.Tensor, v []T) {
	t.Helper()
	if err := runtime.Upload(x, v); err != nil {
		t.Fatal(err)
	}
}

func download[T runtime.Element](t *testing.T, x *runtime.Tensor) []T {
	t.Helper()
	v := make([]T, x.Len())
	if err := runtime.Download(x, v); err != nil {
		t.Fatal(err)
	}
	return v
}
