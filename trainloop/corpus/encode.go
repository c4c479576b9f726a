package corpus

import (
	"context"
	"iter"
	"runtime"
	"sync"

	"march/trainloop/tokenizer"
)

// cores is how many cores this process may use.
func cores() int { return runtime.GOMAXPROCS(0) }

// batchSize is the bytes of text that a worker takes at a time.
const batchSize = 64 << 10

// work is some pieces and, once done is closed, their tokens.
type work struct {
	pieces []piece
	ids    []int32 // of all pieces, one behind the other
	ends   []int   // where those of each piece end
	done   chan struct{}
}

// encodeAll encodes pieces on all cores and gives them to sink in their order, whichever worker
// was faster. At most a few batches per core are in memory. It returns the first error of the
// pieces, of sink or of the context, when nothing of it runs any more.
func encodeAll(ctx context.Context, tok *tokenizer.Tokenizer, pieces iter.Seq2[piece, error], sink func(p piece, ids []int32) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	workers := cores()
	jobs := make(chan *work, workers)
	ordered := make(chan *work, 2*workers)

	var running sync.WaitGroup
	defer running.Wait()
	defer cancel(nil) // comes before the waiting
	running.Go(func() {
		defer close(jobs)
		defer close(ordered)
		send := func(w *work) bool {
			for _, queue := range []chan *work{ordered, jobs} {
				select {
				case queue <- w:
				case <-ctx.Done():
					return false
				}
			}
			return true
		}
		next, size := &work{done: make(chan struct{})}, 0
		for p, err := range pieces {
			if err != nil {
				cancel(err)
				return
			}
			next.pieces = append(next.pieces, p)
			if size += len(p.text); size >= batchSize {
				if !send(next) {
					return
				}
				next, size = &work{done: make(chan struct{})}, 0
			}
		}
		send(next)
	})
	for range workers {
		running.Go(func() {
			for w := range jobs {
				for _, p := range w.pieces {
					w.ids = tok.AppendEncodeOrdinary(w.ids, p.text)
					w.ends = append(w.ends, len(w.ids))
				}
				close(w.done)
			}
		})
	}
	for w := range ordered {
		select {
		case <-w.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		start := 0
		for i, p := range w.pieces {
			if err := sink(p, w.ids[start:w.ends[i]]); err != nil {
				return err
			}
			start = w.ends[i]
		}
	}
	return context.Cause(ctx)
}
