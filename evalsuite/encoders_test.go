package evalsuite

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"march/trainloop/stories"
)

func testEncoders(maxLength int) encoders {
	return encoders{maxLength: maxLength, start: 0, mask: maskID}
}

// randomSentences are token lists of letters and spaces behind a start token, some of them twice.
func randomSentences(n, longest int) (all [][]int32) {
	rng := rand.New(rand.NewPCG(11, 12))
	for range n {
		text := ""
		for range rng.IntN(longest) {
			text += string("ab ."[rng.IntN(4)])
		}
		all = append(all, ids(text))
		if rng.IntN(4) == 0 {
			all = append(all, ids(text))
		}
	}
	return all
}

// Batches against the definition, in both forms, for every size of batch and another order.
func TestPseudoLogLikelihood(t *testing.T) {
	const maxLength = 24
	sentences := randomSentences(120, 30)
	for _, within := range []bool{false, true} {
		e := testEncoders(maxLength)
		if within {
			e.words = newWordStarts(byteTokenizer{})
		}
		m := &contextModel{t: t, arch: Encoder, maxLength: maxLength}
		var sequences []sequence
		var want []score
		rows, distinct := 0, map[string]bool{}
		for _, tokens := range sentences {
			s, _ := e.pair(tokens, tokens)
			sequences = append(sequences, s)
			var sum score
			for i := s.from; i < len(s.tokens); i++ {
				masks := []int{i}
				for j := i + 1; within && j < len(s.tokens) && sameWord(s.tokens[j-1], s.tokens[j]); j++ {
					masks = append(masks, j)
				}
				sum.add(m.masked(s.tokens, i, masks...))
			}
			want = append(want, sum)
			// The same tokens as a passage: all masked at once, other work in the same batches.
			var together score
			passage, masks := e.passage(tokens, 1), []int{}
			for i := passage.from; i < len(passage.tokens); i++ {
				masks = append(masks, i)
			}
			for _, i := range masks {
				together.add(m.masked(passage.tokens, i, masks...))
			}
			sequences, want = append(sequences, passage), append(want, together)
			if key := fmt.Sprint(s.tokens); sum.tokens > 0 && !distinct[key] {
				distinct[key] = true
				rows += sum.tokens + 1
			}
		}
		for _, budget := range []int{1, 30, 100, 1 << 20} {
			m.rows, m.shapes = nil, nil
			got, w, err := scoreAll(context.Background(), m, e, sequences, Options{BatchTokens: budget})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("within words %v, budget %d: scores differ from those of one token at a time", within, budget)
			}
			if len(m.rows) != rows || w.distinct != 2*len(distinct) {
				t.Errorf("budget %d: %d rows of %d sequences, want %d of %d", budget, len(m.rows), w.distinct, rows, 2*len(distinct))
			}
			for _, s := range m.shapes {
				if s[0] > 1 && s[0]*s[1] > budget {
					t.Errorf("budget %d: batch of %d × %d", budget, s[0], s[1])
				}
			}
			before, shapes := m.rows, m.shapes
			m.rows, m.shapes = nil, nil
			order := rand.New(rand.NewPCG(3, 4)).Perm(len(sequences))
			shuffled := make([]sequence, len(order))
			for i, at := range order {
				shuffled[i] = sequences[at]
			}
			got, _, err = scoreAll(context.Background(), m, e, shuffled, Options{BatchTokens: budget})
			if err != nil {
				t.Fatal(err)
			}
			for i, at := range order {
				if got[i] != want[at] {
					t.Fatalf("sequence %d scores %v in another order, want %v", at, got[i], want[at])
				}
			}
			if !slices.Equal(m.rows, before) || !slices.Equal(m.shapes, shapes) {
				t.Errorf("budget %d: other batches in another order", budget)
			}
		}
	}
}

// sameWord is the rule of words for the characters of randomSentences.
func sameWord(previous, next int32) bool {
	switch next - 1 {
	case ' ':
		return false
	case '.':
		return previous-1 == '.' || previous-1 == ' '
	}
	return previous-1 != '.'
}

