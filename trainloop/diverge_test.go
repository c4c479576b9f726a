package trainloop

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"march/trainloop/corpus"
	"march/trainloop/safetensors"
)

// numbered are batches whose every token is the number of its micro-batch.
type numbered struct{}

func (numbered) Shapes() corpus.Shapes { return corpus.Shapes{Batch: 2, Length: 3} }

func (numbered) Fill(micro int64, b *corpus.Batch) {
	for _, name := range corpus.Arrays() {
		for i := range b.Array(name) {
			b.Array(name)[i] = micro
		}
	}
}

func TestDivergence(t *testing.T) {
	sums := func(loss float64, further map[string]float64) Sums {
		return Sums{Loss: loss, Count: 4, Further: further}
	}
	for _, c := range []struct {
		result StepResult
		want   string // "": all is well
	}{
		{StepResult{Step: 7, Sums: sums(8, map[string]float64{"a": 1}), Norm: 2}, ""},
		{StepResult{Step: 7, Sums: sums(math.NaN(), nil), Norm: 2}, "step 7 (micro-batches 12 to 13): loss NaN, gradient norm 2"},
		{StepResult{Step: 7, Sums: sums(8, nil), Norm: math.Inf(1)}, "loss 2, gradient norm +Inf"},
		{StepResult{Step: 7, Sums: sums(8, map[string]float64{"a": 1, "b": math.Inf(-1)}), Norm: 2}, "b is -Inf a label"},
	} {
		d := divergence(c.result, 2)
		if (d == nil) != (c.want == "") || d != nil && (!strings.Contains(d.Error(), c.want) || !errors.Is(d, ErrDiverged)) {
			t.Errorf("%+v: %v, want %q", c.result, d, c.want)
		}
	}
}

func TestPolicy(t *testing.T) {
	run := t.TempDir()
	bad := func(step int64) *Divergence {
		return divergence(StepResult{Step: step, Sums: Sums{Loss: math.NaN(), Count: 1}}, 2)
	}
	warnings := 0
	warn := func(string) { warnings++ }
	stop := guard{policy: StopDiverged}
	err := stop.failed(bad(3), run, numbered{}, warn)
	if !errors.Is(err, ErrDiverged) || !strings.Contains(err.Error(), filepath.Join(run, "diverged", "step-00000003.safetensors")) || warnings != 0 {
		t.Errorf("stop: %v, %d warnings", err, warnings)
	}
	// The batch can be had again.
	f, err := safetensors.Open(filepath.Join(run, "diverged", "step-00000003.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, _ := f.Lookup(corpus.TokensArray)
	got := make([]byte, info.Bytes)
	if err := f.ReadInto(corpus.TokensArray, got); err != nil || !reflect.DeepEqual(info.Shape, []int{2, 2, 3}) || f.Metadata()["first_micro_batch"] != "4" {
		t.Fatalf("%+v, %v, %v", info, f.Metadata(), err)
	}
	for i := range 12 {
		if x := binary.LittleEndian.Uint32(got[4*i:]); x != uint32(4+i/6) {
			t.Errorf("token %d is %d", i, x)
		}
	}
	skip := guard{policy: SkipDiverged}
	for round := range 3 {
		for i := range int64(maxSkipped) {
			if err := skip.failed(bad(1+i), run, numbered{}, warn); err != nil {
				t.Fatalf("round %d, step %d: %v", round, i, err)
			}
		}
		if round < 2 {
			skip.passed()
		}
	}
	if warnings != 3*maxSkipped {
		t.Errorf("%d warnings", warnings)
	}
	if err := skip.failed(bad(40), run, numbered{}, warn); !errors.Is(err, ErrDiverged) || !strings.Contains(err.Error(), "10 steps in a row") {
		t.Errorf("too many: %v", err)
	}
	// A folder that takes no file keeps no run from going on.
	if err := (&guard{policy: SkipDiverged}).failed(bad(1), filepath.Join(run, "diverged", "step-00000003.safetensors"), numbered{}, warn); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"stop", "skip"} {
		if p, err := ParsePolicy(name); err != nil || string(p) != name {
			t.Error(p, err)
		}
	}
	if _, err := ParsePolicy("hope"); err == nil || !strings.Contains(err.Error(), `policy "hope": wanted stop or skip`) {
		t.Error(err)
	}
}

func TestMetricLines(t *testing.T) {
	loss := 2.5
	for _, m := range []Metric{
		{Step: 1, Loss: 3.5, Rate: 0.1, GradNorm: 2, Tokens: 64, Seconds: 1.5, Valid: &loss, PerLabel: map[string]float64{"a": 1}, Sparsity: 0.5},
		{Step: 2, Loss: math.NaN(), GradNorm: math.Inf(1), Tokens: 128, Skipped: "loss NaN, gradient norm +Inf"},
	} {
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var again Metric
		if err := json.Unmarshal(b, &again); err != nil {
			t.Fatal(err)
		}
		if m.Skipped != "" {
			if !math.IsNaN(again.Loss) || !math.IsNaN(again.GradNorm) || !strings.Contains(string(b), `"loss":null`) {
				t.Errorf("%s comes back as %+v", b, again)
			}
			again.Loss, again.GradNorm, m.Loss, m.GradNorm = 0, 0, 0, 0
		}
		if !reflect.DeepEqual(m, again) {
			t.Errorf("%s comes back as %+v", b, again)
		}
	}
	const want = `{"step":1,"loss":2,"lr":0.5,"grad_norm":3,"tokens":64,"seconds":0}`
	if b, _ := json.Marshal(Metric{Step: 1, Loss: 2, Rate: 0.5, GradNorm: 3, Tokens: 64}); string(b) != want {
		t.Errorf("a line is %s, want %s", b, want)
	}
}

// Whatever a metrics file holds: an error with its line, or steps.
func FuzzMetrics(f *testing.F) {
	f.Add([]byte("{\"step\":1,\"loss\":2.5,\"lr\":0.1,\"grad_norm\":null,\"tokens\":3,\"seconds\":1e5}\n{\"step\":2"))
	f.Add([]byte("{\"step\":1e400}\n"))
	f.Add([]byte("null\n{}\n[]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parseMetrics(MetricsFile, bytes.NewReader(data))
		if err == nil && len(list) > len(data) {
			t.Fatalf("%d steps in %d bytes", len(list), len(data))
		}
	})
}

// Whatever a settings file holds: an error, or settings that are written and read alike.
func FuzzSettings(f *testing.F) {
	f.Add([]byte(`{"study":"sharing","variant":"baseline","config":{"heads":4},"steps":10,"tokens_per_step":64,"micro_batch":4,"length":16}`))
	f.Add([]byte(`{"config":null,"steps":9223372036854775807,"tokens_per_step":1,"micro_batch":4294967296,"length":4294967296}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSettings(data)
		if err != nil {
			return
		}
		b, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseSettings(b)
		if err != nil {
			t.Fatalf("cannot read what was written: %v", err)
		}
		if d := again.Differences(s); len(d) > 0 {
			t.Fatalf("written and read it differs: %v", d)
		}
	})
}
