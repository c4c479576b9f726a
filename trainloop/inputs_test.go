package trainloop_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"march/graphgen"
	"march/runtime"
	"march/trainloop"
	"march/trainloop/corpus"
	"march/trainloop/objective"
	"march/trainloop/safetensors"
	"march/variants"
	"march/variants/manifest"
	"march/variants/program"
)

// Tests of what a micro-batch graph may take and give beyond tokens, labels, loss and count, on
// graphs made by hand whose results can be worked out in the head.

// toy says what a hand-made grad.onnx has.
type toy struct {
	batch, length, decoder int
	lengths, seed, ponder  bool
	extra                  func(g *graphgen.Graph) // further inputs and outputs
}

// total is the sum of an int64 tensor's elements, as a float32 scalar.
func total(x *graphgen.Tensor) *graphgen.Tensor {
	axes := make([]int, x.Rank())
	for i := range axes {
		axes[i] = i
	}
	return graphgen.ReduceSum(graphgen.Cast(x, graphgen.Float32), false, axes...)
}

// write makes a program with one parameter w [4], start value 1. Its loss is
//
//	Σ tokens + 100·Σ lengths + 1000·Σ decoder_tokens + dropout_seed / 2^20,
//
// ponder_sum is half of Σ labels, count the number of labels, and each entry of w's gradient grows
// by the loss / 1000.
func (y toy) write(t testing.TB) (dir string) {
	t.Helper()
	dir = t.TempDir()
	m := &manifest.Manifest{Study: "toy", Variant: "toy", Target: "portable", Precision: "fp32", Batch: y.batch, Length: y.length, Seed: toySeed,
		Config: []byte("{}"), Budget: []byte("{}"), Graphs: map[string]*manifest.Graph{}, Files: map[string]manifest.Digest{},
		Parameters: []manifest.Parameter{{Name: "w", Shape: []int{4}, Decay: true}}}
	var err error
	if m.Ranges, err = manifest.Layout(m.Parameters); err != nil {
		t.Fatal(err)
	}
	update, err := variants.Training{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8}.Update([]variants.Range{{Name: m.Ranges[0].Name, Elements: m.Ranges[0].Elements, Decay: true}}, false)
	if err != nil {
		t.Fatal(err)
	}
	grad := graphgen.New()
	if err := graphgen.Build(func() error { y.build(grad); return nil }); err != nil {
		t.Fatal(err)
	}
	digest := func(file string) {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		m.Files[file] = manifest.Digest{Bytes: int64(len(b)), SHA256: hex.EncodeToString(sum[:])}
	}
	for name, g := range map[string]*graphgen.Graph{"grad": grad, "update": update.Graph} {
		p, err := g.Compile(graphgen.Portable)
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.Encode(graphgen.EncodeOptions{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".onnx"), b, 0o666); err != nil {
			t.Fatal(err)
		}
		digest(name + ".onnx")
		ports := func(name string, x *graphgen.Tensor) manifest.Port {
			return manifest.Port{Name: name, DType: x.DType().String(), Shape: append([]int{}, x.Shape()...)}
		}
		d := &manifest.Graph{File: name + ".onnx"}
		for _, x := range p.Graph.Inputs() {
			d.Inputs = append(d.Inputs, ports(x.Name(), x))
		}
		for _, o := range p.Graph.Outputs() {
			d.Outputs = append(d.Outputs, ports(o.Name, o.Tensor))
		}
		m.Graphs[name] = d
	}
	start := []safetensors.Tensor{safetensors.New("w", []int{4}, []float32{1, 1, 1, 1})}
	if err := safetensors.WriteFile(filepath.Join(dir, program.InitFile), start, nil); err != nil {
		t.Fatal(err)
	}
	digest(program.InitFile)
	if err := m.Write(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (y toy) build(g *graphgen.Graph) {
	w, sum := g.Input("w", graphgen.Float32, 4), g.Input("w.grad", graphgen.Float32, 4)
	tokens := g.Input("tokens", graphgen.Int64, y.batch, y.length)
	labels := []int{y.batch, y.length}
	loss := total(tokens)
	if y.lengths {
		loss = graphgen.Add(loss, graphgen.Scale(total(g.Input("lengths", graphgen.Int64, y.batch)), 100))
	}
	if y.decoder > 0 {
		labels[1] = y.decoder
		loss = graphgen.Add(loss, graphgen.Scale(total(g.Input("decoder_tokens", graphgen.Int64, labels...)), 1000))
	}
	label := g.Input("labels", graphgen.Int64, labels...)
	if y.seed {
		seed := g.Input("dropout_seed", graphgen.Int64) // taken apart, as by a graph that knows a step's parts
		part := graphgen.Div(seed, g.Scalar(graphgen.Int64, 1<<32))
		loss = graphgen.Add(loss, graphgen.Add(graphgen.Scale(total(part), 1<<12), graphgen.Scale(total(graphgen.DropoutWhole(seed)), 1./(1<<20))))
	}
	g.Output("loss_sum", loss)
	g.Output("count", graphgen.LabelCount(label))
	if y.ponder {
		g.Output("ponder_sum", graphgen.Scale(total(label), 0.5))
	}
	step := graphgen.Scale(graphgen.Add(loss, graphgen.Scale(graphgen.ReduceSum(w, false, 0), 0)), 1e-3)
	g.Output("w.grad.new", graphgen.Add(sum, step))
	if y.extra != nil {
		y.extra(g)
	}
}

// numbered are batches whose tokens, lengths, decoder tokens, labels and documents are micro-batch m's number
// plus 1, 2, 3, 4 and 5, and that count how often they are asked for.
type numbered struct {
	shapes corpus.Shapes
	fills  *atomic.Int64
}

func (b numbered) Shapes() corpus.Shapes { return b.shapes }

func (b numbered) Fill(micro int64, x *corpus.Batch) {
	b.fills.Add(1)
	for i, part := range [][]int64{x.Tokens, x.Lengths, x.DecoderTokens, x.Labels, x.Documents} {
		for j := range part {
			part[j] = micro + int64(i) + 1
		}
	}
}

func feedFor(s corpus.Shapes) numbered { return numbered{s, new(atomic.Int64)} }

func engine(t testing.TB, rt *runtime.Runtime, dir string, o trainloop.EngineOptions) *trainloop.Engine {
	t.Helper()
	e, err := trainloop.NewEngine(rt, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	if err := e.LoadStart(dir); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestFurtherInputs: lengths, decoder tokens and the dropout seed reach the graph, and further
// outputs come back, each with its own number for every micro-batch.
func TestFurtherInputs(t *testing.T) {
	rt := open(t)
	y := toy{batch: 2, length: 3, decoder: 5, lengths: true, seed: true, ponder: true}
	e := engine(t, rt, y.write(t), trainloop.EngineOptions{Replicas: 2, Seed: 7})
	shapes := corpus.Shapes{Batch: 2, Length: 3, Decoder: 5, Lengths: true}
	if e.Shapes() != shapes {
		t.Fatalf("shapes %+v, want %+v", e.Shapes(), shapes)
	}
	if _, err := e.Accumulate(1, 0, 1); err == nil || !strings.Contains(err.Error(), "Feed") {
		t.Errorf("without batches: %v", err)
	}
	if err := e.Feed(feedFor(shapes)); err != nil {
		t.Fatal(err)
	}
	const step, first, n = 3, 8, 4
	got, err := e.Accumulate(step, first, n)
	if err != nil {
		t.Fatal(err)
	}
	want := trainloop.Sums{Count: n * 10, Further: map[string]float64{"ponder_sum": 0}}
	for micro := int64(first); micro < first+n; micro++ {
		m := float64(micro)
		want.Loss += 6*(m+1) + 100*2*(m+2) + 1000*10*(m+3) + float64(graphgen.DropoutPart(trainloop.DropoutSeed(7, step, step-1), micro-first))/(1<<20)
		want.Further["ponder_sum"] += 0.5 * 10 * (m + 4)
	}
	if got.Count != want.Count || math.Abs(got.Loss-want.Loss) > 1e-6*want.Loss || !maps.Equal(got.Further, want.Further) {
		t.Errorf("sums %+v, want %+v", got, want)
	}
}

// TestDropoutSeeds: pinned, and another one for each micro-batch, step and seed.
func TestDropoutSeeds(t *testing.T) {
	seen := map[int64]bool{}
	for seed := range uint64(4) {
		for step := range int64(50) {
			for micro := range int64(20) {
				x := trainloop.DropoutSeed(seed, step, micro)
				if x < 0 || x >= 1<<31-1 {
					t.Fatalf("seed %d", x)
				}
				seen[x] = true
			}
		}
	}
	if len(seen) < 3990 { // of 4000; about 0.004 collisions are to be expected
		t.Errorf("%d different seeds of 4000", len(seen))
	}
	// From a second implementation of the formula, in Python.
	if a, b := trainloop.DropoutSeed(1, 1, 0), trainloop.DropoutSeed(42, 900, 3599); a != 1274899393 || b != 1059740986 {
		t.Errorf("seeds %d and %d, want %d and %d", a, b, 1274899393, 1059740986)
	}
}

// TestReplicasAgree: sums, gradients and steps are the same whichever replicas run the
// micro-batches, with and without batches filled ahead.
func TestReplicasAgree(t *testing.T) {
	rt := open(t)
	dir := toy{batch: 1, length: 3, lengths: true, seed: true, ponder: true}.write(t)
	const n, steps = 6, 3
	var want []trainloop.Sums
	var params []float32
	for _, replicas := range []int{1, 2, 3, 6} {
		for _, ahead := range []string{"none", "right", "wrong"} {
			name := fmt.Sprintf("%d replicas, ahead: %s", replicas, ahead)
			e := engine(t, rt, dir, trainloop.EngineOptions{Replicas: replicas, Seed: 5})
			b := feedFor(corpus.Shapes{Batch: 1, Length: 3, Lengths: true})
			if err := e.Feed(b); err != nil {
				t.Fatal(err)
			}
			var got []trainloop.Sums
			for step := range int64(steps) {
				s, err := e.Accumulate(step+1, step*n, n)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, s)
				switch ahead {
				case "right":
					e.Ahead((step+1)*n, n)
				case "wrong":
					e.Ahead((step+5)*n, n)
				}
				if _, err := e.Update(1e-3, step+1, s.Count); err != nil {
					t.Fatal(err)
				}
			}
			p := make([]float32, 4)
			if err := runtime.Download(e.Parameters()["w"], p); err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want, params = got, p
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: sums %+v, with one %+v", name, got, want)
			}
			// Gradient sums are added up in another order, so to rounding.
			for i := range p {
				if math.Abs(float64(p[i]-params[i])) > 1e-6 || p[i] == 1 {
					t.Errorf("%s: w %v, with one %v", name, p, params)
					break
				}
			}
			e.Close()
			// What is filled ahead and not taken is at most one micro-batch a replica.
			if fills := b.fills.Load(); ahead != "wrong" && fills > n*steps+int64(replicas) {
				t.Errorf("%s: %d micro-batches were filled, for %d", name, fills, n*steps)
			}
		}
	}
}

// TestFeedRefuses: batches that a graph cannot take, by what differs.
func TestFeedRefuses(t *testing.T) {
	rt := open(t)
	decoder := engine(t, rt, toy{batch: 2, length: 4}.write(t), trainloop.EngineOptions{})
	encoder := engine(t, rt, toy{batch: 2, length: 4, lengths: true}.write(t), trainloop.EngineOptions{})
	both := engine(t, rt, toy{batch: 2, length: 4, decoder: 3, lengths: true}.write(t), trainloop.EngineOptions{})
	for _, c := range []struct {
		e    *trainloop.Engine
		s    corpus.Shapes
		want string
	}{
		{decoder, corpus.Shapes{Batch: 2, Length: 4}, ""},
		{decoder, corpus.Shapes{Batch: 2, Length: 4, Lengths: true}, ""}, // all are full length
		{decoder, corpus.Shapes{Batch: 2, Length: 5}, "takes tokens [2 4], the batches have them [2 5]"},
		{decoder, corpus.Shapes{Batch: 1, Length: 4}, "takes tokens [2 4], the batches have them [1 4]"},
		{decoder, corpus.Shapes{Batch: 2, Length: 4, Decoder: 4}, "takes decoder_tokens not at all, the batches have them [2 4]"},
		{decoder, corpus.Shapes{Batch: 2, Length: 4, Documents: true}, "takes documents not at all, the batches have them [2 4]"},
		{encoder, corpus.Shapes{Batch: 2, Length: 4, Lengths: true}, ""},
		{encoder, corpus.Shapes{Batch: 2, Length: 4}, "takes lengths [2], the batches have them not at all"},
		{both, corpus.Shapes{Batch: 2, Length: 4, Decoder: 3, Lengths: true}, ""},
		{both, corpus.Shapes{Batch: 2, Length: 4, Decoder: 2, Lengths: true}, "takes labels [2 3], the batches have them [2 2]"},
		{both, corpus.Shapes{Batch: 2, Length: 4, Lengths: true}, "takes labels [2 3], the batches have them [2 4]"},
	} {
		err := c.e.Feed(feedFor(c.s))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.s, err, c.want)
		}
	}
}