// The rows of a sentence and of a passage, by hand.
func TestEncoderRows(t *testing.T) {
	e := testEncoders(50)
	within := e
	within.words = newWordStarts(byteTokenizer{})
	sentence := func(e encoders, text string) sequence { s, _ := e.pair(ids(text), ids(text)); return s }
	for _, test := range []struct {
		name string
		e    encoders
		s    sequence
		want []string // # is a mask, upper case what is asked for
	}{
		{"plain", e, sentence(e, "ab c."), []string{"^Ab c.", "^aB c.", "^ab_c.", "^ab C.", "^ab c!"}},
		{"within words", within, sentence(within, "ab c."), []string{"^A# c.", "^aB c.", "^ab_#.", "^ab C.", "^ab c!"}},
		{"cut", testEncoders(3), sentence(testEncoders(3), "abcd"), []string{"Bcd", "bCd", "bcD"}},
		{"as long as the model", testEncoders(5), sentence(testEncoders(5), "abcd"), []string{"^Abcd", "^aBcd", "^abCd", "^abcD"}},
		{"passage", e, e.passage(ids("ab cd"), 3), []string{"^ab_CD"}},
		{"long target", testEncoders(2), testEncoders(2).passage(ids("abcd"), 2), []string{"CD"}},
		{"picked", e, sequence{tokens: ids("abc"), picked: []int32{1, 3}}, []string{"^AbC"}},
	} {
		m := &contextModel{t: t, arch: Encoder, maxLength: 50}
		if _, _, err := scoreAll(context.Background(), m, test.e, []sequence{test.s}, Options{}); err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, picture := range test.want {
			var tokens, labels []int64
			for _, c := range picture {
				id, label := int64(c)+1, int64(Unscored)
				switch {
				case c == '^':
					id = 0
				case c == '#':
					id = maskID
				case strings.ContainsRune("_!ABCD", c):
					id, label = maskID, int64(strings.ToLower(strings.NewReplacer("_", " ", "!", ".").Replace(string(c)))[0])+1
				}
				tokens, labels = append(tokens, id), append(labels, label)
			}
			want = append(want, fmt.Sprint(tokens, labels))
		}
		if !slices.Equal(m.rows, want) {
			t.Errorf("%s: rows\n%s\nwant\n%s", test.name, strings.Join(m.rows, "\n"), strings.Join(want, "\n"))
		}
	}
}

// Rows are made a batch at a time: scoring costs memory for the sequences and for one batch, not
// for a row each token.
func TestRowsAreNotKept(t *testing.T) {
	const n, length = 1000, 80
	e := testEncoders(length + 1)
	var sequences []sequence
	for i := range n {
		tokens := make([]int32, length+1)
		for j := range tokens {
			tokens[j] = int32(i + j)
		}
		s, _ := e.pair(tokens, tokens)
		sequences = append(sequences, s)
	}
	m := &constantModel{maxLength: length + 1}
	var before, after goruntime.MemStats
	goruntime.ReadMemStats(&before)
	if _, w, err := scoreAll(context.Background(), m, e, sequences, Options{}); err != nil || w.positions < n*length*length {
		t.Fatal(w, err)
	}
	goruntime.ReadMemStats(&after)
	// All rows would be 1000 · 80 · 81 positions of 28 bytes: 181 MB.
	if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(1<<20); got > limit {
		t.Errorf("%d bytes allocated for %d rows, want at most %d", got, n*length, limit)
	}
	if want := n * length; m.rows != want {
		t.Errorf("%d rows, want %d", m.rows, want)
	}
}

// constantModel is an encoder that allocates nothing.
type constantModel struct{ maxLength, rows int }

func (m *constantModel) Architecture() Architecture { return Encoder }
func (m *constantModel) MaxLength() int             { return m.maxLength }
func (m *constantModel) Eval(b *Batch) error {
	m.rows += b.Rows
	clear(b.LogProb)
	clear(b.Top)
	return nil
}

