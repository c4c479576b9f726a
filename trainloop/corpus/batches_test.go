package corpus

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"march/trainloop/objective"
)

// counting is a stream of the tokens 0, 1, 2, …, in shards of uneven length: where a token stands
// is what it is.
func counting(n int) *Stream {
	s := &Stream{}
	for at, size := 0, 1; at < n; size = size*3 + 1 {
		size = min(size, n-at)
		part := &shard{width: 4}
		for i := range size {
			part.tokens = binary.LittleEndian.AppendUint32(part.tokens, uint32(at+i))
		}
		s.add(part)
		at += size
	}
	return s
}

// Each window comes exactly once an epoch, whatever the batch, also where epochs end inside one.
func TestCausalEpochs(t *testing.T) {
	for _, c := range []struct{ tokens, batch, seq int }{
		{101, 10, 10}, {100, 3, 7}, {1000, 7, 3}, {50, 1, 1}, {65, 1, 64}, {33, 4, 8}, {999, 10, 16},
	} {
		name := fmt.Sprintf("%d tokens, %d × %d", c.tokens, c.batch, c.seq)
		b, err := NewShuffled(counting(c.tokens), Task{Batch: c.batch, Length: c.seq}, 5)
		if err != nil {
			t.Fatal(err)
		}
		windows := (c.tokens - 1) / c.seq
		if b.Windows() != int64(windows) {
			t.Errorf("%s: %d windows, want %d", name, b.Windows(), windows)
		}
		x := b.Shapes().New()
		tokens, labels := x.Tokens, x.Labels
		const epochs = 3
		seen := make([][]int, epochs) // of each epoch the windows, in order
		for micro := int64(0); len(seen[epochs-1]) < windows; micro++ {
			b.Fill(micro, x)
			for row := range c.batch {
				g := int(micro)*c.batch + row
				if g/windows >= epochs {
					break
				}
				first := int(tokens[row*c.seq])
				for i := range c.seq {
					if tokens[row*c.seq+i] != int64(first+i) || labels[row*c.seq+i] != int64(first+i+1) {
						t.Fatalf("%s: row %d of micro-batch %d is no window", name, row, micro)
					}
				}
				if first%c.seq != 0 {
					t.Fatalf("%s: a window begins at %d", name, first)
				}
				if epoch, window := b.Window(micro, row); epoch != int64(g/windows) || window != int64(first/c.seq) {
					t.Fatalf("%s: Window says %d of epoch %d", name, window, epoch)
				}
				seen[g/windows] = append(seen[g/windows], first/c.seq)
			}
		}
		for epoch, order := range seen {
			sorted := slices.Sorted(slices.Values(order))
			for w := range windows {
				if sorted[w] != w {
					t.Fatalf("%s: epoch %d does not have each window once", name, epoch)
				}
			}
			if windows > 10 && (slices.IsSorted(order) || epoch > 0 && slices.Equal(order, seen[0])) {
				t.Errorf("%s: epoch %d is not shuffled, or not anew", name, epoch)
			}
		}
	}
}

// Some batches, written down: data must not change between versions of march. The figures come
// from a second implementation of the documented formulas, in Python.
func TestCausalGolden(t *testing.T) {
	b, err := NewShuffled(counting(100), Task{Objective: objective.CausalLM, Batch: 3, Length: 4}, 1234)
	if err != nil {
		t.Fatal(err)
	}
	var starts []int64
	x := b.Shapes().New()
	for _, micro := range []int64{0, 1, 7, 8, 1000} {
		b.Fill(micro, x)
		starts = append(starts, x.Tokens[0], x.Tokens[4], x.Tokens[8])
	}
	want := []int64{84, 88, 72, 48, 76, 24, 40, 28, 92, 48, 8, 36, 48, 20, 4}
	if !slices.Equal(starts, want) {
		t.Errorf("windows begin at %d, want %d", starts, want)
	}
	if b.Epoch(8) != 1 || b.Epoch(12) != 1.5 {
		t.Errorf("epochs %g and %g, want 1 and 1.5", b.Epoch(8), b.Epoch(12))
	}
}

