package evalsuite

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"march/trainloop/stories"
)

// decoded spells a sequence as source|target; ^ is the start token.
func decoded(s sequence) string {
	spell := func(tokens []int32) string {
		return strings.ReplaceAll(byteTokenizer{}.Decode(tokens), "\xff", "^")
	}
	return spell(s.tokens[:s.from]) + "|" + spell(s.tokens[s.from:])
}

func TestEncoderDecoderSides(t *testing.T) {
	long := encoderDecoders{maxLength: 50}
	for _, test := range []struct {
		e         encoderDecoders
		good, bad string
		want      [2]string
		cut       bool
	}{
		{long, "the cat", "the dog", [2]string{"^the |cat", "^the |dog"}, false},
		{long, "cat", "dog", [2]string{"^|cat", "^|dog"}, false},
		{long, "ab", "abb", [2]string{"^a|b", "^a|bb"}, false}, // each keeps a token to score
		{long, "abb", "ab", [2]string{"^a|bb", "^a|b"}, false},
		{long, "ab", "ab", [2]string{"^a|b", "^a|b"}, false},
		{long, "", "a", [2]string{"^|", "^|a"}, false},
		{encoderDecoders{maxLength: 3}, "abcd", "abxy", [2]string{"^ab|cd", "^ab|xy"}, false},
		{encoderDecoders{maxLength: 3}, "abcde", "abcxy", [2]string{"abc|de", "abc|xy"}, true},
		{encoderDecoders{maxLength: 2}, "abc", "xyz", [2]string{"^a|bc", "^x|yz"}, true}, // the decoder's first goes to the encoder
		{encoderDecoders{maxLength: 2}, "abcdef", "x", [2]string{"cd|ef", "^|x"}, true},
	} {
		good, bad := test.e.pair(ids(test.good), ids(test.bad))
		if got := [2]string{decoded(good), decoded(bad)}; got != test.want || (good.cut || bad.cut) != test.cut {
			t.Errorf("%q, %q, %d positions: %q, cut %v and %v; want %q, %v", test.good, test.bad, test.e.maxLength, got, good.cut, bad.cut, test.want, test.cut)
		}
	}
	for window, want := range map[int][]string{
		4: {"^a|bc", "de|f^", "g|hi"}, 3: {"^|ab", "c|de", "f|^g", "h|i"}, 5: {"^a|bcd", "ef|^gh"}, 50: {"^abcd|ef^ghi"}, 1: {"^|a", "b|c", "d|e", "f|^", "g|h"},
	} {
		w := long.windows(stream(byteTokenizer{}, "abcdef", "ghi"), window, 0)
		var got []string
		for i, s := range w.sequences {
			got = append(got, decoded(s))
			if w.window[i] != i {
				t.Errorf("window %d has the number %d", i, w.window[i])
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("windows of %d: %q, want %q", window, got, want)
		}
	}
}

// Batches against the definition, for every size of batch and another order.
func TestEncoderDecoderScores(t *testing.T) {
	e := encoderDecoders{maxLength: 20}
	m := &contextModel{t: t, arch: EncoderDecoder, maxLength: 20}
	rng := rand.New(rand.NewPCG(21, 22))
	var sequences []sequence
	var want []score
	for _, tokens := range randomSentences(200, 40) {
		s := e.passage(tokens, 1+rng.IntN(len(tokens)))
		if rng.IntN(4) == 0 {
			s = e.passage(tokens[:1:1], 1) // nothing to score
		}
		sequences = append(sequences, s)
		want = append(want, m.continued(s.tokens[:s.from], s.tokens[s.from:]))
	}
	for _, budget := range []int{1, 50, 300, 1 << 20} {
		m.rows, m.shapes, m.positions = nil, nil, 0
		got, w, err := scoreAll(context.Background(), m, e, sequences, Options{BatchTokens: budget})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("budget %d: scores differ from those of one sequence at a time", budget)
		}
		if len(m.rows) != w.distinct || m.positions != w.positions {
			t.Errorf("budget %d: %d rows, %d positions; said to be %d, %d", budget, len(m.rows), m.positions, w.distinct, w.positions)
		}
		for _, s := range m.shapes {
			if s[0] > 1 && s[0]*(s[1]+s[2]) > budget {
				t.Errorf("budget %d: batch of %d × (%d + %d)", budget, s[0], s[1], s[2])
			}
		}
		rows := m.rows
		m.rows = nil
		order := rng.Perm(len(sequences))
		shuffled := make([]sequence, len(order))
		for i, at := range order {
			shuffled[i] = sequences[at]
		}
		if got, _, err = scoreAll(context.Background(), m, e, shuffled, Options{BatchTokens: budget}); err != nil {
			t.Fatal(err)
		}
		for i, at := range order {
			if got[i] != want[at] {
				t.Fatalf("sequence %d scores %v in another order, want %v", at, got[i], want[at])
			}
		}
		if !slices.Equal(m.rows, rows) {
			t.Errorf("budget %d: other rows in another order", budget)
		}
	}
	if len(slices.Compact(slices.Sorted(slices.Values(m.rows)))) != len(m.rows) {
		t.Error("equal rows were run twice")
	}
}

