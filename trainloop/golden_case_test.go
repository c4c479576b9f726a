package trainloop

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"march/graphgen"
	"march/trainloop/corpus"
	"march/trainloop/rng"
	"march/trainloop/safetensors"
	"march/variants"
)

// goldens holds what an independent PyTorch implementation computes in float64
// (tools/oracle/README.md describes the fields).
const goldens = "../variants/testdata/goldens"

type goldenStep struct {
	Tokens        []int64  `json:"tokens"`
	Labels        []int64  `json:"labels"`
	Lengths       []int64  `json:"lengths"`
	DecoderTokens []int64  `json:"decoder_tokens"`
	Documents     []int64  `json:"documents"`
	LossSum       float64  `json:"loss_sum"`
	Count         int64    `json:"count"`
	PonderSum     *float64 `json:"ponder_sum"`
	DistillSum    *float64 `json:"distill_sum"`
	Sparsity      float64  `json:"sparsity"`
	Masked        int      `json:"masked"`
	Loss          float64  `json:"loss"`
	GradNorm      float64  `json:"grad_norm"`
}

// batch is what a step reads.
func (s goldenStep) batch() *corpus.Batch {
	return &corpus.Batch{Tokens: s.Tokens, Labels: s.Labels, Lengths: s.Lengths, DecoderTokens: s.DecoderTokens, Documents: s.Documents}
}

type golden struct {
	goldenStep
	Case       string
	Config     json.RawMessage
	Batch, Seq int
	DecoderSeq int `json:"decoder_seq"`
	Optimizer  struct {
		LR          float64
		Beta1       float64
		Beta2       float64
		Eps         float64
		WeightDecay float64 `json:"weight_decay"`
		Clip        float64
	}
	Halting struct{ Steps []int }
	Masks   struct {
		Places map[string]struct {
			Shape []int
			Rate  float64
		}
	}
	Float32 struct { // how far the same computation in float32 is from the golden
		GradNorm float64 `json:"step_grad_norm_relative"`
	}
	Prune struct { // of the first batch
		Sparsity float64
		Masked   int
	}
	Teacher struct {
		Config     json.RawMessage
		Parameters []goldenParameter
	}
	Steps      []goldenStep
	Logits     struct{ Sequence int }
	Parameters []goldenParameter
}

type goldenParameter struct {
	Name              string
	Shape             []int
	Center, Amplitude float64
	Decay             bool
	Initial           []float64
	GradLargest       float64 `json:"grad_largest"`
	GradScale         float64 `json:"grad_scale"`
	AfterStride       int     `json:"after_stride"`
}

// values are start values by the goldens' rule, which both sides compute.
func (p goldenParameter) values(t *testing.T) []float32 {
	t.Helper()
	v := make([]float32, graphgen.Shape(p.Shape).Elements())
	for i := range v {
		v[i] = float32(p.Center + float64(p.Amplitude*(2*goldenUnit(p.Name, i)-1)))
	}
	for i, x := range p.Initial {
		if math.Abs(float64(v[i])-x) > 1e-7 {
			t.Fatalf("%s: start value %d is %v, the oracle's %v", p.Name, i, v[i], x)
		}
	}
	return v
}

// config is the golden's model.
func (g golden) config(t *testing.T) variants.Config {
	v, err := variants.Find("sharing/baseline", "tiny", "") // for the training that goldens do not list
	if err != nil {
		t.Fatal(err)
	}
	c := v.Config
	c.Training.Prune.Every = 1 // as the oracle does
	if g.Teacher.Config != nil {
		teacher := c
		if err := json.Unmarshal(g.Teacher.Config, &teacher); err != nil {
			t.Fatal(err)
		}
		c.Teacher = &teacher
	}
	if err := json.Unmarshal(g.Config, &c); err != nil {
		t.Fatal(err)
	}
	o := g.Optimizer
	c.Training.Beta1, c.Training.Beta2, c.Training.Eps, c.Training.Decay, c.Training.Clip = o.Beta1, o.Beta2, o.Eps, o.WeightDecay, o.Clip
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c
}

// start gives all start values.
func (g golden) start(t *testing.T) map[string][]float32 {
	t.Helper()
	all := map[string][]float32{}
	for _, p := range g.Parameters {
		all[p.Name] = p.values(t)
	}
	return all
}

// goldenUnit is number i of a name's sequence of uniform numbers in [0,1).
func goldenUnit(name string, i int) float64 {
	z := rng.Name(name) + uint64(i+1)*0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return rng.Unit(z ^ z>>31)
}

// readGolden reads a case.
func readGolden(t *testing.T, dir string) (g golden, want *safetensors.File) {
	b, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	if want, err = safetensors.Open(filepath.Join(dir, "golden.safetensors")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { want.Close() })
	return g, want
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
