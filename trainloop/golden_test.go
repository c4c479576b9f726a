package trainloop

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"march/graphgen"
	"march/runtime"
	"march/trainloop/corpus"
	"march/trainloop/rng"
	"march/trainloop/safetensors"
	"march/variants"
	"march/variants/program"
)

// goldens holds what an independent PyTorch implementation computes in float64
// (tools/oracle/README.md describes the fields).
const goldens = "../variants/testdata/goldens"

type goldenStep struct {
	Tokens   []int64 `json:"tokens"`
	Labels   []int64 `json:"labels"`
	LossSum  float64 `json:"loss_sum"`
	Count    int64   `json:"count"`
	Loss     float64 `json:"loss"`
	GradNorm float64 `json:"grad_norm"`
}

type golden struct {
	goldenStep
	Config struct {
		Preset           string
		Vocab, Length, D int
		Layers           variants.Share
		Heads            int
		QKVDim           int `json:"qkv_dim"`
		FF               int
		Act              string
		GLU              bool
	}
	Batch, Seq int
	Optimizer  struct {
		LR          float64
		Beta1       float64
		Beta2       float64
		Eps         float64
		WeightDecay float64 `json:"weight_decay"`
		Clip        float64
	}
	Steps      []goldenStep
	After      json.RawMessage
	Logits     struct{ Sequence int }
	Parameters []struct {
		Name        string
		Shape       []int
		Decay       bool
		Initial     []float64
		GradLargest float64 `json:"grad_largest"`
		GradScale   float64 `json:"grad_scale"`
		AfterStride int     `json:"after_stride"`
	}
}

// variant is the golden's model in march's terms.
func (g golden) variant(t *testing.T) variants.Variant {
	name := map[string]string{"gptneo": "sharing/baseline", "gpt2": "plain/gpt2"}[g.Config.Preset]
	v, err := variants.Find(name, "tiny", "")
	if err != nil {
		t.Fatal(err)
	}
	c, x := &v.Config, g.Config
	c.Vocab, c.Length, c.D, c.Share, c.Heads, c.QKVDim, c.FF, c.Act, c.GLU = x.Vocab, x.Length, x.D, x.Layers, x.Heads, x.QKVDim, x.FF, x.Act, x.GLU
	o := g.Optimizer
	c.Training.Beta1, c.Training.Beta2, c.Training.Eps, c.Training.Decay, c.Training.Clip = o.Beta1, o.Beta2, o.Eps, o.WeightDecay, o.Clip
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return v
}

// start is the goldens' rule for start values, which both sides compute.
func start(name string, shape []int) []float32 {
	center, amplitude := 0.0, 0.1
	switch {
	case strings.HasSuffix(name, "norm.weight"):
		center, amplitude = 1, 0.2
	case strings.HasPrefix(name, "embed."):
		amplitude = 0.05
	case len(shape) == 2:
		amplitude = 1 / math.Sqrt(float64(shape[0]))
	}
	n := graphgen.Shape(shape).Elements()
	v := make([]float32, n)
	h := rng.Name(name)
	for i := range v {
		z := h + uint64(i+1)*0x9E3779B97F4A7C15
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		v[i] = float32(center + float64(amplitude*(2*rng.Unit(z^z>>31)-1)))
	}
	return v
}

func openRuntime(t testing.TB) *runtime.Runtime {
	t.Helper()
	rt, err := runtime.Open(runtime.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.Close() })
	return rt
}

// TestGoldens compares loss, logits, every gradient, and ten AdamW steps with the
// independent implementation, for both targets.
func TestGoldens(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(goldens, "*", "case.json"))
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d goldens in %s, want 10: %v", len(files), goldens, err)
	}
	rt := openRuntime(t)
	for _, file := range files {
		for _, target := range graphgen.Targets() {
			t.Run(fmt.Sprintf("%s/%s", filepath.Base(filepath.Dir(file)), target), func(t *testing.T) {
				checkGolden(t, rt, filepath.Dir(file), target)
			})
		}
	}
}

