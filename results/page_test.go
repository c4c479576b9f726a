package results

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"march/results/record"
	"march/variants/manifest"
)

func pageOf(t *testing.T, runs []record.Run) (string, []string) {
	t.Helper()
	pictures, problems, err := Pictures(runs)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	problems, err = Page(&b, runs, PageOptions{March: "v1", Command: "march report runs --out x", Made: time.Unix(1e9, 0).UTC(), Pictures: pictures, Problems: problems, Commands: commands})
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), problems
}

// commands stands in for what knows how runs are made.
func commands(r *record.Run) ([]string, error) {
	if _, err := os.Stat(filepath.Join(filepath.Dir(r.Path), "program")); err != nil {
		return nil, err
	}
	return []string{"# <where>", fmt.Sprintf("make %s --seed %d again", r.Cell.Variant, r.Cell.Seed)}, nil
}

// saveManifest writes one into the program of a run's folder.
func saveManifest(t *testing.T, r *record.Run, m map[string]any) {
	t.Helper()
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(filepath.Dir(r.Path), "program")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, manifest.File), data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// large is 32 variants with three seeds each, their steps and manifests, and all of BLiMP.
func large(t *testing.T) (runs []record.Run) {
	t.Helper()
	for v := range 32 {
		name := fmt.Sprintf("variant_%02d", v)
		if v == 0 {
			name = "baseline"
		}
		r := withReal(run(name, "", 1, float64(v%7)/500), float64(v%5)/100)
		r.ConfigSHA256 = fmt.Sprintf("%064x", v)
		s := r.Suites["blimp"]
		for p := range 67 {
			for _, level := range []string{record.PhenomenonLevel, record.ParadigmLevel} {
				if level == record.ParadigmLevel || p%6 == 0 {
					s.Groups = append(s.Groups, record.Group{Level: level, Name: fmt.Sprintf("a_rather_long_paradigm_name_%d", p), Field: "syntax", Items: 1000, Correct: 500 + int64(p+v), Accuracy: float64(500+p+v) / 1000})
				}
			}
		}
		r.Suites["blimp"] = s
		runs = append(runs, r)
	}
	runs = trials(runs)
	for i := range runs {
		r := &runs[i]
		onRecord(t, r, 0.007+float64(i%32)/1e5, 0.1, true)
		tensors := make([]map[string]any, 80)
		for n := range tensors {
			tensors[n] = map[string]any{"name": fmt.Sprintf("decoder.%d.attn.wq", n), "shape": []int{96, 96}, "offset": 36864 * n, "decay": true}
		}
		saveManifest(t, r, map[string]any{"seed": r.Cell.Seed, "config": map[string]any{"d": 96}, "parameters": tensors,
			"graphs": map[string]any{"eval": map[string]any{"file": "eval.onnx", "inputs": tensors}}, "files": map[string]any{"eval.onnx": map[string]any{"sha256": fmt.Sprintf("%064x", i)}}})
	}
	return runs
}

