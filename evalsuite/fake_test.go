package evalsuite

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// specialID numbers the special tokens of both fake tokenizers.
func specialID(token string) (int32, bool) {
	id, ok := map[string]int32{"<|endoftext|>": 0, "<|mask|>": maskID}[token]
	return id, ok
}

const maskID = 1000

// byteTokenizer has one token a byte and the start token 0.
type byteTokenizer struct{}

func (byteTokenizer) Encode(text string) []int32 {
	ids := make([]int32, len(text))
	for i := range len(text) {
		ids[i] = int32(text[i]) + 1
	}
	return ids
}

func (byteTokenizer) Decode(ids []int32) string {
	text := make([]byte, len(ids))
	for i, id := range ids {
		text[i] = byte(id - 1)
	}
	return string(text)
}

func (byteTokenizer) ID(token string) (int32, bool) { return specialID(token) }

// wordTokenizer numbers words in the order of their first occurrence; a word's token includes the
// white space before it, as in byte-level BPE.
type wordTokenizer struct{ words []string }

func (w *wordTokenizer) Encode(text string) []int32 {
	var ids []int32
	for text != "" {
		end := len(text) - len(strings.TrimLeft(text, " \n"))
		if at := strings.IndexAny(text[end:], " \n"); at >= 0 {
			end += at
		} else {
			end = len(text)
		}
		ids = append(ids, w.number(text[:end]))
		text = text[end:]
	}
	return ids
}

func (w *wordTokenizer) number(word string) int32 {
	for i, known := range w.words {
		if known == word {
			return int32(i + 1)
		}
	}
	w.words = append(w.words, word)
	return int32(len(w.words))
}

func (w *wordTokenizer) Decode(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(w.words[id-1])
	}
	return b.String()
}

func (w *wordTokenizer) ID(token string) (int32, bool) { return specialID(token) }

// fakeModel is a bigram model: prob gives p(next | previous), best the most likely next token. It
// checks what it is called with and remembers the shapes.
type fakeModel struct {
	t         *testing.T
	maxLength int
	prob      func(previous, next int64) float64
	best      func(previous int64) int64
	calls     [][2]int // batch, length
	rows      int
	after     func(call int) error
}

func (m *fakeModel) MaxLength() int { return m.maxLength }

func (m *fakeModel) Architecture() Architecture { return Decoder }

func (m *fakeModel) Eval(b *Batch) error {
	batch, length := b.Rows, b.Length
	tokens, labels, logprob, top := b.Tokens, b.Labels, b.LogProb, b.Top
	n := batch * length
	if len(tokens) != n || len(labels) != n || len(logprob) != n || len(top) != n || len(b.Documents) != n || b.Lengths != nil || b.DecoderTokens != nil || b.DecoderLength != 0 {
		m.t.Errorf("batch %d × %d: slices of %d, %d, %d, %d elements, or arrays of other architectures", batch, length, len(tokens), len(labels), len(logprob), len(top))
	}
	if length > m.maxLength {
		m.t.Errorf("length %d: the model has %d positions", length, m.maxLength)
	}
	for i := range n {
		if labels[i] == Unscored {
			logprob[i], top[i] = float32(math.NaN()), -7 // must not be read
			continue
		}
		logprob[i] = float32(math.Log(m.prob(tokens[i], labels[i])))
		top[i] = m.best(tokens[i])
	}
	m.calls = append(m.calls, [2]int{batch, length})
	m.rows += batch
	if m.after != nil {
		return m.after(len(m.calls))
	}
	return nil
}

// uniformModel gives each of n tokens the probability 1/n.
func uniformModel(t *testing.T, maxLength int, n float64) *fakeModel {
	return &fakeModel{t: t, maxLength: maxLength, prob: func(_, _ int64) float64 { return 1 / n }, best: func(int64) int64 { return 1 }}
}

// hashModel gives pseudo-random probabilities that depend on both tokens.
func hashModel(t *testing.T, maxLength int) *fakeModel {
	hash := func(a, b int64) float64 {
		h := fnv.New32a()
		fmt.Fprint(h, a, " ", b)
		return (float64(h.Sum32()) + 1) / (1 << 33)
	}
	return &fakeModel{t: t, maxLength: maxLength, prob: hash, best: func(previous int64) int64 { return (previous*7 + 3) % 257 }}
}

// direct is the score of a sequence by the definition, one token after the other.
func (m *fakeModel) direct(s sequence) score {
	var r score
	for i := s.from; i < len(s.tokens); i++ {
		previous, next := int64(s.tokens[i-1]), int64(s.tokens[i])
		r.logprob += float64(float32(math.Log(m.prob(previous, next))))
		r.tokens++
		if m.best(previous) == next {
			r.top++
		}
	}
	return r
}

func mustRun(t *testing.T, m Model, tok Tokenizer, s Suite, o Options) *Result {
	t.Helper()
	r, err := Run(context.Background(), m, tok, s, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantScore(t *testing.T, r *Result, name string, want float64) {
	t.Helper()
	got, ok := r.Score(name)
	if !ok || math.Abs(got-want) > 1e-6*math.Max(1, math.Abs(want)) {
		t.Errorf("%s: %s = %v (found %v), want %v", r.Suite, name, got, ok, want)
	}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q: want it to say %q", err, part)
		}
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// sharedData is a folder of the benchmarks' real files beside the repository; the test is skipped
// where it is missing.
func sharedData(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join("..", "..", "shared", "data", name)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		t.Skipf("no %s: the real benchmark files are not beside this repository", path)
	}
	return path
}
