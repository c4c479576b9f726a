package trainloop_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"march/graphgen"
	"march/runtime"
	"march/trainloop"
	"march/trainloop/corpus"
	"march/trainloop/rng"
	"march/variants"
	"march/variants/manifest"
	"march/variants/program"
)

// Tests of whole programs on ONNX Runtime, beyond the goldens: whatever the axes are set
// to, a program trains; its graphs agree with each other, at every optimisation level,
// and in place with separate memory.

func open(t testing.TB) *runtime.Runtime {
	t.Helper()
	rt, err := runtime.Open(runtime.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.Close() })
	return rt
}

// graph is one of a program's graphs with memory of its own.
type graph struct {
	t       testing.TB
	in, out map[string]*runtime.Tensor
	binding *runtime.Binding
}

// bindGraph loads a graph and binds what the manifest lists, dynamic dimensions to those of
// a batch. With inPlace, an output that replaces an input takes its memory.
func bindGraph(t testing.TB, rt *runtime.Runtime, dir, name, level string, inPlace bool, batch corpus.Shapes) *graph {
	t.Helper()
	m, err := manifest.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := rt.Session(filepath.Join(dir, m.Graphs[name].File), runtime.SessionOptions{Optimization: level})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	tensor := func(p manifest.Port) *runtime.Tensor {
		shape := make([]int64, len(p.Shape))
		for i, d := range p.Shape {
			shape[i] = int64(d)
			if d < 0 {
				of := batch.Of(p.Name)
				if of == nil { // what is said of each label
					of = batch.Of(corpus.LabelsArray)
				}
				if name == "score" && len(p.Shape) == 1 && p.Name != corpus.LengthsArray { // of all labels' positions
					labels := batch.Of(corpus.LabelsArray)
					of = []int{labels[0] * labels[1]}
				}
				shape[i] = int64(of[i])
			}
		}
		x, err := rt.NewTensor(map[string]runtime.ElementType{"float32": runtime.Float32, "int64": runtime.Int64}[p.DType], shape...)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	g := &graph{t: t, in: map[string]*runtime.Tensor{}, out: map[string]*runtime.Tensor{}}
	for _, p := range m.Graphs[name].Inputs {
		g.in[p.Name] = tensor(p)
	}
	for _, p := range m.Graphs[name].Outputs {
		if x := g.in[strings.TrimSuffix(p.Name, variants.NewName(""))]; inPlace && x != nil {
			g.out[p.Name] = x
		} else {
			g.out[p.Name] = tensor(p)
		}
	}
	if g.binding, err = s.Bind(g.in, g.out); err != nil {
		t.Fatal(err)
	}
	return g
}

func upload[T runtime.Element](g *graph, name string, v ...T) {
	g.t.Helper()
	if err := runtime.Upload(g.in[name], v); err != nil {
		g.t.Fatalf("%s: %v", name, err)
	}
}

func download[T runtime.Element](g *graph, name string) []T {
	g.t.Helper()
	v := make([]T, g.out[name].Len())
	if err := runtime.Download(g.out[name], v); err != nil {
		g.t.Fatalf("%s: %v", name, err)
	}
	return v
}

func (g *graph) run() {
	g.t.Helper()
	if err := g.binding.Run(); err != nil {
		g.t.Fatal(err)
	}
}

// turn makes what the last run gave the next run's input.
func (g *graph) turn() {
	for name, x := range g.out {
		if in := g.in[strings.TrimSuffix(name, variants.NewName(""))]; in != nil && in != x {
			upload(g, strings.TrimSuffix(name, variants.NewName("")), download[float32](g, name)...)
		}
	}
}

// text is random tokens and labels, some of them ignored.
func text(c variants.Config, n int, seed uint64) (tokens, labels []int64) {
	s := rng.New(seed, rng.Name("text"))
	for range n {
		tokens = append(tokens, int64(s.Below(uint64(c.Vocab))))
		labels = append(labels, int64(s.Below(uint64(c.Vocab))))
		if s.Below(8) == 0 {
			labels[len(labels)-1] = graphgen.IgnoreLabel
		}
	}
	return tokens, labels
}

// micro runs one micro-batch.
func micro(t testing.TB, e *trainloop.Engine, step int64, tokens, labels []int64) (loss float64, count int64) {
	t.Helper()
	return microBatch(t, e, step, &corpus.Batch{Tokens: tokens, Labels: labels})
}

func microBatch(t testing.TB, e *trainloop.Engine, step int64, b *corpus.Batch) (loss float64, count int64) {
	t.Helper()
	if err := e.Feed(trainloop.OneBatch{Of: e.Shapes(), Batch: b}); err != nil {
		t.Fatal(err)
	}
	s, err := e.Accumulate(step, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	return s.Loss, s.Count
}

// randomConfig is a valid config with every axis of the model drawn at random: axes that
// do not go together are drawn again.
func randomConfig(r *rand.Rand) variants.Config {
	names := []string{"sharing/baseline decoder", "sharing/baseline encoder", "heads/baseline encoder-decoder"}
	pick := func(n ...int) int { return n[r.IntN(len(n))] }
	word := func(w ...string) string { return w[r.IntN(len(w))] }
	coin := func() bool { return r.IntN(2) == 0 }
	for {
		name, arch, _ := strings.Cut(word(names...), " ")
		v, err := variants.Find(name, "tiny", arch)
		if err != nil {
			panic(err)
		}
		c := v.Config
		c.Vocab, c.Length, c.D = pick(11, 32, 101), pick(2, 7, 16), pick(4, 12, 30)
		c.Share.Unique = pick(1, 2, 3)
		c.Share.Uses = c.Share.Unique * pick(1, 2, 3)
		c.Share.Assignment, c.Share.StepEmbedding = word("seq", "cycle", "cycle_rev"), coin()
		c.Share.FFUnique = pick(0, 0, c.Share.Uses-c.Share.Uses/2+1)
		c.KVHeads = pick(0, 1, 2)
		c.Heads = max(1, c.KVHeads) * pick(1, 2, 3)
		c.QKVDim, c.FF = pick(1, 3, 8), pick(1, 5, 48)
		if r.IntN(4) == 0 {
			heads := make([]string, c.Share.Unique)
			for i := range heads {
				heads[i] = fmt.Sprint(max(1, c.KVHeads) * pick(1, 2))
			}
			c.HeadsByLayer = strings.Join(heads, "-")
		}
		c.Act, c.GLU = word(graphgen.ActivationNames()...), coin()
		c.Mix = word("none", "none", "mean", "sum")
		c.Bias = variants.Bias{QKV: coin(), Out: coin(), FF: coin(), Output: coin(), Norm: coin()}
		c.Norm.Kind, c.Norm.Place, c.Norm.Embed = word("layer", "rms"), word("pre", "post"), coin()
		c.Attn = variants.Attn{Scaled: coin(), Local: word("none", "alternate"), Residual: coin(), CrossKV: word("shared", "own"),
			Unified: coin(), Role: coin(), Summed: coin(), Linformer: pick(0, 0, 2)}
		c.Database.Rows = pick(0, 0, 5)
		c.Pos.Kind, c.Pos.Combine = word("learned", "sinusoidal", "rope", "alibi", "relative", "none"), word("sum", "average")
		c.Output = variants.Output{Scaled: coin(), Transform: coin()}
		c.Dropout.Rate = float64(pick(0, 0, 1)) / 10
		c.Halting.Kind = word("none", "none", "act")
		c.Training.DocumentMask = c.Arch == variants.Decoder && coin()
		if c.Validate() == nil {
			return c
		}
	}
}

// TestRandomConfigs: whatever the axes are set to, the untrained model is as surprised by
// random labels as a uniform guess, eval.onnx and score.onnx agree with the loss, and a step can be taken.
func TestRandomConfigs(t *testing.T) {
	rt := open(t)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		c := randomConfig(r)
		if i%3 == 0 {
			c.Training.Prune.Sparsity = 0.5
		}
		if i%5 == 0 {
			c.Teacher, c.Training.Distill.Teacher = teacherFor(t, c), "a baseline"
		}
		v := variants.Variant{Study: "random", Base: fmt.Sprint(i), Config: c}
		o := program.Options{Batch: 1 + r.IntN(3), Length: min(c.Length, 3+r.IntN(c.Length)), Target: graphgen.StockTargets()[i%2], Graphs: []string{"grad", "update", "eval", "score"}}
		if i%4 >= 2 {
			o.Recompute = "block"
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("batch %d × length %d, %s, recompute %q\n%s", o.Batch, o.Length, o.Target, o.Recompute, c.YAML())
				}
			}()
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if _, err := program.Write(dir, v, o); err != nil {
				t.Fatal(err)
			}
			e, err := trainloop.NewEngine(rt, dir, trainloop.EngineOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			if err := e.LoadStart(dir); err != nil {
				t.Fatal(err)
			}
			if c.Training.Prune.Sparsity > 0 {
				if err := e.Prune(0.5); err != nil {
					t.Fatal(err)
				}
			}
			batch, want := randomBatch(e.Shapes(), c, uint64(i))
			loss, count := microBatch(t, e, 1, batch)
			if mean := loss / float64(count); count != want || !(mean > 0 && mean < 100) {
				t.Errorf("mean loss %v over %d labels, wanted some over %d", mean, count, want)
			}
			if c.Dropout.Rate == 0 && c.Halting.Kind == "none" && c.Teacher == nil { // whose loss is all that the gradient is of, and without jumps
				checkDerivative(t, e, batch, loss)
			}
			if c.Dropout.Rate == 0 {
				eval := evalLoss(t, rt, dir, e, batch)
				if math.Abs(eval-loss) > 1e-5*loss {
					t.Errorf("eval.onnx sums to %v, grad.onnx to %v", eval, loss)
				}
			}
			checkScores(t, rt, dir, e, batch)
			norm, err := e.Update(1e-3, 1, count)
			if err != nil || !(norm > 0) || math.IsInf(norm, 0) {
				t.Errorf("gradient norm %v (%v)", norm, err)
			}
		})
	}
}

