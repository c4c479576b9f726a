package trainloop_test

import (
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"march/trainloop"
	"march/trainloop/corpus"
	"march/trainloop/objective"
	"march/variants"
)

// poisoned are batches of which those of some steps give no finite gradient.
type poisoned struct {
	numbered
	from, to int64 // micro-batches
}

func (p poisoned) Fill(micro int64, x *corpus.Batch) {
	p.numbered.Fill(micro, x)
	if micro < p.from || micro >= p.to {
		return
	}
	for _, part := range [][]int64{x.Lengths, x.DecoderTokens} {
		for i := range part {
			part[i] = math.MaxInt64
		}
	}
}

// A step without a finite gradient changes nothing: with stop the run ends there and names the batch, with
// skip it goes on, resumes over it, and ends in the bytes of a run that was not stopped.
func TestDivergedSteps(t *testing.T) {
	rt := open(t)
	y := toy{batch: 1, length: 3, decoder: 1, lengths: true}
	feed := poisoned{feedFor(corpus.Shapes{Batch: 1, Length: 3, Decoder: 1, Lengths: true}), 8, 12} // step 3
	var warnings []string
	o := trainloop.Options{Dir: filepath.Join(t.TempDir(), "run"), Program: y.write(t), Settings: toySettings(objective.SpanCorruption, 6),
		Training: variants.Training{Rate: 1e-3, Schedule: "constant"}, Runtime: rt, Batches: feed, SaveEvery: 1,
		Warn: func(text string) { warnings = append(warnings, text) }}
	_, err := trainloop.Train(t.Context(), o)
	if !errors.Is(err, trainloop.ErrDiverged) || !strings.Contains(err.Error(), "step 3 (micro-batches 8 to 11)") || !strings.Contains(err.Error(), "step-00000003.safetensors") {
		t.Fatalf("stop: %v", err)
	}
	before, err := trainloop.Latest(o.Dir, func(text string) { t.Error(text) })
	if err != nil || before.Step != 2 {
		t.Fatalf("%+v, %v", before, err)
	}
	o.Resume, o.Diverged = true, trainloop.SkipDiverged
	r, err := trainloop.Train(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if m := r.Metrics[2]; len(r.Metrics) != 6 || m.Skipped == "" || r.Metrics[3].Skipped != "" || r.Resumed != 2 {
		t.Errorf("%+v", r.Metrics)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "going on") {
		t.Errorf("warnings %q", warnings)
	}
	straight := o
	straight.Dir, straight.Resume = filepath.Join(t.TempDir(), "run"), false
	s, err := trainloop.Train(t.Context(), straight)
	if err != nil || s.Checkpoint.ParamsSHA256() != r.Checkpoint.ParamsSHA256() {
		t.Errorf("other parameters than of a run that was not stopped: %v", err)
	}
}

// The last checkpoints are kept, and the one with the best validation loss.
func TestBestCheckpoint(t *testing.T) {
	rt := open(t)
	losses := []float64{3, 1, 2, 4, 5, 6}
	y := toy{batch: 1, length: 3}
	step := 0
	o := trainloop.Options{Dir: filepath.Join(t.TempDir(), "run"), Program: y.write(t), Settings: toySettings(objective.CausalLM, 6),
		Training: variants.Training{Rate: 1e-3, Schedule: "constant"}, Runtime: rt, Batches: feedFor(corpus.Shapes{Batch: 1, Length: 3}), SaveEvery: 1, ValidateEvery: 1,
		Validate: func(*trainloop.Engine) (float64, error) { step++; return losses[step-1], nil }}
	if _, err := trainloop.Train(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	best, err := trainloop.Best(o.Dir, func(text string) { t.Error(text) })
	if err != nil || best.Step != 2 || *best.Valid != 1 {
		t.Errorf("%+v, %v", best, err)
	}
	// With other settings only where they are overridden.
	o.Resume, o.Settings.Steps = true, 8
	if _, err := trainloop.Train(t.Context(), o); err == nil || !strings.Contains(err.Error(), "steps (was 6, now 8)") {
		t.Errorf("other settings: %v", err)
	}
	losses = append(losses, 7, 8)
	o.Override = true
	if r, err := trainloop.Train(t.Context(), o); err != nil || r.Resumed != 6 || len(r.Metrics) != 8 {
		t.Errorf("overridden: %v", err)
	}
}
