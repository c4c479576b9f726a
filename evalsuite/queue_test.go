package evalsuite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"march/runtime"
)

// parallelModel has workers that know nothing of each other.
type parallelModel struct {
	*fakeModel
	workers []Model
}

func (m parallelModel) Workers() []Model { return m.workers }

// slowWorker is a worker whose first batch ends when all others' batches have.
type slowWorker struct {
	*fakeModel
	others chan struct{}
	ran    *atomic.Int64
}

func (w slowWorker) Eval(b *Batch) error {
	if w.ran.Add(1) == 1 {
		<-w.others
	}
	return w.fakeModel.Eval(b)
}

// TestWorkers: what workers score beside each other, in whatever order they end, is what one scores, with progress that does not fall.
func TestWorkers(t *testing.T) {
	const maxLength, budget = 40, 100
	sequences, l := randomSequences(300, maxLength), decoders{maxLength: maxLength}
	one := hashModel(t, maxLength)
	want, w, err := scoreAll(context.Background(), one, l, sequences, Options{BatchTokens: budget})
	if err != nil {
		t.Fatal(err)
	}
	slow := slowWorker{hashModel(t, maxLength), make(chan struct{}), &atomic.Int64{}}
	quick := hashModel(t, maxLength)
	quick.after = func(call int) error {
		if call == len(one.calls)-1 { // all but the slow one's
			close(slow.others)
		}
		return nil
	}
	var progress []int
	got, again, err := scoreAll(context.Background(), parallelModel{slow.fakeModel, []Model{slow, quick}}, l, sequences,
		Options{BatchTokens: budget, Progress: func(done, total int) { progress = append(progress, done) }})
	if err != nil {
		t.Fatal(err)
	}
	again.seconds = w.seconds
	if !slices.Equal(got, want) || again != w {
		t.Errorf("two workers differ from one: %+v and %+v", again, w)
	}
	if len(slow.calls) != 1 || !slices.IsSorted(progress) || len(progress) != len(one.calls) || progress[len(progress)-1] != w.distinct {
		t.Errorf("the slow worker ran %d batches of %d; progress %v", len(slow.calls), len(one.calls), progress)
	}
}

// TestWorkersStop: the error is that of the first batch that fails, and no batch begins after it or after the end of ctx.
func TestWorkersStop(t *testing.T) {
	const maxLength = 40
	sequences, l := randomSequences(300, maxLength), decoders{maxLength: maxLength}
	good, bad := hashModel(t, maxLength), hashModel(t, maxLength)
	failed := make(chan struct{})
	good.after = func(int) error { <-failed; return nil }
	bad.after = func(call int) error { defer close(failed); return errors.New("out of memory") }
	if _, _, err := scoreAll(context.Background(), parallelModel{good, []Model{good, bad}}, l, sequences, Options{BatchTokens: 100}); err == nil || err.Error() != "out of memory" {
		t.Errorf("a worker that fails: %v", err)
	}
	if len(bad.calls) != 1 || len(good.calls) > 2 {
		t.Errorf("%d and %d batches were run around the one that failed", len(good.calls), len(bad.calls))
	}

	ctx, stop := context.WithCancel(context.Background())
	stop()
	m := hashModel(t, maxLength)
	if _, _, err := scoreAll(ctx, parallelModel{m, []Model{m, hashModel(t, maxLength)}}, l, sequences, Options{}); !errors.Is(err, context.Canceled) || len(m.calls) != 0 {
		t.Errorf("stopped before it began: %v after %d batches", err, len(m.calls))
	}
}

// TestThreads: a model on a CPU has a worker for each thread, unless their logits are too large together, and the same scores with any number.
func TestThreads(t *testing.T) {
	openRuntime(t)
	var want []score
	for _, threads := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(threads), func(t *testing.T) {
			rt, err := runtime.Open(runtime.Options{Threads: threads, Device: runtime.Device{Kind: "cpu"}})
			if err != nil {
				t.Fatal(err)
			}
			defer rt.Close()
			tables := newSumTables(t, rt)
			m, err := NewONNXModel(rt, sumModelOf(t, Encoder, true), tables.tensors, 40)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if n := len(m.Workers()); n != threads {
				t.Errorf("%d workers", n)
			}
			var sequences []sequence
			for _, s := range randomSequences(100, 40) {
				s.tokens, s.each, s.picked = s.tokens[:min(len(s.tokens), 40)], len(s.tokens)%2 == 0, nil
				sequences = append(sequences, s)
			}
			got, _, err := scoreAll(context.Background(), m, encoders{maxLength: 40, mask: sumMask}, sequences, Options{BatchTokens: 200})
			if err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) {
				t.Error("scores differ from those of one thread")
			}
			big := &ONNXModel{rt: rt, params: map[string]*runtime.Tensor{}}
			if big.params[embeddingTable], err = rt.NewTensor(runtime.Float32, 1<<20, 1); err != nil {
				t.Fatal(err)
			}
			if workers, each := big.share(); workers != 1 || each != threads {
				t.Errorf("2²⁰ entries: %d workers of %d threads", workers, each)
			}
		})
	}
}

func TestScoredLength(t *testing.T) {
	for _, x := range []struct{ scored, positions, want int }{{0, 8, 1}, {3, 8, 8}, {3, 500, 32}, {33, 500, 64}, {499, 500, 500}, {8, 8192, 512}, {8000, 8192, 8192}} {
		if got := scoredLength(x.scored, x.positions); got != x.want {
			t.Errorf("%d of %d positions become %d, want %d", x.scored, x.positions, got, x.want)
		}
	}
}