func TestEncoderPairs(t *testing.T) {
	b, err := NewBLiMP(blimpFolder(t))
	if err != nil {
		t.Fatal(err)
	}
	m := &contextModel{t: t, arch: Encoder, maxLength: 100}
	words := &wordTokenizer{}
	right := 0
	for _, x := range b.pairs {
		var sums [2]float64
		for i, text := range []string{x.good, x.bad} {
			tokens := append([]int32{0}, words.Encode(text)...)
			for at := 1; at < len(tokens); at++ {
				sums[i] += m.masked(tokens, at, at).logprob
			}
		}
		if sums[0] > sums[1] {
			right++
		}
	}
	r := mustRun(t, m, words, b, Options{})
	wantScore(t, r, "accuracy", float64(right)/7)
	if r.Items != 7 || r.Ties != 1 || r.Identical != 1 || r.Truncated != 0 || r.Sequences != 14 || r.Distinct != 9 {
		t.Errorf("counts: %+v", r)
	}
	if got := r.Settings["sentence score"]; got != "pseudo-log-likelihood, each token masked alone" {
		t.Errorf("sentence score: %q", got)
	}
	r = mustRun(t, m, words, b, Options{WithinWord: true})
	wantScore(t, r, "accuracy", float64(right)/7) // every word is one token
	if got := r.Settings["sentence score"]; got != "pseudo-log-likelihood, each token masked with the later ones of its word" {
		t.Errorf("sentence score: %q", got)
	}

	m.uniform = 0.25
	r = mustRun(t, m, words, b, Options{})
	wantScore(t, r, "accuracy", 1./7) // one pair differs in length, and the shorter sentence is the good one
	if r.Ties != 6 || r.Identical != 1 {
		t.Errorf("%d ties, %d of the same tokens, want 6 and 1", r.Ties, r.Identical)
	}

	m.maxLength = 3 // sentences of three and four words lose the start token, and their first word
	r = mustRun(t, m, words, b, Options{})
	if r.Truncated != 2 || !slices.Contains(r.Notes, "2 of 7 items are longer than the model and keep their last 3 tokens") {
		t.Errorf("%d items cut, notes %q", r.Truncated, r.Notes)
	}
	if a, _ := r.Group(LevelParadigm, "anaphor_number_agreement"); a.Correct != 0 || a.Ties != 3 {
		t.Errorf("cut sentences of three tokens each: %+v", a)
	}
	if r = mustRun(t, m, words, b, Options{Limit: 1}); r.Items != 4 {
		t.Errorf("limit 1: %d items", r.Items)
	}
}