func TestCausalErrors(t *testing.T) {
	for _, c := range []struct {
		tokens, batch, seq int
		want               string
	}{
		{0, 1, 1, "0 tokens hold 0 windows"},
		{1, 1, 1, "1 tokens hold 0 windows of 1, fewer than the 1"},
		{100, 4, 25, "100 tokens hold 3 windows of 25, fewer than the 4 of one micro-batch: use a smaller batch or length, or more text"},
		{100, 0, 4, "want at least 1 × 1"},
		{100, 4, -1, "want at least 1 × 1"},
	} {
		if _, err := NewShuffled(counting(c.tokens), Task{Batch: c.batch, Length: c.seq}, 1); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d tokens, %d × %d: %v, want %q", c.tokens, c.batch, c.seq, err, c.want)
		}
	}
	if _, err := NewSequential(counting(1), Task{Batch: 1, Length: 1}); err == nil || !strings.Contains(err.Error(), "want at least 2") {
		t.Errorf("sequential over one token: %v", err)
	}
	if _, err := NewSequential(counting(10), Task{Length: 1}); err == nil {
		t.Error("sequential batches of no rows: no error")
	}
	if _, err := NewShuffled(counting(101), Task{Batch: 4, Length: 25}, 1); err != nil {
		t.Errorf("exactly enough: %v", err)
	}
}

// Every token but the first is a label exactly once.
func TestSequential(t *testing.T) {
	for _, c := range []struct{ tokens, batch, seq int }{{2, 1, 1}, {2, 3, 5}, {100, 4, 8}, {97, 4, 8}, {33, 4, 8}, {34, 4, 8}, {1000, 1, 7}} {
		name := fmt.Sprintf("%d tokens, %d × %d", c.tokens, c.batch, c.seq)
		s, err := NewSequential(counting(c.tokens), Task{Batch: c.batch, Length: c.seq})
		if err != nil {
			t.Fatal(err)
		}
		next, predicted := int64(1), int64(0)
		x := s.Shapes().New()
		tokens, labels := x.Tokens, x.Labels
		for i := range s.Batches() {
			n := s.Fill(i, x)
			predicted += n
			if n == 0 {
				t.Errorf("%s: batch %d is empty", name, i)
			}
			for j, label := range labels {
				if label == IgnoreLabel {
					if tokens[j] != 0 || int64(j) < n {
						t.Fatalf("%s: batch %d ends wrong at %d", name, i, j)
					}
					continue
				}
				if label != next || tokens[j] != next-1 {
					t.Fatalf("%s: batch %d has label %d, want %d", name, i, label, next)
				}
				next++
			}
		}
		if next != int64(c.tokens) || predicted != int64(c.tokens-1) {
			t.Errorf("%s: %d labels, %d counted", name, next-1, predicted)
		}
		if s.Fill(s.Batches(), x) != 0 || labels[0] != IgnoreLabel {
			t.Errorf("%s: a batch behind the end has labels", name)
		}
	}
}

func TestMisusePanicsWithAReason(t *testing.T) {
	b, _ := NewShuffled(counting(100), Task{Batch: 2, Length: 4}, 1)
	eight := make([]int64, 8)
	for name, f := range map[string]func(){
		"negative":     func() { b.Fill(-1, b.Shapes().New()) },
		"short tokens": func() { b.Fill(0, &Batch{Tokens: eight[:7], Labels: eight}) },
		"short labels": func() { b.Fill(0, &Batch{Tokens: eight, Labels: eight[:7]}) },
		"surplus":      func() { b.Fill(0, &Batch{Tokens: eight, Labels: eight, Lengths: eight[:2]}) },
		"read behind":  func() { counting(10).Read(5, make([]int32, 6)) },
		"read before":  func() { counting(10).Read(-1, make([]int32, 1)) },
	} {
		func() {
			defer func() {
				if r := recover(); r == nil || !strings.HasPrefix(fmt.Sprint(r), "corpus: ") {
					t.Errorf("%s: panic %v", name, r)
				}
			}()
			f()
		}()
	}
}

func BenchmarkFill(b *testing.B) {
	tok := miniature(b)
	for _, name := range objective.All() {
		b.Run(name, func(b *testing.B) {
			c, err := NewShuffled(random(1_000_000, 300), Task{Objective: name, Batch: 32, Length: 512, Tokenizer: tok, Vocab: 1024}, 1)
			if err != nil {
				b.Fatal(err)
			}
			x := c.Shapes().New()
			b.SetBytes(32 * 512)
			for i := int64(0); b.Loop(); i++ {
				c.Fill(i, x)
			}
		})
	}
}