func checkGolden(t *testing.T, rt *runtime.Runtime, dir string, target graphgen.Target) {
	b, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	want, err := safetensors.Open(filepath.Join(dir, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	folder := t.TempDir()
	if _, err := program.Write(folder, g.variant(t), program.Options{Target: target, Batch: g.Batch, Length: g.Seq}); err != nil {
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
	for _, p := range g.Parameters {
		v := start(p.Name, p.Shape)
		if view := e.views[p.Name]; view == nil {
			t.Fatalf("no parameter %s", p.Name)
		} else if err := runtime.Upload(view, v); err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
		for i, x := range p.Initial {
			if math.Abs(float64(v[i])-x) > 1e-7 {
				t.Fatalf("%s: start value %d is %v, the oracle's %v", p.Name, i, v[i], x)
			}
		}
	}
	g.checkLogits(t, rt, e, folder, want)
	loss, count, err := micro(e, g.Tokens, g.Labels)
	if err != nil {
		t.Fatal(err)
	}
	if count != g.Count || relative(loss, g.LossSum) > 1e-5 {
		t.Errorf("loss %v over %d labels, the oracle's %v over %d", loss, count, g.LossSum, g.Count)
	}
	g.checkGradients(t, e, want)
	if err := e.replicas[0].grads.Zero(); err != nil {
		t.Fatal(err)
	}
	for i, s := range g.Steps {
		loss, count, err := micro(e, s.Tokens, s.Labels)
		if err != nil {
			t.Fatal(err)
		}
		norm, err := e.Update(g.Optimizer.LR, int64(i+1), count)
		if err != nil {
			t.Fatal(err)
		}
		if relative(loss/float64(count), s.Loss) > 1e-5 || relative(norm, s.GradNorm) > 1e-4 {
			t.Errorf("step %d: loss %v and gradient norm %v, the oracle's %v and %v", i+1, loss/float64(count), norm, s.Loss, s.GradNorm)
		}
	}
	g.checkAfter(t, e, want)
}

// checkLogits compares infer.onnx's logits of one sequence, at a dynamic shape.
func (g golden) checkLogits(t *testing.T, rt *runtime.Runtime, e *Engine, folder string, want *safetensors.File) {
	// infer.onnx holds weights of its own: the goldens' start values replace them.
	var tensors []safetensors.Tensor
	for _, p := range e.Manifest.Parameters {
		tensors = append(tensors, safetensors.New(p.Name, p.Shape, start(p.Name, p.Shape)))
	}
	if err := safetensors.WriteFile(filepath.Join(folder, program.InitFile), tensors, map[string]string{"format": "pt", "producer": "march", "variant": e.Manifest.Study + "/" + e.Manifest.Variant}); err != nil {
		t.Fatal(err)
	}
	s, err := rt.Session(filepath.Join(folder, "infer.onnx"), runtime.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tokens, err := rt.NewTensor(runtime.Int64, 1, int64(g.Seq))
	if err != nil {
		t.Fatal(err)
	}
	logits, err := rt.NewTensor(runtime.Float32, 1, int64(g.Seq), int64(g.Config.Vocab))
	if err != nil {
		t.Fatal(err)
	}
	at := g.Logits.Sequence * g.Seq
	if err := runtime.Upload(tokens, g.Tokens[at:at+g.Seq]); err != nil {
		t.Fatal(err)
	}
	b, err := s.Bind(map[string]*runtime.Tensor{"tokens": tokens}, map[string]*runtime.Tensor{"logits": logits})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Run(); err != nil {
		t.Fatal(err)
	}
	got, oracle := make([]float32, g.Seq*g.Config.Vocab), make([]float32, g.Seq*g.Config.Vocab)
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
func (g golden) checkGradients(t *testing.T, e *Engine, want *safetensors.File) {
	model := 0.0
	for _, p := range g.Parameters {
		model = max(model, p.GradLargest)
	}
	worst := 0.0
	for _, p := range e.Manifest.Parameters {
		got, err := e.tensor(kindGrads, p)
		if err != nil {
			t.Fatal(err)
		}
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

// gradient reads an oracle gradient, stored as float32 or as int16 with a scale.
func (g golden) gradient(t *testing.T, want *safetensors.File, name string, n int) []float64 {
	info, ok := want.Lookup("grad/" + name)
	if !ok {
		t.Fatalf("the oracle has no gradient of %s", name)
	}
	raw := make([]byte, info.Bytes)
	if err := want.ReadInto(info.Name, raw); err != nil {
		t.Fatal(err)
	}
	v := make([]float64, n)
	if len(raw) != n*map[string]int{"F32": 4, "I16": 2}[info.DType] {
		t.Fatalf("the oracle's gradient of %s has another size", name)
	}
	scale := 1.0
	for _, p := range g.Parameters {
		if p.Name == name && info.DType == "I16" {
			scale = p.GradScale
		}
	}
	for i := range v {
		if info.DType == "I16" {
			v[i] = scale * float64(int16(uint16(raw[2*i])|uint16(raw[2*i+1])<<8))
		} else {
			v[i] = float64(math.Float32frombits(uint32(raw[4*i]) | uint32(raw[4*i+1])<<8 | uint32(raw[4*i+2])<<16 | uint32(raw[4*i+3])<<24))
		}
	}
	return v
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

// one is a single micro-batch.
type one struct {
	shapes corpus.Shapes
	batch  *corpus.Batch
}

func (o one) Shapes() corpus.Shapes { return o.shapes }

func (o one) Fill(_ int64, b *corpus.Batch) {
	for _, name := range corpus.Arrays() {
		copy(b.Array(name), o.batch.Array(name))
	}
}

// micro runs one micro-batch.
func micro(e *Engine, tokens, labels []int64) (float64, int64, error) {
	if err := e.Feed(one{e.Shapes(), &corpus.Batch{Tokens: tokens, Labels: labels}}); err != nil {
		return 0, 0, err
	}
	s, err := e.Accumulate(1, 0, 1)
	return s.Loss, s.Count, err
}
