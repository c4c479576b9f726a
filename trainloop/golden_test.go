package trainloop

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"march/graphgen"
	"march/runtime"
	"march/trainloop/corpus"
	"march/trainloop/safetensors"
	"march/variants"
	"march/variants/manifest"
	"march/variants/program"
)

// openRuntime opens the device that MARCH_TEST_DEVICE names.
func openRuntime(t testing.TB) *runtime.Runtime {
	t.Helper()
	device, err := runtime.ParseDevice(os.Getenv("MARCH_TEST_DEVICE"))
	if err != nil {
		t.Fatal(err)
	}
	if device.Kind == "auto" {
		device.Kind = "cpu"
	}
	rt, err := runtime.Open(runtime.Options{Device: device, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.Close() })
	return rt
}

// openGPU is openRuntime for tests of a GPU, which are skipped, saying why, without one.
func openGPU(t testing.TB) *runtime.Runtime {
	t.Helper()
	rt := openRuntime(t)
	if rt.GPU() == "" {
		t.Skip("needs a GPU; MARCH_TEST_DEVICE=cuda says there is one")
	}
	return rt
}

// TestGoldens compares loss, logits, every gradient, and ten AdamW steps with the
// independent implementation: each variant of each architecture, for all targets that there are kernels for.
func TestGoldens(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(goldens, "*", "case.json"))
	if err != nil || len(files) < 100 {
		t.Fatalf("found %d goldens in %s, want more than 100: %v", len(files), goldens, err)
	}
	rt := openRuntime(t)
	targets := graphgen.StockTargets()
	if rt.Kernels() == nil {
		targets = append(targets, graphgen.Fused)
	}
	for i, file := range files {
		run := func(name string, target graphgen.Target, gpu bool) {
			t.Run(filepath.Base(filepath.Dir(file))+"/"+name, func(t *testing.T) {
				t.Parallel()
				g, want := readGolden(t, filepath.Dir(file))
				if len(g.Masks.Places) > 0 {
					checkMasked(t, rt, g, want, target, gpu)
					return
				}
				checkGolden(t, rt, g, want, target, gpu)
			})
		}
		for _, target := range targets {
			run(string(target), target, rt.GPU() != "" && target != graphgen.Portable)
		}
		if i%4 == 0 && rt.GPU() == "" { // the forms that a graph for a GPU has instead run here, too
			run("ort for a GPU", graphgen.ORT, true)
		}
	}
}

