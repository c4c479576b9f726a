package corpus

import (
	"encoding/binary"
	"slices"
	"testing"
)

// A row's documents are counted at their first tokens; what lies behind a stream's end is of the last.
func TestDocuments(t *testing.T) {
	stream := &Stream{}
	part := &shard{width: 2}
	tokens := []int64{0, 5, 6, 7, 0, 0, 8, 9, 9, 9, 0, 4}
	for _, token := range tokens {
		part.tokens = binary.LittleEndian.AppendUint16(part.tokens, uint16(token))
	}
	stream.add(part)
	c := Task{Batch: 3, Length: 5, Tokenizer: miniature(t), DocumentMask: true}
	b, err := NewSequential(stream, c)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Shapes{Batch: 3, Length: 5, Documents: true}); b.Shapes() != want {
		t.Fatalf("shapes %+v, want %+v", b.Shapes(), want)
	}
	x := b.Shapes().New()
	for i := range x.Documents {
		x.Documents[i] = 77 // of the batch before
	}
	b.Fill(0, x)
	if want := []int64{1, 1, 1, 1, 2 /**/, 1, 1, 1, 1, 1 /**/, 1, 1, 1, 1, 1}; !slices.Equal(x.Documents, want) {
		t.Errorf("documents %d of tokens %d, want %d", x.Documents, x.Tokens, want)
	}
	c.DocumentMask = false
	if b, err = NewSequential(stream, c); err != nil || b.Shapes().New().Documents != nil {
		t.Errorf("without the mask: %+v, %v", b.Shapes(), err)
	}

	// The rest of the batch is what it is without the mask.
	for _, n := range []int64{0, 3} {
		long := random(1000, 300)
		plain, err1 := NewShuffled(long, Task{Batch: 3, Length: 32}, 5)
		with, err2 := NewShuffled(long, Task{Batch: 3, Length: 32, Tokenizer: miniature(t), DocumentMask: true}, 5)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		a, b := plain.Shapes().New(), with.Shapes().New()
		plain.Fill(n, a)
		with.Fill(n, b)
		if !slices.Equal(a.Tokens, b.Tokens) || !slices.Equal(a.Labels, b.Labels) {
			t.Errorf("micro-batch %d has other tokens or labels with a document mask", n)
		}
		for i := range b.Documents {
			begins, first := b.Tokens[i] == 0, i%32 == 0
			if step := b.Documents[i] - map[bool]int64{false: b.Documents[max(i-1, 0)]}[first]; step != map[bool]int64{true: 1}[begins] {
				t.Fatalf("token %d of micro-batch %d: its document's number grows by %d", i, n, step)
			}
		}
	}
}
