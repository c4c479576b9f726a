package tokenizer

import (
	"cmp"
	"context"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// Bounds of counting words; the documentation of Train states them.
const (
	maxWords     = 2 << 20
	maxWordBytes = 32 << 20
	roundBytes   = 32 << 20
	chunkBytes   = 256 << 10 // what a worker gets at a time
)

// wordCount is a word of the text and how often it occurs.
type wordCount struct {
	word  string
	count int64
}

// counter counts words on all cores. Text is dealt to workers as it comes, so what each has
// counted is a matter of chance and only their sum is used. Between two rounds, whose ends depend
// on the text alone, the sum is cut down if it is too large.
type counter struct {
	maxWords, maxBytes, roundBytes int
	tables                         []*wordTable // one a worker
}

func newCounter(maxWords, maxBytes, roundBytes int) *counter {
	c := &counter{maxWords: maxWords, maxBytes: maxBytes, roundBytes: roundBytes}
	for range runtime.GOMAXPROCS(0) {
		c.tables = append(c.tables, newWordTable())
	}
	return c
}

// count returns the words of all documents in the order of their bytes.
func (c *counter) count(ctx context.Context, docs iter.Seq2[string, error]) ([]wordCount, error) {
	chunks := make(chan []string)
	var workers, busy sync.WaitGroup // busy: chunks given out in this round
	for _, table := range c.tables {
		workers.Go(func() {
			for chunk := range chunks {
				for _, doc := range chunk {
					table.addText(doc)
				}
				busy.Done()
			}
		})
	}
	defer workers.Wait()
	defer close(chunks)

	var chunk []string
	chunkSize, round := 0, 0
	give := func() {
		busy.Add(1)
		chunks <- chunk
		chunk, chunkSize = nil, 0
	}
	for doc, err := range docs {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		chunk = append(chunk, doc)
		chunkSize += len(doc)
		round += len(doc)
		if chunkSize >= chunkBytes || round >= c.roundBytes {
			give()
		}
		if round >= c.roundBytes {
			busy.Wait()
			c.prune()
			round = 0
		}
	}
	give()
	busy.Wait()
	all := c.sum().list()
	slices.SortFunc(all, func(a, b wordCount) int { return cmp.Compare(a.word, b.word) })
	return all, ctx.Err()
}

// sum brings all counts into the first worker's table.
func (c *counter) sum() *wordTable {
	for _, t := range c.tables[1:] {
		for word, i := range t.index {
			c.tables[0].add(word, t.counts[i])
		}
		*t = *newWordTable()
	}
	return c.tables[0]
}

// prune drops the rarest words when there are too many: those seen once, then those seen twice,
// four times, … until half the bound is kept. Every count is dropped or kept as a whole, so the
// result does not depend on order.
func (c *counter) prune() {
	words, size := 0, 0
	for _, t := range c.tables {
		words += len(t.index)
		size += t.bytes
	}
	if words <= c.maxWords && size <= c.maxBytes {
		return // the sum is smaller still
	}
	t := c.sum()
	if len(t.index) <= c.maxWords && t.bytes <= c.maxBytes {
		return
	}
	for rare := int64(1); len(t.index) > c.maxWords/2 || t.bytes > c.maxBytes/2; rare *= 2 {
		kept := newWordTable()
		for word, i := range t.index {
			if t.counts[i] > rare {
				kept.add(word, t.counts[i])
			}
		}
		*t = *kept
	}
}

// wordTable counts words. The counts lie beside the map so that counting a known word is one
// look-up and no store into the map.
type wordTable struct {
	index  map[string]int32
	counts []int64
	bytes  int // of all distinct words
}

func newWordTable() *wordTable { return &wordTable{index: map[string]int32{}} }

// addText counts the words of one text.
func (t *wordTable) addText(text string) {
	for i := 0; i < len(text); {
		end := nextWord(text, i)
		t.add(text[i:end], 1)
		i = end
	}
}

func (t *wordTable) add(word string, n int64) {
	if i, ok := t.index[word]; ok {
		t.counts[i] += n
		return
	}
	// A copy: the table must not keep the document alive.
	t.index[strings.Clone(word)] = int32(len(t.counts))
	t.counts = append(t.counts, n)
	t.bytes += len(word)
}

func (t *wordTable) list() []wordCount {
	all := make([]wordCount, 0, len(t.index))
	for word, i := range t.index {
		all = append(all, wordCount{word, t.counts[i]})
	}
	return all
}