func checkGolden(t *testing.T, rt *runtime.Runtime, g golden, want *safetensors.File, target graphgen.Target, gpu bool) {
	folder := t.TempDir()
	o := program.Options{Target: target, GPU: gpu, Batch: g.Batch, Length: g.Seq, DecoderLength: g.DecoderSeq, Graphs: []string{"grad", "update", "infer"}}
	if _, err := program.Write(folder, variants.Variant{Study: "goldens", Base: g.Case, Config: g.config(t)}, o); err != nil {
		t.Fatal(err)
	}
	e, err := NewEngine(rt, folder, EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if len(e.Manifest.Parameters) != len(g.Parameters) {
		t.Fatalf("%d parameters, the oracle has %d", len(e.Manifest.Parameters), len(g.Parameters))
	}
	if len(e.Manifest.Teacher) != len(g.Teacher.Parameters) {
		t.Fatalf("%d parameters of a teacher, the oracle has %d", len(e.Manifest.Teacher), len(g.Teacher.Parameters))
	}
	for _, p := range slices.Concat(g.Parameters, g.Teacher.Parameters) {
		if view := e.views[p.Name]; view == nil {
			t.Fatalf("no parameter %s", p.Name)
		} else if err := runtime.Upload(view, p.values(t)); err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
	}
	g.prune(t, e, g.Prune.Sparsity, g.Prune.Masked)
	if g.Documents == nil { // infer.onnx reads one document
		g.checkLogits(t, rt, e, folder, want)
	}
	sums, err := micro(e, g.batch())
	if err != nil {
		t.Fatal(err)
	}
	g.check(t, "the first batch", sums, g.goldenStep)
	g.checkGradients(t, want, func(name string, shape []int) []float32 {
		v, err := e.tensor(kindGrads, manifest.Parameter{Name: name, Shape: shape})
		if err != nil {
			t.Fatal(err)
		}
		return v
	})
	if err := e.replicas[0].grads.Zero(); err != nil {
		t.Fatal(err)
	}
	for i, s := range g.Steps {
		if share := g.config(t).Training.Prune.SparsityAt(int64(i+1), int64(len(g.Steps))); math.Abs(share-s.Sparsity) > 1e-12 {
			t.Errorf("step %d has the sparsity %v, the oracle's %v", i+1, share, s.Sparsity)
		}
		g.prune(t, e, s.Sparsity, s.Masked)
		sums, err := micro(e, s.batch())
		if err != nil {
			t.Fatal(err)
		}
		g.check(t, fmt.Sprintf("step %d", i+1), sums, s)
		norm, err := e.Update(g.Optimizer.LR, int64(i+1), sums.Count)
		if err != nil {
			t.Fatal(err)
		}
		if relative(norm, s.GradNorm) > max(1e-4, 5*g.Float32.GradNorm) {
			t.Errorf("step %d: gradient norm %v, the oracle's %v", i+1, norm, s.GradNorm)
		}
	}
	g.checkAfter(t, e, want)
}

// prune makes the masks of a step, where the case has any.
func (g golden) prune(t *testing.T, e *Engine, share float64, masked int) {
	t.Helper()
	if g.Prune.Masked == 0 {
		return
	}
	if err := e.Prune(share); err != nil {
		t.Fatal(err)
	}
	if e.pruning.masked != masked {
		t.Errorf("at sparsity %v %d weights are masked, the oracle's %d", share, e.pruning.masked, masked)
	}
}

// check compares a micro-batch's sums.
func (g golden) check(t *testing.T, when string, got Sums, want goldenStep) {
	t.Helper()
	if got.Count != want.Count || relative(got.Loss, want.LossSum) > 1e-5 {
		t.Errorf("%s: loss %v over %d labels, the oracle's %v over %d", when, got.Loss, got.Count, want.LossSum, want.Count)
	}
	if p := want.PonderSum; p != nil && relative(got.Further[variants.Ponder], *p) > 1e-5 {
		t.Errorf("%s: ponder cost %v, the oracle's %v", when, got.Further, *p)
	}
	if d := want.DistillSum; d != nil && relative(got.Further[variants.DistillSum], *d) > 1e-5 {
		t.Errorf("%s: distance to the teacher %v, the oracle's %v", when, got.Further, *d)
	}
}

// checkLogits compares infer.onnx's logits of one sequence, at a dynamic shape.
func (g golden) checkLogits(t *testing.T, rt *runtime.Runtime, e *Engine, folder string, want *safetensors.File) {
	// infer.onnx holds weights of its own: the goldens' start values replace them, as a
	// checkpoint would have them.
	var tensors []safetensors.Tensor
	for _, p := range e.Manifest.Parameters {
		v, err := e.effective(p)
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, safetensors.New(p.Name, p.Shape, v))
	}
	if err := safetensors.WriteFile(filepath.Join(folder, program.InitFile), tensors, map[string]string{"format": "pt", "producer": "march", "variant": e.Manifest.Study + "/" + e.Manifest.Variant}); err != nil {
		t.Fatal(err)
	}
	s, err := rt.Session(filepath.Join(folder, "infer.onnx"), runtime.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in, labelled := map[string]*runtime.Tensor{}, g.Seq
	add := func(name string, all []int64, n int, shape ...int64) {
		x, err := rt.NewTensor(runtime.Int64, shape...)
		if err != nil {
			t.Fatal(err)
		}
		if err := runtime.Upload(x, all[g.Logits.Sequence*n:][:n]); err != nil {
			t.Fatal(err)
		}
		in[name] = x
	}
	add(variants.Tokens, g.Tokens, g.Seq, 1, int64(g.Seq))
	if g.Lengths != nil {
		add(variants.Lengths, g.Lengths, 1, 1)
	}
	if g.DecoderSeq != 0 {
		labelled = g.DecoderSeq
		add(variants.DecoderTokens, g.DecoderTokens, g.DecoderSeq, 1, int64(g.DecoderSeq))
	}
	logits, err := rt.NewTensor(runtime.Float32, 1, int64(labelled), int64(e.Manifest.Vocab))
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Bind(in, map[string]*runtime.Tensor{"logits": logits})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Run(); err != nil {
		t.Fatal(err)
	}
	got, oracle := make([]float32, logits.Len()), make([]float32, logits.Len())
	if err := runtime.Download(logits, got); err != nil {
		t.Fatal(err)
	}
	if err := safetensors.Read(want, "logits", oracle); err != nil {
		t.Fatal(err)
	}
	largest, worst := largestOf(oracle), 0.0
	for i := range got {
		worst = max(worst, math.Abs(float64(got[i])-float64(oracle[i])))
	}
	if worst > 1e-5*largest {
		t.Errorf("logits differ by %.2g (largest %.2g)", worst, largest)
	}
}

// checkGradients holds every entry of every gradient to 1e-4 of the largest entry of its
// tensor, or of a thousandth of the model's largest.
func (g golden) checkGradients(t *testing.T, want *safetensors.File, gradient func(name string, shape []int) []float32) {
	model := 0.0
	for _, p := range g.Parameters {
		model = max(model, p.GradLargest)
	}
	worst := 0.0
	for _, p := range g.Parameters {
		got := gradient(p.Name, p.Shape)
		oracle := g.gradient(t, want, p.Name, len(got))
		difference := 0.0
		for i := range got {
			difference = max(difference, math.Abs(float64(got[i])-oracle[i]))
		}
		ratio := difference / max(largestOf(oracle), 1e-3*model)
		if !(ratio <= 1e-4) {
			t.Errorf("gradient of %s is off by %.2g of its largest entry", p.Name, ratio)
		}
		worst = max(worst, ratio)
	}
	t.Logf("worst gradient: %.2g of the largest entry", worst)
}

// checkAfter compares a sample of the parameters after the ten steps. The gradient of the
// keys' bias is zero by mathematics, so AdamW turns rounding into steps there: left out.
func (g golden) checkAfter(t *testing.T, e *Engine, want *safetensors.File) {
	for _, p := range g.Parameters {
		if strings.HasSuffix(p.Name, ".bk") {
			continue
		}
		info, ok := want.Lookup("after/" + p.Name)
		if !ok {
			t.Fatalf("the oracle has no %s after ten steps", p.Name)
		}
		oracle := make([]float32, info.Bytes/4)
		if err := safetensors.Read(want, info.Name, oracle); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, graphgen.Shape(p.Shape).Elements())
		if err := runtime.Download(e.views[p.Name], got); err != nil {
			t.Fatal(err)
		}
		for i, x := range oracle {
			if d := math.Abs(float64(got[i*p.AfterStride]) - float64(x)); d > 3e-4 {
				t.Errorf("%s after ten steps: entry %d is off by %.2g", p.Name, i*p.AfterStride, d)
				break
			}
		}
	}
}

func largestOf[T float32 | float64](v []T) float64 {
	m := 0.0
	for _, x := range v {
		m = max(m, math.Abs(float64(x)))
	}
	return m
}

func relative(got, want float64) float64 { return math.Abs(got-want) / math.Abs(want) }

// micro runs one micro-batch.
func micro(e *Engine, b *corpus.Batch) (Sums, error) {
	if err := e.Feed(OneBatch{e.Shapes(), b}); err != nil {
		return Sums{}, err
	}
	return e.Accumulate(1, 0, 1)
}