func TestEncoderPassages(t *testing.T) {
	g, err := newGrammar(nil, []stories.Passage{{Text: "ab cd"}, {Text: "x yz w"}})
	if err != nil {
		t.Fatal(err)
	}
	m := &contextModel{t: t, arch: Encoder, maxLength: 100}
	first, second := ids("ab cd"), ids("x yz w")
	var a, b score
	for at := 3; at < 6; at++ {
		a.add(m.masked(first, at, 3, 4, 5))
	}
	for at := 5; at < 7; at++ {
		b.add(m.masked(second, at, 5, 6))
	}
	r := mustRun(t, m, byteTokenizer{}, g, Options{})
	wantScore(t, r, "cloze_perplexity", math.Exp(-(a.logprob+b.logprob)/2))
	wantScore(t, r, "cloze_accuracy", 0)
	if len(m.rows) != 2 || r.Tokens != 5 || r.Settings["passage score"] != "all tokens of the last word masked at once" ||
		!slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "do not compare") }) {
		t.Errorf("%d rows, result %+v", len(m.rows), r)
	}

	// Right if every masked token is the most likely one.
	all, most := []int32{0, 7, 0, 0}, []int32{0, 7, 0, 0}
	for i := 2; i < 4; i++ {
		_, top := m.say([]int64{0, 7, maskID, maskID, int64(i)}, 0)
		all[i], most[i] = int32(top), int32(top)
	}
	most[3] = (most[3] + 1) % 5
	scores, _, err := scoreAll(context.Background(), m, testEncoders(9), []sequence{{tokens: all, from: 2}, {tokens: most, from: 2}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !scores[0].allTop() || scores[1].allTop() || scores[1].top != 1 {
		t.Errorf("scores %+v", scores)
	}
}

func TestEncoderPerplexity(t *testing.T) {
	s := stream(byteTokenizer{}, strings.Repeat("ab cd ", 30), " x\ny", strings.Repeat("z", 40))
	e := testEncoders(16)
	scored := len(s) - 3
	all := map[int]int{} // place in the stream: pass
	for _, window := range []int{16, 10, 1} {
		w := e.windows(s, window, 0)
		seen := map[int]int{}
		for i, x := range w.sequences {
			if i > 0 && w.window[i] < w.window[i-1] {
				t.Fatal("windows out of order")
			}
			for _, at := range x.picked {
				seen[w.window[i]*window+int(at)]++
				if x.tokens[at] == 0 {
					t.Error("a start token is masked")
				}
			}
		}
		if len(seen) != scored {
			t.Errorf("window %d: %d places masked, want %d", window, len(seen), scored)
		}
		for at, n := range seen {
			if n != 1 {
				t.Errorf("window %d: place %d is masked %d times", window, at, n)
			}
		}
	}
	for pass := range maskPasses { // the passes are the same whatever the window
		for _, x := range e.windows(s, len(s), pass+1).sequences {
			for _, at := range x.picked {
				if _, ok := all[int(at)]; !ok {
					all[int(at)] = pass
				}
			}
		}
	}
	if len(all) != scored {
		t.Errorf("%d places in %d passes, want %d", len(all), maskPasses, scored)
	}

	x, err := NewPerplexity(s, PerplexityOptions{Window: 10})
	if err != nil {
		t.Fatal(err)
	}
	m := &contextModel{t: t, arch: Encoder, maxLength: 16}
	r := mustRun(t, m, byteTokenizer{}, x, Options{Limit: 1})
	nats := 0.0
	for at := range s {
		if s[at] == 0 {
			continue
		}
		from := at / 10 * 10
		cut := s[from:min(from+10, len(s))]
		var masks []int
		for i := range cut {
			if pass, ok := all[from+i]; ok && pass == all[at] {
				masks = append(masks, i)
			}
		}
		nats -= m.masked(cut, at-from, masks...).logprob
	}
	wantScore(t, r, "loss", nats/float64(scored))
	wantScore(t, r, "perplexity", math.Exp(nats/float64(scored)))
	if r.Tokens != int64(scored) || r.Items != int64((len(s)+9)/10) || r.Limit != 0 || len(r.Scores) != 2 ||
		r.Settings["scored"] != "masked tokens, each in one of 7 passes (seed 0)" || r.Settings["words"] != "" ||
		!slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "does not compare") }) {
		t.Errorf("result %+v", r)
	}

	one, err := NewPerplexity(s, PerplexityOptions{MaskPasses: 1, Tokens: 200})
	if err != nil {
		t.Fatal(err)
	}
	r = mustRun(t, m, byteTokenizer{}, one, Options{})
	count := 0
	for at, pass := range all {
		if pass == 0 && at < 200 {
			count++
		}
	}
	if r.Tokens != int64(count) || count < 15 || count > 45 || r.Settings["scored"] != "masked tokens, each in one of 7 passes (seed 0), 1 of the passes run" ||
		!slices.Contains(r.Notes, fmt.Sprintf("the first 200 of the stream's %d tokens", len(s))) {
		t.Errorf("one pass over 200 tokens scores %d, want %d: %+v", r.Tokens, count, r)
	}
	_, err = NewPerplexity(s, PerplexityOptions{MaskPasses: 8})
	wantError(t, err, "8 passes", "1 to 7")
	empty, err := NewPerplexity(tokenStream{0, 0, 0}, PerplexityOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(context.Background(), m, byteTokenizer{}, empty, Options{})
	wantError(t, err, "suite ppl", "no token")
}

func TestEncoderErrors(t *testing.T) {
	b, err := NewBLiMP(blimpFolder(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(context.Background(), &contextModel{t: t, arch: Encoder, maxLength: 9}, noMask{}, b, Options{})
	wantError(t, err, "suite blimp", "<|mask|>")
	_, err = Run(context.Background(), &contextModel{t: t, arch: EncoderDecoder, maxLength: 9}, noMask{}, b, Options{})
	if err != nil {
		t.Errorf("an encoder-decoder needs no mask: %v", err)
	}
	_, err = Run(context.Background(), &contextModel{t: t, arch: "perceptron", maxLength: 9}, byteTokenizer{}, b, Options{})
	wantError(t, err, `"perceptron"`, "encoder-decoder")
	_, err = Run(context.Background(), &contextModel{t: t, arch: Encoder, maxLength: 99, uniform: math.Inf(1)}, byteTokenizer{}, b, Options{})
	wantError(t, err, "diverged")
}

type noMask struct{ byteTokenizer }

func (noMask) ID(token string) (int32, bool) { return 0, token == "<|endoftext|>" }