func TestPage(t *testing.T) {
	runs := large(t)
	html, problems := pageOf(t, runs)
	if len(html) > 3_000_000 {
		t.Errorf("%d bytes for 32 variants, want at most 3 MB", len(html))
	}
	t.Logf("%d bytes", len(html))
	for _, p := range problems {
		t.Errorf("missing: %s", p)
	}
	// Nothing is fetched: no address but those of namespaces.
	for _, m := range regexp.MustCompile(`(?i)(src|href|url)\s*[=(]\s*["']?([^"'\s>)]+)`).FindAllStringSubmatch(html, -1) {
		if !strings.HasPrefix(m[2], "#") {
			t.Errorf("the page refers to %s", m[0])
		}
	}
	for _, want := range []string{
		"<svg", "Pareto front", "a_rather_long_paradigm_name_66", `<pre class="command"># &lt;where&gt;</pre><pre class="command">make variant_31 --seed 3 again</pre>`,
		"80 tensors, listed in the file", "data-v=\"0.6", "Verdicts", "At equal data, FLOPs and seconds", "As study sharing prints it",
	} {
		if !strings.Contains(html, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	// Each kind of tag that is opened is closed.
	for _, tag := range []string{"table", "tr", "td", "th", "div", "details", "ul", "li", "figure", "svg", "pre", "section", "button"} {
		open, closed := strings.Count(html, "<"+tag+">")+strings.Count(html, "<"+tag+" "), strings.Count(html, "</"+tag+">")
		if open != closed {
			t.Errorf("%d <%s> and %d </%[2]s>", open, tag, closed)
		}
	}
	// A run's figure in the table is the exact mean of its records.
	var sum float64
	for _, r := range runs {
		if r.Cell.Variant == "variant_07" {
			sum += r.Validation.Loss
		}
	}
	row := html[strings.Index(html, "<td>variant_07</td>"):]
	row = row[:strings.Index(row, "</tr>")]
	if want := fmt.Sprintf(`data-v="%s"`, number(sum/3)); !strings.Contains(row, want) && !containsNear(row, sum/3) {
		t.Errorf("no %s in %s", want, row)
	}
}

// containsNear looks for a figure among a row's, to the last digits of a sum in another order.
func containsNear(row string, want float64) bool {
	for _, m := range regexp.MustCompile(`data-v="([^"]+)"`).FindAllStringSubmatch(row, -1) {
		var x float64
		if _, err := fmt.Sscan(m[1], &x); err == nil && math.Abs(x-want) < 1e-12 {
			return true
		}
	}
	return false
}

// Texts of records are texts, whatever they hold; and what is not there is said.
func TestPageOfBadRuns(t *testing.T) {
	runs := []record.Run{run("baseline", "", 1, 0), failed("deep_seq", 1, record.Failed, "<script>alert(1)</script> & \"quotes\"")}
	runs[0].Path = filepath.Join(t.TempDir(), record.FileName)
	html, problems := pageOf(t, runs)
	if strings.Contains(html, "<script>alert") || !strings.Contains(html, "&lt;script&gt;alert") {
		t.Error("a reason is read as HTML")
	}
	if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, "no manifest") }) ||
		!slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, "how to make it again is not known") }) {
		t.Errorf("problems %q", problems)
	}
	var b bytes.Buffer
	if _, err := Page(&b, nil, PageOptions{}); err == nil || b.Len() > 0 {
		t.Errorf("a page of nothing: %v, %d bytes", err, b.Len())
	}
	if html, _ := pageOf(t, runs[1:]); !strings.Contains(html, "No verdicts: no finished run is called baseline") {
		t.Error("a page of failures does not say that there are no verdicts")
	}
}

// Only what seeds alone tell apart is said to be the same.
func TestManifestsOfPage(t *testing.T) {
	const seed = uint64(1<<64 - 1) // no float64 has it
	var runs []record.Run
	for _, x := range []struct {
		seed                uint64
		precision, variable string
	}{{1, "fp32", "w"}, {seed, "fp32", "w"}, {1, "bf16", "w"}, {2, "bf16", "v"}} {
		r := run("baseline", "", x.seed, 0)
		r.Cell.Precision = x.precision
		r.Path = filepath.Join(t.TempDir(), record.FileName)
		saveManifest(t, &r, map[string]any{"precision": x.precision, "seed": x.seed, "parameters": []map[string]any{{"name": x.variable}},
			"files": map[string]any{"grad.onnx": map[string]any{"bytes": 10 + x.seed}}})
		runs = append(runs, r)
	}
	html, _ := pageOf(t, runs)
	if n := strings.Count(html, "Manifest of the program:"); n != 3 {
		t.Errorf("%d manifests, want those of two precisions and of other tensors", n)
	}
	if n, want := strings.Count(html, "Manifest: as that of"), "Manifest: as that of "+runs[0].Cell.String()+", but for the seed and the files:"; n != 1 || !strings.Contains(html, want) {
		t.Errorf("%d manifests like another's, want one: %s", n, want)
	}
	if want := fmt.Sprintf("&#34;seed&#34;: %d", seed); strings.Count(html, want) != 2 {
		t.Errorf("no %s in the record or in the manifest", want)
	}
}

// The page's verdicts and its table at equal data are one judgement.
func TestPageJudgesOnce(t *testing.T) {
	runs := answered(t, trials(bench()))
	want := judgeOrFail(t, runs, VerdictOptions{}).Tests
	html, _ := pageOf(t, runs)
	if text := fmt.Sprintf("Holm&#39;s correction over the %d tests of valid. loss, grammar acc", want); want < 6 || strings.Count(html, text) != 2 {
		t.Errorf("%q is %d times in the page, want it under both tables", text, strings.Count(html, text))
	}
}