// TestUnknownPorts: what training does not know is refused by name, not guessed at.
func TestUnknownPorts(t *testing.T) {
	rt := open(t)
	for name, extra := range map[string]func(g *graphgen.Graph){
		`"temperature" that training does not know`: func(g *graphgen.Graph) {
			g.Output("warm_sum", graphgen.Scale(g.Input("temperature", graphgen.Float32), 2))
		},
		`"histogram" that training does not know`: func(g *graphgen.Graph) {
			g.Output("histogram", graphgen.Exp(g.Inputs()[0])) // not a scalar
		},
		`"dropout_seed" that training does not know`: func(g *graphgen.Graph) {
			g.Output("warm_sum", graphgen.Scale(g.Input("dropout_seed", graphgen.Float32), 2))
		},
	} {
		_, err := trainloop.NewEngine(rt, toy{batch: 1, length: 2, extra: extra}.write(t), trainloop.EngineOptions{})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %s", err, name)
		}
	}
}

// toySeed is that of every toy's program and settings.
const toySeed = 3

func toySettings(objective string, steps int64) trainloop.Settings {
	return trainloop.Settings{Config: []byte("{}"), Objective: objective, Seed: toySeed, Steps: steps, TokensPerStep: 12, MicroBatch: 1, Length: 3}
}

