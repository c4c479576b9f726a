package evalsuite

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// score is what the model says of a sequence.
type score struct {
	logprob float64 // sum over the scored tokens, nats
	tokens  int     // how many were scored
	top     int     // how many of them were the most likely token at their place
}

func (s score) allTop() bool { return s.top == s.tokens }

func (s *score) add(o score) {
	s.logprob += o.logprob
	s.tokens += o.tokens
	s.top += o.top
}

// work is the cost of scoring.
type work struct {
	distinct  int // sequences that were run: equal ones run once
	positions int // positions that were run, padding included
	seconds   float64
}

// scoreAll scores the sequences and returns the scores in their order.
//
// Sequences are ordered by length, then by their tokens, equal ones are run once, and batches are
// cut from the rows in that order. So the batches, and with them the last bits of the scores,
// depend on the set of sequences alone, not on the order they came in. Going from long to short,
// each batch is as wide as its first sequence and as high as the token budget allows: its shape
// follows from its length, few shapes occur and they recur. Rows exist only in their batch: an
// encoder's sentence has as many as it has tokens. Batches are run by the model's workers, each as
// soon as it is free; neither they nor the order of sums depend on how many there are.
func scoreAll(ctx context.Context, m Model, l layout, sequences []sequence, o Options) ([]score, work, error) {
	began := time.Now()
	order := make([]int, 0, len(sequences))
	for i, s := range sequences {
		if l.rows(s) > 0 {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return compareSequences(l, sequences[a], sequences[b]) })
	// distinct holds the first of each run of equal sequences, starts where its run begins.
	var distinct, starts []int
	for at, i := range order {
		if at == 0 || compareSequences(l, sequences[order[at-1]], sequences[i]) != 0 {
			distinct, starts = append(distinct, i), append(starts, at)
		}
	}
	starts = append(starts, len(order))

	scores := make([]score, len(sequences))
	q := queue{
		ctx: ctx, progress: o.Progress, scores: scores, waiting: map[int]*job{},
		cutter: cutter{layout: l, maxLength: m.MaxLength(), budget: o.batchTokens(m), sequences: sequences, queue: distinct},
	}
	err := q.run(workersOf(m))
	w := work{distinct: len(distinct), positions: q.positions}
	if err != nil {
		return nil, w, err
	}
	for at, i := range distinct {
		for _, same := range order[starts[at]:starts[at+1]] {
			scores[same] = scores[i]
		}
	}
	w.seconds = time.Since(began).Seconds()
	return scores, w, nil
}

// cutter cuts the rows of a queue of sequences into batches.
type cutter struct {
	layout    layout
	maxLength int
	budget    int
	sequences []sequence
	queue     []int // indices of sequences, from long to short

	at, part int // the next row: sequence queue[at], and which row of it
}

// rowRef is a row of a sequence.
type rowRef struct{ sequence, part int }

func (c *cutter) done() bool { return c.at == len(c.queue) }

// cut takes rows until the budget is used up, at least one, and returns them, in the memory that is given, with the batch's lengths.
func (c *cutter) cut(memory []rowRef) (rows []rowRef, length, decoderLength int) {
	rows = memory[:0]
	for !c.done() {
		s := c.sequences[c.queue[c.at]]
		source, target := c.layout.size(s)
		if len(rows) == 0 {
			length = batchLength(source, c.maxLength)
		}
		wanted := max(decoderLength, batchLength(target, c.maxLength))
		room := c.budget/(length+wanted) - len(rows)
		if len(rows) == 0 {
			room = max(room, 1)
		}
		if room <= 0 {
			break
		}
		decoderLength = wanted
		all := c.layout.rows(s)
		for ; c.part < all && room > 0; room-- {
			rows = append(rows, rowRef{c.queue[c.at], c.part})
			c.part++
		}
		if c.part < all {
			break
		}
		c.at, c.part = c.at+1, 0
	}
	return rows, length, decoderLength
}

// batchLength rounds the longest sequence of a batch up, so that fewer shapes occur; by at most a
// sixteenth, since padding is work too.
func batchLength(inputs, maxLength int) int {
	multiple := 1
	for multiple < 16 && multiple*32 <= inputs {
		multiple *= 2
	}
	return min((inputs+multiple-1)/multiple*multiple, maxLength)
}

func resized[T any](s []T, n int) []T { return slices.Grow(s[:0], n)[:n] }

func filled(s []int64, n int, with int64) []int64 {
	s = resized(s, n)
	for i := range s {
		s[i] = with
	}
	return s
}

// addScore adds what the model says of a row's labels to a score.
func (b *Batch) addScore(row int, s *score) error {
	at := row * b.LabelLength()
	for i, label := range b.labels(row) {
		if label == Unscored {
			continue
		}
		p := float64(b.LogProb[at+i])
		if math.IsNaN(p) || math.IsInf(p, 0) {
			return fmt.Errorf("the model gives token %d the log-probability %v: the training diverged, "+
				"and parameters are not finite or far too large", label, p)
		}
		s.logprob += p
		s.tokens++
		if b.Top[at+i] == label {
			s.top++
		}
	}
	return nil
}