func TestSentences(t *testing.T) {
	runs := bench()
	runs[1].Validation.Loss = 2.05001
	v := judgeOrFail(t, trials(runs), VerdictOptions{Measures: []string{"valid_loss"}})
	for variant, want := range map[string]string{
		"deep_cycle_rev":        `^valid\. loss: no difference is shown between deep_cycle_rev and baseline \(2\.050 against 2\.050, a difference of [+−]0\.000\d+ ± 0\.000\d+ over 3 seeds, p [01]\.\d+\); one of 0\.00\d+ would have been found four times in five\.$`,
		"very_wide_cycle":       `^valid\. loss: very_wide_cycle is worse than baseline \(2\.090 against 2\.050, a difference of \+0\.040\d* ± 0\.000\d+ over 3 seeds, p <0\.001\)\.$`,
		"baseline ffn.glu=silu": `^valid\. loss: baseline ffn\.glu=silu is better than baseline `,
	} {
		if got := verdictOf(t, v, "valid_loss", variant).Sentence(); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%s", got)
		}
	}
	single := judgeOrFail(t, bench(), VerdictOptions{})
	if got := sentences(single.List); len(got) != 1 || got[0].Text != "No verdict on 15 comparisons with the baseline: one seed says nothing of the noise between seeds." {
		t.Errorf("%q", got)
	}
	if got := single.List[0].Sentence(); !strings.Contains(got, "no verdict on deep_cycle_rev against baseline (2.030 against 2.050): one seed") {
		t.Error(got)
	}
}

// Variants that are not shown to differ share a sentence, which says the least p and the most that could have been missed.
func TestSentenceOfVariantsAlike(t *testing.T) {
	runs := bench()
	runs[1].Validation.Loss, runs[2].Validation.Loss = 2.05001, 2.05002
	v := judgeOrFail(t, trials(runs), VerdictOptions{Measures: []string{"valid_loss"}})
	var alike []Verdict
	var names []string
	for _, x := range v.List {
		if x.Outcome == NoDifference {
			alike, names = append(alike, x), append(names, x.Variant)
		}
	}
	if len(alike) != 2 {
		t.Fatalf("%d variants without a difference, want two", len(alike))
	}
	told := sentences(v.List)
	shown := len(v.List) - 2
	if len(told) != shown+1 {
		t.Fatalf("%d sentences, want one for each of %d differences and one for the two variants: %q", len(told), shown, told)
	}
	want := regexp.MustCompile(`^valid\. loss: no difference is shown between baseline and each of ` + regexp.QuoteMeta(strings.Join(names, ", ")) + ` \(p at least [01]\.\d+\); one of 0\.00\d+ would have been found four times in five\.$`)
	if !want.MatchString(told[shown].Text) || told[shown].Outcome != string(NoDifference) {
		t.Errorf("%+v", told[shown])
	}
	alike[0].Variant, alike[1].Variant, alike[0].Baseline, alike[1].Baseline, alike[0].Budget, alike[1].Budget = "a [B]", "b [B]", "baseline [B]", "baseline [B]", "B", "B"
	if got := alikeSentence(alike); !strings.HasPrefix(got, "valid. loss: no difference is shown between baseline [B] and each of a, b (p ") {
		t.Error(got)
	}
}

func TestPicturesOfRuns(t *testing.T) {
	names := func(runs []record.Run) (out []string, problems []string) {
		list, problems, err := Pictures(runs)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			out = append(out, p.Name)
		}
		return out, problems
	}
	got, problems := names(likeHeadsRuns(t, true))
	want := []string{"train_loss", "valid_loss", "valid_loss_parameters", "valid_loss_flops", "valid_loss_seconds",
		"grammar_accuracy_parameters", "grammar_accuracy_flops", "grammar_accuracy_seconds", "grammar_paradigms"}
	if !slices.Equal(got, want) || len(problems) > 0 {
		t.Errorf("pictures %q, problems %q", got, problems)
	}
	if got, _ := names(likeHeadsRuns(t, false)); slices.Contains(got, "valid_loss") {
		t.Error("a curve of validation losses that were not measured")
	}
	runs := budgets()
	got, problems = names(runs)
	if !slices.Contains(got, "valid_loss_parameters_b") || slices.Contains(got, "valid_loss_seconds_b") || slices.Contains(got, "valid_loss_parameters_c") {
		t.Errorf("pictures %q: want budget B's without seconds of two machines, and none of a budget of one", got)
	}
	if !slices.ContainsFunc(problems, func(p string) bool {
		return strings.Contains(p, "not timed") || strings.Contains(p, "timed on the same machine")
	}) {
		t.Errorf("problems %q", problems)
	}
}

// TestPicturesOfOtherItems: what was scored on other items than the rest is drawn beside nothing.
func TestPicturesOfOtherItems(t *testing.T) {
	runs := bench()
	s := runs[1].Suites["grammar"]
	s.Limit = 50
	runs[1].Suites["grammar"] = s
	pictures, problems, err := Pictures(runs)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pictures {
		if strings.HasPrefix(p.Name, "grammar_") {
			t.Errorf("%s is drawn", p.Name)
		}
	}
	want := "grammar acc against costs, March's own minimal pairs by paradigm: not drawn: not all rows were measured on the same items."
	if !slices.Contains(problems, want) {
		t.Errorf("no %q in %q", want, problems)
	}
}
