package results

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"march/results/record"
)

// column finds a column of a table, whose cells it returns by the rows' labels.
func column(t *testing.T, table *Table, key string) map[string]Cell {
	t.Helper()
	i := slices.IndexFunc(table.Columns, func(c Column) bool { return c.Key == key })
	if i < 0 {
		t.Fatalf("no column %s", key)
	}
	out := map[string]Cell{}
	for _, row := range table.Rows {
		name := row[0].Text
		for _, more := range []string{"budget", "status"} {
			if j := slices.IndexFunc(table.Columns, func(c Column) bool { return c.Key == more }); j >= 0 && row[j].Text != "A" && row[j].Text != "done" {
				name += " " + row[j].Text
			}
		}
		if _, ok := out[name]; ok {
			t.Fatalf("two rows are called %s", name)
		}
		out[name] = row[i]
	}
	return out
}

func best(cells map[string]Cell) (names []string) {
	for name, c := range cells {
		if c.Best {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func wantBest(t *testing.T, table *Table, key string, want ...string) {
	t.Helper()
	if got := best(column(t, table, key)); !slices.Equal(got, want) {
		t.Errorf("%s: best are %q, want %q", key, got, want)
	}
}

func wantNote(t *testing.T, table *Table, want string) {
	t.Helper()
	if got := string(write(t, table, Markdown, 0)); !strings.Contains(got, want) {
		t.Errorf("no %q in\n%s", want, got)
	}
}

func TestFixturesAreRecords(t *testing.T) {
	for _, runs := range [][]record.Run{bench(), mixed(), seeds(), budgets()} {
		for _, r := range runs {
			if err := r.Validate(); err != nil {
				t.Errorf("%v: %v", r.Cell, err)
			}
		}
	}
}

func TestBest(t *testing.T) {
	table := New(answered(t, trials(bench())))
	wantBest(t, table, "valid_loss", "baseline ffn.glu=silu")
	wantBest(t, table, "valid_perplexity", "baseline ffn.glu=silu")
	wantBest(t, table, "grammar_accuracy", "baseline ffn.glu=silu")
	wantBest(t, table, "cloze_perplexity", "baseline ffn.glu=silu")
	wantBest(t, table, "seconds", "very_wide_cycle")
	wantBest(t, table, "train_stability", "very_wide_cycle")
	for _, cost := range []string{"parameters", "flops_training", "steps", "tokens"} {
		wantBest(t, table, cost) // what was given is no achievement
	}

	t.Run("one seed is no evidence", func(t *testing.T) {
		table := New(bench())
		for _, c := range table.Columns {
			wantBest(t, table, c.Key)
		}
		wantNote(t, table, "Nothing is marked as best: one seed cannot tell a variant from its noise")
	})
	t.Run("within the noise of the best", func(t *testing.T) {
		runs := bench()
		runs[0].Validation.Loss, runs[1].Validation.Loss = 1.99990, 2.00004
		wantBest(t, New(trials(runs)), "valid_loss", "baseline", "deep_cycle_rev")
	})
	t.Run("all within the noise", func(t *testing.T) {
		runs := bench()[:2]
		for i := range runs {
			runs[i] = run("baseline", "", 1, 0)
		}
		runs[1].Cell.Variant = "deep_cycle_rev"
		table := New(trials(runs))
		wantBest(t, table, "valid_loss")
		wantNote(t, table, "Nothing is marked as best: no difference within a column that could be tested is more than the noise between seeds")
	})
	t.Run("only one has it", func(t *testing.T) {
		runs := bench()
		runs[3] = withReal(runs[3], 0)
		wantBest(t, New(trials(runs)), "blimp_accuracy")
	})
	t.Run("failed rows do not win", func(t *testing.T) {
		runs := bench()
		runs[5].Status, runs[5].Reason = record.Failed, "evaluation broke"
		wantBest(t, New(trials(runs)), "valid_loss", "deep_cycle_rev")
	})
	t.Run("within a budget", func(t *testing.T) {
		wantBest(t, New(trials(budgets())), "valid_loss", "baseline B", "deep_cycle_rev")
	})
	t.Run("infinite perplexity", func(t *testing.T) {
		runs := bench()
		runs[0].Validation.Loss = 1e4
		table := New(trials(runs))
		wantBest(t, table, "valid_perplexity", "baseline ffn.glu=silu")
		if !bytes.Contains(write(t, table, Text, 0), []byte(" inf ")) || !bytes.Contains(write(t, table, JSON, 0), []byte(`"inf"`)) {
			t.Error("inf is not printed")
		}
	})
}

// Every field that makes runs incomparable keeps them apart.
func TestBudgetsAreKeptApart(t *testing.T) {
	changes := map[string]func(*record.Run){
		"scale":     func(r *record.Run) { r.Cell.Scale = "small" },
		"arch":      func(r *record.Run) { r.Cell.Arch = "encoder" },
		"objective": func(r *record.Run) { r.Cell.Objective = "prefix-lm" },
		"steps":     func(r *record.Run) { r.Budget.Steps++ },
		"batch":     func(r *record.Run) { r.Budget.TokensPerStep++ },
		"length":    func(r *record.Run) { r.Budget.SequenceLength++ },
		"vocab":     func(r *record.Run) { r.Data.Vocab++ },
		"data":      func(r *record.Run) { r.Data.SHA256 = "x" },
		"tokenizer": func(r *record.Run) { r.Data.TokenizerSHA256 = "x" },
		"precision": func(r *record.Run) { r.Cell.Precision = "bf16" },
		"rate":      func(r *record.Run) { r.Budget.Schedule = "constant 1e-3" },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			runs := bench()[:3]
			change(&runs[2])
			table := New(trials(runs))
			wantBest(t, table, "valid_loss", "deep_cycle_rev") // and the third, alone, is no best
			wantNote(t, table, "Budget A: ")
			wantNote(t, table, "Budget B: ")
			wantNote(t, table, "Figures of different budgets (A to B) do not compare with each other.")
		})
	}
	t.Run("seeds of two budgets are not averaged", func(t *testing.T) {
		runs := seeds()[:3]
		runs[2].Budget.Steps = 2000
		if n := column(t, New(runs), "valid_loss")["baseline B"].N; n != 1 {
			t.Errorf("%d figures, want 1", n)
		}
	})
	t.Run("a rate that the name tells is a variant", func(t *testing.T) {
		runs := bench()[:2]
		runs[1].Cell.Set, runs[1].Budget.Schedule = "training.rate=0.001", "constant 1e-3"
		table := New(runs)
		wantNote(t, table, "The rows had different learning rates: constant 1e-3; warm-up")
		if _, ok := column(t, table, "valid_loss")["baseline"]; !ok {
			t.Error("two budgets, want one")
		}
	})
	t.Run("devices", func(t *testing.T) {
		runs := bench()[:2]
		runs = append(runs, runs[0])
		runs[2].Cell.Device = "cuda"
		losses := column(t, New(runs), "valid_loss")
		if len(losses) != 3 || losses["baseline (cpu)"].N != 1 || losses["baseline (cuda)"].N != 1 {
			t.Errorf("rows %v, want baseline (cpu), baseline (cuda) and one more", losses)
		}
		if _, err := Judge(runs, VerdictOptions{}); err == nil || !strings.Contains(err.Error(), "baseline (cpu) and baseline (cuda); name one of them") {
			t.Errorf("verdicts against either: %v", err)
		}
		if v, err := Judge(runs, VerdictOptions{Against: "baseline (cuda)"}); err != nil || v.List[0].Baseline != "baseline (cuda)" {
			t.Errorf("verdicts against one of them: %v", err)
		}
	})
}

func TestFiguresOfDifferentThings(t *testing.T) {
	t.Run("limit", func(t *testing.T) {
		runs := mixed()
		s := runs[1].Suites["blimp"]
		s.Limit, s.Items, s.Scores[0].Count = 100, 6700, 6700
		runs[1].Suites["blimp"] = s
		table := New(trials(runs))
		wantBest(t, table, "blimp_accuracy")
		wantNote(t, table, "LAMBADA ppl: no best is marked, since the choice of items is noise as well: the record was not read from a file.")
		wantNote(t, table, "BLiMP acc: not comparable between rows, so no best is marked: baseline, wide_cycle_rev, very_wide_cycle, 4 more (67,000 items, paradigms: 67); deep_cycle_rev (6,700 items, limit 100, paradigms: 67).")
	})
	t.Run("validation text", func(t *testing.T) {
		runs := bench()
		runs[1].Validation.Source = "test.txt"
		wantBest(t, New(trials(runs)), "valid_loss")
		wantNote(t, New(trials(runs)), "valid. loss, valid. ppl: not comparable between rows")
	})
	t.Run("machine", func(t *testing.T) {
		for name, change := range map[string]func(*record.Run){
			"hardware": func(r *record.Run) { r.Machine.Hardware = "x" },
			"threads":  func(r *record.Run) { r.Machine.Threads++ },
			"library":  func(r *record.Run) { r.Machine.ONNXRuntime = "1.30.0" },
			"device":   func(r *record.Run) { r.Cell.Device = "cuda" },
		} {
			runs := bench()
			change(&runs[1])
			table := New(trials(runs))
			if got := best(column(t, table, "tokens_per_second")); got != nil {
				t.Errorf("%s: %q win", name, got)
			}
			wantBest(t, table, "valid_loss", "baseline ffn.glu=silu") // scores do not depend on it
			wantNote(t, table, "train sec, tok/s: not comparable between rows")
		}
	})
	t.Run("seeds", func(t *testing.T) {
		runs := seeds()
		runs[1].Validation.Tokens = 7
		runs[2].Validation = nil
		table := New(runs)
		if c := column(t, table, "valid_loss")["baseline"]; c.N != 1 || c.Mean != runs[0].Validation.Loss {
			t.Errorf("%+v, want the first seed's figure", c)
		}
		wantNote(t, table, "valid. loss, valid. ppl: seed 2 of baseline left out: measured on something else than the other seeds. seed 3 of baseline has no figure.")
	})
}

func TestSeeds(t *testing.T) {
	table := New(seeds())
	c := column(t, table, "valid_loss")["baseline"]
	// 2.05, 2.04, 2.058: mean 2.04933…, squared differences 4.44e-7 + 8.711e-5 + 7.511e-5
	if c.N != 3 || math.Abs(c.Mean-2.0493333333) > 1e-9 || math.Abs(c.SD-math.Sqrt(1.626666e-4/2)) > 1e-8 {
		t.Errorf("%+v", c)
	}
	if got := column(t, table, "seeds"); got["baseline"].Text != "1 2 3" || got["deep_cycle_rev failed"].Text != "3" {
		t.Errorf("seeds %v", got)
	}
	wantNote(t, table, "[1] deep_cycle_rev, seed 3: interrupted by a full disk.")
}

func TestRepeatedRuns(t *testing.T) {
	first, second := run("baseline", "", 1, 0), run("baseline", "", 1, 0.5)
	second.Finished = first.Finished.Add(time.Hour)
	second.Path = "b/run.json"
	for _, runs := range [][]record.Run{{first, second}, {second, first}} {
		table := New(runs)
		if c := column(t, table, "valid_loss")["baseline"]; c.N != 1 || c.Mean != second.Validation.Loss {
			t.Errorf("%+v, want the later run alone", c)
		}
		wantNote(t, table, "baseline, seed 1: 2 records of the same run; the one finished last is shown (b/run.json).")
	}
	other := second
	other.ConfigSHA256 = strings.Repeat("ab", 32)
	table := New([]record.Run{first, other})
	got := column(t, table, "valid_loss")
	if len(got) != 2 || got["baseline (config abababab)"].N != 1 {
		t.Errorf("rows of two configs: %v", got)
	}
}

func TestFailures(t *testing.T) {
	same := []record.Run{run("baseline", "", 1, 0)}
	for seed := range uint64(3) {
		same = append(same, failed("wide_seq", seed, record.Skipped, "heads do not divide"))
	}
	table := New(same)
	if len(table.Rows) != 2 || len(table.Failures) != 1 || !strings.Contains(table.Failures[0], "wide_seq, seeds 0 1 2: heads do not divide.") {
		t.Errorf("rows %v, failures %q: want seeds that failed alike in one row", table.Rows, table.Failures)
	}
	if got := column(t, table, "reason")["wide_seq skipped"].Text; got != "heads do not divide" {
		t.Errorf("reason %q", got)
	}
}

func TestTwoStudies(t *testing.T) {
	runs := bench()[:2]
	runs[1].Cell.Study, runs[1].Cell.Variant = "heads", "baseline"
	got := column(t, New(runs), "parameters")
	if _, ok := got["heads/baseline"]; !ok || len(got) != 2 {
		t.Errorf("rows %v", got)
	}
}

func TestTokenizers(t *testing.T) {
	runs := bench()[:2]
	for i := range runs {
		runs[i].Suites["ppl"] = record.Suite{Items: 10, Scores: []record.Score{{Name: "word_perplexity", Value: 27.5, Lower: true}, {Name: "byte_perplexity", Value: 1.913, Lower: true}}}
	}
	if text := string(write(t, New(runs), Markdown, 0)); strings.Contains(text, "27.5") {
		t.Errorf("one tokenizer, and a column that says what the loss says:\n%s", text)
	}
	runs[1].Data.TokenizerSHA256 = "another"
	if text := string(write(t, New(runs), Markdown, 0)); !strings.Contains(text, "27.5") || !strings.Contains(text, "1.913") {
		t.Errorf("two tokenizers, and nothing that compares:\n%s", text)
	}
}