// teacherFor is a model that can teach c.
func teacherFor(t *testing.T, c variants.Config) *variants.Config {
	name := "sharing/baseline"
	if c.Arch == variants.EncoderDecoder {
		name = "heads/baseline"
	}
	v, err := variants.Find(name, "tiny", c.Arch)
	if err != nil {
		t.Fatal(err)
	}
	teacher := v.Config
	teacher.Vocab, teacher.Length, teacher.D, teacher.FF = c.Vocab, c.Length, 8, 12
	teacher.Training.DocumentMask = c.Training.DocumentMask
	return &teacher
}

// randomBatch is a batch of random tokens, lengths, documents and labels, and how many labels count.
func randomBatch(s corpus.Shapes, c variants.Config, seed uint64) (b *corpus.Batch, labels int64) {
	b, stream := s.New(), rng.New(seed, rng.Name("batch"))
	for _, list := range [][]int64{b.Tokens, b.DecoderTokens, b.Labels} {
		for i := range list {
			list[i] = int64(stream.Below(uint64(c.Vocab)))
		}
	}
	for i := range b.Lengths {
		b.Lengths[i] = 1 + int64(stream.Below(uint64(s.Length)))
	}
	for i := range b.Documents {
		b.Documents[i] = int64(stream.Below(3))
	}
	for i := range b.Labels {
		if i > 0 && stream.Below(8) == 0 { // at least one counts
			b.Labels[i] = graphgen.IgnoreLabel
			continue
		}
		labels++
	}
	return b, labels
}

