package generate

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"march/runtime"
	"march/trainloop/rng"
	"march/variants"
	"march/variants/manifest"
)

// micro has a variant's change at sizes that run in milliseconds.
func micro(t testing.TB, name, arch string, changes ...string) variants.Config {
	t.Helper()
	v, err := variants.Find(name, "tiny", arch)
	if err == nil {
		v, err = v.With(append([]string{"vocab=61", "length=14"}, changes...))
	}
	if err != nil {
		t.Fatal(err)
	}
	return v.Config
}

// start are the start values of a config on the device, larger than in training, so that attention is not near uniform
// and what goes wrong in it shows.
func start(t testing.TB, rt *runtime.Runtime, c variants.Config) map[string]*runtime.Tensor {
	t.Helper()
	params, err := c.Parameters()
	if err != nil {
		t.Fatal(err)
	}
	tensors := map[string]*runtime.Tensor{}
	for _, p := range params {
		shape := make([]int64, len(p.Shape))
		for i, d := range p.Shape {
			shape[i] = int64(d)
		}
		x, err := rt.NewTensor(runtime.Float32, shape...)
		if err != nil {
			t.Fatal(err)
		}
		v := p.Start(7)
		stream := rng.New(7, rng.Name("perturb"), rng.Name(p.Name))
		for i := range v {
			v[i] += 0.1 * float32(stream.NormalAt(uint64(i)))
		}
		if err := runtime.Upload(x, v); err != nil {
			t.Fatal(err)
		}
		tensors[p.Name] = x
	}
	return tensors
}

func words(n int, what string, below int) []int64 {
	list, stream := make([]int64, n), rng.New(3, rng.Name(what))
	for i := range list {
		list[i] = int64(stream.Below(uint64(below)))
	}
	return list
}

// whole gives the logits [S,V] of the graph without a cache.
func whole(t testing.TB, rt *runtime.Runtime, c variants.Config, params map[string]*runtime.Tensor, source, tokens []int64) []float32 {
	t.Helper()
	graphs, err := c.Inference(variants.InferOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newStage(rt, graphs[0], params)
	if err != nil {
		t.Fatal(err)
	}
	defer s.session.Close()
	var b bound
	defer b.close()
	in := b.inputs(s)
	ints := func(name string, v []int64, shape ...int64) {
		x, err := rt.NewTensor(runtime.Int64, shape...)
		if err != nil {
			t.Fatal(err)
		}
		if err := runtime.Upload(x, v); err != nil {
			t.Fatal(err)
		}
		in[name] = x
	}
	if c.Arch == variants.Decoder {
		ints(manifest.Tokens, tokens, 1, int64(len(tokens)))
	} else {
		ints(manifest.Tokens, source, 1, int64(len(source)))
		ints(manifest.Lengths, []int64{int64(len(source))}, 1)
		ints(manifest.DecoderTokens, tokens, 1, int64(len(tokens)))
	}
	y, err := rt.NewTensor(runtime.Float32, 1, int64(len(tokens)), int64(c.Vocab))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.run(s.session, in, map[string]*runtime.Tensor{variants.Logits: y}); err != nil {
		t.Fatal(err)
	}
	v := make([]float32, len(tokens)*c.Vocab)
	if err := runtime.Download(y, v); err != nil {
		t.Fatal(err)
	}
	return v
}

func open(t testing.TB) *runtime.Runtime {
	t.Helper()
	rt, err := runtime.Open(runtime.Options{Device: runtime.Device{Kind: "cpu"}, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.Close() })
	return rt
}

// farthest is the largest difference, in units of the largest entry.
func farthest(a, b []float32) float64 {
	worst, size := 0.0, 1e-30
	for i := range a {
		d := math.Abs(float64(a[i]) - float64(b[i]))
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		worst, size = max(worst, d), max(size, math.Abs(float64(a[i])))
	}
	return worst / size
}

// TestCache: for every variant that decodes, and every kind of position, tokens read one by one, and some at a time,
// give the logits of the whole pass.
func TestCache(t *testing.T) {
	rt := open(t)
	type model struct {
		name, arch string
		changes    []string
	}
	var models []model
	for _, name := range variants.Names("") {
		for _, arch := range variants.Archs(name) {
			if arch != variants.Encoder {
				models = append(models, model{name, arch, nil})
			}
		}
	}
	for _, kind := range []string{"learned", "sinusoidal", "rope", "alibi", "relative", "none"} {
		models = append(models, model{"sharing/baseline", variants.Decoder, []string{"position.kind=" + kind, "kv_heads=3"}})
		models = append(models, model{"heads/kv_cross_attention", variants.EncoderDecoder, []string{"position.kind=" + kind, "kv_heads=2"}})
		if kind != "rope" {
			models = append(models, model{"heads/unified_attention", variants.EncoderDecoder, []string{"position.kind=" + kind}})
		}
	}
	models = append(models, model{"sharing/universal", variants.Decoder, []string{"halting.kind=act", "position.kind=rope", "kv_heads=1"}},
		model{"heads/scaling_heads_constant", variants.EncoderDecoder, []string{"kv_heads=2", "bias.qkv=true"}})
	for _, x := range models {
		t.Run(fmt.Sprint(x.name, "/", x.arch, x.changes), func(t *testing.T) {
			c := micro(t, x.name, x.arch, x.changes...)
			params := start(t, rt, c)
			m, err := New(rt, c, params)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			var source []int64
			if x.arch == variants.EncoderDecoder {
				source = words(9, "source", c.Vocab)
			}
			tokens := words(c.Length, "tokens", c.Vocab)
			want := whole(t, rt, c, params, source, tokens)
			for _, sizes := range [][]int{slices.Repeat([]int{1}, c.Length), {c.Length}, {5, 1, 1, 4, 3}} {
				if err := m.Start(source); err != nil {
					t.Fatal(err)
				}
				var got []float32
				at := 0
				for _, n := range sizes {
					if err := m.read(tokens[at : at+n]); err != nil {
						t.Fatal(err)
					}
					v, err := m.logits(nil, 0, n, c.Vocab)
					if err != nil {
						t.Fatal(err)
					}
					got, at = append(got, v...), at+n
				}
				if d := farthest(want, got); d > 1e-5 {
					t.Errorf("read %v at a time: logits differ by %.2g of the largest", sizes, d)
				}
			}
			if err := m.read(tokens[:1]); err == nil {
				t.Error("a token more than the model has positions was read")
			}
		})
		if t.Failed() && testing.Short() {
			break
		}
	}
}

// TestCacheRefuses: what can have no cache is refused by the axis that is in the way.
func TestCacheRefuses(t *testing.T) {
	rt := open(t)
	for name, want := range map[string]string{"linformer": "attn.linformer 16", "baseline": "arch encoder"} {
		v, err := variants.Find(name, "tiny", variants.Encoder)
		if err != nil {
			t.Fatal(err)
		}
		if name == "linformer" {
			v.Config.Attn.Linformer = 16
		}
		if _, err := New(rt, v.Config, nil); err == nil || err.Error()[:len(want)] != want {
			t.Errorf("%s: %v, wanted %q", name, err, want)
		}
	}
}
