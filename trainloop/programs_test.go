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

// bindGraph loads a graph and binds what the manifest lists, dynamic dimensions to sizes.
// With inPlace, an output that replaces an input takes its memory.
func bindGraph(t testing.TB, rt *runtime.Runtime, dir, name, level string, inPlace bool, sizes ...int) *graph {
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
				shape[i] = int64(sizes[i])
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

// one is a single micro-batch.
type one struct {
	shapes corpus.Shapes
	batch  *corpus.Batch
}

func (o one) Shapes() corpus.Shapes { return o.shapes }

func (o one) Fill(_ int64, b *corpus.Batch) {
	for _, name := range corpus.Arrays() {
		copy(b.Array(name), o.batch.Array(name))
	}
}

// micro runs one micro-batch.
func micro(t testing.TB, e *trainloop.Engine, step int64, tokens, labels []int64) (loss float64, count int64) {
	t.Helper()
	if err := e.Feed(one{e.Shapes(), &corpus.Batch{Tokens: tokens, Labels: labels}}); err != nil {
		t.Fatal(err)
	}
	s, err := e.Accumulate(step, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	return s.Loss, s.Count
}

// randomConfig is a valid config with every axis of the model drawn at random.
func randomConfig(r *rand.Rand) variants.Config {
	v, err := variants.Find("baseline", "tiny", "")
	if err != nil {
		panic(err)
	}
	pick := func(n ...int) int { return n[r.IntN(len(n))] }
	coin := func() bool { return r.IntN(2) == 0 }
	c := v.Config
	c.Vocab, c.Length, c.D = pick(11, 32, 101), pick(2, 7, 16), pick(4, 12, 30)
	c.Share.Unique = pick(1, 2, 3)
	c.Share.Uses = c.Share.Unique * pick(1, 2, 3)
	c.Share.Assignment = []string{"seq", "cycle", "cycle_rev"}[r.IntN(3)]
	c.KVHeads = pick(0, 1, 2)
	c.Heads = max(1, c.KVHeads) * pick(1, 2, 3)
	c.QKVDim, c.FF = pick(1, 3, 8), pick(1, 5, 48)
	c.Act, c.GLU = graphgen.ActivationNames()[r.IntN(len(graphgen.ActivationNames()))], coin()
	c.Bias = variants.Bias{QKV: coin(), Out: coin(), FF: coin()}
	c.Norm.Kind = []string{"layer", "rms"}[r.IntN(2)]
	c.Attn = variants.Attn{Scaled: coin(), Local: []string{"none", "alternate"}[r.IntN(2)]}
	c.Pos.Kind = []string{"learned", "none"}[r.IntN(2)]
	return c
}

// TestRandomConfigs: whatever the axes are set to, the untrained model is as surprised by
// random labels as a uniform guess, eval.onnx agrees with the loss, and a step can be taken.
func TestRandomConfigs(t *testing.T) {
	rt := open(t)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 20 {
		c := randomConfig(r)
		v, err := variants.Find("baseline", "tiny", "")
		if err != nil {
			t.Fatal(err)
		}
		changes := c.Difference(v.Config)
		v.Config = c
		o := program.Options{Batch: 1 + r.IntN(3), Length: 1 + r.IntN(c.Length), Target: graphgen.Targets()[i%2], Graphs: []string{"grad", "update", "eval"}}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("batch %d × length %d, %s, %v", o.Batch, o.Length, o.Target, changes)
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
			tokens, labels := text(c, o.Batch*o.Length, uint64(i))
			labels[0] = max(labels[0], 0) // at least one counts
			want := int64(0)
			for _, l := range labels {
				if l >= 0 {
					want++
				}
			}
			loss, count := micro(t, e, 1, tokens, labels)
			if mean := loss / float64(count); count != want || !(math.Abs(mean-math.Log(float64(c.Vocab))) < 0.2) {
				t.Errorf("mean loss %v over %d labels, wanted about ln %d = %.3f over %d", mean, count, c.Vocab, math.Log(float64(c.Vocab)), want)
			}
			eval := bindGraph(t, rt, dir, "eval", "", false, o.Batch, o.Length)
			for name, x := range e.Parameters() {
				p := make([]float32, x.Len())
				if err := runtime.Download(x, p); err != nil {
					t.Fatal(err)
				}
				upload(eval, name, p...)
			}
			upload(eval, "tokens", tokens...)
			upload(eval, "labels", labels...)
			eval.run()
			sum := 0.0
			for _, lp := range download[float32](eval, "logprob") {
				sum -= float64(lp)
			}
			if math.Abs(sum-loss) > 1e-5*loss {
				t.Errorf("eval.onnx sums to %v, grad.onnx to %v", sum, loss)
			}
			norm, err := e.Update(1e-3, 1, count)
			if err != nil || !(norm > 0 && norm < 1e3) {
				t.Errorf("gradient norm %v (%v)", norm, err)
			}
			if again, _ := micro(t, e, 2, tokens, labels); !(again < loss) {
				t.Errorf("after a step the loss on the same text is %v, before it was %v", again, loss)
			}
		})
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
	for _, target := range graphgen.Targets() {
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
	for _, target := range graphgen.Targets() {
		dir, v := small(t, target)
		for _, level := range []string{"disable", "all"} {
			for _, name := range []string{"grad", "update"} {
				apart, inPlace := bindGraph(t, rt, dir, name, level, false), bindGraph(t, rt, dir, name, level, true)
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
