package trainloop

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"march/graphgen"
	"march/runtime"
	"march/variants"
	"march/variants/manifest"
	"march/variants/program"
)

// TestRecomputeBlock: with layers computed anew the loss and all gradients of every variant, with dropout, are
// those of the program that keeps everything: mostly to the last bit, always within 1e-6 of the
// whole gradient's norm.
func TestRecomputeBlock(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(goldens, "*", "case.json"))
	if err != nil || len(files) < 100 {
		t.Fatalf("found %d goldens in %s, want more than 100: %v", len(files), goldens, err)
	}
	rt := openRuntime(t)
	var lock sync.Mutex
	equal, all, worst := 0, 0, 0.0
	t.Run("cases", func(t *testing.T) {
		for i, file := range files {
			target := graphgen.StockTargets()[i%2]
			t.Run(fmt.Sprintf("%s/%s", filepath.Base(filepath.Dir(file)), target), func(t *testing.T) {
				t.Parallel()
				g, _ := readGolden(t, filepath.Dir(file))
				o := program.Options{Target: target, Batch: g.Batch, Length: g.Seq, DecoderLength: g.DecoderSeq, Graphs: []string{"grad"}}
				if c := g.config(t); i%3 == 0 && c.Teacher == nil {
					o.LossChunks = g.Batch
				}
				want := g.dropped(t, rt, o, 1)
				o.Recompute = "block"
				got := g.dropped(t, rt, o, 1)
				lock.Lock()
				defer lock.Unlock()
				for name, off := range apart(got, want) {
					if all++; off == 0 {
						equal++
					}
					worst = max(worst, off)
					if !(off <= 1e-6) {
						t.Errorf("%q is off by %.2g of the whole", name, off)
					}
				}
			})
		}
	})
	t.Logf("%d models: %d of %d losses and gradients equal to the last bit, the others within %.1e of the whole gradient", len(files), equal, all, worst)
}

// apart is by how much each of dropped's gradients differs at most, as a share of the whole gradient's norm, and the loss of itself.
func apart(got, want map[string][]float32) map[string]float64 {
	square := 0.0
	for name, w := range want {
		for _, x := range w {
			if name != "" {
				square += float64(x) * float64(x)
			}
		}
	}
	list := map[string]float64{}
	for name, w := range want {
		norm := math.Sqrt(square)
		if name == "" {
			norm = float64(w[0])
		}
		off := 0.0
		for j, x := range w {
			off = max(off, math.Abs(float64(got[name][j]-x))/norm)
		}
		list[name] = off
	}
	return list
}

