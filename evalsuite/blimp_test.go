package evalsuite

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func pairLine(good, bad, field, phenomenon, uid, id string) string {
	line, _ := json.Marshal(map[string]any{
		"sentence_good": good, "sentence_bad": bad, "field": field, "linguistics_term": phenomenon, "UID": uid, "pairID": id, "simple_LM_method": true,
	})
	return string(line) + "\n"
}

// blimpFolder holds three paradigms, in files whose names are not in the paper's order.
func blimpFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"animate_subject_trans.jsonl": pairLine("a b", "a c", "syntax", "s-selection", "animate_subject_trans", "0") +
			pairLine("a c", "a b", "syntax", "s-selection", "animate_subject_trans", "1"),
		"anaphor_number_agreement.jsonl": pairLine("a b b", "a b b", "morphology", "anaphor_agreement", "anaphor_number_agreement", "0") +
			pairLine("b b", "b a", "morphology", "anaphor_agreement", "anaphor_number_agreement", "1") + "\n" +
			pairLine("a b c", "a b c c", "morphology", "anaphor_agreement", "anaphor_number_agreement", "2"),
		"principle_A_case_2.jsonl": pairLine("c", "d", "syntax/semantics", "binding", "principle_A_case_2", "7"),
		"aa_mine.jsonl":            pairLine("c", "d", "syntax", "my_own", "mine", "0"),
		"README.md":                "not a paradigm",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// orderModel likes b after everything, then c, then all others equally, by name of the word.
func orderModel(t *testing.T, words *wordTokenizer) *fakeModel {
	return &fakeModel{t: t, maxLength: 100, best: func(int64) int64 { return -1 }, prob: func(_, next int64) float64 {
		switch strings.TrimSpace(words.words[next-1]) {
		case "b":
			return 0.5
		case "c":
			return 0.25
		}
		return 0.125
	}}
}

