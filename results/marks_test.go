package results

import (
	"math"
	"strings"
	"testing"

	"march/results/record"
)

// lossesOf changes the losses of one variant's runs; those that change says to drop go.
func lossesOf(runs []record.Run, variant string, change func(seed uint64, loss float64) (float64, bool)) (out []record.Run) {
	for _, r := range runs {
		if r.Cell.Variant == variant && r.Cell.Set == "" {
			v := *r.Validation
			keep := false
			if v.Loss, keep = change(r.Cell.Seed, v.Loss); !keep {
				continue
			}
			r.Validation = &v
		}
		out = append(out, r)
	}
	return out
}

// A row of one seed is not marked, however good, and the others are judged without it.
func TestOneSeedIsNotMarked(t *testing.T) {
	runs := lossesOf(trials(bench()), "deep_cycle_rev", func(seed uint64, loss float64) (float64, bool) { return 1, seed == 2 })
	table := New(runs)
	wantBest(t, table, "valid_loss", "baseline ffn.glu=silu")
	wantBest(t, table, "valid_perplexity", "baseline ffn.glu=silu")
	wantNote(t, table, "valid. loss, valid. ppl: left out of marking the best: deep_cycle_rev (one seed says nothing of its noise).")
}

// One run that went astray takes its own verdict with it, not those of the others, and is no best.
func TestOneRunAstray(t *testing.T) {
	for _, far := range []float64{40, 1000} { // the perplexity of the second has no number
		runs := lossesOf(trials(bench()), "wide_cycle_rev", func(seed uint64, loss float64) (float64, bool) {
			if seed == 2 {
				loss = far
			}
			return loss, true
		})
		table := New(runs)
		wantBest(t, table, "valid_loss", "baseline ffn.glu=silu")
		wantBest(t, table, "valid_perplexity", "baseline ffn.glu=silu")
		wantNote(t, table, "valid. loss, valid. ppl: left out of marking the best: wide_cycle_rev (seeds that scatter more than those of the others, Cochran's test at 1 %).")
		v := judgeOrFail(t, runs, VerdictOptions{Measures: []string{"valid_loss"}})
		for variant, want := range map[string]Outcome{"deep_cycle_rev": IsBetter, "very_wide_cycle": IsWorse, "wide_cycle_rev": NoDifference} {
			x := verdictOf(t, v, "valid_loss", variant)
			if x.Outcome != want || (x.Shown > 0.01) != (variant == "wide_cycle_rev") {
				t.Errorf("%v: %s: %s, could have shown %v, want %s", far, variant, x.Outcome, x.Shown, want)
			}
		}
		wantNote(t, v.Table(), "the seeds of wide_cycle_rev scatter more than those of the others (Cochran's test at 1 %): left out of the pooled variance")
	}
}

// Where two rows do not have the same seeds, the difference is not that of their means, which is said, and
// is given no interval of other seeds.
func TestUnequalSeeds(t *testing.T) {
	easy := func(seed uint64, loss float64) (float64, bool) { // for all: the second and third seeds are luckier by half
		return loss - map[uint64]float64{2: 0.5, 3: 0.5}[seed], true
	}
	runs := answered(t, trials(bench()[:4]))
	for _, variant := range []string{"baseline", "deep_cycle_rev", "wide_cycle_rev", "very_wide_cycle"} {
		runs = lossesOf(runs, variant, easy)
	}
	runs = lossesOf(runs, "very_wide_cycle", func(seed uint64, loss float64) (float64, bool) { return loss, seed != 1 })
	v := judgeOrFail(t, runs, VerdictOptions{Measures: []string{"valid_loss", "grammar_accuracy"}})
	x := verdictOf(t, v, "valid_loss", "very_wide_cycle")
	if x.Outcome != IsWorse || !x.Adjusted || x.Mean > x.Of || math.Abs(x.Test.Difference-0.04) > 1e-3 {
		t.Errorf("%s, adjusted %v: mean %v of %v, difference %v, want +0.04 in spite of the means", x.Outcome, x.Adjusted, x.Mean, x.Of, x.Test.Difference)
	}
	if !strings.Contains(x.Sentence(), "over 2 seeds, of which not both have all, so that what each seed does to all variants is taken out, p") {
		t.Errorf("sentence %q", x.Sentence())
	}
	if x := verdictOf(t, v, "valid_loss", "deep_cycle_rev"); x.Adjusted || math.Abs(x.Test.Difference-(x.Mean-x.Of)) > 1e-12 {
		t.Errorf("deep_cycle_rev: adjusted %v, difference %v of %v and %v", x.Adjusted, x.Test.Difference, x.Mean, x.Of)
	}
	if x := verdictOf(t, v, "grammar_accuracy", "very_wide_cycle"); x.Items != 4000 || !math.IsNaN(x.Low) || x.Outcome != IsWorse {
		t.Errorf("%s over %d items, interval from %v: want it tested over items, and no interval of the common seeds", x.Outcome, x.Items, x.Low)
	}
	if x := verdictOf(t, v, "grammar_accuracy", "deep_cycle_rev"); math.IsNaN(x.Low) || x.Low > x.Test.Difference || x.High < x.Test.Difference {
		t.Errorf("interval %v to %v of %v", x.Low, x.High, x.Test.Difference)
	}
	wantNote(t, v.Table(), "difference: the two do not have the same seeds")
	table := New(runs)
	wantBest(t, table, "valid_loss", "deep_cycle_rev") // very_wide_cycle has the lowest mean
	wantNote(t, table, "not all have the same seeds; what each seed does to all is taken out before they are compared")
	heads, err := LikeHeads(runs, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantNote(t, heads[0], "Δ equal data of very_wide_cycle: not of the baseline's seeds")
}

// A perplexity is averaged, compared and marked as the loss that it comes from.
func TestPerplexitiesInLogarithms(t *testing.T) {
	runs := []record.Run{run("baseline", "", 1, 0), run("baseline", "", 2, 0.3), run("deep_cycle_rev", "", 1, 0.1), run("deep_cycle_rev", "", 2, 0.39)}
	cell := column(t, New(runs), "valid_perplexity")["baseline"]
	if want := math.Exp(2.05 - 0.15); math.Abs(cell.Mean-want) > 1e-9 || math.Abs(cell.SD-want*0.3/math.Sqrt2) > 1e-9 {
		t.Errorf("mean %v ± %v, want exp(mean loss) = %v ± %v", cell.Mean, cell.SD, want, want*0.3/math.Sqrt2)
	}
	v := judgeOrFail(t, runs, VerdictOptions{Measures: []string{"valid_loss", "valid_perplexity"}})
	loss, perplexity := verdictOf(t, v, "valid_loss", "deep_cycle_rev"), verdictOf(t, v, "valid_perplexity", "deep_cycle_rev")
	if !perplexity.Logs || loss.Logs || math.Abs(loss.Test.P-perplexity.Test.P) > 1e-12 || math.Abs(perplexity.Test.Difference+0.095) > 1e-9 {
		t.Errorf("p %v of losses, %v of perplexities, a difference of %v", loss.Test.P, perplexity.Test.P, perplexity.Test.Difference)
	}
	wantNote(t, v.Table(), "Perplexities are compared in logarithms")
	m, err := Ranking("valid_perplexity")
	if err != nil {
		t.Fatal(err)
	}
	if mean, ok := m.Mean(runs[:2]); !ok || math.Abs(mean-math.Exp(1.9)) > 1e-9 {
		t.Errorf("runs are ranked by %v, want %v", mean, math.Exp(1.9))
	}
}