// TestTrainWithFurtherSums: they are logged a label, survive resuming, and a run cannot go on
// under another objective.
func TestTrainWithFurtherSums(t *testing.T) {
	rt := open(t)
	shapes := corpus.Shapes{Batch: 1, Length: 3, Lengths: true}
	o := trainloop.Options{Dir: filepath.Join(t.TempDir(), "run"), Program: toy{batch: 1, length: 3, lengths: true, seed: true, ponder: true}.write(t),
		Settings: toySettings(objective.MaskedLM, 6), Training: variants.Training{Rate: 1e-3, Schedule: "constant"}, Runtime: rt,
		Batches: feedFor(shapes), SaveEvery: 2}
	stopped := o
	ctx, cancel := context.WithCancel(t.Context())
	stopped.OnStep = func(m trainloop.Metric) {
		if m.Step == 3 {
			cancel()
		}
	}
	if _, err := trainloop.Train(ctx, stopped); !errors.Is(err, context.Canceled) {
		t.Fatalf("stopped: %v", err)
	}
	other := o
	other.Resume, other.Settings.Objective = true, objective.CausalLM
	if _, err := trainloop.Train(t.Context(), other); err == nil || !strings.Contains(err.Error(), `objective (was "masked-lm", now "causal-lm")`) {
		t.Errorf("under another objective: %v", err)
	}
	o.Resume = true
	r, err := trainloop.Train(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Resumed != 3 || len(r.Metrics) != 6 {
		t.Fatalf("resumed after step %d, %d steps", r.Resumed, len(r.Metrics))
	}
	for i, m := range r.Metrics {
		// Micro-batches 4i … 4i+3 with labels of their number plus 4, half of which is the sum.
		want := map[string]float64{"ponder_sum": 0.5 * (4*float64(i) + 1.5 + 4)}
		if !maps.Equal(m.PerLabel, want) || m.Tokens != int64(12*(i+1)) {
			t.Errorf("step %d: %v a label after %d tokens, want %v", m.Step, m.PerLabel, m.Tokens, want)
		}
	}
	straight := o
	straight.Dir, straight.Resume = filepath.Join(t.TempDir(), "run"), false
	s, err := trainloop.Train(t.Context(), straight)
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Metrics {
		a, b := s.Metrics[i], r.Metrics[i]
		if a.Loss != b.Loss || a.GradNorm != b.GradNorm {
			t.Errorf("step %d: %+v, resumed %+v", i+1, a, b)
		}
	}
	if a, b := s.Checkpoint.SHA256, r.Checkpoint.SHA256; !slices.Equal(slices.Sorted(maps.Values(a)), slices.Sorted(maps.Values(b))) {
		t.Error("the resumed run ends in other parameters")
	}
}

// TestOldSettings: a run from before objectives had names is one of causal language modelling.
func TestOldSettings(t *testing.T) {
	rt := open(t)
	o := trainloop.Options{Dir: filepath.Join(t.TempDir(), "run"), Program: toy{batch: 1, length: 3}.write(t), Settings: toySettings("", 1),
		Training: variants.Training{Rate: 1e-3, Schedule: "constant"}, Runtime: rt, Batches: feedFor(corpus.Shapes{Batch: 1, Length: 3})}
	if _, err := trainloop.Train(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(o.Dir, trainloop.SettingsFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line := " \"objective\": \"causal-lm\",\n"
	if !strings.Contains(string(b), line) {
		t.Fatalf("settings %s", b)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), line, "", 1)), 0o666); err != nil {
		t.Fatal(err)
	}
	o.Resume, o.Settings.Objective = true, objective.CausalLM
	if _, err := trainloop.Train(t.Context(), o); err != nil {
		t.Errorf("an old run: %v", err)
	}
	o.Settings.Objective = objective.PrefixLM
	if _, err := trainloop.Train(t.Context(), o); err == nil || !strings.Contains(err.Error(), `objective (was "causal-lm", now "prefix-lm")`) {
		t.Errorf("an old run under another objective: %v", err)
	}
}

// unlabelled are batches without any label.
type unlabelled struct{ numbered }

func (u unlabelled) Fill(_ int64, x *corpus.Batch) {
	for i := range x.Labels {
		x.Labels[i] = corpus.IgnoreLabel
	}
}

// TestNothingToLearn: a step without a label says so, rather than dividing by zero.
func TestNothingToLearn(t *testing.T) {
	o := trainloop.Options{Dir: filepath.Join(t.TempDir(), "run"), Program: toy{batch: 1, length: 3}.write(t), Settings: toySettings("", 1),
		Training: variants.Training{Rate: 1e-3, Schedule: "constant"}, Runtime: open(t), Batches: unlabelled{feedFor(corpus.Shapes{Batch: 1, Length: 3})}}
	if _, err := trainloop.Train(t.Context(), o); err == nil || !strings.Contains(err.Error(), "step 1 (micro-batches 0 to 3) has no label") {
		t.Errorf("%v", err)
	}
}
