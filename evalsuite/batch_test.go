package evalsuite

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// randomSequences has short and long ones, repeated ones, and ones that differ only in what is
// scored.
func randomSequences(n, maxLength int) []sequence {
	rng := rand.New(rand.NewPCG(1, 2))
	var all []sequence
	for range n {
		tokens := make([]int32, 1+rng.IntN(maxLength+5))
		for i := range tokens {
			tokens[i] = int32(rng.IntN(4))
		}
		s := decoders{maxLength: maxLength}.passage(tokens, 1+rng.IntN(3))
		all = append(all, s)
		if rng.IntN(3) == 0 {
			all = append(all, s)
		}
		if rng.IntN(3) == 0 && len(s.tokens) > 2 {
			all = append(all, sequence{tokens: s.tokens, from: len(s.tokens) - 1})
		}
	}
	return all
}

func TestScoresDoNotDependOnBatchingOrOrder(t *testing.T) {
	const maxLength = 40
	sequences := randomSequences(300, maxLength)
	m := hashModel(t, maxLength)
	want := make([]score, len(sequences))
	for i, s := range sequences {
		want[i] = m.direct(s)
	}
	distinct := map[string]bool{}
	for _, s := range sequences {
		if s.from < len(s.tokens) {
			distinct[fmt.Sprint(s.from, s.tokens)] = true
		}
	}
	for _, budget := range []int{1, 7, 64, 1000, 1 << 20} {
		m.calls, m.rows = nil, 0
		got, w, err := scoreAll(context.Background(), m, decoders{maxLength: m.maxLength}, sequences, Options{BatchTokens: budget})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("budget %d: scores differ from those of one sequence at a time", budget)
		}
		if m.rows != len(distinct) || w.distinct != len(distinct) {
			t.Errorf("budget %d: %d sequences run and %d said to be, want each of the %d different ones once",
				budget, m.rows, w.distinct, len(distinct))
		}
		for _, c := range m.calls {
			if c[0] > 1 && c[0]*c[1] > budget {
				t.Errorf("budget %d: batch of %d × %d", budget, c[0], c[1])
			}
		}
		calls := m.calls

		order := rand.New(rand.NewPCG(3, 4)).Perm(len(sequences))
		shuffled := make([]sequence, len(order))
		for i, at := range order {
			shuffled[i] = sequences[at]
		}
		m.calls = nil
		got, _, err = scoreAll(context.Background(), m, decoders{maxLength: m.maxLength}, shuffled, Options{BatchTokens: budget})
		if err != nil {
			t.Fatal(err)
		}
		for i, at := range order {
			if got[i] != want[at] {
				t.Fatalf("budget %d: sequence %d scores %v in another order, %v before", budget, at, got[i], want[at])
			}
		}
		if !slices.Equal(m.calls, calls) {
			t.Errorf("budget %d: other batches in another order", budget)
		}
	}
}

func TestFewShapesAndLittlePadding(t *testing.T) {
	var sequences []sequence
	rng := rand.New(rand.NewPCG(5, 6))
	inputs := 0
	for range 20000 {
		tokens := make([]int32, 2+rng.IntN(8)+rng.IntN(250))
		for i := range tokens {
			tokens[i] = rng.Int32N(2000)
		}
		sequences = append(sequences, sequence{tokens: tokens, from: 1})
		inputs += len(tokens) - 1
	}
	m := uniformModel(t, 512, 2)
	_, w, err := scoreAll(context.Background(), m, decoders{maxLength: m.maxLength}, sequences, Options{})
	if err != nil {
		t.Fatal(err)
	}
	shapes := map[[2]int]bool{}
	for _, c := range m.calls {
		shapes[c] = true
	}
	if waste := float64(w.positions)/float64(inputs) - 1; waste > 0.03 {
		t.Errorf("%.1f %% of padding, want at most 3 %%", 100*waste)
	}
	if len(shapes) > 80 {
		t.Errorf("%d shapes in %d batches, want at most 80", len(shapes), len(m.calls))
	}
	for length := 1; length < 600; length++ {
		if got := batchLength(length, 512); got > 512 || length <= 512 && (got < length || got > length+length/16) {
			t.Errorf("length %d is padded to %d", length, got)
		}
	}
}

func TestDecoderPassage(t *testing.T) {
	tokens := []int32{10, 11, 12, 13, 14}
	for _, test := range []struct {
		from, maxLength int
		first           int32
		wantFrom        int
		cut             bool
	}{
		{1, 9, 10, 1, false},
		{1, 4, 10, 1, false}, // five tokens need four positions
		{1, 3, 11, 1, true},
		{4, 3, 11, 3, true},
		{2, 2, 12, 1, true}, // a target longer than the model loses its first tokens
		{4, 1, 13, 1, true},
	} {
		s := decoders{maxLength: test.maxLength}.passage(tokens, test.from)
		if s.tokens[0] != test.first || s.from != test.wantFrom || s.cut != test.cut || len(s.tokens)-1 > test.maxLength {
			t.Errorf("from %d, %d positions: got %+v, want first token %d, from %d, cut %v",
				test.from, test.maxLength, s, test.first, test.wantFrom, test.cut)
		}
	}
}

