package trainloop_test

import (
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
		"d was 8, now <nil>":               func(s *trainloop.Settings) { s.Config = []byte(`{"d":8}`) },
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
