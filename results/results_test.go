package results

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

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
	runs := bench()
	table := New(runs)
	wantBest(t, table, "valid_loss", "baseline ffn.glu=silu")
	wantBest(t, table, "grammar_accuracy", "baseline ffn.glu=silu")
	wantBest(t, table, "cloze_perplexity", "baseline ffn.glu=silu")
	wantBest(t, table, "seconds", "very_wide_cycle")
	wantBest(t, table, "train_stability", "very_wide_cycle")
	for _, cost := range []string{"parameters", "flops_training", "steps", "tokens"} {
		wantBest(t, table, cost) // what was given is no achievement
	}

	t.Run("equal as printed", func(t *testing.T) {
		runs := bench()
		runs[0].Validation.Loss, runs[1].Validation.Loss = 2.0004, 1.9996
		wantBest(t, New(runs), "valid_loss", "baseline", "deep_cycle_rev")
	})
	t.Run("all equal", func(t *testing.T) {
		runs := bench()
		for i := range runs {
			runs[i].Validation.Loss = 2
		}
		wantBest(t, New(runs), "valid_loss")
	})
	t.Run("only one has it", func(t *testing.T) {
		runs := bench()
		runs[3] = withReal(runs[3], 0)
		wantBest(t, New(runs), "blimp_accuracy")
	})
	t.Run("failed rows do not win", func(t *testing.T) {
		runs := bench()
		runs[5].Status, runs[5].Reason = record.Failed, "evaluation broke"
		wantBest(t, New(runs), "valid_loss", "deep_cycle_rev")
	})
	t.Run("within a budget", func(t *testing.T) {
		wantBest(t, New(budgets()), "valid_loss", "baseline B", "deep_cycle_rev")
	})
	t.Run("infinite perplexity", func(t *testing.T) {
		runs := bench()
		runs[0].Validation.Loss = 1e4
		table := New(runs)
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
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			runs := bench()[:3]
			change(&runs[2])
			table := New(runs)
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
	t.Run("rate", func(t *testing.T) {
		runs := bench()[:2]
		runs[1].Budget.Schedule = "constant 1e-3"
		wantNote(t, New(runs), "The rows had different learning rates: constant 1e-3; warm-up")
	})
}

func TestFiguresOfDifferentThings(t *testing.T) {
	t.Run("limit", func(t *testing.T) {
		runs := mixed()
		s := runs[1].Suites["blimp"]
		s.Limit, s.Items, s.Scores[0].Count = 100, 6700, 6700
		runs[1].Suites["blimp"] = s
		table := New(runs)
		wantBest(t, table, "blimp_accuracy")
		wantBest(t, table, "grammar_accuracy", "baseline ffn.glu=silu")
		wantNote(t, table, "BLiMP acc: not comparable between rows, so no best is marked: baseline, wide_cycle_rev, very_wide_cycle, 4 more (67,000 items, paradigms: 67); deep_cycle_rev (6,700 items, limit 100, paradigms: 67).")
	})
	t.Run("validation text", func(t *testing.T) {
		runs := bench()
		runs[1].Validation.Source = "test.txt"
		wantBest(t, New(runs), "valid_loss")
		wantNote(t, New(runs), "valid. loss, valid. ppl: not comparable between rows")
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
			table := New(runs)
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

func TestHostileTexts(t *testing.T) {
	bad := "a|b\n\x1b[31m*c*\xff\t<i>"
	r := failed("baseline", 1, record.Failed, bad)
	r.Cell.Set = bad
	done := run("baseline", bad, 1, 0)
	done.Notes = []string{bad}
	done.Machine.Hardware = bad
	table := New([]record.Run{r, done})
	for _, f := range Formats {
		out := string(write(t, table, f, 0))
		if strings.ContainsAny(out, "\x1b\t") || !utf8.ValidString(out) {
			t.Errorf("%s prints control characters:\n%q", f, out)
		}
	}
	md := string(write(t, table, Markdown, 0))
	lines := strings.Split(md, "\n")
	for _, line := range lines[2:4] {
		if n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"); n != strings.Count(lines[0], "|") {
			t.Errorf("a row of %d bars:\n%s", n, md)
		}
	}
	if strings.Contains(strings.ReplaceAll(md, `\<`, ""), "<i>") {
		t.Errorf("HTML in Markdown:\n%s", md)
	}
}

// The machine formats must be read by ordinary readers, with one value a column.
func TestMachineFormats(t *testing.T) {
	for name, runs := range map[string][]record.Run{"empty": nil, "mixed": mixed(), "seeds": seeds(), "budgets": budgets()} {
		table := New(runs)
		lines, err := csv.NewReader(bytes.NewReader(write(t, table, CSV, 0))).ReadAll()
		if err != nil {
			t.Fatal(name, err)
		}
		header := slices.Clone(lines[0])
		slices.Sort(header)
		if len(slices.Compact(header)) != len(lines[0]) {
			t.Errorf("%s: a column name is there twice: %q", name, lines[0])
		}
		if len(lines)-1 != len(table.Rows) {
			t.Errorf("%s: %d lines, want %d", name, len(lines)-1, len(table.Rows))
		}
		var out struct {
			Columns []map[string]string
			Rows    []map[string]any
			Notes   []string
		}
		if err := json.Unmarshal(write(t, table, JSON, 0), &out); err != nil {
			t.Fatal(name, err)
		}
		if len(out.Rows) != len(table.Rows) || len(out.Columns) != len(table.Columns) || len(out.Notes) == 0 {
			t.Errorf("%s: %d rows, %d columns, %d notes", name, len(out.Rows), len(out.Columns), len(out.Notes))
		}
	}
}

func TestNarrow(t *testing.T) {
	table := New(mixed())
	rule := func(out string) int { return len([]rune(strings.Split(out, "\n")[2])) }
	whole := rule(string(write(t, table, Text, 0)))
	var before int
	for width := 1; width < whole+10; width++ {
		out := string(write(t, table, Text, width))
		lines := strings.Split(out, "\n")
		columns := len(strings.Fields(strings.ReplaceAll(lines[0], "valid.", "")))
		if columns < before {
			t.Fatalf("width %d shows fewer columns than width %d", width, width-1)
		}
		before = columns
		if hides := strings.Contains(out, "Not shown for want of width"); hides != (width < whole) {
			t.Errorf("width %d: columns hidden: %v\n%s", width, hides, out)
		}
		if width > 45 && rule(out) > width { // less than the columns that always stay
			t.Errorf("width %d: a table of %d", width, rule(out))
		}
	}
}

func TestBreakdown(t *testing.T) {
	if _, err := Breakdown(bench(), "grammar", "phenomena"); err == nil || !strings.Contains(err.Error(), "want one of field, phenomenon, paradigm") {
		t.Errorf("error %v", err)
	}
	table, err := Breakdown(bench(), "blimp", record.FieldLevel)
	if err != nil || table.Empty != "No run has figures of suite blimp by field." {
		t.Errorf("%+v %v", table, err)
	}
	if table, err = Breakdown(nil, "grammar", record.FieldLevel); err != nil || table.Empty == "" {
		t.Errorf("%+v %v", table, err)
	}

	runs := bench()
	g := runs[1].Suites["grammar"].Groups
	for i := range g {
		if g[i].Name == "island_effects" {
			g[i].Items, g[i].Ties, g[i].Correct, g[i].Accuracy = 500, 0, 500, 1
		}
	}
	if table, err = Breakdown(runs, "grammar", record.PhenomenonLevel); err != nil {
		t.Fatal(err)
	}
	row := func(name string) Row {
		i := slices.IndexFunc(table.Rows, func(r Row) bool { return r[0].Text == name })
		if i < 0 {
			t.Fatalf("no row %s", name)
		}
		return table.Rows[i]
	}
	count := func(r Row) (n int) {
		for _, c := range r {
			if c.Best {
				n++
			}
		}
		return n
	}
	if n := count(row("Reflexives")); n != 1 {
		t.Errorf("%d best of a row, want 1", n)
	}
	if n := count(row("Islands")); n != 0 {
		t.Errorf("%d best where items differ, want none", n)
	}
	wantNote(t, table, "Islands: not comparable between columns")
	wantNote(t, table, "all: not comparable between columns")
	// The order is the suite's.
	var order []string
	for _, r := range table.Rows {
		order = append(order, r[0].Text)
	}
	if want := []string{"Subject-verb agreement", "Agreement across a distractor", "Reflexives", "Islands", "all"}; !slices.Equal(order, want) {
		t.Errorf("rows %q, want %q", order, want)
	}

	twins := []record.Run{run("baseline", "", 1, 0), run("baseline", "", 1, 0.01)}
	twins[1].Cell.Precision = "bf16"
	if table, err = Breakdown(twins, "grammar", record.PhenomenonLevel); err != nil {
		t.Fatal(err)
	}
	if n := len(table.Columns); table.Columns[n-2].Key == table.Columns[n-1].Key {
		t.Errorf("two columns are called %q", table.Columns[n-1].Key)
	}
}

func TestWriteFormat(t *testing.T) {
	for _, f := range Formats {
		if got, err := ParseFormat(string(f)); err != nil || got != f {
			t.Errorf("%s: %v %v", f, got, err)
		}
	}
	if _, err := ParseFormat("html"); err == nil || err.Error() != `unknown format "html", want one of text, markdown, csv, json` {
		t.Errorf("error %v", err)
	}
	var b bytes.Buffer
	if err := New(bench()).Write(&b, "html", 0); err == nil || b.Len() > 0 {
		t.Errorf("error %v, %d bytes", err, b.Len())
	}
}

func TestLetter(t *testing.T) {
	for n, want := range map[int]string{-1: "", 0: "A", 25: "Z", 26: "AA", 27: "AB", 701: "ZZ", 702: "AAA"} {
		if got := letter(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		kind kind
		x    float64
		want string
	}{
		{count, 2_310_000, "2.31M"}, {count, 877_056, "877k"}, {count, 36_331_520, "36.3M"}, {count, 999, "999"}, {count, 999_499, "999k"}, {count, 999_500, "1.00M"},
		{count, 5_481_000, "5.48M"}, {count, 1000, "1.00k"}, {count, 9_994, "9.99k"}, {count, 99_950, "100k"}, {count, 3.7e12, "3.70T"}, {count, 0, "0"}, {count, math.MaxFloat64, "1.80e+308"},
		{rate, 13_100, "13.1k"}, {rate, 1_130_000, "1.13M"}, {rate, 812.4, "812"}, {rate, 3.456, "3.46"},
		{integer, 900, "900"}, {integer, 25_000, "25,000"},
		{share, 0.71, "71.0 %"}, {share, 1, "100.0 %"}, {share, 0.0004, "0.0 %"},
		{loss, 2.0507, "2.051"}, {loss, -0.5, "-0.500"},
		{spread, 0.0294, "0.0294"}, {spread, 0.00029411, "0.000294"}, {spread, 1.5, "1.50"}, {spread, 0, "0.000"}, {spread, 123.4, "123"},
		{perplexity, 8.13, "8.13"}, {perplexity, 9.999, "10.0"}, {perplexity, 38.12, "38.1"}, {perplexity, 1374.2, "1,374"}, {perplexity, 1e9, "1.00G"}, {perplexity, math.Inf(1), "inf"}, {perplexity, math.NaN(), "nan"},
		{seconds, 3.44, "3.4"}, {seconds, 35.5, "35.5"}, {seconds, 926.2, "926"}, {seconds, 12345, "12,345"},
	} {
		if got := c.kind.format(c.x); got != c.want {
			t.Errorf("kind %d: %v prints as %s, want %s", c.kind, c.x, got, c.want)
		}
	}
	for _, c := range []struct {
		kind     kind
		mean, sd float64
		want     string
	}{
		{share, 0.71, 0.0082, "71.0 ± 0.8 %"}, {loss, 2.05, 0.0124, "2.050 ± 0.012"}, {perplexity, 1374, 12.3, "1,374 ± 12"}, {spread, 0.0294, 0.0011, "0.0294 ± 0.0011"},
		{rate, 13100, 100, "13.1k"}, {seconds, 35.5, 1, "35.5"}, {perplexity, math.Inf(1), math.NaN(), "inf"},
	} {
		if got := c.kind.formatSD(c.mean, c.sd); got != c.want {
			t.Errorf("kind %d: %v, %v prints as %s, want %s", c.kind, c.mean, c.sd, got, c.want)
		}
	}
}

func TestLossSD(t *testing.T) {
	line := make([]float64, 100)
	for i := range line {
		line[i] = 5 - 0.01*float64(i)
	}
	if sd, ok := LossSD(line); !ok || sd > 1e-12 {
		t.Errorf("a straight line: %v %v", sd, ok)
	}
	// ±0.1 by turns around a line: the residuals' squares sum to 50 · 0.01, less what the line takes up.
	turns := slices.Clone(line)
	for i := range turns {
		turns[i] += 0.1 * float64(1-2*(i%2))
	}
	if sd, ok := LossSD(turns); !ok || math.Abs(sd-math.Sqrt(50*0.01/48)) > 1e-3 {
		t.Errorf("by turns: %v %v", sd, ok)
	}
	// The first half does not count.
	for i := range 50 {
		turns[i] = 1000
	}
	if sd, ok := LossSD(turns); !ok || math.Abs(sd-math.Sqrt(50*0.01/48)) > 1e-3 {
		t.Errorf("wild first half: %v %v", sd, ok)
	}
	// 1, 2, 4: the line is 5/6 + 3/2·x, residuals 1/6, −1/3, 1/6, so that sd is sqrt(1/6).
	if sd, ok := LossSD([]float64{9, 9, 1, 2, 4}); !ok || math.Abs(sd-math.Sqrt(1.0/6)) > 1e-12 {
		t.Errorf("three: %v %v", sd, ok)
	}
	for _, bad := range [][]float64{nil, {1, 2, 3}, {1, 2, 3, math.NaN(), 5, 6}, {1, 1, 1, math.Inf(1), 1, 1}} {
		if sd, ok := LossSD(bad); ok {
			t.Errorf("%v: %v", bad, sd)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	save := func(path string, r record.Run) string {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := record.WriteFile(path, &r); err != nil {
			t.Fatal(err)
		}
		return path
	}
	b := save("runs/b/seed2/run.json", run("b", "", 2, 0))
	a := save("runs/a/run.json", run("a", "", 1, 0))
	other := save("saved/other-name.json", run("c", "", 1, 0))
	empty := filepath.Join(dir, "empty")
	odd := filepath.Join(dir, "odd[1]")
	for _, d := range []string{empty, odd, filepath.Join(dir, "broken", "x")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	temporary := filepath.Join(dir, "saved", ".run.json.march-tmp-0123456789ab")
	broken := filepath.Join(dir, "broken", "x", "run.json")
	for _, path := range []string{temporary, broken, filepath.Join(dir, "runs", "a", "metrics.json")} {
		if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "runs"), link); err != nil {
		t.Fatal(err)
	}
	runs := filepath.Join(dir, "runs")
	cases := []struct {
		name  string
		paths []string
		want  []string // variants
		errs  []string
	}{
		{"nothing", nil, nil, nil},
		{"a folder", []string{runs}, []string{"a", "b"}, nil},
		{"a link to a folder", []string{link}, []string{"a", "b"}, nil},
		{"files", []string{b, a}, []string{"b", "a"}, nil},
		{"any name", []string{other}, []string{"c"}, nil},
		{"globs", []string{filepath.Join(dir, "runs", "*"), filepath.Join(dir, "saved", "*.json")}, []string{"a", "b", "c"}, nil},
		{"once each", []string{a, runs, link, a}, []string{"a", "b"}, nil},
		{"an empty folder", []string{empty}, nil, nil},
		{"a name that looks like a glob", []string{odd}, nil, nil},
		{"missing", []string{filepath.Join(dir, "no")}, nil, []string{filepath.Join(dir, "no") + ": no such file or folder"}},
		{"no match", []string{filepath.Join(dir, "no*")}, nil, []string{"no*: no file or folder matches"}},
		{"bad glob", []string{filepath.Join(dir, "[")}, nil, []string{"not a valid glob"}},
		{"one broken", []string{dir}, []string{"a", "b"}, []string{broken + ": not a run record"}},
		{"several errors", []string{"no1", runs, "no2"}, []string{"a", "b"}, []string{"no1: no such", "no2: no such"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Load(c.paths...)
			var variants []string
			for _, r := range got {
				variants = append(variants, r.Cell.Variant)
				if r.Path == "" {
					t.Error("a run does not know its file")
				}
			}
			if !slices.Equal(variants, c.want) {
				t.Errorf("loaded %q, want %q", variants, c.want)
			}
			if (err != nil) != (len(c.errs) > 0) {
				t.Errorf("error %v", err)
			}
			for _, want := range c.errs {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q", err, want)
				}
			}
		})
	}
}

// A table must not depend on maps' order, nor change the runs.
func TestDeterministic(t *testing.T) {
	want := write(t, New(budgets()), JSON, 0)
	runs := budgets()
	for range 20 {
		if got := write(t, New(runs), JSON, 0); !bytes.Equal(got, want) {
			t.Fatalf("two tables of the same runs differ:\n%s\n%s", got, want)
		}
	}
	if !reflect.DeepEqual(runs, budgets()) {
		t.Error("the runs were changed")
	}
}