func TestModelErrors(t *testing.T) {
	b, err := NewBLiMP(blimpFolder(t))
	if err != nil {
		t.Fatal(err)
	}
	predictions := filepath.Join(t.TempDir(), "predictions.jsonl")
	run := func(ctx context.Context, m *fakeModel) error {
		t.Helper()
		r, err := Run(ctx, m, byteTokenizer{}, b, Options{BatchTokens: 1, Predictions: predictions})
		if err == nil || r != nil {
			t.Fatalf("got %v, %v, want an error alone", r, err)
		}
		if _, statErr := os.Stat(predictions); !errors.Is(statErr, os.ErrNotExist) {
			t.Error("a predictions file was left behind")
		}
		return err
	}

	broken := uniformModel(t, 100, 2)
	broken.after = func(int) error { return errors.New("out of memory") }
	wantError(t, run(context.Background(), broken), "suite blimp", "out of memory")

	ctx, cancel := context.WithCancel(context.Background())
	stopped := uniformModel(t, 100, 2)
	stopped.after = func(call int) error {
		if call == 2 {
			cancel()
		}
		return nil
	}
	if err := run(ctx, stopped); !errors.Is(err, context.Canceled) || len(stopped.calls) != 2 {
		t.Errorf("cancelled in batch 2: got %v after %d batches", err, len(stopped.calls))
	}

	for _, p := range []float64{math.NaN(), 0, math.Inf(1)} {
		diverged := uniformModel(t, 100, 2)
		diverged.prob = func(_, _ int64) float64 { return p }
		wantError(t, run(context.Background(), diverged), "diverged")
	}
	wantError(t, run(context.Background(), uniformModel(t, 0, 2)), "0 positions")

	_, err = Run(context.Background(), uniformModel(t, 9, 2), noStart{}, b, Options{})
	wantError(t, err, "<|endoftext|>")
	_, err = Run(context.Background(), uniformModel(t, 9, 2), byteTokenizer{}, b, Options{Limit: -1})
	wantError(t, err, "limit -1")
	nowhere := filepath.Join(t.TempDir(), "none", "p.jsonl")
	_, err = Run(context.Background(), uniformModel(t, 9, 2), byteTokenizer{}, b, Options{Predictions: nowhere})
	wantError(t, err, "predictions", "none")
}

type noStart struct{ byteTokenizer }

func (noStart) ID(string) (int32, bool) { return 0, false }

func TestProgress(t *testing.T) {
	var seen []int
	m := uniformModel(t, 50, 2)
	_, w, err := scoreAll(context.Background(), m, decoders{maxLength: m.maxLength}, randomSequences(50, 50), Options{BatchTokens: 200, Progress: func(done, total int) {
		if seen = append(seen, done); total == 0 || done > total {
			t.Errorf("%d of %d", done, total)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != len(m.calls) || len(seen) < 2 || !slices.IsSorted(seen) || seen[len(seen)-1] != w.distinct {
		t.Errorf("progress %v in %d batches, want it to rise to %d", seen, len(m.calls), w.distinct)
	}
}

// batchingModel likes batches of another size.
type batchingModel struct {
	*fakeModel
	tokens int
}

func (m batchingModel) BatchTokens() int { return m.tokens }

// TestBatchTokens: batches are as large as the options say, else as the model likes, else the default.
func TestBatchTokens(t *testing.T) {
	for _, c := range []struct{ option, likes, most int }{{0, 0, DefaultBatchTokens}, {0, 4000, 4000}, {300, 4000, 300}} {
		fake := uniformModel(t, 50, 2)
		var m Model = fake
		if c.likes > 0 {
			m = batchingModel{fake, c.likes}
		}
		if _, _, err := scoreAll(context.Background(), m, decoders{maxLength: 50}, randomSequences(2000, 50), Options{BatchTokens: c.option}); err != nil {
			t.Fatal(err)
		}
		largest := 0
		for _, call := range fake.calls {
			largest = max(largest, call[0]*call[1])
		}
		if largest > c.most || largest < c.most*3/4 {
			t.Errorf("option %d, model %d: the largest batch has %d positions, wanted nearly %d", c.option, c.likes, largest, c.most)
		}
	}
}

// TestGPUBatchTokens: a large vocabulary makes batches smaller, down to a CPU's.
func TestGPUBatchTokens(t *testing.T) {
	for vocab, want := range map[int]int{1: 8192, 2048: 8192, 16384: 8192, 50257: 2670, 1 << 20: DefaultBatchTokens} {
		if got := gpuBatchTokens(vocab); got != want {
			t.Errorf("vocabulary %d: %d positions, wanted %d", vocab, got, want)
		}
	}
}

func TestReadLines(t *testing.T) {
	long := write(t, "long.txt", "one\n\n"+strings.Repeat("x", maxLine+1)+"\n")
	wantError(t, readLines(long, func(int, []byte) error { return nil }), "long.txt:3", "longer than 1048576 bytes")
	wantError(t, readLines(write(t, "latin.txt", "a\n\xe9t\xe9\n"), func(int, []byte) error { return nil }), "latin.txt:2", "UTF-8")
	wantError(t, readLines(t.TempDir(), nil), "folder")
	wantError(t, readLines(filepath.Join(t.TempDir(), "gone"), nil), "gone")
	var got []string
	if err := readLines(write(t, "ok.txt", "a \r\n\n  \nb"), func(n int, line []byte) error {
		got = append(got, string(rune('0'+n))+string(line))
		return nil
	}); err != nil || !slices.Equal(got, []string{"1a", "4b"}) {
		t.Errorf("got %q, %v", got, err)
	}
}
