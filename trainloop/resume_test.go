package trainloop_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"march/trainloop"
	"march/trainloop/corpus"
	"march/trainloop/objective"
	"march/variants"
)

// toyRun are the options of a run of so many steps in a folder of its own.
func toyRun(t *testing.T, steps int64) trainloop.Options {
	return trainloop.Options{Dir: filepath.Join(t.TempDir(), "run"), Program: toy{batch: 1, length: 3}.write(t), Settings: toySettings(objective.CausalLM, steps),
		Training: variants.Training{Rate: 1e-3, Schedule: "constant"}, Runtime: open(t), Batches: feedFor(corpus.Shapes{Batch: 1, Length: 3}),
		Warn: func(text string) { t.Log(text) }}
}

// Where the optimizer's graph fails, its error is the run's, and the steps before it are logged.
func TestFailingUpdate(t *testing.T) {
	o := toyRun(t, 4)
	o.ValidateEvery = 2
	o.Validate = func(e *trainloop.Engine) (float64, error) { return 1, e.BreakUpdate() }
	_, err := trainloop.Train(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("%v, wanted the binding's error", err)
	}
	if steps, err := trainloop.ReadMetrics(o.Dir); err != nil || len(steps) != 2 {
		t.Errorf("%d steps logged, wanted 2; %v", len(steps), err)
	}
}

// A program of other settings is refused before anything is trained.
func TestProgramOfOtherSettings(t *testing.T) {
	for want, change := range map[string]func(*trainloop.Settings){
		"seed was 4, now 3":                func(s *trainloop.Settings) { s.Seed = 4 },
		"batch was 2, now 1":               func(s *trainloop.Settings) { s.MicroBatch = 2 },
		"init_sha256 was abc, now ":        func(s *trainloop.Settings) { s.Init = "abc" },
		"d was 8, now 0":                   func(s *trainloop.Settings) { s.Config = []byte(`{"d":8}`) },
		"length was 4, now 3, init_sha256": func(s *trainloop.Settings) { s.Length, s.Init = 4, "abc" },
	} {
		o := toyRun(t, 4)
		change(&o.Settings)
		o.Begin = func() error { t.Error("begun"); return nil }
		if _, err := trainloop.Train(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, wanted %q", err, want)
		}
	}
}

// figures lists the steps that have a validation loss, and those that have scores.
func figures(t *testing.T, dir string) string {
	t.Helper()
	list, err := trainloop.ReadMetrics(dir)
	if err != nil {
		t.Fatal(err)
	}
	var valid, scored []int64
	for _, m := range list {
		if m.Valid != nil {
			valid = append(valid, m.Step)
		}
		if m.Scores != nil {
			scored = append(scored, m.Step)
		}
	}
	return fmt.Sprint(len(list), valid, scored)
}

// A run that is stopped while it validates, or scores, does so when it goes on: what it leaves is what a run leaves that
// nobody stopped, also where that was at its last step, and where the best checkpoint depends on it.
func TestStoppedWhileMeasuring(t *testing.T) {
	loss := map[int64]float64{3: 2, 6: 5, 9: 3, 12: 4}
	for _, at := range []string{"validation 3", "scores 6", "validation 9", "validation 12"} {
		o := toyRun(t, 12)
		o.SaveEvery, o.ValidateEvery, o.ScoreEvery = 100, 3, 3
		ctx, cancel := context.WithCancel(t.Context())
		var step int64
		o.OnStep = func(m trainloop.Metric) { step = m.Step }
		measure := func(what string) error {
			if fmt.Sprint(what, " ", next(step)) == at && ctx.Err() == nil {
				cancel()
				return context.Cause(ctx)
			}
			return nil
		}
		o.Validate = func(*trainloop.Engine) (float64, error) { return loss[next(step)], measure("validation") }
		o.Score = func(*trainloop.Engine) (map[string]float64, error) {
			return map[string]float64{"x": float64(next(step))}, measure("scores")
		}
		if _, err := trainloop.Train(ctx, o); !errors.Is(err, context.Canceled) {
			t.Fatalf("%s: %v", at, err)
		}
		o.Resume = true
		step-- // so that what is measured is of the step that was told of last
		if _, err := trainloop.Train(t.Context(), o); err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		if got, want := figures(t, o.Dir), "12 [3 6 9 12] [3 6 9]"; got != want {
			t.Errorf("stopped at %s: %s, wanted %s", at, got, want)
		}
		best, err := trainloop.Best(o.Dir, func(text string) { t.Error(text) })
		if err != nil || best == nil || best.Step != 3 || *best.Valid != 2 {
			t.Errorf("stopped at %s: best %+v, %v", at, best, err)
		}
	}
}

// next is the step that is being measured when so many were told of: the next multiple of 3.
func next(told int64) int64 { return told/3*3 + 3 }

// The checkpoint with the lowest validation loss is kept, whenever else checkpoints are saved.
func TestLowestIsSaved(t *testing.T) {
	o := toyRun(t, 10)
	losses := []float64{8, 4, 7, 6}
	o.SaveEvery, o.ValidateEvery = 4, 3
	o.Validate = func(*trainloop.Engine) (x float64, err error) {
		x, losses = losses[0], losses[1:]
		return x, nil
	}
	if _, err := trainloop.Train(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	best, err := trainloop.Best(o.Dir, func(text string) { t.Error(text) })
	if err != nil || best == nil || best.Step != 6 || *best.Valid != 4 {
		t.Errorf("best %+v, %v; wanted step 6", best, err)
	}
}