// checkDerivative compares the gradient of the loss along itself with central
// differences.
func checkDerivative(t *testing.T, e *trainloop.Engine, b *corpus.Batch, loss float64) {
	t.Helper()
	start, grads, square := map[string][]float32{}, map[string][]float32{}, 0.0
	for name, x := range e.Parameters() {
		start[name] = make([]float32, x.Len())
		if err := runtime.Download(x, start[name]); err != nil {
			t.Fatal(err)
		}
		g, err := e.Gradient(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range g {
			square += float64(v) * float64(v)
		}
		grads[name] = g
	}
	at := func(step float64) float64 {
		for name, x := range e.Parameters() {
			moved := make([]float32, x.Len())
			for i := range moved {
				moved[i] = start[name][i] + float32(step*float64(grads[name][i]))
			}
			if err := runtime.Upload(x, moved); err != nil {
				t.Fatal(err)
			}
		}
		l, _ := microBatch(t, e, 1, b)
		return l
	}
	// Some of these models bend sharply: the best of three steps counts.
	var found []float64
	best := math.Inf(1)
	for _, share := range []float64{5e-3, 5e-4, 5e-5} {
		step := share * loss / square
		d := (at(step) - at(-step)) / (2 * step)
		found, best = append(found, d), min(best, math.Abs(d-square))
	}
	at(0)
	if !(best < 0.03*square) {
		t.Errorf("along the gradient the loss changes by %.4g, the gradient says %.4g", found, square)
	}
}

// small writes the grad and update graphs of a model that has shared layers, grouped
// heads and a GLU.
func small(t testing.TB, target graphgen.Target) (dir string, v variants.Variant) {
	t.Helper()
	v, err := variants.Find("gpt2+share.unique=2+share.uses=6+share.assignment=cycle_rev+d=24+heads=4+kv_heads=2+qkv_dim=8+ff=40+glu=true+act=gelu+attn.local=alternate+vocab=50+length=12", "tiny", "")
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if _, err := program.Write(dir, v, program.Options{Batch: 3, Target: target, Graphs: []string{"grad", "update"}}); err != nil {
		t.Fatal(err)
	}
	return dir, v
}

// TestOptimisationLevels: ONNX Runtime's rewrites of the graph change no loss.
func TestOptimisationLevels(t *testing.T) {
	rt := open(t)
	for _, target := range graphgen.StockTargets() {
		dir, v := small(t, target)
		var first []float64
		for _, level := range []string{"disable", "basic", "extended", "all"} {
			e, err := trainloop.NewEngine(rt, dir, trainloop.EngineOptions{Optimization: level})
			if err != nil {
				t.Fatal(err)
			}
			if err := e.LoadStart(dir); err != nil {
				t.Fatal(err)
			}
			var got []float64
			for step := int64(1); step <= 5; step++ {
				tokens, labels := text(v.Config, 36, uint64(step))
				loss, count := micro(t, e, step, tokens, labels)
				norm, err := e.Update(1e-2, step, count)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, loss, norm)
			}
			e.Close()
			if first == nil {
				first = got
			}
			for i := range got {
				if math.Abs(got[i]-first[i]) > 2e-6*first[i] {
					t.Errorf("%s, %s: %v, without rewrites %v", target, level, got, first)
					break
				}
			}
		}
	}
}

