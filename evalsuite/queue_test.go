package evalsuite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"march/runtime"
)

// parallelModel is any model with workers that know nothing of each other.
type parallelModel struct {
	Model
	workers []Model
}

func (m parallelModel) Workers() []Model { return m.workers }

// slowWorker is a worker whose first batch ends when all others' batches have.
type slowWorker struct {
	*fakeModel
	entered, others chan struct{}
	ran             *atomic.Int64
}

func (w slowWorker) Eval(b *Batch) error {
	if w.ran.Add(1) == 1 {
		close(w.entered)
		<-w.others
	}
	return w.fakeModel.Eval(b)
}

// patientWorker begins when another has a batch.
type patientWorker struct {
	*fakeModel
	begin chan struct{}
}

func (w patientWorker) Eval(b *Batch) error {
	<-w.begin
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
	slow := slowWorker{hashModel(t, maxLength), make(chan struct{}), make(chan struct{}), &atomic.Int64{}}
	quick := patientWorker{hashModel(t, maxLength), slow.entered}
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
	good.after = func(int) error { return errors.New("out of memory") }
	bad.after = good.after
	if _, _, err := scoreAll(context.Background(), parallelModel{good, []Model{good, bad}}, l, sequences, Options{BatchTokens: 100}); err == nil || err.Error() != "out of memory" {
		t.Errorf("workers that fail: %v", err)
	}
	three := []sequence{{tokens: []int32{1, 2}, from: 1}, {tokens: []int32{1, 3}, from: 1}, {tokens: []int32{1, 4}, from: 1}}
	q := queue{ctx: context.Background(), scores: make([]score, 3), waiting: map[int]*job{},
		cutter: cutter{layout: l, maxLength: maxLength, budget: 1, sequences: three, queue: []int{0, 1, 2}}}
	first, second := q.next(nil), q.next(nil)
	first.err, second.err = errors.New("first"), errors.New("second")
	if q.next(second) != nil || q.err != nil {
		t.Errorf("after a batch that failed another is given, or its error counts before its turn: %v", q.err)
	}
	if q.next(first) != nil || q.err != first.err {
		t.Errorf("the error is %v, want that of the first batch", q.err)
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

// TestWorkersWithinWord: workers read where words start at once.
func TestWorkersWithinWord(t *testing.T) {
	e := testEncoders(40)
	e.words = newWordStarts(byteTokenizer{})
	var sequences []sequence
	for i := range 300 {
		s, _ := e.pair([]int32{0, int32(2 + i%200), int32(3 + i%90), int32(4+i)%250 + 1}, nil)
		sequences = append(sequences, s)
	}
	m := &constantModel{maxLength: 40}
	if _, _, err := scoreAll(context.Background(), parallelModel{m, []Model{m, &constantModel{maxLength: 40}, &constantModel{maxLength: 40}}}, e, sequences, Options{BatchTokens: 8}); err != nil {
		t.Fatal(err)
	}
}

// TestWorkersPanic: a worker's panic is the caller's, once all have ended.
func TestWorkersPanic(t *testing.T) {
	one, two := hashModel(t, 40), hashModel(t, 40)
	one.after = func(int) error { panic("a slip") }
	two.after = one.after
	defer func() {
		if r := fmt.Sprint(recover()); !strings.Contains(r, "a slip") || !strings.Contains(r, ".go:") {
			t.Errorf("recovered %v", r)
		}
	}()
	scoreAll(context.Background(), parallelModel{one, []Model{one, two}}, decoders{maxLength: 40}, randomSequences(300, 40), Options{BatchTokens: 100})
}