// dropped are a case's gradients by parameter, and its loss under "", with a tenth dropped where the case itself
// drops nothing. The batch runs in so many parts, of the program's batch each.
func (g golden) dropped(t *testing.T, rt *runtime.Runtime, o program.Options, parts int) map[string][]float32 {
	t.Helper()
	folder, c := t.TempDir(), g.config(t)
	if c.Dropout.Rate == 0 {
		c.Dropout.Rate = 0.1
	}
	m, err := program.Write(folder, variants.Variant{Study: "goldens", Base: g.Case, Config: c}, o)
	if err != nil {
		t.Fatal(err)
	}
	if d := m.Graphs["grad"]; (d.Recomputed > 0) != (o.Recompute == "block") {
		t.Errorf("recompute %q: %d nodes of %d computed anew", o.Recompute, d.Recomputed, d.Nodes)
	}
	e, err := NewEngine(rt, folder, EngineOptions{NoUpdate: true, Replicas: min(2, parts)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, p := range slices.Concat(g.Parameters, g.Teacher.Parameters) {
		upload(t, e.views[p.Name], p.values(t))
	}
	g.prune(t, e, g.Prune.Sparsity, g.Prune.Masked)
	if err := e.Feed(parted{e.Shapes(), g.batch()}); err != nil {
		t.Fatal(err)
	}
	sums, err := e.Accumulate(1, 0, int64(parts))
	if err == nil {
		err = e.Merge()
	}
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]float32{"": {float32(sums.Loss)}}
	for _, p := range m.Parameters {
		if out[p.Name], err = e.Gradient(p.Name); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestRecomputeOrder: ONNX Runtime, which joins equal nodes and runs them in an order of its own, computes
// every layer anew, and none before the gradients of the layer behind it are there.
func TestRecomputeOrder(t *testing.T) {
	rt := openRuntime(t)
	for _, name := range []string{"sharing_decoder_very_wide_cycle", "sharing_encoder_universal_act", "heads_baseline", "heads_kv_cross_attention", "combined_unified_relative"} {
		g, _ := readGolden(t, filepath.Join(goldens, name))
		c := g.config(t)
		c.Dropout.Rate = 0.1
		for _, target := range graphgen.StockTargets() {
			dir := t.TempDir()
			m, err := program.Write(dir, variants.Variant{Study: "goldens", Base: name, Config: c},
				program.Options{Target: target, Batch: g.Batch, Length: g.Seq, DecoderLength: g.DecoderSeq, Recompute: "block", Graphs: []string{"grad", "step"}})
			if err != nil {
				t.Fatal(err)
			}
			for _, graph := range []string{"grad", "step"} {
				checkLayers(t, fmt.Sprintf("%s, %s, %s", name, target, graph), profiled(t, rt, dir, m, graph), c, m.Graphs[graph].Recomputed)
			}
		}
	}
}

// checkLayers wants, of the nodes in the order in which they ran, the products of layers computed anew from the last layer
// to the first, each behind all products of the gradients of the one before.
func checkLayers(t *testing.T, at string, names []string, c variants.Config, recomputed int) {
	t.Helper()
	first, last, anew := map[string]int{}, map[string]int{}, 0 // of a layer's products computed anew; of its gradients
	for i, name := range names {
		place, op, _ := strings.Cut(name, "/")
		pass, place, _ := strings.Cut(place, ".")
		if pass == "anew" {
			anew++
		}
		parts := strings.SplitN(place, ".", 3)
		if !strings.HasPrefix(op, "gemm") || len(parts) < 2 {
			continue
		}
		layer := parts[0] + "." + parts[1]
		if pass == "grad" {
			last[layer] = i
		} else if _, seen := first[layer]; pass == "anew" && !seen {
			first[layer] = i
		}
	}
	before, layers := "", 0
	for _, stack := range []string{variants.Decoder, variants.Encoder} {
		for use := c.Share.Uses - 1; use >= 0; use-- {
			layer := fmt.Sprint(stack, ".", use)
			if _, anew := first[layer]; !anew {
				continue // of an encoder's last layer perhaps only keys and values are read
			}
			if layers++; before != "" && first[layer] < max(last[before], first[before]) {
				t.Errorf("%s: %s is computed anew before the gradients of %s are there", at, layer, before)
			}
			before = layer
		}
	}
	if stacks := 1 + strings.Count(c.Arch, "-"); layers < stacks*c.Share.Uses-1 {
		t.Errorf("%s: %d layers are computed anew", at, layers)
	}
	if anew < recomputed*9/10 || anew > recomputed { // it computes some small ones beforehand
		t.Errorf("%s: ONNX Runtime ran %d nodes anew, the graph has %d", at, anew, recomputed)
	}
}

// profiled runs a graph once on zeros and gives the nodes in the order in which they ran.
func profiled(t *testing.T, rt *runtime.Runtime, dir string, m *manifest.Manifest, name string) (names []string) {
	t.Helper()
	s, err := rt.Session(filepath.Join(dir, m.Graphs[name].File), runtime.SessionOptions{ProfilePrefix: filepath.Join(t.TempDir(), "p")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tensors := func(ports []manifest.Port) map[string]*runtime.Tensor {
		list := map[string]*runtime.Tensor{}
		for _, p := range ports {
			shape := make([]int64, len(p.Shape))
			for i, d := range p.Shape {
				shape[i] = int64(d)
			}
			if list[p.Name], err = rt.NewTensor(map[string]runtime.ElementType{"float32": runtime.Float32, "int64": runtime.Int64}[p.DType], shape...); err != nil {
				t.Fatal(err)
			}
		}
		return list
	}
	b, err := s.Bind(tensors(m.Graphs[name].Inputs), tensors(m.Graphs[name].Outputs))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Run(); err != nil {
		t.Fatal(err)
	}
	path, err := s.EndProfiling()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var events []struct{ Name string }
	if err := json.Unmarshal(text, &events); err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if node, ok := strings.CutSuffix(e.Name, "_kernel_time"); ok {
			names = append(names, node)
		}
	}
	return names
}
