package results

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"march/results/record"
	"march/results/studies"
	"march/trainloop"
)

// likeSharingRuns are three variants in two architectures at two budgets, of which one cell is missing
// and one failed.
func likeSharingRuns() (runs []record.Run) {
	for _, arch := range []string{"encoder", "decoder"} {
		for _, steps := range []int64{25_000, 10_000} {
			for i, variant := range []string{"very_wide_cycle", "deep_cycle_rev", "baseline"} {
				r := withReal(run(variant, "", 1, float64(i)/100), float64(i)/100-0.004*float64(i*i))
				r.Cell.Arch = arch
				r.Budget.Steps, r.Training.Steps = steps, steps
				if variant == "very_wide_cycle" && steps == 25_000 {
					continue
				}
				runs = append(runs, r)
			}
		}
	}
	return append(trials(runs), failed("wide_seq", 1, record.Failed, "no space left on device"))
}

func TestLikeSharing(t *testing.T) {
	tables := LikeSharing(likeSharingRuns(), true)
	if len(tables) != 3 {
		t.Fatalf("%d tables, want both and the agreement", len(tables))
	}
	blimp := tables[0]
	var titles, rows []string
	for _, c := range blimp.Columns {
		titles = append(titles, oneLine(c.Title))
	}
	for _, r := range blimp.Rows {
		rows = append(rows, r[0].Text)
	}
	if got, want := strings.Join(titles, ", "), "Config, Dec 10k, Enc 10k, Dec 25k, Enc 25k, study Dec 10k, study Enc 10k, study Dec 25k, study Enc 25k"; got != want {
		t.Errorf("columns %s, want %s", got, want)
	}
	if got, want := strings.Join(rows, ", "), "baseline, deep_cycle_rev, very_wide_cycle"; got != want {
		t.Errorf("rows %s, want the study's order: %s", got, want)
	}
	if blimp.Rows[2][1].N != 3 || blimp.Rows[2][3].N != 0 {
		t.Errorf("very_wide_cycle has %d figures at 10k and %d at 25k, want 3 and none", blimp.Rows[2][1].N, blimp.Rows[2][3].N)
	}
	text := string(write(t, blimp, Text, 0))
	for _, want := range []string{"*71.02", "67.58", "60.00 ± 0.0", "–"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if text := string(write(t, tables[1], Text, 0)); !strings.Contains(text, "*8.3 (*22)") || !strings.Contains(text, "Not shown: wide_seq, seed 1 (failed: no space left on device)") {
		t.Errorf("LAMBADA:\n%s", text)
	}
	// Ours: deep_cycle_rev is above the baseline, very_wide_cycle below. The study: Dec both below, Enc both above.
	signs := map[string]string{}
	for _, r := range tables[2].Rows {
		if r[0].Text == "BLiMP" {
			signs[r[1].Text+" / "+r[2].Text] = r[4].Text
		}
	}
	for columns, want := range map[string]string{"Dec 10k / BLiMP acc Dec 10k": "1 of 2", "Enc 10k / BLiMP acc Enc 10k": "1 of 2", "Dec 25k / BLiMP acc Dec 25k": "0 of 1", "Enc 25k / BLiMP acc Enc 25k": "1 of 1"} {
		if signs[columns] != want {
			t.Errorf("%s: %q agree, want %s; all %v", columns, signs[columns], want, signs)
		}
	}
	var b bytes.Buffer
	if err := WriteAll(&b, tables, JSON, 0); err != nil || !json.Valid(b.Bytes()) {
		t.Errorf("JSON of several tables: %v\n%s", err, b.String())
	}
}

// onRecord writes a run's steps: the loss falls from 9 by slope a step to the validation loss, at seconds a step.
func onRecord(t *testing.T, r *record.Run, slope, seconds float64, validate bool) {
	t.Helper()
	dir := t.TempDir()
	r.Path = filepath.Join(dir, record.FileName)
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for step := int64(1); step <= r.Budget.Steps; step++ {
		m := trainloop.Metric{Step: step, Loss: 9 - slope*float64(step), Tokens: step * r.Budget.TokensPerStep, Seconds: seconds * float64(step)}
		if validate && step%100 == 0 {
			m.Valid = new(m.Loss + 1)
		}
		if err := encoder.Encode(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, MetricsFile), lines.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}

// likeHeadsRuns are a baseline, an experiment that learns faster but has twice the FLOPs, and a slow one.
func likeHeadsRuns(t *testing.T, validate bool) []record.Run {
	t.Helper()
	runs := []record.Run{run("less_heads_more_qkv_dim", "", 1, -0.02), run("baseline", "", 1, 0), run("ape_sum_over_average", "", 1, 0.01)}
	for i := range runs {
		runs[i].Cell.Study = "heads"
		runs[i].FLOPs.Training = 1000
	}
	runs[0].FLOPs.Training = 2000
	runs = trials(runs)
	for i := range runs {
		switch i % 3 {
		case 0:
			onRecord(t, &runs[i], 0.008, 0.1, validate)
		case 1:
			onRecord(t, &runs[i], 0.006, 0.1, validate)
		case 2:
			onRecord(t, &runs[i], 0.006, 0.3, validate)
		}
	}
	return runs
}

func likeHeadsTables(t *testing.T) []*Table {
	t.Helper()
	tables, err := LikeHeads(likeHeadsRuns(t, true), true, func(variant string) int64 {
		return map[string]int64{"baseline": 94_000_000, "less_heads_more_qkv_dim": 94_000_000}[variant]
	})
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

func TestLikeHeads(t *testing.T) {
	for name, validate := range map[string]bool{"validation": true, "training": false} {
		t.Run(name, func(t *testing.T) {
			tables, err := LikeHeads(likeHeadsRuns(t, validate), false, nil)
			if err != nil || len(tables) != 1 {
				t.Fatalf("%d tables, %v", len(tables), err)
			}
			wantNote(t, tables[0], "the "+name+" losses")
			// 900 steps of 512 tokens. At equal FLOPs the first has done 450 steps: 9−3.6 beside 9−5.4. At equal
			// seconds the last has done 300: 9−1.8 beside 9−5.4. A trailing mean of 45 steps lags by 22 of them,
			// which takes 0.13 of the baseline's slope and 0.18 of the first's.
			lag := 0.0
			if !validate {
				lag = 22 * 0.002
			}
			for _, c := range []struct {
				variant, column string
				want            float64
			}{
				{"less_heads_more_qkv_dim", "at_equal_flops", 1.8 + lag},
				{"less_heads_more_qkv_dim", "at_equal_seconds", -1.8 + lag},
				{"ape_sum_over_average", "at_equal_flops", 0},
				{"ape_sum_over_average", "at_equal_seconds", 3.6},
			} {
				if got := column(t, tables[0], c.column)[c.variant]; got.N != 1 || math.Abs(got.Mean-c.want) > 1e-9 {
					t.Errorf("%s, %s: %v, want %v", c.variant, c.column, got.Mean, c.want)
				}
			}
			verdicts := column(t, tables[0], "verdict")
			if verdicts["less_heads_more_qkv_dim"].Text != string(IsWorse) || verdicts["ape_sum_over_average"].Text != string(IsBetter) || verdicts["baseline"].Text != "baseline" {
				t.Errorf("verdicts %v", verdicts)
			}
		})
	}
	t.Run("other machine", func(t *testing.T) {
		runs := likeHeadsRuns(t, true)
		for i := range runs {
			if runs[i].Cell.Variant == "ape_sum_over_average" {
				runs[i].Machine.Hardware = "x"
			}
		}
		tables, err := LikeHeads(runs, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c := column(t, tables[0], "at_equal_seconds")["ape_sum_over_average"]; c.N != 0 {
			t.Errorf("%+v: seconds of two machines are compared", c)
		}
		wantNote(t, tables[0], "ape_sum_over_average left out: not timed on what baseline was")
	})
	t.Run("without metrics", func(t *testing.T) {
		runs := trials(bench())
		tables, err := LikeHeads(runs, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantNote(t, tables[0], "not to be had where the steps' metrics are not there")
	})
	if _, err := LikeHeads(bench()[1:2], false, nil); err == nil {
		t.Error("no baseline and no error")
	}
}

// One page has one verdict on a figure: that of the page, corrected for the tests of all measures.
func TestLikeHeadsOfVerdicts(t *testing.T) {
	differ := 0
	equal := answered(t, trials([]record.Run{run("baseline", "", 1, 0), run("deep_cycle_rev", "", 1, 0)}))
	for quality := 0.0; quality < 0.003; quality += 0.0003 {
		runs := slices.Clone(equal)
		for i, r := range runs {
			if r.Cell.Variant == "deep_cycle_rev" {
				v := *r.Validation
				v.Loss -= quality
				runs[i].Validation = &v
			}
		}
		whole, alone := judgeOrFail(t, runs, VerdictOptions{}), judgeOrFail(t, runs, VerdictOptions{Measures: []string{"valid_loss"}})
		tables, err := LikeHeads(runs, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := verdictOf(t, whole, "valid_loss", "deep_cycle_rev")
		if got := column(t, tables[0], "verdict")["deep_cycle_rev"].Text; got != string(want.Outcome) {
			t.Fatalf("quality %v: %s, the verdict is %s", quality, got, want.Outcome)
		}
		if want.Outcome != verdictOf(t, alone, "valid_loss", "deep_cycle_rev").Outcome {
			differ++
		}
	}
	if differ == 0 {
		t.Error("no case where the number of tests decides: the test proves nothing")
	}
}

// More seeds are asked for only where they would make a verdict.
func TestLikeHeadsWithoutVerdict(t *testing.T) {
	const hint = "No verdict without several seeds"
	tables, err := LikeHeads(bench(), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantNote(t, tables[0], hint)
	runs := []record.Run{run("baseline", "", 1, 0), run("baseline", "", 2, 0.01), run("deep_seq", "", 3, 0.02), run("deep_seq", "", 4, 0.03)}
	if tables, err = LikeHeads(runs, false, nil); err != nil {
		t.Fatal(err)
	}
	if got := column(t, tables[0], "verdict")["deep_seq"].Text; got != string(NoVerdict) {
		t.Errorf("a verdict without a common seed: %s", got)
	}
	for _, note := range tables[0].Notes {
		if strings.Contains(note, hint) {
			t.Errorf("two seeds each, none common: %s", note)
		}
	}
}

// A variant's FLOPs are counted once, whatever asks for them.
func TestLikeHeadsCountsOnce(t *testing.T) {
	asked := map[string]int{}
	if _, err := LikeHeads(likeHeadsRuns(t, true), true, func(variant string) int64 { asked[variant]++; return 94_000_000 }); err != nil {
		t.Fatal(err)
	}
	for variant, n := range asked {
		if n != 1 {
			t.Errorf("%s: counted %d times", variant, n)
		}
	}
}

// The study's own differences, against its own words and figures.
func TestStudyHeads(t *testing.T) {
	flops := func(string) int64 { return 0 }
	table := studyHeads(flops)
	if len(table.Rows) != len(studies.Heads()) {
		t.Fatalf("%d rows", len(table.Rows))
	}
	for variant, want := range map[string]float64{
		"less_heads_more_qkv_dim": 5.8350 - 5.7845, // "slightly worse"
		"relu_glu":                5.7917 - 5.8117, // "slightly better", than the run with its positions
		"unified_attention":       6.1122 - 5.7845,
	} {
		if got := column(t, table, "at_equal_data")[variant]; math.Abs(got.Mean-want) > 1e-9 {
			t.Errorf("%s: %v, want %v", variant, got.Mean, want)
		}
	}
	// less_heads_more_qkv_dim took 833.8 seconds, in which the baseline did 900.2 steps: its loss fell from
	// 5.8622 at 900 to 5.8430 at 920.
	at := 1000 * 833.8 / 926.2
	want := 5.8350 - (5.8622 + (5.8430-5.8622)*(at-900)/20)
	if got := column(t, table, "at_equal_seconds")["less_heads_more_qkv_dim"]; math.Abs(got.Mean-want) > 1e-9 {
		t.Errorf("at equal seconds %v, want %v", got.Mean, want)
	}
}

func TestLaTeX(t *testing.T) {
	if got, want := tex(`50 % of a_b & {c} ± 1 − 2 < \x`), `50 \% of a\_b \& \{c\}\,$\pm$\,1 $-$ 2 $<$ \textbackslash{}x`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	got := string(write(t, New(trials(mixed())), LaTeX, 0))
	for i, line := range strings.Split(got, "\n") {
		for _, r := range line {
			if r > 127 {
				t.Errorf("line %d has %q, which LaTeX may not know: %s", i, r, line)
				break
			}
		}
	}
	columns := strings.Count(strings.SplitN(strings.SplitN(got, `\toprule`, 2)[1], `\\`, 2)[0], " & ")
	for _, line := range strings.Split(strings.SplitN(strings.SplitN(got, `\midrule`+"\n", 2)[1], `\bottomrule`, 2)[0], "\n") {
		if line != "" && strings.Count(line, " & ") != columns {
			t.Errorf("%d separators, want %d: %s", strings.Count(line, " & "), columns, line)
		}
	}
	if !strings.Contains(got, `\textbf{`) {
		t.Error("nothing is bold")
	}
}
