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
