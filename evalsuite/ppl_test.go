package evalsuite

import (
	"bufio"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"march/trainloop/stories"
)

type tokenStream []int32

func (s tokenStream) Len() int64                 { return int64(len(s)) }
func (s tokenStream) Read(at int64, dst []int32) { copy(dst, s[at:]) }

// stream is documents as the training data have them: each begins with the start token.
func stream(tok Tokenizer, documents ...string) tokenStream {
	var s tokenStream
	for _, d := range documents {
		s = append(append(s, 0), tok.Encode(d)...)
	}
	return s
}

func TestPerplexity(t *testing.T) {
	s := stream(byteTokenizer{}, "ab cd", " x\ny")
	// start a b _ c d start _ x \n y: 10 predictions, of which one is the boundary; 9 bytes; words
	// ab, cd, x, y.
	for _, test := range []struct {
		window  int
		lengths []int
	}{
		{0, []int{10}}, {100, []int{10}}, {4, []int{4, 4, 2}}, {3, []int{3, 3, 3, 1}}, {1, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
	} {
		x, err := NewPerplexity(s, PerplexityOptions{Window: test.window})
		if err != nil {
			t.Fatal(err)
		}
		m := hashModel(t, 16)
		predictions := filepath.Join(t.TempDir(), "p.jsonl")
		r := mustRun(t, m, byteTokenizer{}, x, Options{Predictions: predictions, Limit: 1})
		nats := -m.direct(sequence{tokens: s, from: 1}).logprob // a bigram model sees the same before each token whatever the window
		wantScore(t, r, "loss", nats/10)
		wantScore(t, r, "perplexity", math.Exp(nats/10))
		wantScore(t, r, "word_perplexity", math.Exp(nats/4))
		wantScore(t, r, "byte_perplexity", math.Exp(nats/9))
		wantScore(t, r, "bits_per_byte", nats/9/math.Ln2)
		if r.Tokens != 10 || r.Items != int64(len(test.lengths)) || r.Limit != 0 || r.Settings["words"] != "4" || r.Settings["bytes"] != "9" {
			t.Errorf("window %d: %+v", test.window, r)
		}
		f, err := os.Open(predictions)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var lengths []int
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var p Prediction
			if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
				t.Fatal(err)
			}
			lengths = append(lengths, p.Tokens...)
		}
		if !slices.Equal(lengths, test.lengths) {
			t.Errorf("window %d: predictions a window %v, want %v", test.window, lengths, test.lengths)
		}
	}

	x, err := NewPerplexity(s, PerplexityOptions{Window: 3, Tokens: 4})
	if err != nil {
		t.Fatal(err)
	}
	r := mustRun(t, uniformModel(t, 16, 8), byteTokenizer{}, x, Options{})
	wantScore(t, r, "perplexity", 8)
	if r.Tokens != 4 || r.Settings["bytes"] != "4" || r.Settings["words"] != "2" || !slices.Contains(r.Notes, "the first 4 of the stream's 11 tokens") {
		t.Errorf("4 tokens: %+v", r)
	}

	for _, bad := range []struct {
		stream tokenStream
		o      PerplexityOptions
		want   string
	}{{tokenStream{0}, PerplexityOptions{}, "1 tokens"}, {s, PerplexityOptions{Window: -1}, "window"}, {s, PerplexityOptions{Tokens: -1}, "-1 tokens"}} {
		_, err := NewPerplexity(bad.stream, bad.o)
		wantError(t, err, "ppl", bad.want)
	}
}

// Two tokenizers of one text: a uniform guess a byte is 257 a byte, and as good a guess a word
// gives the same bits a byte.
func TestBitsPerByteCompareTokenizers(t *testing.T) {
	text := "aa bb aa bb"
	words := &wordTokenizer{}
	bits := func(tok Tokenizer, m Model) float64 {
		x, err := NewPerplexity(stream(tok, text), PerplexityOptions{})
		if err != nil {
			t.Fatal(err)
		}
		v, _ := mustRun(t, m, tok, x, Options{}).Score("bits_per_byte")
		return v
	}
	byByte := bits(byteTokenizer{}, uniformModel(t, 99, 2))
	byWord := bits(words, uniformModel(t, 99, math.Pow(2, 11./4)))
	if math.Abs(byByte-1) > 1e-6 || math.Abs(byWord-1) > 1e-6 {
		t.Errorf("%v and %v bits a byte, want 1 and 1", byByte, byWord)
	}
}