func TestEncoderDecoderSuites(t *testing.T) {
	m := &contextModel{t: t, arch: EncoderDecoder, maxLength: 100}
	tok := byteTokenizer{}
	g, err := newGrammar([]stories.Pair{{Good: "the cat is", Bad: "the cats is", UID: "one"}, {Good: "a", Bad: "a", UID: "one"}},
		[]stories.Passage{{Text: "ab cd"}, {Text: "x yz w"}})
	if err != nil {
		t.Fatal(err)
	}
	r := mustRun(t, m, tok, g, Options{})
	after := func(source, target string) score { return m.continued(ids(source), tok.Encode(target)) }
	right := 0.
	if after("the cat", " is").logprob > after("the cat", "s is").logprob {
		right = 1
	}
	wantScore(t, r, "accuracy", right/2)
	wantScore(t, r, "cloze_perplexity", math.Exp(-(after("ab", " cd").logprob+after("x yz", " w").logprob)/2))
	if r.Ties != 1 || r.Identical != 1 || r.Settings["sentence score"] == "" || r.Settings["passage score"] != "the last word in the decoder, all before it in the encoder" {
		t.Errorf("result %+v", r)
	}

	s := stream(tok, "ab cd", " x\ny") // ^ab cd^ x\ny
	x, err := NewPerplexity(s, PerplexityOptions{Window: 4})
	if err != nil {
		t.Fatal(err)
	}
	r = mustRun(t, m, tok, x, Options{})
	nats := 0.
	for _, w := range [][2][]int32{{s[0:2], s[2:4]}, {s[4:6], s[6:8]}, {s[8:9], s[9:11]}} {
		nats -= m.continued(w[0], w[1]).logprob
	}
	wantScore(t, r, "loss", nats/6)
	wantScore(t, r, "perplexity", math.Exp(nats/6))
	if r.Tokens != 6 || r.Items != 3 || len(r.Scores) != 2 || r.Settings["scored"] != "the second half of each window in the decoder, the first in the encoder" ||
		!slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "does not compare") }) {
		t.Errorf("result %+v", r)
	}

	rows := []Row{{s[2:4], s[5:8]}, {s[0:1], s[1:2]}, {s[2:4], s[5:8]}}
	if x, err = NewPerplexity(s, PerplexityOptions{Rows: rows, RowsOf: "riddles"}); err != nil {
		t.Fatal(err)
	}
	r = mustRun(t, m, tok, x, Options{})
	nats = 0
	for _, row := range rows {
		nats -= m.continued(row.Source, row.Target).logprob
	}
	wantScore(t, r, "loss", nats/7)
	if _, windows := r.Settings["window"]; r.Tokens != 7 || r.Items != 3 || r.Distinct != 2 || windows || r.Settings["scored"] != "rows of riddles" {
		t.Errorf("result %+v", r)
	}
	for _, bad := range []Row{{s[:0], s[1:2]}, {s[:1], nil}, {s[:1], make([]int32, m.maxLength+1)}} {
		x, err := NewPerplexity(s, PerplexityOptions{Rows: []Row{rows[0], bad}, RowsOf: "riddles"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), m, tok, x, Options{}); err == nil || !strings.Contains(err.Error(), "row 1 of riddles has") {
			t.Errorf("%d and %d tokens: error %v", len(bad.Source), len(bad.Target), err)
		}
	}

	m.maxLength = 3
	r = mustRun(t, m, tok, g, Options{})
	if !slices.Contains(r.Notes, "2 of 4 items are longer than the model and keep their last 3 tokens on each side") {
		t.Errorf("%d cut, notes %q", r.Truncated, r.Notes)
	}
}
