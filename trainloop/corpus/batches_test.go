package corpus

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"march/trainloop/rng"
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
		b, err := NewCausalBatches(counting(c.tokens), c.batch, c.seq, 5)
		if err != nil {
			t.Fatal(err)
		}
		windows := (c.tokens - 1) / c.seq
		if b.Windows() != int64(windows) {
			t.Errorf("%s: %d windows, want %d", name, b.Windows(), windows)
		}
		tokens, labels := make([]int64, c.batch*c.seq), make([]int64, c.batch*c.seq)
		const epochs = 3
		seen := make([][]int, epochs) // of each epoch the windows, in order
		for micro := int64(0); len(seen[epochs-1]) < windows; micro++ {
			b.Fill(micro, tokens, labels)
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

// Batches depend on (seed, number) alone: in any order, from any goroutine, from a fresh value.
func TestCausalIsPure(t *testing.T) {
	const batch, seq, n = 4, 16, 40
	s := counting(1000)
	fill := func(b *CausalBatches, micro int64) []int64 {
		out := make([]int64, 2*batch*seq)
		b.Fill(micro, out[:batch*seq], out[batch*seq:])
		return out
	}
	b, err := NewCausalBatches(s, batch, seq, 9)
	if err != nil {
		t.Fatal(err)
	}
	want := make([][]int64, n)
	for i := range int64(n) {
		want[i] = fill(b, i)
	}
	fresh, _ := NewCausalBatches(counting(1000), batch, seq, 9)
	var wg sync.WaitGroup
	order := rng.NewPermutation(n, 1)
	for i := range uint64(n) {
		wg.Go(func() {
			micro := int64(order.At(i))
			if !slices.Equal(fill(fresh, micro), want[micro]) {
				t.Errorf("micro-batch %d differs when filled out of order", micro)
			}
		})
	}
	wg.Wait()
	other, _ := NewCausalBatches(s, batch, seq, 10)
	if slices.Equal(fill(other, 0), want[0]) {
		t.Error("another seed gives the same batch")
	}
	// Larger micro-batches are smaller ones put together: accumulation does not change the data.
	double, _ := NewCausalBatches(s, 2*batch, seq, 9)
	tokens, labels := make([]int64, 2*batch*seq), make([]int64, 2*batch*seq)
	double.Fill(7, tokens, labels)
	if !slices.Equal(tokens, slices.Concat(want[14][:batch*seq], want[15][:batch*seq])) {
		t.Error("a micro-batch of twice the rows is not two in a row")
	}
}

// Some batches, written down: data must not change between versions of march. The figures come
// from a second implementation of the documented formulas, in Python.
func TestCausalGolden(t *testing.T) {
	b, err := NewCausalBatches(counting(100), 3, 4, 1234)
	if err != nil {
		t.Fatal(err)
	}
	var starts []int64
	tokens, labels := make([]int64, 12), make([]int64, 12)
	for _, micro := range []int64{0, 1, 7, 8, 1000} {
		b.Fill(micro, tokens, labels)
		starts = append(starts, tokens[0], tokens[4], tokens[8])
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
		if _, err := NewCausalBatches(counting(c.tokens), c.batch, c.seq, 1); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d tokens, %d × %d: %v, want %q", c.tokens, c.batch, c.seq, err, c.want)
		}
	}
	if _, err := NewSequential(counting(1), 1, 1); err == nil || !strings.Contains(err.Error(), "want at least 2") {
		t.Errorf("sequential over one token: %v", err)
	}
	if _, err := NewSequential(counting(10), 0, 1); err == nil {
		t.Error("sequential batches of no rows: no error")
	}
	if _, err := NewCausalBatches(counting(101), 4, 25, 1); err != nil {
		t.Errorf("exactly enough: %v", err)
	}
}

// Every token but the first is a label exactly once.
func TestSequential(t *testing.T) {
	for _, c := range []struct{ tokens, batch, seq int }{{2, 1, 1}, {2, 3, 5}, {100, 4, 8}, {97, 4, 8}, {33, 4, 8}, {34, 4, 8}, {1000, 1, 7}} {
		name := fmt.Sprintf("%d tokens, %d × %d", c.tokens, c.batch, c.seq)
		s, err := NewSequential(counting(c.tokens), c.batch, c.seq)
		if err != nil {
			t.Fatal(err)
		}
		next, predicted := int64(1), int64(0)
		tokens, labels := make([]int64, c.batch*c.seq), make([]int64, c.batch*c.seq)
		for i := range s.Batches() {
			n := s.Fill(i, tokens, labels)
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
		if next != int64(c.tokens) || predicted != int64(c.tokens-1) || s.Predicted() != predicted {
			t.Errorf("%s: %d labels, %d counted, Predicted says %d", name, next-1, predicted, s.Predicted())
		}
		if s.Fill(s.Batches(), tokens, labels) != 0 || labels[0] != IgnoreLabel {
			t.Errorf("%s: a batch behind the end has labels", name)
		}
	}
}

func TestMisusePanicsWithAReason(t *testing.T) {
	b, _ := NewCausalBatches(counting(100), 2, 4, 1)
	buf := make([]int64, 8)
	for name, f := range map[string]func(){
		"negative":     func() { b.Fill(-1, buf, buf) },
		"short tokens": func() { b.Fill(0, buf[:7], buf) },
		"short labels": func() { b.Fill(0, buf, buf[:7]) },
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
	c, err := NewCausalBatches(counting(1_000_000), 32, 512, 1)
	if err != nil {
		b.Fatal(err)
	}
	tokens, labels := make([]int64, 32*512), make([]int64, 32*512)
	b.SetBytes(32 * 512)
	for i := int64(0); b.Loop(); i++ {
		c.Fill(i, tokens, labels)
	}
}
