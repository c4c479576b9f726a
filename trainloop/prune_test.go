package trainloop

import (
	"context"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"march/graphgen"
	"march/runtime"
	"march/trainloop/corpus"
	"march/trainloop/rng"
	"march/trainloop/safetensors"
	"march/variants"
	"march/variants/manifest"
	"march/variants/program"
)

// TestSmallestMasked compares with a stable sort, at ties, zeros of either sign and all counts.
func TestSmallestMasked(t *testing.T) {
	r := rng.New(7, rng.Name("masked"))
	for _, kinds := range []uint64{1, 3, 40, 1 << 40} { // of values: few make ties
		w := make([]float32, 97)
		for i := range w {
			w[i] = float32(r.Below(kinds)) / 64
			if r.Below(2) == 0 {
				w[i] = -w[i]
			}
		}
		order := make([]int, len(w))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int {
			return int(math.Copysign(1, math.Abs(float64(w[a]))-math.Abs(float64(w[b])))) * boolInt(math.Abs(float64(w[a])) != math.Abs(float64(w[b])))
		})
		for n := range len(w) + 1 {
			want := make([]float32, len(w))
			for _, i := range order[n:] {
				want[i] = 1
			}
			if got := smallestMasked(w, n); !slices.Equal(got, want) {
				t.Fatalf("%d of %d kinds of values: %v, wanted %v of %v", n, kinds, got, want, w)
			}
		}
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// noise are micro-batches of random tokens.
type noise struct {
	shapes corpus.Shapes
	vocab  uint64
}

func (x noise) Shapes() corpus.Shapes { return x.shapes }

func (x noise) Fill(micro int64, b *corpus.Batch) {
	r := rng.New(uint64(micro), rng.Name("noise"))
	for _, list := range [][]int64{b.Tokens, b.Labels} {
		for i := range list {
			list[i] = int64(r.Below(x.vocab))
		}
	}
	for i := range b.Lengths {
		b.Lengths[i] = int64(x.shapes.Length) - int64(i)%2
	}
}

// Changes that make study sharing's variants small, and those that a teacher has of them.
const (
	sized = "+d=12+qkv_dim=2+ff=24" + data
	data  = "+vocab=32+length=8"
)

// small is a run of a variant with batches of two sequences.
func small(t *testing.T, rt *runtime.Runtime, name, arch string, steps int64) (Options, variants.Config) {
	t.Helper()
	v, err := variants.Find(name, "tiny", arch)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	m, err := program.Write(dir, v, program.Options{Batch: 2, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	return Options{Dir: filepath.Join(t.TempDir(), "run"), Program: dir, Training: v.Config.Training, Runtime: rt, SaveEvery: 4,
		Settings: Settings{Config: m.Config, Seed: m.Seed, Steps: steps, TokensPerStep: 32, MicroBatch: 2, Length: 8},
		Batches:  noise{corpus.Shapes{Batch: 2, Length: 8, Lengths: arch != variants.Decoder}, 32}}, v.Config
}

// TestPruning: masks follow the schedule to one weight of each matrix, a run that was
// killed between two of them goes on to the same bytes, and checkpoints and evaluation
// have the weights that are left.
func TestPruning(t *testing.T) {
	const steps = 21
	rt := openRuntime(t)
	for _, arch := range []string{variants.Decoder, variants.Encoder} {
		t.Run(arch, func(t *testing.T) {
			straight, c := small(t, rt, "prune+training.prune.every=3+dropout.rate=0.1"+sized, arch, steps)
			due, step := int64(0), int64(0)
			straight.ValidateEvery = 1
			straight.Validate = func(e *Engine) (float64, error) {
				if step++; c.Training.Prune.Due(step, steps) {
					due = step
				}
				g := e.Manifest.Graphs["grad"]
				for _, p := range e.Manifest.Parameters {
					takes := slices.ContainsFunc(g.Inputs, func(x manifest.Port) bool { return x.Name == p.Name+".mask" })
					if want := p.Decay && !strings.HasPrefix(p.Name, "embed."); takes != want || e.isPruned(p) != want {
						t.Fatalf("%s is masked %t, wanted %t", p.Name, takes, want)
					}
					if !takes {
						continue
					}
					want := int(math.Floor(c.Training.Prune.SparsityAt(due, steps)*float64(p.Elements()) + 0.5))
					if got := zeros(t, e, kindMask, p); got != want {
						t.Errorf("step %d: %d weights of %s are masked, wanted %d of %d", step, got, p.Name, want, p.Elements())
					}
				}
				return 1, nil
			}
			want, err := Train(t.Context(), straight)
			if err != nil {
				t.Fatal(err)
			}
			if last := want.Metrics[steps-1].Sparsity; math.Abs(last-0.5) > 0.01 || want.Metrics[0].Sparsity != 0 {
				t.Errorf("the run ends with sparsity %v, wanted 0.5", last)
			}
			checkEffective(t, rt, straight.Program, want.Checkpoint)

			broken := straight
			broken.Dir, broken.Validate = filepath.Join(t.TempDir(), "run"), nil
			ctx, stop := context.WithCancel(t.Context())
			broken.OnStep = func(m Metric) {
				if m.Step == 10 {
					stop()
				}
			}
			if _, err := Train(ctx, broken); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			// As if it had been killed: step 10's checkpoint was never written. Masks are those of
			// step 7 then, and parameters those of step 8.
			if err := os.RemoveAll(filepath.Join(broken.Dir, checkpointsDir, "step-00000010")); err != nil {
				t.Fatal(err)
			}
			broken.Resume, broken.OnStep = true, nil
			got, err := Train(t.Context(), broken)
			if err != nil {
				t.Fatal(err)
			}
			if got.Resumed != 8 || !maps.Equal(got.Checkpoint.SHA256, want.Checkpoint.SHA256) || len(got.Checkpoint.SHA256) != 3 {
				t.Errorf("resumed after step %d, the run ends in %v, wanted %v", got.Resumed, got.Checkpoint.SHA256, want.Checkpoint.SHA256)
			}
			for i := range want.Metrics {
				a, b := got.Metrics[i], want.Metrics[i]
				a.Seconds, b.Seconds, b.Valid = 0, 0, nil
				if !reflect.DeepEqual(a, b) {
					t.Errorf("step %d: %+v, wanted %+v", i+1, a, b)
				}
			}
			damaged := filepath.Join(got.Checkpoint.Dir, pruningFile)
			if err := os.WriteFile(damaged, nil, 0o666); err != nil {
				t.Fatal(err)
			}
			if _, err := readCheckpoint(got.Checkpoint.Dir); err == nil || !strings.Contains(err.Error(), damaged+" is damaged") {
				t.Errorf("a damaged file of masks: error %v", err)
			}
		})
	}
}

func zeros(t *testing.T, e *Engine, kind string, p manifest.Parameter) (n int) {
	t.Helper()
	v, err := e.tensor(kind, p)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range v {
		if x == 0 {
			n++
		}
	}
	return n
}

// checkEffective: the checkpoint's parameters are those of Effective, with zeros where the
// masks have them, and training goes on from others.
func checkEffective(t *testing.T, rt *runtime.Runtime, dir string, c Checkpoint) {
	t.Helper()
	e, err := NewEngine(rt, dir, EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.restore(&c); err != nil {
		t.Fatal(err)
	}
	effective, err := e.Effective()
	if err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Open(c.Params())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	masked, moved := 0, 0
	for _, p := range e.Manifest.Parameters {
		saved, raw := make([]float32, p.Elements()), download[float32](t, e.views[p.Name])
		if err := safetensors.Read(f, p.Name, saved); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(saved, download[float32](t, effective[p.Name])) {
			t.Errorf("%s is saved otherwise than evaluated", p.Name)
		}
		if !e.isPruned(p) {
			continue
		}
		mask := download[float32](t, e.views[variants.PruneMaskName(p.Name)])
		for i, x := range saved {
			switch {
			case mask[i] == 0 && x != 0 || mask[i] == 1 && x != raw[i]:
				t.Fatalf("%s, entry %d: saved %v, mask %v of %v", p.Name, i, x, mask[i], raw[i])
			case mask[i] == 0:
				masked++
				moved += boolInt(raw[i] != 0)
			}
		}
	}
	if masked != e.pruning.masked || float64(masked)/float64(e.pruning.weights) != e.Sparsity() || moved < masked*9/10 {
		t.Errorf("%d weights are masked, the engine says %d; %d of them are not zero for the optimizer", masked, e.pruning.masked, moved)
	}
}

// TestPruneRefuses: masks where none are taken, and a checkpoint without them.
func TestPruneRefuses(t *testing.T) {
	rt := openRuntime(t)
	o, _ := small(t, rt, "baseline"+sized, variants.Decoder, 2)
	r, err := Train(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	pruned := o
	pruned.Dir, pruned.Training.Prune.Sparsity = filepath.Join(t.TempDir(), "run"), 0.5
	if _, err := Train(t.Context(), pruned); err == nil || !strings.Contains(err.Error(), "grad.onnx takes no masks") {
		t.Errorf("pruning without masks: error %v", err)
	}
	x, _ := small(t, rt, "prune"+sized, variants.Decoder, 2)
	e, err := NewEngine(rt, x.Program, EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.restore(&r.Checkpoint); err == nil || !strings.Contains(err.Error(), "has no pruning.safetensors") {
		t.Errorf("a checkpoint without masks: error %v", err)
	}
}

// logits gives infer.onnx's for a batch of two sequences of eight, with its start values.
func logits(t *testing.T, rt *runtime.Runtime, dir string, b *corpus.Batch) []float32 {
	t.Helper()
	s, err := rt.Session(filepath.Join(dir, "infer.onnx"), runtime.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := map[string]*runtime.Tensor{variants.Tokens: newTensor(t, rt, runtime.Int64, graphgen.Shape{2, 8}, b.Tokens)}
	if b.Lengths != nil {
		in[variants.Lengths] = newTensor(t, rt, runtime.Int64, graphgen.Shape{2}, b.Lengths)
	}
	out := newTensor(t, rt, runtime.Float32, graphgen.Shape{2, 8, 32}, make([]float32, 2*8*32))
	binding, err := s.Bind(in, map[string]*runtime.Tensor{"logits": out})
	if err != nil {
		t.Fatal(err)
	}
	if err := binding.Run(); err != nil {
		t.Fatal(err)
	}
	return download[float32](t, out)
}