func TestGrammar(t *testing.T) {
	g, err := newGrammar([]stories.Pair{
		{Good: "a b", Bad: "a c", Field: "morphology", Phenomenon: "agreement", UID: "one"},
		{Good: "a c", Bad: "a b", Field: "syntax", Phenomenon: "islands", UID: "two"},
		{Good: "a c", Bad: "a d", Field: "morphology", Phenomenon: "agreement", UID: "three"},
	}, []stories.Passage{{Text: "a d b"}, {Text: "b c"}})
	if err != nil {
		t.Fatal(err)
	}
	words := &wordTokenizer{}
	r := mustRun(t, orderModel(t, words), words, g, Options{})
	wantScore(t, r, "accuracy", 2./3)
	wantScore(t, r, "cloze_accuracy", 0)
	wantScore(t, r, "cloze_perplexity", math.Pow(2, 1.5))
	if a, ok := r.Group(LevelPhenomenon, "agreement"); !ok || a.Items != 2 || a.Accuracy != 1 || a.Title != "Agreement" {
		t.Errorf("agreement: %+v", a)
	}
	if r.Items != 5 || r.Scores[0].Name != "accuracy" {
		t.Errorf("result %+v", r)
	}
	_, err = newGrammar(nil, []stories.Passage{{Text: "a d b"}, {Text: "b"}})
	wantError(t, err, "passage 1")
}

// The embedded items: whole, and of the kind that the suite says they are.
func TestEmbeddedGrammar(t *testing.T) {
	g, err := NewGrammar()
	if err != nil {
		t.Fatal(err)
	}
	r := mustRun(t, uniformModel(t, 512, 257), byteTokenizer{}, g, Options{BatchTokens: 1 << 15})
	kinds := 0
	for _, x := range r.Groups {
		if x.Level == LevelParadigm {
			kinds++
			if x.Items != 1000 {
				t.Errorf("%s has %d pairs, want 1000", x.Name, x.Items)
			}
		}
	}
	if kinds < 5 || len(g.passages) < 500 || r.Identical != 0 || r.Truncated != 0 {
		t.Errorf("%d kinds of pairs, %d passages, %d pairs of equal sentences, %d cut", kinds, len(g.passages), r.Identical, r.Truncated)
	}
}

func TestSaveTokens(t *testing.T) {
	l, err := NewLAMBADA(write(t, "p.txt", "a b\nabc de\n"), LAMBADAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewBLiMP(blimpFolder(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tokens.jsonl")
	lists, err := SaveTokens(path, byteTokenizer{}, 5, 1, b, l)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "[0, 98, 33, 99, 33, 99]\n[0, 98, 33, 99, 33, 99]\n[0, 98, 33, 99]\n[0, 98, 33, 100]\n[0, 100]\n[0, 101]\n[0, 100]\n[0, 101]\n[0, 98, 33, 99]\n"
	if lists != 9 || string(data) != want {
		t.Errorf("%d lists:\n%s\nwant 9:\n%s", lists, data, want)
	}
	if lists, err = SaveTokens(path, byteTokenizer{}, 5, 0, l); err != nil || lists != 2 {
		t.Errorf("%d lists, %v", lists, err)
	}
	if data, _ = os.ReadFile(path); string(data) != "[0, 98, 33, 99]\n[98, 99, 100, 33, 101, 102]\n" {
		t.Errorf("a list longer than the model: %s", data)
	}
	_, err = SaveTokens(path, noStart{}, 5, 0, l)
	wantError(t, err, "suite lambada", "<|endoftext|>")
}
