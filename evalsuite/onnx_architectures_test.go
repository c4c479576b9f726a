package evalsuite

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"march/graphgen"
	"march/runtime"
)

// sumVocab holds the tokens of sumModel; the last is the mask.
const (
	sumVocab = 12
	sumMask  = sumVocab - 1
)

// sumModel writes an eval.onnx whose logits are the row of the parameter "own" of the position's
// token (in an encoder-decoder: of the decoder's) plus the sum of the rows of "all" of the source's
// tokens before lengths, so that what is behind must not count. Inputs named in without are left
// out of the file.
func sumModel(t *testing.T, a Architecture, without ...string) string {
	t.Helper()
	return sumModelOf(t, a, false, without...)
}

// sumModelOf is sumModel as an eval.onnx or as a score.onnx, which is told the positions.
func sumModelOf(t *testing.T, a Architecture, scored bool, without ...string) string {
	t.Helper()
	return buildModel(t, func(g *graphgen.Graph) {
		batch, length := g.Symbol("batch"), g.Symbol("length")
		own, all := g.Input("own", graphgen.Float32, sumVocab, sumVocab), g.Input("all", graphgen.Float32, sumVocab, sumVocab)
		tokens := g.Input(tokenInput, graphgen.Int64, batch, length)
		summed := graphgen.Embedding(all, tokens) // [B,S,V]
		if a != Decoder && !slices.Contains(without, lengthInput) {
			lengths := g.Input(lengthInput, graphgen.Int64, batch)
			seen := graphgen.Cast(graphgen.Less(g.Iota(length), graphgen.Unsqueeze(lengths, 1)), graphgen.Float32) // [B,S]
			summed = graphgen.Mul(summed, graphgen.Unsqueeze(seen, 2))
		}
		read, n := tokens, length
		if a == EncoderDecoder {
			n = g.Symbol("decoder_length")
			read = g.Input(decoderInput, graphgen.Int64, batch, n)
		}
		logits := graphgen.Add(graphgen.Embedding(own, read), graphgen.ReduceSum(summed, true, 1))
		rows := g.Product(batch, n)
		if scored {
			m := g.Symbol("scored")
			at, labels := g.Input(scoredInput, graphgen.Int64, m), g.Input(labelInput, graphgen.Int64, m)
			logprob, top := graphgen.LabelScores(graphgen.Embedding(graphgen.Reshape(logits, rows, sumVocab), at), labels)
			g.Output(logprobOutput, logprob)
			if !slices.Contains(without, topOutput) {
				g.Output(topOutput, top)
			}
			return
		}
		labels := tokens
		if !slices.Contains(without, labelInput) {
			labels = g.Input(labelInput, graphgen.Int64, batch, n)
		}
		logprob, top := graphgen.LabelScores(graphgen.Reshape(logits, rows, sumVocab), graphgen.Reshape(labels, rows))
		g.Output(logprobOutput, graphgen.Reshape(logprob, batch, n))
		if !slices.Contains(without, topOutput) {
			g.Output(topOutput, graphgen.Reshape(top, batch, n))
		}
	})
}

