package results

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"march/results/record"
)

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

// A column's title is escaped once in the footer too.
func TestFooterEscapes(t *testing.T) {
	table := &Table{Columns: []Column{{Key: "x", Title: "a_b\n& <c>", About: "an x|y"}}, Rows: []Row{{{Text: "1"}}}}
	for f, want := range map[Format]string{
		Text: "\na_b & <c>: an x|y.\n", Markdown: "\n- a_b & \\<c>: an x\\|y.\n", LaTeX: `{\footnotesize a\_b \& $<$c$>$: an x$|$y.\par}`,
	} {
		if got := string(write(t, table, f, 0)); !strings.Contains(got, want) {
			t.Errorf("%s: no %q in\n%s", f, want, got)
		}
	}
	if got, want := table.html(), "<li>a_b &amp; &lt;c&gt;: an x|y.</li>"; !strings.Contains(got, want) {
		t.Errorf("no %q in\n%s", want, got)
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
	better := runs[5].Suites["grammar"].Groups
	for i := range better {
		if strings.HasPrefix(better[i].Name, "anaphor_agreement") {
			better[i].Correct += 60
		}
	}
	if table, err = Breakdown(answered(t, trials(runs)), "grammar", record.PhenomenonLevel); err != nil {
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
	if _, err := ParseFormat("html"); err == nil || err.Error() != `unknown format "html", want one of text, markdown, csv, json, latex` {
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