// TestInPlace: a program's accumulators, parameters and moments, bound to their own
// outputs, come out bit by bit as in separate memory.
func TestInPlace(t *testing.T) {
	rt := open(t)
	for _, target := range graphgen.StockTargets() {
		dir, v := small(t, target)
		for _, level := range []string{"disable", "all"} {
			for _, name := range []string{"grad", "update"} {
				apart, inPlace := bindGraph(t, rt, dir, name, level, false, corpus.Shapes{}), bindGraph(t, rt, dir, name, level, true, corpus.Shapes{})
				for _, g := range []*graph{apart, inPlace} {
					for input, x := range g.in {
						if x.Type() == runtime.Float32 {
							s, p := rng.New(rng.Name(input)), make([]float32, x.Len())
							for i := range p {
								p[i] = float32(math.Abs(0.1 * s.NormalAt(uint64(i)))) // second moments are not negative
							}
							upload(g, input, p...)
						}
					}
				}
				for run := range 3 {
					for _, g := range []*graph{apart, inPlace} {
						if name == "grad" {
							tokens, labels := text(v.Config, 36, uint64(run))
							upload(g, "tokens", tokens...)
							upload(g, "labels", labels...)
						} else {
							upload(g, "count", int64(30))
							upload(g, "lr", float32(0.01))
							upload(g, "step", int64(run+1))
						}
						g.run()
					}
					for output, x := range apart.out {
						if x.Type() == runtime.Float32 && !slices.Equal(download[float32](apart, output), download[float32](inPlace, output)) {
							t.Errorf("%s, %s, %s, run %d: %s differs in place", target, name, level, run, output)
						}
					}
					apart.turn()
				}
			}
		}
	}
}
