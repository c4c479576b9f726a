package trainloop_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"march/graphgen"
	"march/runtime"
	"march/trainloop"
	"march/trainloop/corpus"
	"march/variants"
)

// evalLoss is the summed loss by eval.onnx with an engine's parameters.
func evalLoss(t *testing.T, rt *runtime.Runtime, dir string, e *trainloop.Engine, b *corpus.Batch) (sum float64) {
	t.Helper()
	for _, lp := range logprobs(t, rt, dir, e, e.Shapes(), b) {
		sum -= float64(lp)
	}
	return sum
}

// checkScores compares score.onnx, asked for a batch's positions from the last to the first, with eval.onnx.
func checkScores(t *testing.T, rt *runtime.Runtime, dir string, e *trainloop.Engine, b *corpus.Batch) {
	t.Helper()
	score := bindGraph(t, rt, dir, "score", "", false, e.Shapes())
	fill(t, score, e, b)
	labels := slices.Clone(b.Labels)
	slices.Reverse(labels)
	at := make([]int64, len(labels))
	for i := range at {
		at[i] = int64(len(at) - 1 - i)
	}
	upload(score, variants.Scored, at...)
	upload(score, variants.Labels, labels...)
	score.run()
	got, top := download[float32](score, "logprob"), download[int64](score, "top")
	eval := bindGraph(t, rt, dir, "eval", "", false, e.Shapes())
	fill(t, eval, e, b)
	eval.run()
	want, wantTop := download[float32](eval, "logprob"), download[int64](eval, "top")
	for i := range at {
		if j := at[i]; !(math.Abs(float64(got[i]-want[j])) <= 1e-5) || top[i] != wantTop[j] {
			t.Fatalf("position %d: score.onnx says %v, %d, eval.onnx %v, %d", j, got[i], top[i], want[j], wantTop[j])
		}
	}
}

// logprobs are eval.onnx's log-probabilities of a batch's labels.
func logprobs(t *testing.T, rt *runtime.Runtime, dir string, e *trainloop.Engine, s corpus.Shapes, b *corpus.Batch) []float32 {
	t.Helper()
	eval := bindGraph(t, rt, dir, "eval", "", false, s)
	fill(t, eval, e, b)
	eval.run()
	return download[float32](eval, "logprob")
}

// fill uploads an engine's parameters and the batch to a graph.
func fill(t *testing.T, eval *graph, e *trainloop.Engine, b *corpus.Batch) {
	t.Helper()
	params, err := e.Effective()
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range params {
		if eval.in[name] == nil {
			continue // without effect
		}
		p := make([]float32, x.Len())
		if err := runtime.Download(x, p); err != nil {
			t.Fatal(err)
		}
		upload(eval, name, p...)
	}
	for _, name := range corpus.Arrays() {
		if eval.in[name] != nil {
			upload(eval, name, b.Array(name)...)
		}
	}
}

// TestLabelScoresInBlocks: the two ways to the most likely token agree, the first of equal ones included, whatever blocks the vocabulary has.
func TestLabelScoresInBlocks(t *testing.T) {
	rt := open(t)
	const n = 50
	for _, vocab := range []int{3, 32, 64, 96, 129, 1000, 2048} {
		g := graphgen.New()
		var model []byte
		err := graphgen.Build(func() error {
			rows := g.Symbol("rows")
			logits, labels := g.Input("logits", graphgen.Float32, rows, vocab), g.Input("labels", graphgen.Int64, rows)
			for name, of := range map[string]func(x, l *graphgen.Tensor) (logprob, top *graphgen.Tensor){"plain": graphgen.LabelScores, "blocks": graphgen.LabelScoresInBlocks} {
				logprob, top := of(logits, labels)
				g.Output(name+".logprob", logprob)
				g.Output(name+".top", top)
			}
			p, err := g.Compile(graphgen.Portable)
			if err == nil {
				model, err = p.Encode(graphgen.EncodeOptions{})
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		s, err := rt.SessionBytes(model, runtime.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		tensors := func(list []runtime.Info) map[string]*runtime.Tensor {
			m := map[string]*runtime.Tensor{}
			for _, i := range list {
				shape := []int64{n}
				if len(i.Shape) == 2 {
					shape = append(shape, int64(vocab))
				}
				x, err := rt.NewTensor(i.Type, shape...)
				if err != nil {
					t.Fatal(err)
				}
				m[i.Name] = x
			}
			return m
		}
		x := &graph{t: t, in: tensors(s.Inputs()), out: tensors(s.Outputs())}
		if x.binding, err = s.Bind(x.in, x.out); err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(uint64(vocab), 1))
		logits, labels := make([]float32, n*vocab), make([]int64, n)
		for i := range logits {
			logits[i] = float32(random.IntN(40)) // many are equal, and the largest in most rows
		}
		clear(logits[:vocab])
		for i := range labels {
			labels[i] = int64(random.IntN(vocab+1)) - 1
		}
		upload(x, "logits", logits...)
		upload(x, "labels", labels...)
		x.run()
		for row, want := range download[int64](x, "plain.top") {
			if got := download[int64](x, "blocks.top")[row]; got != want {
				t.Fatalf("vocabulary %d, row %d: %d, want %d", vocab, row, got, want)
			}
		}
		if got, want := download[float32](x, "blocks.logprob"), download[float32](x, "plain.logprob"); !slices.Equal(got, want) {
			t.Errorf("vocabulary %d: other log-probabilities", vocab)
		}
		s.Close()
	}
}
