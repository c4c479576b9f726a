package results

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"march/evalsuite"
	"march/results/record"
)

func judgeOrFail(t *testing.T, runs []record.Run, o VerdictOptions) *Verdicts {
	t.Helper()
	v, err := Judge(runs, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func verdictOf(t *testing.T, v *Verdicts, measure, variant string) Verdict {
	t.Helper()
	for _, x := range v.List {
		if x.Measure.Key == measure && x.Variant == variant {
			return x
		}
	}
	t.Fatalf("no verdict on %s by %s", variant, measure)
	return Verdict{}
}

func TestVerdicts(t *testing.T) {
	v := judgeOrFail(t, answered(t, trials(bench())), VerdictOptions{Measures: []string{"valid_loss", "grammar_accuracy"}})
	if v.Tests != 10 {
		t.Errorf("%d tests, want 10", v.Tests)
	}
	for _, c := range []struct {
		measure, variant string
		want             Outcome
		difference       float64
	}{
		{"valid_loss", "deep_cycle_rev", IsBetter, -0.02},
		{"valid_loss", "very_wide_cycle", IsWorse, +0.04},
		{"grammar_accuracy", "deep_cycle_rev", IsBetter, +0.01},
		{"grammar_accuracy", "very_wide_cycle", IsWorse, -0.02},
	} {
		x := verdictOf(t, v, c.measure, c.variant)
		if x.Outcome != c.want || math.Abs(x.Test.Difference-c.difference) > 1e-3 || x.Seeds != 3 {
			t.Errorf("%s, %s: %s with a difference of %v over %d seeds, want %s with %v over 3", c.variant, c.measure, x.Outcome, x.Test.Difference, x.Seeds, c.want, c.difference)
		}
	}

	t.Run("no difference", func(t *testing.T) {
		runs := bench()
		runs[1].Validation.Loss = 2.05001
		x := verdictOf(t, judgeOrFail(t, trials(runs), VerdictOptions{}), "valid_loss", "deep_cycle_rev")
		if x.Outcome != NoDifference || x.Shown <= 0 || x.Shown > 0.01 {
			t.Errorf("%s, could have shown %v: want no difference, and about 0.001", x.Outcome, x.Shown)
		}
	})
	t.Run("one seed", func(t *testing.T) {
		v := judgeOrFail(t, bench(), VerdictOptions{})
		if v.Tests != 0 {
			t.Errorf("%d tests of single seeds", v.Tests)
		}
		for _, x := range v.List {
			if x.Outcome != NoVerdict || !strings.HasPrefix(x.Why, "one seed") {
				t.Errorf("%s by %s: %s (%s)", x.Variant, x.Measure.Key, x.Outcome, x.Why)
			}
		}
	})
	t.Run("another baseline", func(t *testing.T) {
		v := judgeOrFail(t, trials(bench()), VerdictOptions{Against: "sharing/deep_cycle_rev", Measures: []string{"valid_loss"}})
		if x := verdictOf(t, v, "valid_loss", "baseline"); x.Outcome != IsWorse || x.Baseline != "deep_cycle_rev" {
			t.Errorf("%s against %s", x.Outcome, x.Baseline)
		}
	})
	t.Run("settings given to all", func(t *testing.T) {
		runs := bench()[:3]
		for i := range runs {
			runs[i].Cell.Set = "d=24 heads=3"
		}
		runs[1].Cell.Variant, runs[1].Cell.Set = "baseline", "d=24 ffn.glu=silu heads=3"
		v := judgeOrFail(t, trials(runs), VerdictOptions{Measures: []string{"valid_loss"}})
		if x := verdictOf(t, v, "valid_loss", "baseline d=24 ffn.glu=silu heads=3"); x.Baseline != "baseline d=24 heads=3" || v.Tests != 2 {
			t.Errorf("against %s, %d tests", x.Baseline, v.Tests)
		}
	})
	t.Run("budgets", func(t *testing.T) {
		v := judgeOrFail(t, trials(budgets()), VerdictOptions{Measures: []string{"valid_loss"}})
		if v.Tests != 2 {
			t.Errorf("%d tests, want one in each budget with a second variant", v.Tests)
		}
		if x := verdictOf(t, v, "valid_loss", "deep_cycle_rev [B]"); x.Baseline != "baseline [B]" || x.Outcome != IsWorse {
			t.Errorf("%s against %s", x.Outcome, x.Baseline)
		}
	})
	t.Run("other items", func(t *testing.T) {
		runs := mixed()
		s := runs[1].Suites["blimp"]
		s.Limit, s.Items, s.Scores[0].Count = 100, 6700, 6700
		runs[1].Suites["blimp"] = s
		v := judgeOrFail(t, trials(runs), VerdictOptions{Measures: []string{"blimp_accuracy"}})
		for _, x := range v.List {
			if x.Variant == "deep_cycle_rev" {
				t.Errorf("%+v: compared on other items", x)
			}
		}
		if !strings.Contains(string(write(t, v.Table(), Markdown, 0)), "deep_cycle_rev, seed 1, left out: measured on something else (6,700 items") {
			t.Errorf("the other items are not named in\n%s", write(t, v.Table(), Markdown, 0))
		}
	})
	t.Run("an unstable variant", func(t *testing.T) {
		runs := trials(bench())
		for i := range runs {
			if runs[i].Cell.Variant == "very_wide_cycle" {
				runs[i].Validation.Loss += 0.1 * float64(runs[i].Cell.Seed)
			}
		}
		table := judgeOrFail(t, runs, VerdictOptions{Measures: []string{"valid_loss"}}).Table()
		wantNote(t, table, "the seeds of very_wide_cycle scatter more than those of the others")
	})
	for name, c := range map[string]struct {
		o    VerdictOptions
		want string
	}{
		"unknown baseline": {VerdictOptions{Against: "nothing"}, "no finished run is called nothing"},
		"unknown measure":  {VerdictOptions{Measures: []string{"los"}}, `measure "los" cannot be tested: want one of`},
		"cost":             {VerdictOptions{Measures: []string{"parameters"}}, `measure "parameters" cannot be tested`},
	} {
		if _, err := Judge(trials(bench()), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// onDisk writes predictions of runs on blimp, so that each record's accuracy is theirs, and gives the
// records paths. A variant in bias is right on that share of items more than the baseline.
func onDisk(t *testing.T, runs []record.Run, bias map[string]float64) {
	t.Helper()
	const paradigms, items = 4, 100
	for i := range runs {
		r := &runs[i]
		random := rand.New(rand.NewPCG(r.Cell.Seed, 9))
		dir := filepath.Join(t.TempDir(), "run")
		if err := os.MkdirAll(filepath.Join(dir, PredictionsFolder), 0o777); err != nil {
			t.Fatal(err)
		}
		r.Path = filepath.Join(dir, record.FileName)
		var lines strings.Builder
		correct := 0
		for p := range paradigms {
			for n := range items {
				right := random.Float64() < 0.6+0.05*float64(p)+bias[r.Cell.Variant]
				if right {
					correct++
				}
				line, err := json.Marshal(evalsuite.Prediction{Suite: "blimp", Paradigm: string(rune('a' + p)), ID: strconv.Itoa(n), Correct: right})
				if err != nil {
					t.Fatal(err)
				}
				lines.Write(append(line, '\n'))
			}
		}
		if err := os.WriteFile(filepath.Join(dir, PredictionsFolder, "blimp.jsonl"), []byte(lines.String()), 0o666); err != nil {
			t.Fatal(err)
		}
		r.Suites["blimp"] = record.Suite{Items: paradigms * items,
			Scores: []record.Score{{Name: "accuracy", Value: float64(correct) / (paradigms * items), Unit: record.ShareUnit}}}
	}
}

func TestVerdictsOverItems(t *testing.T) {
	runs := trials(bench())
	onDisk(t, runs, map[string]float64{"deep_cycle_rev": 0.15, "very_wide_cycle": 0.01})
	o := VerdictOptions{Measures: []string{"blimp_accuracy"}}
	v := judgeOrFail(t, runs, o)
	x := verdictOf(t, v, "blimp_accuracy", "deep_cycle_rev")
	if x.Outcome != IsBetter || x.Items != 400 || !(x.Low > 0.05 && x.Low < x.Test.Difference && x.High > x.Test.Difference && x.High < 0.3) {
		t.Errorf("%s over %d items, %v in %v to %v", x.Outcome, x.Items, x.Test.Difference, x.Low, x.High)
	}
	// Without the predictions the noise of the items is not known, and nothing is said.
	bare := trials(bench())
	for i := range bare {
		bare[i].Suites["blimp"] = runs[i].Suites["blimp"]
	}
	alone := judgeOrFail(t, bare, o)
	y := verdictOf(t, alone, "blimp_accuracy", "deep_cycle_rev")
	if y.Outcome != NoVerdict || !strings.HasPrefix(y.Why, "it is a score of items") || math.Abs(y.Test.Difference-x.Test.Difference) > 1e-12 || alone.Tests != 0 {
		t.Errorf("over seeds alone: %s (%s), difference %v, with items %v", y.Outcome, y.Why, y.Test.Difference, x.Test.Difference)
	}
	wantNote(t, alone.Table(), "no verdict where the items' predictions are not to be had")
	for i := range bare {
		bare[i].Path = filepath.Join(t.TempDir(), record.FileName)
	}
	missing := 0
	for _, note := range judgeOrFail(t, bare, o).Table().Notes {
		if strings.Contains(note, "no file predictions/blimp.jsonl beside the record") {
			missing++
		}
	}
	if missing != 1 {
		t.Errorf("%d notes of %d runs without predictions, want one", missing, len(bare))
	}

	t.Run("other items", func(t *testing.T) {
		path := filepath.Join(filepath.Dir(runs[1].Path), PredictionsFolder, "blimp.jsonl")
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		renamed := strings.Replace(string(whole), `"id":"7"`, `"id":"7000"`, 1)
		if err := os.WriteFile(path, []byte(renamed), 0o666); err != nil {
			t.Fatal(err)
		}
		v := judgeOrFail(t, runs, o)
		if x := verdictOf(t, v, "blimp_accuracy", "deep_cycle_rev"); x.Items != 0 {
			t.Error("runs are compared item by item on other items")
		}
		wantNote(t, v.Table(), "no verdict where the items' predictions are not to be had: the predictions are not of the same items")
		if err := os.WriteFile(path, whole, 0o666); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("predictions of another evaluation", func(t *testing.T) {
		s := runs[1].Suites["blimp"]
		s.Scores = []record.Score{{Name: "accuracy", Value: 0.5, Unit: record.ShareUnit}}
		runs[1].Suites["blimp"] = s
		v := judgeOrFail(t, runs, o)
		if x := verdictOf(t, v, "blimp_accuracy", "deep_cycle_rev"); x.Items != 0 {
			t.Error("predictions that do not make the record's accuracy are used")
		}
		wantNote(t, v.Table(), "not the predictions of this record: 400 items make")
	})
}

func TestDifferenceFormat(t *testing.T) {
	for _, c := range []struct {
		k             kind
		x, like, fine float64
		signed        bool
		want          string
	}{
		{share, 0.0123, 0.7, 0, true, "+1.2 %"}, {share, -0.0123, 0.7, 0.01, true, "−1.2 %"}, {share, 0.0123, 0.7, 0.0004, false, "1.230 %"},
		{loss, -0.0041, 2, 0, true, "−0.004"}, {loss, 0.0001, 2, 0.02, true, "0.000"}, {loss, 0.0001, 2, 0.00031, true, "+0.00010"},
		{perplexity, -12.34, 140, 0, true, "−12"}, {rate, -1234, 13000, 0, true, "−1.23k"},
	} {
		if got := c.k.difference(c.x, c.like, c.fine, c.signed); got != c.want {
			t.Errorf("%v of kind %d: %q, want %q", c.x, c.k, got, c.want)
		}
	}
}

// TestVerdictsSayWhatTheyRestOn: a verdict's page names what was measured, on which items and seeds, and the runs that
// are in none of its figures.
func TestVerdictsSayWhatTheyRestOn(t *testing.T) {
	runs := append(seeds(), failed("wide_seq", 1, record.Failed, "loss is not finite at step 17."))
	v, err := Judge(runs, VerdictOptions{})
	if err != nil {
		t.Fatal(err)
	}
	table := v.Table()
	for _, want := range []string{
		"valid. loss: mean cross-entropy of the final parameters on held-out text, nats a token; 50,176 tokens.",
		"a tie is wrong; 4,000 items, sentence score: sum.",
		"Not shown: deep_cycle_rev, seed 3 (failed: interrupted by a full disk); wide_seq, seed 1 (failed: loss is not finite at step 17).",
		"Seeds 1, 2, 3 (baseline); 1, 2 (deep_cycle_rev); 1 (very_wide_cycle).",
	} {
		wantNote(t, table, want)
	}
	heads, err := LikeHeads(runs, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantNote(t, heads[0], "Not shown: deep_cycle_rev, seed 3 (failed")
	var b bytes.Buffer
	if _, err := Page(&b, runs, PageOptions{}); err != nil || !strings.Contains(b.String(), "Not shown: deep_cycle_rev, seed 3 (failed") {
		t.Errorf("the page says nothing of the seed that failed: %v", err)
	}
}

// TestMeasuredOnEachBudget: where budgets were measured on different things, the footer has one of each.
func TestMeasuredOnEachBudget(t *testing.T) {
	runs := budgets()
	for i := range runs {
		if runs[i].Budget.Steps == 2000 {
			s := runs[i].Suites["grammar"]
			s.Limit = 50
			runs[i].Suites["grammar"] = s
		}
	}
	i := slices.IndexFunc(New(runs).Columns, func(c Column) bool { return c.Key == "grammar_accuracy" })
	if on := New(runs).Columns[i].On; !strings.Contains(on, "A: 4,000 items, sentence score: sum; ") || !strings.Contains(on, ": 4,000 items, limit 50, sentence score: sum") {
		t.Errorf("measured on %q", on)
	}
}

// TestHowValidationWasMeasured: the footer says how the held-out text was read, not how long it is in every unit.
func TestHowValidationWasMeasured(t *testing.T) {
	runs := bench()
	for i := range runs {
		runs[i].Suites["ppl"] = record.Suite{Settings: map[string]string{"window": "128", "words": "19878", "bytes": "102473"}}
	}
	table := New(runs)
	i := slices.IndexFunc(table.Columns, func(c Column) bool { return c.Key == "valid_loss" })
	if on, want := table.Columns[i].On, "50,176 tokens, window: 128"; on != want {
		t.Errorf("measured on %q, wanted %q", on, want)
	}
}