// buildModel writes an eval.onnx of the graph that build makes.
func buildModel(t *testing.T, build func(g *graphgen.Graph)) string {
	t.Helper()
	var data []byte
	err := graphgen.Build(func() error {
		g := graphgen.New()
		build(g)
		p, err := g.Compile(graphgen.Portable)
		if err != nil {
			return err
		}
		data, err = p.Encode(graphgen.EncodeOptions{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return writeModel(t, data)
}

// sumTables are the parameters of sumModel, and what it should say.
type sumTables struct {
	own, all []float32
	tensors  map[string]*runtime.Tensor
}

func newSumTables(t *testing.T, rt *runtime.Runtime) *sumTables {
	t.Helper()
	rng := rand.New(rand.NewPCG(31, 32))
	s := &sumTables{tensors: map[string]*runtime.Tensor{}}
	for _, name := range []string{"own", "all"} { // in this order: they are the same in every test
		v := map[string]*[]float32{"own": &s.own, "all": &s.all}[name]
		for range sumVocab * sumVocab {
			*v = append(*v, 2*rng.Float32())
		}
		x, err := rt.NewTensor(runtime.Float32, sumVocab, sumVocab)
		if err != nil {
			t.Fatal(err)
		}
		if err := runtime.Upload(x, *v); err != nil {
			t.Fatal(err)
		}
		s.tensors[name] = x
	}
	return s
}

// say adds the score of a label to s.
func (s *sumTables) say(source []int32, token, label int32, to *score) {
	logits := make([]float64, sumVocab)
	sum, best := 0.0, 0
	for v := range logits {
		logits[v] = float64(s.own[int(token)*sumVocab+v])
		for _, id := range source {
			logits[v] += float64(s.all[int(id)*sumVocab+v])
		}
		if logits[v] > logits[best] {
			best = v
		}
		sum += math.Exp(logits[v])
	}
	to.logprob += logits[label] - math.Log(sum)
	to.tokens++
	if best == int(label) {
		to.top++
	}
}

func (s *sumTables) want(a Architecture, x sequence) (r score) {
	if a == EncoderDecoder {
		previous := int32(0)
		for _, id := range x.tokens[x.from:] {
			s.say(x.tokens[:x.from], previous, id, &r)
			previous = id
		}
		return r
	}
	hide := func(at ...int) []int32 {
		row := slices.Clone(x.tokens)
		for _, i := range at {
			row[i] = sumMask
		}
		return row
	}
	var scored []int
	for i := x.from; i < len(x.tokens); i++ {
		scored = append(scored, i)
	}
	for _, i := range scored {
		row := hide(scored...)
		if x.each {
			row = hide(i)
		}
		s.say(row, sumMask, x.tokens[i], &r)
	}
	return r
}

// The adapter against the same tables in Go: padding must not count, on either side.
func TestONNXModelArchitectures(t *testing.T) {
	rt := openRuntime(t)
	tables := newSumTables(t, rt)
	const maxLength = 30
	layouts := map[Architecture]layout{
		Encoder: encoders{maxLength: maxLength, mask: sumMask}, EncoderDecoder: encoderDecoders{maxLength: maxLength},
	}
	for _, x := range []struct {
		a      Architecture
		scored bool
	}{{Encoder, false}, {Encoder, true}, {EncoderDecoder, false}, {EncoderDecoder, true}} {
		a, l := x.a, layouts[x.a]
		t.Run(fmt.Sprintf("%s/scored=%t", a, x.scored), func(t *testing.T) {
			m, err := NewONNXModel(rt, sumModelOf(t, a, x.scored), tables.tensors, maxLength)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if m.Architecture() != a || m.MaxLength() != maxLength {
				t.Fatalf("%s of %d positions", m.Architecture(), m.MaxLength())
			}
			rng := rand.New(rand.NewPCG(33, 34))
			var sequences []sequence
			for range 60 {
				lists := [2][]int32{{0}, {0}}
				for i := range lists {
					for range rng.IntN(35) {
						lists[i] = append(lists[i], 1+rng.Int32N(sumMask-1))
					}
				}
				good, bad := l.pair(lists[0], lists[1])
				sequences = append(sequences, good, bad, l.passage(lists[0], 1+rng.IntN(len(lists[0]))))
			}
			for _, budget := range []int{1, 100, 1500} {
				scores, _, err := scoreAll(context.Background(), m, l, sequences, Options{BatchTokens: budget})
				if err != nil {
					t.Fatal(err)
				}
				for i, x := range sequences {
					want := tables.want(a, x)
					if got := scores[i]; got.tokens != want.tokens || got.top != want.top || math.Abs(got.logprob-want.logprob) > 1e-3 {
						t.Fatalf("budget %d, sequence %d: got %+v, want %+v", budget, i, got, want)
					}
				}
				for _, w := range m.workers {
					if len(w.shapes) > maxShapes {
						t.Errorf("%d bindings are kept, want at most %d", len(w.shapes), maxShapes)
					}
				}
			}

			// Shapes that recur cost no memory.
			var b Batch
			b.reset(a, 2, 3, map[Architecture]int{EncoderDecoder: 4}[a])
			if allocated := testing.AllocsPerRun(20, func() {
				if err := m.Eval(&b); err != nil {
					t.Fatal(err)
				}
			}); allocated > 14 {
				t.Errorf("%v allocations for a shape that recurs", allocated)
			}
			b.Tokens[0] = sumVocab + 3
			wantError(t, m.Eval(&b), "2 sequences of 3")
			b.Tokens[0], b.Lengths = 0, nil
			if err := m.Eval(&b); err == nil {
				t.Error("no error for a batch without lengths")
			}
		})
	}
	for _, x := range tables.tensors {
		if err := x.Close(); err != nil {
			t.Errorf("a parameter is still bound: %v", err)
		}
	}
}

func TestONNXModelMissingArrays(t *testing.T) {
	rt := openRuntime(t)
	tables := newSumTables(t, rt)
	for _, test := range []struct {
		path string
		want []string
	}{
		{sumModel(t, EncoderDecoder, lengthInput), []string{"eval.onnx", "no input lengths", "every encoder-decoder"}},
		{sumModel(t, Encoder, labelInput), []string{"eval.onnx", "no input labels", "every encoder has"}},
		{sumModel(t, Encoder, topOutput), []string{"eval.onnx", "no output top", "every encoder has"}},
		{sumModel(t, Decoder, labelInput), []string{"eval.onnx", "no input labels", "every decoder"}},
		{sumModelOf(t, Encoder, true, topOutput), []string{"eval.onnx", "no output top", "score.onnx of every encoder"}},
	} {
		m, err := NewONNXModel(rt, test.path, tables.tensors, 8)
		if m != nil {
			t.Errorf("want no model beside the error %v", err)
		}
		wantError(t, err, test.want...)
	}
	m, err := NewONNXModel(rt, sumModel(t, Encoder, lengthInput), tables.tensors, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Architecture() != Decoder {
		t.Errorf("a file with tokens and labels alone is a %s", m.Architecture())
	}
}
