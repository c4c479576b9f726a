package evalsuite

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// queue hands batches to workers, from long to short, and adds up what they find in the batches' order.
type queue struct {
	ctx      context.Context
	progress func(done, total int) // nil: nobody asks

	mu        sync.Mutex // guards all below, but for the cutter's layout and sequences, which stay
	cutter    cutter
	scores    []score      // of the sequences
	positions int          // that were run
	given     int          // batches that workers have taken
	added     int          // batches whose scores are in scores
	waiting   map[int]*job // batches that were run and whose turn it is not yet
	free      []*job       // whose memory others may have
	panicked  string       // what the first worker that panicked said; "": none
	failed    bool         // a batch failed: none is given any more
	err       error        // of the first batch that failed, or of ctx
}

// job is a batch in a worker's hands.
type job struct {
	number                int
	rows                  []rowRef
	length, decoderLength int
	done                  int     // sequences that are done with it and those before
	scores                []score // of the rows
	err                   error
}

// run has the workers run all batches and returns when none is left or one has failed.
func (q *queue) run(workers []Model) error {
	var all sync.WaitGroup
	for _, m := range workers[1:] {
		all.Go(func() { q.work(m) })
	}
	q.work(workers[0])
	all.Wait()
	if q.panicked != "" {
		panic(q.panicked) // where the caller's guard is, and when no worker runs
	}
	return q.err
}

// work runs one batch after the other. A panic ends all workers' work: see run.
func (q *queue) work(m Model) {
	defer func() {
		if r := recover(); r != nil {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.failed, q.panicked = true, cmp.Or(q.panicked, fmt.Sprintf("%v\n%s", r, debug.Stack()))
		}
	}()
	var b Batch
	for j := q.next(nil); j != nil; j = q.next(j) {
		j.err = q.runBatch(m, &b, j)
	}
}

func (q *queue) runBatch(m Model, b *Batch, j *job) error {
	b.reset(m.Architecture(), len(j.rows), j.length, j.decoderLength)
	for row, r := range j.rows {
		q.cutter.layout.fill(b, row, q.cutter.sequences[r.sequence], r.part)
	}
	if err := m.Eval(b); err != nil {
		return err
	}
	for row := range j.rows {
		var s score
		if err := b.addScore(row, &s); err != nil {
			return err
		}
		j.scores = append(j.scores, s)
	}
	return nil
}

// next takes in a batch that was run and gives another; nil: there is nothing left to do.
func (q *queue) next(ran *job) *job {
	q.mu.Lock()
	defer q.mu.Unlock()
	if ran != nil {
		q.waiting[ran.number], q.failed = ran, q.failed || ran.err != nil
		q.add()
	}
	if q.failed || q.err != nil || q.cutter.done() {
		return nil
	}
	if q.err = q.ctx.Err(); q.err != nil {
		return nil
	}
	if len(q.free) == 0 {
		q.free = append(q.free, &job{})
	}
	last := len(q.free) - 1
	j := q.free[last]
	q.free = q.free[:last]
	j.number, j.scores = q.given, j.scores[:0]
	q.given++
	j.rows, j.length, j.decoderLength = q.cutter.cut(j.rows)
	j.done = q.cutter.at
	return j
}

// add adds up the batches whose turn it is. A batch that failed is the last.
func (q *queue) add() {
	for {
		j := q.waiting[q.added]
		if j == nil {
			return
		}
		if j.err != nil {
			q.err = j.err
			return
		}
		for i, r := range j.rows {
			q.scores[r.sequence].add(j.scores[i])
		}
		q.positions += len(j.rows) * (j.length + j.decoderLength)
		delete(q.waiting, q.added)
		q.free = append(q.free, j)
		q.added++
		if q.progress != nil {
			q.progress(j.done, len(q.cutter.queue))
		}
	}
}