func TestBLiMPScores(t *testing.T) {
	b, err := NewBLiMP(blimpFolder(t))
	if err != nil {
		t.Fatal(err)
	}
	words := &wordTokenizer{}
	predictions := filepath.Join(t.TempDir(), "predictions.jsonl")
	r := mustRun(t, orderModel(t, words), words, b, Options{Predictions: predictions})

	// By hand: agreement: same tokens: tie; b b > b a: right; a b c > a b c c: right. animate:
	// right, wrong. principle_A: right. mine: right.
	want := []Group{
		{LevelField, "morphology", "Morphology", "", "", 3, 2, 1, 2. / 3},
		{LevelField, "syntax", "Syntax", "", "", 3, 2, 0, 2. / 3},
		{LevelField, "syntax_semantics", "Syntax-semantics", "", "", 1, 1, 0, 1},
		{LevelPhenomenon, "anaphor_agreement", "Anaphor agreement", "morphology", "", 3, 2, 1, 2. / 3},
		{LevelPhenomenon, "argument_structure", "Argument structure", "syntax", "", 2, 1, 0, 0.5},
		{LevelPhenomenon, "binding", "Binding", "syntax_semantics", "", 1, 1, 0, 1},
		{LevelPhenomenon, "my_own", "My own", "syntax", "", 1, 1, 0, 1},
		{LevelParadigm, "anaphor_number_agreement", "Anaphor number agreement", "morphology", "anaphor_agreement", 3, 2, 1, 2. / 3},
		{LevelParadigm, "animate_subject_trans", "Animate subject trans", "syntax", "argument_structure", 2, 1, 0, 0.5},
		{LevelParadigm, "principle_A_case_2", "Principle A case 2", "syntax_semantics", "binding", 1, 1, 0, 1},
		{LevelParadigm, "mine", "Mine", "syntax", "my_own", 1, 1, 0, 1},
	}
	if !slices.Equal(r.Groups, want) {
		t.Errorf("groups:\n%+v\nwant\n%+v", r.Groups, want)
	}
	wantScore(t, r, "accuracy", 5./7)
	if r.Items != 7 || r.Ties != 1 || r.Identical != 1 || r.Truncated != 0 || r.Sequences != 14 || r.Distinct != 9 || r.Limit != 0 {
		t.Errorf("counts: %+v", r)
	}
	if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "64 of BLiMP's 67 paradigms are missing") }) {
		t.Errorf("notes %q do not say that paradigms are missing", r.Notes)
	}

	lines, err := os.ReadFile(predictions)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(lines), "\n")
	if wantLine := `{"suite":"blimp","paradigm":"anaphor_number_agreement","id":"0","scores":[-3.4657359`; !strings.HasPrefix(first, wantLine) ||
		!strings.HasSuffix(first, `"tokens":[3,3],"correct":false,"tie":true}`) {
		t.Errorf("first prediction %s", first)
	}
	if n := strings.Count(string(lines), "\n"); n != 7 {
		t.Errorf("%d predictions, want 7", n)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

// Equal scores of different sentences are ties and wrong, all of them for a model that tells
// nothing.
func TestTies(t *testing.T) {
	b, err := NewBLiMP(blimpFolder(t))
	if err != nil {
		t.Fatal(err)
	}
	words := &wordTokenizer{}
	r := mustRun(t, uniformModel(t, 100, 4), words, b, Options{})
	wantScore(t, r, "accuracy", 1./7) // one pair differs in length, and the shorter sentence is the good one
	if r.Ties != 6 || r.Identical != 1 {
		t.Errorf("%d ties, %d of the same tokens, want 6 and 1", r.Ties, r.Identical)
	}
}

func TestBLiMPLimitAndTruncation(t *testing.T) {
	b, err := NewBLiMP(blimpFolder(t))
	if err != nil {
		t.Fatal(err)
	}
	words := &wordTokenizer{}
	r := mustRun(t, orderModel(t, words), words, b, Options{Limit: 1})
	if r.Items != 4 || r.Limit != 1 || !slices.Contains(r.Notes, "the first 1 pairs of each paradigm") {
		t.Errorf("limit 1: %d items, limit %d, notes %q", r.Items, r.Limit, r.Notes)
	}
	if again := mustRun(t, orderModel(t, words), words, b, Options{}); again.Items != 7 {
		t.Errorf("%d items after a limited run, want 7", again.Items)
	}

	short := orderModel(t, words)
	short.maxLength = 2 // sentences of three and four words lose their first
	r = mustRun(t, short, words, b, Options{})
	if r.Truncated != 2 || !slices.ContainsFunc(r.Notes, func(n string) bool {
		return strings.HasPrefix(n, "2 of 7 items are longer than the model and keep their last 3")
	}) {
		t.Errorf("%d items cut, notes %q, want 2", r.Truncated, r.Notes)
	}
	// "a b c" keeps all but the start token, so b c are scored, "a b c c" keeps b c c, so c c are:
	// 0.5·0.25 against 0.25·0.25.
	if p, ok := r.Group(LevelParadigm, "anaphor_number_agreement"); !ok || p.Correct != 2 {
		t.Errorf("cut sentences: %+v", p)
	}
}

func TestBLiMPBadInput(t *testing.T) {
	good := pairLine("a", "b", "syntax", "binding", "p", "0")
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"broken", good + "{\"sentence_good\": \"a\", \n", []string{"p.jsonl:2", "JSON"}},
		{"after", strings.TrimSpace(good) + "{}\n", []string{"p.jsonl:1", "JSON"}},
		{"list", good + "[1, 2]\n", []string{"p.jsonl:2", "not a JSON object"}},
		{"number", strings.Replace(good, `"a"`, "3", 1), []string{"p.jsonl:1", "sentence_good"}},
		{"key", strings.Replace(good, "sentence_bad", "sentence_evil", 1), []string{"p.jsonl:1", `"sentence_bad" is missing`}},
		{"field", strings.Replace(good, "field", "feld", 1), []string{"p.jsonl:1", `"field" is missing`}},
		{"empty value", strings.Replace(good, `"b"`, `""`, 1), []string{"p.jsonl:1", `"sentence_bad" is missing or empty`}},
		{"id", strings.Replace(good, "pairID", "pair", 1), []string{"p.jsonl:1", `"pairID" is missing`}},
		{"same id", good + "\n" + good, []string{"p.jsonl:3", `"0" occurs twice`}},
		{"two paradigms", good + pairLine("a", "b", "syntax", "binding", "q", "1"), []string{"p.jsonl:2", `"q"`, `"p"`}},
		{"empty", "\n\n", []string{"p.jsonl", "empty"}},
		{"long", good + strings.Repeat("x", 2<<20), []string{"p.jsonl:2", "longer than"}},
	} {
		_, err := NewBLiMP(filepath.Dir(write(t, "p.jsonl", test.text)))
		t.Run(test.name, func(t *testing.T) { wantError(t, err, append(test.want, "blimp")...) })
	}
	_, err := NewBLiMP(filepath.Join(t.TempDir(), "gone"))
	wantError(t, err, "blimp", "gone")
	_, err = NewBLiMP(filepath.Dir(write(t, "notes.txt", "x")))
	wantError(t, err, "no *.jsonl file", "data folder of BLiMP")
	_, err = NewBLiMP(write(t, "file.jsonl", good))
	wantError(t, err, "file.jsonl")

	twice := filepath.Dir(write(t, "one.jsonl", good))
	if err := os.WriteFile(filepath.Join(twice, "two.jsonl"), []byte(good), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = NewBLiMP(twice)
	wantError(t, err, "one.jsonl", "two.jsonl", "both hold")
}

func TestBLiMPTable(t *testing.T) {
	if len(blimpPhenomena) != 12 || len(blimpRank) != 67 {
		t.Errorf("%d phenomena and %d paradigms, want 12 and 67", len(blimpPhenomena), len(blimpRank))
	}
}

