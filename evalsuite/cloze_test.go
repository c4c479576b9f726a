package evalsuite

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSplitPassage(t *testing.T) {
	for _, test := range []struct{ text, context, target, word string }{
		{"a b c", "a b", " c", "c"},
		{"one two ", "one two"[:3], " two", "two"},
		{"kind of\n\nPower", "kind of", "\n\nPower", "Power"},
		{"saw the \n\nrecorder", "saw the", " \n\nrecorder", "recorder"},
		{`the salvation "army`, "the salvation", ` "army`, `"army`},
		{"it is\u00a0so", "it is", "\u00a0so", "so"},
	} {
		p, err := splitPassage(test.text)
		if err != nil || p.context != test.context || p.target != test.target || p.lastWord() != test.word {
			t.Errorf("%q: got %q, %q, %q, %v", test.text, p.context, p.target, p.lastWord(), err)
		}
	}
	for _, text := range []string{"", " ", "word", " word", "word ", "\n\nword\n"} {
		if p, err := splitPassage(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, p)
		}
	}
}

// A bigram table with known numbers; targets of one and of two tokens.
func TestLAMBADAScores(t *testing.T) {
	l, err := NewLAMBADA(write(t, "passages.txt", "a b\na\u00a0b c\nb a a c\na x\n"), LAMBADAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := []int{len(l.passages), len(l.passages[1].context)}; !slices.Equal(got, []int{4, 4}) {
		t.Fatalf("passages %+v", l.passages)
	}
	tok := byteTokenizer{} // the target is two tokens: " " and the letter
	model := &fakeModel{t: t, maxLength: 50, prob: func(previous, next int64) float64 {
		switch {
		case next == ' '+1:
			return 0.5
		case next == 'b'+1:
			return 0.25
		case next == 'c'+1:
			return 0.125
		}
		return 0.0625
	}, best: func(previous int64) int64 {
		if previous == ' '+1 {
			return 'c' + 1
		}
		return ' ' + 1
	}}
	predictions := filepath.Join(t.TempDir(), "p.jsonl")
	r := mustRun(t, model, tok, l, Options{Predictions: predictions})
	// p of the targets: 1/2·1/4, 1/2·1/8, 1/2·1/8, 1/2·1/16 = 2^-3, 2^-4, 2^-4, 2^-5: mean −log2 p
	// = 4. Right: those ending in c.
	wantScore(t, r, "perplexity", 16)
	wantScore(t, r, "accuracy", 0.5)
	if r.Items != 4 || r.Tokens != 8 || r.Truncated != 0 || r.Settings["form"] != FormOriginal || r.Settings["quotes"] != "as they are" {
		t.Errorf("result %+v", r)
	}
	data, err := os.ReadFile(predictions)
	if err != nil {
		t.Fatal(err)
	}
	var second Prediction
	if err := json.Unmarshal([]byte(strings.Split(string(data), "\n")[1]), &second); err != nil {
		t.Fatal(err)
	}
	if second.Suite != "lambada" || second.ID != "1" || !second.Correct || second.Tokens[0] != 2 || math.Abs(second.Scores[0]+4*math.Ln2) > 1e-6 {
		t.Errorf("prediction %+v", second)
	}

	model.maxLength = 3 // keeps four tokens: one of the context, " ", the letter, and one more to read
	r = mustRun(t, model, tok, l, Options{})
	wantScore(t, r, "perplexity", 16)
	if r.Truncated != 2 { // start, a, nbsp (2 bytes), b, " ", c and start, "b a a", " ", c; the others have four tokens
		t.Errorf("%d passages cut, want 2: notes %q", r.Truncated, r.Notes)
	}

	r = mustRun(t, model, tok, l, Options{Limit: 2})
	if r.Items != 2 || !slices.Contains(r.Notes, "the first 2 passages") {
		t.Errorf("limit 2: %+v", r)
	}
	wantScore(t, r, "perplexity", math.Pow(2, 3.5))
}

func TestPerplexityStaysFinite(t *testing.T) {
	l, err := NewLAMBADA(write(t, "p.txt", "a b c "+strings.Repeat("x", 80)), LAMBADAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m := uniformModel(t, 200, 2)
	m.prob = func(_, _ int64) float64 { return 1e-30 }
	r := mustRun(t, m, byteTokenizer{}, l, Options{})
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

func TestLAMBADAForms(t *testing.T) {
	jsonl := write(t, "p.jsonl", `{"text": "He said, “it’s\u00a0–\nso”"}`+"\n")
	for _, test := range []struct {
		plain           bool
		context, target string
	}{
		{false, "He said, “it’s\u00a0–", "\nso”"},
		{true, `He said, "it's -`, "\nso\""},
	} {
		l, err := NewLAMBADA(jsonl, LAMBADAOptions{PlainQuotes: test.plain})
		if err != nil {
			t.Fatal(err)
		}
		if p := l.passages[0]; l.form != FormOpenAI || p.context != test.context || p.target != test.target {
			t.Errorf("plain quotes %v: %s %q", test.plain, l.form, p)
		}
		r := mustRun(t, uniformModel(t, 99, 2), byteTokenizer{}, l, Options{})
		if want := map[bool]string{false: "as they are", true: "plain"}[test.plain]; r.Settings["quotes"] != want || r.Settings["form"] != FormOpenAI {
			t.Errorf("settings %v", r.Settings)
		}
	}
	for _, test := range []struct {
		file, text string
		want       []string
	}{
		{"p.jsonl", "{\"text\": \"a b\"}\n{\"txt\": \"a b\"}\n", []string{"p.jsonl:2", `"text" is missing`}},
		{"p.jsonl", "a b\n", []string{"p.jsonl:1", "not a JSON object"}},
		{"p.jsonl", "{\"text\": \"alone\"}\n", []string{"p.jsonl:1", "last word"}},
		{"p.txt", "a b\nalone\n", []string{"p.txt:2", "last word"}},
		{"p.txt", "\n", []string{"p.txt", "empty"}},
	} {
		_, err := NewLAMBADA(write(t, test.file, test.text), LAMBADAOptions{})
		wantError(t, err, append(test.want, "lambada")...)
	}
	_, err := NewLAMBADA(t.TempDir(), LAMBADAOptions{})
	wantError(t, err, "folder")
}

func TestLAMBADAFiles(t *testing.T) {
	dir := sharedData(t, "lambada")
	read := func(name string, count int, form string) *LAMBADA {
		l, err := NewLAMBADA(filepath.Join(dir, name), LAMBADAOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(l.passages) != count || l.form != form {
			t.Errorf("%s: %d passages, form %s; want %d, %s", name, len(l.passages), l.form, count, form)
		}
		return l
	}
	openai := read("lambada_test.jsonl", 5153, FormOpenAI)
	original := read("lambada_test_plain_text.txt", 5153, FormOriginal)
	read("lambada_development_plain_text.txt", 4869, FormOriginal)
	differ, touched := 0, 0
	for i, p := range openai.passages {
		if a, b := strings.ToLower(p.lastWord()), original.passages[i].lastWord(); a != b {
			differ++
			if !strings.HasSuffix(a, b) {
				t.Errorf("passage %d: last words %q and %q", i, a, b)
			}
		}
		if text := p.context + p.target; plainQuotes.Replace(text) != text {
			touched++
		}
	}
	if differ != 38 {
		t.Errorf("the last words of the two forms differ in %d passages, want 38", differ)
	}
	if touched < 1998 { // those with curly quotes, long dashes or ellipses, and some with odd spaces alone
		t.Errorf("plain quotes touch %d passages, want at least 1998", touched)
	}
	cut := mustRun(t, uniformModel(t, 512, 257), byteTokenizer{}, openai, Options{})
	long := 0
	for _, p := range openai.passages {
		if len(p.context)+len(p.target) > 512 {
			long++
		}
	}
	if cut.Truncated != int64(long) || long == 0 {
		t.Errorf("%d passages cut, want %d", cut.Truncated, long)
	}
}
