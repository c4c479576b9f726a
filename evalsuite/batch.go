package evalsuite

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// sequence is a list of tokens of which those from index `from` (at least 1) to the end are scored.
type sequence struct {
	tokens []int32
	from   int
	cut    bool // it was longer than the model and lost its first tokens
}

// newSequence keeps the last maxLength+1 tokens: maxLength positions read all but the last and
// predict all but the first.
func newSequence(tokens []int32, from, maxLength int) sequence {
	over := len(tokens) - (maxLength + 1)
	if over <= 0 {
		return sequence{tokens: tokens, from: max(from, 1)}
	}
	return sequence{tokens: tokens[over:], from: max(from-over, 1), cut: true}
}

// inputs is the number of positions the sequence needs: its last token is predicted and never read.
func (s sequence) inputs() int { return len(s.tokens) - 1 }

// score is what the model says of a sequence.
type score struct {
	logprob float64 // sum over the scored tokens, nats
	tokens  int     // how many were scored
	top     int     // how many of them were the most likely token at their place
}

func (s score) allTop() bool { return s.top == s.tokens }

// work is the cost of scoring.
type work struct {
	distinct  int // sequences that were run: equal ones run once
	positions int // positions that were run, padding included
	seconds   float64
}

// scoreAll scores the sequences and returns the scores in their order.
//
// Sequences are ordered by length, then by their tokens, equal ones are run once, and batches are
// cut from that order. So the batches, and with them the last bits of the scores, depend on the set
// of sequences alone, not on the order they came in. Going from long to short, each batch is as
// wide as its first sequence and as high as the token budget allows: its shape follows from its
// length, few shapes occur and they recur.
func scoreAll(ctx context.Context, m Model, sequences []sequence, o Options) ([]score, work, error) {
	began := time.Now()
	order := make([]int, 0, len(sequences))
	for i, s := range sequences {
		if s.from < len(s.tokens) {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return compare(sequences[a], sequences[b]) })
	// distinct holds the first of each run of equal sequences, starts where its run begins.
	var distinct, starts []int
	for at, i := range order {
		if at == 0 || compare(sequences[order[at-1]], sequences[i]) != 0 {
			distinct, starts = append(distinct, i), append(starts, at)
		}
	}
	starts = append(starts, len(order))

	scores := make([]score, len(sequences))
	w := work{distinct: len(distinct)}
	buffers := batchBuffers{}
	for at := 0; at < len(distinct); {
		if err := ctx.Err(); err != nil {
			return nil, w, err
		}
		length := batchLength(sequences[distinct[at]].inputs(), m.MaxLength())
		rows := min(max(o.batchTokens()/length, 1), len(distinct)-at)
		buffers.resize(rows * length)
		for row, i := range distinct[at : at+rows] {
			buffers.fill(sequences[i], row*length, length)
		}
		if err := m.Eval(rows, length, buffers.tokens, buffers.labels, buffers.logprob, buffers.top); err != nil {
			return nil, w, err
		}
		for row, i := range distinct[at : at+rows] {
			s, err := buffers.read(sequences[i], row*length)
			if err != nil {
				return nil, w, err
			}
			for _, same := range order[starts[at+row]:starts[at+row+1]] {
				scores[same] = s
			}
		}
		at += rows
		w.positions += rows * length
		if o.Progress != nil {
			o.Progress(at, len(distinct))
		}
	}
	w.seconds = time.Since(began).Seconds()
	return scores, w, nil
}

// compare orders sequences from long to short, then by their tokens, then by what is scored; 0
// means that they are the same work.
func compare(a, b sequence) int {
	if c := cmp.Compare(len(b.tokens), len(a.tokens)); c != 0 {
		return c
	}
	if c := slices.Compare(a.tokens, b.tokens); c != 0 {
		return c
	}
	return cmp.Compare(a.from, b.from)
}

// batchLength rounds the longest sequence of a batch up, so that fewer shapes occur; by at most an
// eighth, since padding is work too.
func batchLength(inputs, maxLength int) int {
	multiple := 1
	for multiple < 16 && multiple*16 <= inputs {
		multiple *= 2
	}
	return min((inputs+multiple-1)/multiple*multiple, maxLength)
}

// batchBuffers are the four arrays [B,S] of one batch, used again for the next.
type batchBuffers struct {
	tokens, labels, top []int64
	logprob             []float32
}

func (b *batchBuffers) resize(n int) {
	b.tokens, b.labels, b.top = resized(b.tokens, n), resized(b.labels, n), resized(b.top, n)
	b.logprob = resized(b.logprob, n)
}

func resized[T any](s []T, n int) []T { return slices.Grow(s[:0], n)[:n] }

// fill writes a sequence into the row that begins at index at.
func (b *batchBuffers) fill(s sequence, at, length int) {
	for t := range length {
		b.tokens[at+t], b.labels[at+t] = 0, Unscored // padding: causal attention never looks at it
		if t < s.inputs() {
			b.tokens[at+t] = int64(s.tokens[t])
			if t+1 >= s.from {
				b.labels[at+t] = int64(s.tokens[t+1])
			}
		}
	}
}

// read sums up the row that begins at index at.
func (b *batchBuffers) read(s sequence, at int) (score, error) {
	var r score
	for i := at + s.from - 1; i < at+s.inputs(); i++ {
		p := float64(b.logprob[i])
		if math.IsNaN(p) || math.IsInf(p, 0) {
			return r, fmt.Errorf("the model gives token %d the log-probability %v: the training diverged, "+
				"and parameters are not finite or far too large", b.labels[i], p)
		}
		r.logprob += p
		r.tokens++
		if b.top[i] == b.labels[i] {
			r.top++
		}
	}
	return r, nil
}