// The real files: what they hold, and what a model that prefers short sentences gets, by a count of
// its own.
func TestBLiMPFiles(t *testing.T) {
	dir := sharedData(t, "blimp")
	b, err := NewBLiMP(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(b.pairs) != 67000 || b.paradigms != 67 || b.missing != 0 {
		t.Fatalf("%d pairs, %d paradigms, %d missing, want 67000, 67, 0", len(b.pairs), b.paradigms, b.missing)
	}
	r := mustRun(t, uniformModel(t, 256, 257), byteTokenizer{}, b, Options{BatchTokens: 1 << 15})
	counts := map[string]map[string]int{LevelField: {}, LevelPhenomenon: {}, LevelParadigm: {}}
	order := map[string][]string{}
	for _, g := range r.Groups {
		counts[g.Level][g.Name] = int(g.Items / 1000)
		order[g.Level] = append(order[g.Level], g.Name)
	}
	if want := map[string]int{"morphology": 18, "syntax": 26, "syntax_semantics": 14, "semantics": 9}; !maps.Equal(counts[LevelField], want) {
		t.Errorf("fields %v, want %v", counts[LevelField], want)
	}
	if want := []string{"morphology", "syntax", "syntax_semantics", "semantics"}; !slices.Equal(order[LevelField], want) {
		t.Errorf("fields in the order %v, want %v", order[LevelField], want)
	}
	var phenomena, paradigms []string
	for _, p := range blimpPhenomena {
		phenomena = append(phenomena, p.name)
		paradigms = append(paradigms, p.paradigms...)
		if counts[LevelPhenomenon][p.name] != len(p.paradigms) {
			t.Errorf("phenomenon %s: %d paradigms, want %d", p.name, counts[LevelPhenomenon][p.name], len(p.paradigms))
		}
	}
	if !slices.Equal(order[LevelPhenomenon], phenomena) || !slices.Equal(order[LevelParadigm], paradigms) {
		t.Errorf("not in the paper's order: %v, %v", order[LevelPhenomenon], order[LevelParadigm])
	}
	shorter, same, identical := 0, 0, 0
	for _, x := range b.pairs {
		switch {
		case len(x.good) < len(x.bad):
			shorter++
		case len(x.good) == len(x.bad):
			same++
		}
		if x.good == x.bad {
			identical++
		}
	}
	wantScore(t, r, "accuracy", float64(shorter)/67000)
	if r.Items != 67000 || r.Ties != int64(same) || r.Identical != int64(identical) || identical != 7 || r.Sequences != 134000 || r.Distinct != 133945 {
		t.Errorf("%d items, %d ties, %d identical, %d sequences, %d distinct; want 67000, %d, %d, 134000, 133945",
			r.Items, r.Ties, r.Identical, r.Sequences, r.Distinct, same, identical)
	}
	t.Logf("%d pairs, the shorter sentence is right in %.2f %%, %d ties, %d pairs of equal sentences", r.Items, 100*float64(shorter)/67000, r.Ties, r.Identical)
}

// TestPerToken: a uniform model finds the shorter sentence more probable, and no difference a token; one
// that knows words finds a difference either way.
func TestPerToken(t *testing.T) {
	b, err := NewBLiMP(blimpFolder(t))
	if err != nil {
		t.Fatal(err)
	}
	words := &wordTokenizer{}
	r := mustRun(t, uniformModel(t, 100, 4), words, b, Options{PerToken: true})
	wantScore(t, r, "accuracy", 0)
	if r.Ties != 7 || r.Settings["sentence length"] == "" {
		t.Errorf("%d ties a token, settings %v: want 7, and the length named", r.Ties, r.Settings)
	}
	sum, mean := mustRun(t, orderModel(t, words), words, b, Options{}), mustRun(t, orderModel(t, words), words, b, Options{PerToken: true})
	if sum.Settings["sentence length"] != "" {
		t.Errorf("settings %v name a length that is not used", sum.Settings)
	}
	paradigm := func(r *Result, name string) Group {
		g, ok := r.Group(LevelParadigm, name)
		if !ok {
			t.Fatalf("no paradigm %s", name)
		}
		return g
	}
	// By hand: a b c has 6 bits and 2 a token; a b c c has 8, and 2 a token as well.
	if before, after := paradigm(sum, "anaphor_number_agreement"), paradigm(mean, "anaphor_number_agreement"); before.Correct != 2 || after.Correct != 1 || after.Ties != 2 {
		t.Errorf("%+v and a token %+v, want 2 and 1 right, and a further tie", before, after)
	}
	if before, after := paradigm(sum, "mine"), paradigm(mean, "mine"); before != after {
		t.Errorf("%+v and %+v of sentences equally long", before, after)
	}
}

// What a record says is what Fixed says that it should.
func TestFixed(t *testing.T) {
	b, err := NewBLiMP(blimpFolder(t))
	if err != nil {
		t.Fatal(err)
	}
	words := &wordTokenizer{}
	for _, o := range []Options{{}, {PerToken: true}} {
		r := mustRun(t, uniformModel(t, 100, 4), words, b, o)
		for key, want := range Fixed(b, o) {
			if r.Settings[key] != want {
				t.Errorf("%+v: setting %s is %q, want %q", o, key, r.Settings[key], want)
			}
		}
	}
	if a, b := Fixed(b, Options{}), Fixed(b, Options{PerToken: true}); maps.Equal(a, b) {
		t.Error("the option changes no setting")
	}
}
