package evalsuite

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"march/trainloop/corpus"
	"march/trainloop/tokenizer"
)

var (
	_ Tokenizer = (*tokenizer.Tokenizer)(nil)
	_ Stream    = (*corpus.Stream)(nil)
	_ Model     = (*ONNXModel)(nil)
)

func trainTokenizer(t *testing.T, vocab int, texts ...string) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Train(slices.Values(texts), tokenizer.TrainOptions{
		VocabSize: vocab, SpecialTokens: []string{tokenizer.EndOfText, tokenizer.Pad, tokenizer.Mask},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// With byte-level BPE a passage's tokens are those of the whole text: the boundary before the
// target splits no token, also after line breaks and odd spaces.
func TestTargetBoundary(t *testing.T) {
	texts := []string{"one two  three", "kind of\n\nPower", "saw the \n\nrecorder", "said \"army", "a \t b\u00a0c", "it 's n't", "x ... y--z 12 345"}
	var passages []passage
	for _, text := range texts {
		p, err := splitPassage(text)
		if err != nil {
			t.Fatal(err)
		}
		passages = append(passages, p)
	}
	dir := filepath.Join("..", "..", "shared", "data", "lambada")
	for _, name := range []string{"lambada_test.jsonl", "lambada_test_plain_text.txt"} {
		if l, err := NewLAMBADA(filepath.Join(dir, name), LAMBADAOptions{}); err == nil {
			passages = append(passages, l.passages...)
		}
	}
	tok := trainTokenizer(t, 600, strings.Repeat("kind of the salvation army said to the two and the one\n\n", 3), strings.Join(texts, " "))
	for i, s := range planPassages(passages, planner{tokenizer: tok, layout: decoders{maxLength: 1 << 20}}) {
		whole := append([]int32{0}, tok.Encode(passages[i].context+passages[i].target)...)
		if !slices.Equal(s.tokens, whole) {
			t.Errorf("passage %d: tokens %v, of the whole text %v", i, s.tokens, whole)
		}
		if target := tok.Decode(s.tokens[s.from:]); target != passages[i].target {
			t.Errorf("passage %d: target %q, want %q", i, target, passages[i].target)
		}
	}
	t.Logf("%d passages", len(passages))
}

// Perplexity on a real stream: text sizes from the tokens agree with what the text has.
func TestPerplexityOfCorpus(t *testing.T) {
	documents := []string{"One fine day\nthe naïve cat slept.", "Two dogs barked -- “loudly”.\n\nThe end."}
	tok := trainTokenizer(t, 300, documents...)
	var s tokenStream
	words, size := 0, 0
	for _, d := range documents {
		id, _ := tok.ID(tokenizer.EndOfText)
		s = append(append(s, id), tok.Encode(d)...)
		words += len(strings.Fields(d))
		size += len(d)
	}
	x, err := NewPerplexity(s, PerplexityOptions{Window: 8})
	if err != nil {
		t.Fatal(err)
	}
	r := mustRun(t, uniformModel(t, 32, 2), tok, x, Options{})
	predicted := float64(len(s) - 1)
	wantScore(t, r, "perplexity", 2)
	wantScore(t, r, "bits_per_byte", predicted/float64(size))
	if r.Tokens != int64(predicted) || words != 14 {
		t.Errorf("%d tokens, %d words", r.Tokens, words)
	}
	if got := r.Settings["words"]; got != "14" {
		t.Errorf("%s words, want 14", got)
	}
}

// All token lists of the benchmarks as other tools read them.
func TestSaveTokensOfBenchmarks(t *testing.T) {
	b, err := NewBLiMP(sharedData(t, "blimp"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLAMBADA(filepath.Join(sharedData(t, "lambada"), "lambada_test.jsonl"), LAMBADAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tok := trainTokenizer(t, 400, "the cat and the dog who were there", "What had she seen while talking about that?")
	path := filepath.Join(t.TempDir(), "tokens.jsonl")
	lists, err := SaveTokens(path, tok, 128, 0, b, l)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	if lists != 134000+5153 || len(lines) != lists {
		t.Fatalf("%d lists, %d lines, want %d", lists, len(lines), 134000+5153)
	}
	for _, i := range []int{0, 1, 133999, 134000, lists - 1} {
		var ids []int32
		if err := json.Unmarshal(lines[i], &ids); err != nil {
			t.Fatal(err)
		}
		if len(ids) < 2 || len(ids) > 129 {
			t.Errorf("list %d has %d tokens", i, len(ids))
		}
	}
	if first := tok.Decode(decodeIDs(t, lines[0])); first != tokenizer.EndOfText+b.pairs[0].good {
		t.Errorf("the first list is %q, want that of %q", first, b.pairs[0].good)
	}
	if _, err := Run(context.Background(), uniformModel(t, 128, 9), tok, l, Options{}); err != nil {
		t.Error(err)
	}
}

func decodeIDs(t *testing.T, line []byte) (ids []int32) {
	t.Helper()
	if err := json.Unmarshal(line, &ids); err != nil {
		t.Fatal(err)
	}
	return ids
}
