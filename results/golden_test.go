package results

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"march/results/record"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test ./results -update writes it anew); got\n%s", path, got)
	}
}

func write(t *testing.T, table *Table, f Format, width int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := table.Write(&b, f, width); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var extension = map[Format]string{Text: "txt", Markdown: "md", CSV: "csv", JSON: "json", LaTeX: "tex"}

func TestGolden(t *testing.T) {
	breakdown := func(runs []record.Run, level string) *Table {
		table, err := Breakdown(runs, "grammar", level)
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	judged := func(runs []record.Run, o VerdictOptions) *Table {
		v, err := Judge(runs, o)
		if err != nil {
			t.Fatal(err)
		}
		return v.Table()
	}
	cases := []struct {
		name    string
		table   *Table
		width   int
		formats []Format
	}{
		{"bench", New(bench()), 100, Formats},
		{"mixed", New(mixed()), 120, Formats},
		{"mixed_narrow", New(mixed()), 80, []Format{Text}},
		{"seeds", New(seeds()), 120, Formats},
		{"budgets", New(budgets()), 120, []Format{Text, Markdown}},
		{"one", New(bench()[:1]), 100, []Format{Text}},
		{"failed", New([]record.Run{failed("baseline", 1, record.Failed, "no space left on device")}), 100, []Format{Text, CSV}},
		{"empty", New(nil), 100, Formats},
		{"phenomena", breakdown(mixed()[3:8], record.PhenomenonLevel), 120, Formats},
		{"trials", New(trials(mixed())), 120, Formats},
		{"trials_items", New(answered(t, trials(bench()))), 120, []Format{Text}},
		{"phenomena_trials", breakdown(answered(t, trials(bench())), record.PhenomenonLevel), 120, []Format{Text}},
		{"paradigms_seeds", breakdown(seeds(), record.ParadigmLevel), 120, []Format{Text}},
		{"phenomena_budgets", breakdown(budgets(), record.PhenomenonLevel), 120, []Format{Text}},
		{"verdicts", judged(trials(mixed()), VerdictOptions{Measures: []string{"valid_loss", "blimp_accuracy", "seconds"}}), 120, Formats},
		{"verdicts_narrow", judged(trials(mixed()), VerdictOptions{}), 80, []Format{Text}},
		{"verdicts_items", judged(answered(t, trials(bench())), VerdictOptions{Measures: []string{"grammar_accuracy", "cloze_perplexity"}}), 120, []Format{Text, JSON}},
		{"verdicts_seeds", judged(seeds(), VerdictOptions{}), 100, []Format{Text}},
		{"verdicts_budgets", judged(trials(budgets()), VerdictOptions{Measures: []string{"valid_loss"}}), 100, []Format{Text}},
		{"like_sharing", LikeSharing(likeSharingRuns(), false)[1], 100, Formats},
		{"like_sharing_beside", LikeSharing(likeSharingRuns(), true)[0], 120, []Format{Text, LaTeX}},
		{"like_sharing_agreement", LikeSharing(likeSharingRuns(), true)[2], 100, []Format{Text, CSV}},
		{"like_sharing_own", LikeSharing(answered(t, trials(bench())), false)[0], 100, []Format{Text}},
		{"like_heads", likeHeadsTables(t)[0], 140, Formats},
		{"like_heads_narrow", likeHeadsTables(t)[0], 100, []Format{Text}},
		{"like_heads_study", likeHeadsTables(t)[1], 140, []Format{Text, CSV}},
		{"like_heads_agreement", likeHeadsTables(t)[2], 100, []Format{Text}},
		{"fields_missing", breakdown(mixed(), record.FieldLevel), 100, []Format{Text}},
	}
	for _, c := range cases {
		for _, f := range c.formats {
			t.Run(c.name+"/"+string(f), func(t *testing.T) {
				got := write(t, c.table, f, c.width)
				golden(t, c.name+"."+extension[f], got)
				if f == LaTeX && bytes.Contains(got, []byte(`\textbackslash`)) { // no text of these tables has a backslash
					t.Errorf("escaped twice:\n%s", got)
				}
				for line := range strings.Lines(string(got)) {
					if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); f == Text && n > c.width {
						t.Errorf("a line of %d characters in a width of %d: %s", n, c.width, line)
					}
				}
			})
		}
	}
}
