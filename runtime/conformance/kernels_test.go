package conformance

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"testing"

	"march/graphgen"
	"march/runtime"
	"march/runtime/internal/hostkernels"
	"march/runtime/internal/kernels"
)

// kernelCase is a use of operators that march has kernels for, at sizes that fill tiles and at others.
type kernelCase struct {
	name  string
	in    []input
	build func(in []*graphgen.Tensor) *graphgen.Tensor
}

// smallValue is the size below which values count as rounding of what they are the difference of: the gradients of
// an attention that sees one key are zero.
const smallValue = 0.1

// kernelBounds are the largest errors of a value or gradient, as shares of the largest entry: in bfloat16 four roundings.
var kernelBounds = map[graphgen.DType]float64{graphgen.BFloat16: 4.0 / 256, graphgen.Float32: 1e-4}

func kernelCases() (list []kernelCase) {
	add := func(name string, build func(in []*graphgen.Tensor) *graphgen.Tensor, in ...input) {
		list = append(list, kernelCase{name: name, in: in, build: build})
	}
	for _, s := range [][2]int{{1, 8}, {5, 64}, {33, 40}, {257, 512}, {70, 1000}, {40, 2048}, {9, 4104}} {
		name := fmt.Sprintf("%dx%d", s[0], s[1])
		add("LayerNorm "+name, func(x []*graphgen.Tensor) *graphgen.Tensor { return graphgen.LayerNorm(x[0], x[1], x[2], 1e-5) }, in(s[0], s[1]), in(s[1]), in(s[1]))
		add("RMSNorm "+name, func(x []*graphgen.Tensor) *graphgen.Tensor { return graphgen.RMSNorm(x[0], x[1], 1e-6) }, in(s[0], s[1]), in(s[1]))
		add("residual and LayerNorm "+name, func(x []*graphgen.Tensor) *graphgen.Tensor {
			sum := graphgen.Add(x[0], x[1])
			return graphgen.Add(sum, graphgen.LayerNorm(sum, x[2], x[3], 1e-5))
		}, in(s[0], s[1]), in(s[0], s[1]), in(s[1]), in(s[1]))
		for _, kind := range graphgen.ActivationNames() {
			if kind == "identity" {
				continue
			}
			add(kind+" with bias "+name, func(x []*graphgen.Tensor) *graphgen.Tensor {
				return graphgen.Activation(kind, graphgen.Add(x[0], x[1]))
			}, away(s[0], s[1]), input{shape: []int{s[1]}, values: func(n int, _ ...string) []float64 { return make([]float64, n) }})
			add("GLU of "+kind+" "+name, func(x []*graphgen.Tensor) *graphgen.Tensor { return graphgen.GLU(kind, x[0], x[1]) }, away(s[0], s[1]), in(s[0], s[1]))
		}
	}
	for _, s := range [][3]int{{1, 8, 8}, {64, 64, 64}, {100, 72, 200}, {512, 512, 1536}, {1100, 264, 520}} {
		add(fmt.Sprintf("Linear %v", s), func(x []*graphgen.Tensor) *graphgen.Tensor {
			return graphgen.Add(x[3], graphgen.Linear(x[0], x[1], x[2]))
		}, in(s[0], s[1]), in(s[1], s[2]), in(s[2]), in(s[0], s[2]))
	}
	for _, widths := range [][]int{{256, 256, 256}, {512, 200, 264}, {256, 520}, {64, 64, 64}} {
		for _, bias := range []bool{true, false} {
			const rows, width = 1100, 264
			x := []input{in(rows, width)}
			for _, w := range widths {
				if x = append(x, in(width, w)); bias {
					x = append(x, in(w))
				}
			}
			add(fmt.Sprintf("projections %v, biases %v", widths, bias), func(x []*graphgen.Tensor) *graphgen.Tensor {
				var y []*graphgen.Tensor
				for i := range widths {
					if bias {
						y = append(y, graphgen.Linear(x[0], x[1+2*i], x[2+2*i]))
					} else {
						y = append(y, graphgen.Linear(x[0], x[1+i], nil))
					}
				}
				return graphgen.Concat(1, y...)
			}, x...)
		}
	}
	for _, s := range [][3]int{{1, 8, 16}, {37, 64, 1000}, {64, 40, 1003}, {512, 512, 16384}} { // rows, width, vocabulary
		labels := make([]int64, s[0])
		for i := range labels {
			if labels[i] = int64(i * 7919 % s[2]); i%5 == 4 {
				labels[i] = graphgen.IgnoreLabel
			}
		}
		small := input{shape: []int{s[2], s[1]}, values: func(n int, w ...string) []float64 {
			return each(normals(n, w...), func(x float64) float64 { return x / math.Sqrt(float64(s[1])) })
		}}
		ids := integers(labels, s[0])
		add(fmt.Sprintf("LossHead %v", s), func(x []*graphgen.Tensor) *graphgen.Tensor { return graphgen.LossHead(x[0], x[1], nil, x[2]) }, in(s[0], s[1]), small, ids)
		add(fmt.Sprintf("LossHead with bias, in chunks %v", s), func(x []*graphgen.Tensor) *graphgen.Tensor {
			chunks := 1
			if s[0]%4 == 0 {
				chunks = 4
			}
			return graphgen.LossHeadInChunks(x[0], x[1], x[3], x[2], chunks)
		}, in(s[0], s[1]), small, ids, in(s[2]))
		some := make([]int64, s[0])
		for i := range some {
			some[i] = max(0, labels[i]) % 11 % int64(s[2])
		}
		add(fmt.Sprintf("Embedding %v", s), func(x []*graphgen.Tensor) *graphgen.Tensor { return graphgen.Embedding(x[0], x[1]) }, in(s[2], s[1]), integers(some, s[0]))
	}
	add("dropout", func(x []*graphgen.Tensor) *graphgen.Tensor {
		return graphgen.Mul(x[0], graphgen.Reshape(graphgen.DropoutMask(x[1], "here", 0.3, x[0].DType(), 4, 50, 40), 200, 40))
	}, in(200, 40), integers([]int64{98765}))
	add("Attention: dropout", func(x []*graphgen.Tensor) *graphgen.Tensor {
		const batch, queries, heads = 2, 100, 3
		return graphgen.Attention{Batch: batch, Queries: queries, Keys: queries, Heads: heads, Scale: 0.125, Causal: true}.Apply(x[0], x[1], x[2],
			graphgen.AttentionInputs{Dropout: graphgen.DropoutMask(x[3], "there", 0.1, x[0].DType(), batch, heads, queries, queries)})
	}, in(200, 192), in(200, 192), in(200, 192), integers([]int64{123456789}))
	return append(list, flashCases()...)
}

func flashCases() (list []kernelCase) {
	many := make([]int64, 32)
	for i := range many {
		many[i] = int64(161 + i*10%140) // the last query of 300 sees a key in its window of 140
	}
	some := make([]int64, 33)
	for i := range some {
		some[i] = int64(1 + i*10%320)
	}
	enough := make([]int64, 33) // that each of 320 queries sees a key of its window of 70
	for i := range enough {
		enough[i] = int64(251 + i*9%70)
	}
	for _, c := range []struct {
		name    string
		a       graphgen.Attention
		dk, dv  int
		bias    int
		lengths []int64
	}{
		{"one token", graphgen.Attention{Batch: 1, Queries: 1, Keys: 1, Heads: 1}, 64, 64, 0, nil},
		{"causal", graphgen.Attention{Batch: 2, Queries: 512, Keys: 512, Heads: 3, Causal: true}, 64, 64, 0, nil},
		{"causal, not a tile", graphgen.Attention{Batch: 2, Queries: 100, Keys: 100, Heads: 2, Causal: true}, 32, 32, 0, nil},
		{"window", graphgen.Attention{Batch: 2, Queries: 300, Keys: 300, Heads: 2, Causal: true, Window: 70}, 64, 64, 0, nil},
		{"window of one", graphgen.Attention{Batch: 1, Queries: 130, Keys: 130, Heads: 2, Causal: true, Window: 1}, 16, 16, 0, nil},
		{"window without causal", graphgen.Attention{Batch: 1, Queries: 90, Keys: 90, Heads: 2, Window: 20}, 64, 64, 0, nil},
		{"both ways", graphgen.Attention{Batch: 2, Queries: 257, Keys: 257, Heads: 2}, 64, 64, 0, nil},
		{"heads of 8", graphgen.Attention{Batch: 2, Queries: 65, Keys: 65, Heads: 4, Causal: true}, 8, 8, 0, nil},
		{"heads of 24 and 40", graphgen.Attention{Batch: 2, Queries: 65, Keys: 65, Heads: 4, Causal: true}, 24, 40, 0, nil},
		{"heads of 96", graphgen.Attention{Batch: 2, Queries: 65, Keys: 130, Heads: 2}, 96, 96, 0, nil},
		{"heads of 128", graphgen.Attention{Batch: 2, Queries: 200, Keys: 200, Heads: 2, Causal: true}, 128, 128, 0, nil},
		{"heads of 136, which have no kernel", graphgen.Attention{Batch: 1, Queries: 40, Keys: 70, Heads: 2}, 136, 136, 0, nil},
		{"many heads", graphgen.Attention{Batch: 43, Queries: 150, Keys: 150, Heads: 3, Causal: true}, 64, 64, 0, nil},
		{"many heads, lengths, window", graphgen.Attention{Batch: 32, Queries: 300, Keys: 300, Heads: 4, Causal: true, Window: 140}, 32, 32, 0, many},
		{"tiles that stream by", graphgen.Attention{Batch: 33, Queries: 448, Keys: 448, Heads: 4, Causal: true}, 64, 64, 0, nil},
		{"tiles that stream by, several heads a block", graphgen.Attention{Batch: 44, Queries: 320, Keys: 320, Heads: 6, Causal: true}, 64, 64, 0, nil},
		{"tiles that stream by, a lone middle", graphgen.Attention{Batch: 12, Queries: 704, Keys: 704, Heads: 4, Causal: true}, 64, 64, 0, nil},
		{"tiles that stream by, lengths", graphgen.Attention{Batch: 33, Queries: 256, Keys: 320, Heads: 4}, 64, 64, 0, some},
		{"tiles that stream by, window", graphgen.Attention{Batch: 33, Queries: 320, Keys: 320, Heads: 4, Causal: true, Window: 70}, 64, 64, 0, nil},
		{"tiles that stream by, window and lengths", graphgen.Attention{Batch: 33, Queries: 320, Keys: 320, Heads: 4, Causal: true, Window: 70}, 64, 64, 0, enough},
		{"tiles that stream by, grouped heads", graphgen.Attention{Batch: 33, Queries: 320, Keys: 320, Heads: 4, KVHeads: 2, Causal: true}, 64, 64, 0, nil},
		{"tiles that stream by, heads of 32", graphgen.Attention{Batch: 65, Queries: 320, Keys: 320, Heads: 2, Causal: true}, 32, 32, 0, nil},
		{"tiles that stream by, memory", graphgen.Attention{Batch: 33, Queries: 256, Keys: 384, Heads: 4, Causal: true, Memory: 128}, 64, 64, 0, nil},
		// Of some rows, exponentials relative to the first tile's maximum would be infinite in a later one.
		{"tiles that stream by, steep", graphgen.Attention{Batch: 33, Queries: 256, Keys: 256, Heads: 4, Causal: true, Scale: 8}, 64, 64, 0, nil},
		{"many heads of 128, bias", graphgen.Attention{Batch: 64, Queries: 200, Keys: 200, Heads: 2, Causal: true}, 128, 128, 2, nil},
		{"grouped heads", graphgen.Attention{Batch: 2, Queries: 128, Keys: 128, Heads: 6, KVHeads: 2, Causal: true}, 64, 64, 0, nil},
		{"one key head", graphgen.Attention{Batch: 2, Queries: 70, Keys: 70, Heads: 4, KVHeads: 1}, 32, 32, 0, nil},
		{"lengths", graphgen.Attention{Batch: 3, Queries: 128, Keys: 128, Heads: 2}, 64, 64, 0, []int64{1, 77, 128}},
		{"cross", graphgen.Attention{Batch: 2, Queries: 66, Keys: 200, Heads: 2}, 64, 64, 0, []int64{200, 130}},
		{"bias for each head", graphgen.Attention{Batch: 3, Queries: 80, Keys: 80, Heads: 2}, 64, 64, 2, nil},
		{"one bias for all, causal", graphgen.Attention{Batch: 2, Queries: 80, Keys: 80, Heads: 2, Causal: true}, 64, 64, 1, nil},
		{"bias, cross, lengths", graphgen.Attention{Batch: 2, Queries: 40, Keys: 100, Heads: 4, KVHeads: 2}, 32, 48, 4, []int64{64, 100}},
		{"own keys and memory", graphgen.Attention{Batch: 2, Queries: 60, Keys: 150, Heads: 2, Causal: true, Memory: 90}, 64, 64, 0, []int64{90, 33}},
		{"own keys and memory without lengths", graphgen.Attention{Batch: 1, Queries: 33, Keys: 50, Heads: 4, KVHeads: 2, Causal: true, Memory: 17}, 32, 32, 0, nil},
	} {
		a := c.a
		kv := max(a.KVHeads, 1)
		if a.KVHeads == 0 {
			kv = a.Heads
		}
		if a.Scale == 0 {
			a.Scale = 1 / math.Sqrt(float64(c.dk))
		}
		x := []input{in(a.Batch*a.Queries, a.Heads*c.dk), in(a.Batch*a.Keys, kv*c.dk), in(a.Batch*a.Keys, kv*c.dv)}
		bias, lengths := -1, -1
		if c.bias > 0 {
			bias, x = len(x), append(x, in(c.bias, a.Queries, a.Keys))
		}
		if c.lengths != nil {
			lengths, x = len(x), append(x, integers(c.lengths, a.Batch))
		}
		list = append(list, kernelCase{name: "Attention: " + c.name, in: x, build: func(in []*graphgen.Tensor) *graphgen.Tensor {
			var o graphgen.AttentionInputs
			if bias >= 0 {
				o.Bias = in[bias]
			}
			if lengths >= 0 {
				o.Lengths = in[lengths]
			}
			return a.Apply(in[0], in[1], in[2], o)
		}})
	}
	return list
}

// graph is the case's graph that computes in a type, with inputs and outputs in float32 (in float64 with those): y and the
// gradients of a weighted sum of it.
func (c kernelCase) graph(t *testing.T, compute graphgen.DType) *graphgen.Graph {
	t.Helper()
	outside := compute
	if compute == graphgen.BFloat16 {
		outside = graphgen.Float32
	}
	g := graphgen.New()
	err := graphgen.Build(func() error {
		var targets, in []*graphgen.Tensor
		for i, x := range c.in {
			if !x.float() {
				in = append(in, g.Input(inputName(i), graphgen.Int64, x.shape...))
				continue
			}
			raw := g.Input(inputName(i), outside, x.shape...)
			targets, in = append(targets, raw), append(in, graphgen.Cast(raw, compute))
		}
		y := graphgen.Cast(c.build(in), outside)
		loss := y
		if y.Rank() > 0 {
			weights := g.Input("weights", outside, y.Shape()...)
			loss = weighted(y, weights)
		}
		return outputs(y, loss, targets, c.in)
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// bf16 rounds to the nearest bfloat16.
func bf16(x float64) float64 {
	b := math.Float32bits(float32(x))
	b = (b + 0x7fff + b>>16&1) &^ 0xffff
	return float64(math.Float32frombits(b))
}

// run gives a compiled graph the case's inputs and returns its outputs.
func (c kernelCase) run(t *testing.T, r *runtime.Runtime, g *graphgen.Graph, target graphgen.Target) map[string][]float64 {
	t.Helper()
	l := load(t, g, target, loadOptions{runtime: r})
	gc := gradCase{op: "kernel", name: c.name, in: c.in}
	for i, x := range gc.inputs(graphgen.Float64) {
		if v, ok := x.([]float64); ok {
			x = each(v, bf16)
		}
		l.set(inputName(i), x)
	}
	if w := l.tensor["weights"]; w != nil {
		l.set("weights", each(normals(int(w.Len()), c.name, "weights"), bf16))
	}
	l.run()
	out := map[string][]float64{}
	for _, o := range g.Outputs() {
		out[o.Name] = l.get(o.Name)
	}
	return out
}

// hostCases are the cases that have kernels on a CPU.
var hostCases = regexp.MustCompile(`Norm|GLU|with bias \d|^Attention`)

// TestKernels compares march's kernels with the operators' decompositions in float64 on a CPU.
func TestKernels(t *testing.T) {
	if err := rt.Kernels(); err != nil {
		t.Skip("no kernels here: ", err)
	}
	cpu, err := runtime.Open(runtime.Options{Device: runtime.Device{Kind: "cpu"}, Threads: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer cpu.Close()
	for _, c := range kernelCases() {
		t.Run(c.name, func(t *testing.T) {
			reference := graphgen.Float64
			if g := c.graph(t, reference); g.Histogram()["march.LayerNorm"] > 0 || g.Histogram()["Erf"] > 0 || lowersTo(t, g, graphgen.Portable, "Erf") {
				reference = graphgen.Float32 // ONNX Runtime has no kernel, or none as exact, in float64
			}
			if rt.GPU() == "" && !hostCases.MatchString(c.name) {
				t.Skip("products, dropout and the loss head have no kernels on a CPU; they run with MARCH_TEST_DEVICE=cuda")
			}
			want := c.run(t, cpu, c.graph(t, reference), graphgen.Portable)
			for compute, bound := range kernelBounds {
				if compute == graphgen.BFloat16 && rt.GPU() == "" {
					continue
				}
				g := c.graph(t, compute)
				if rt.GPU() != "" {
					g.ForGPU()
				}
				p, err := g.Compile(graphgen.Fused)
				if err != nil {
					t.Fatal(err)
				}
				kernels := 0
				for _, n := range p.Graph.Nodes() {
					if n.Op.Kernel {
						kernels++
					}
				}
				if kernels == 0 && (compute == graphgen.BFloat16 || rt.GPU() == "") { // on a GPU attention has none in float32
					t.Fatalf("no kernel in %v", p.Graph.Histogram())
				}
				got := c.run(t, rt, g, graphgen.Fused)
				for name, w := range want {
					size := max(largest(w), smallValue)
					for i, v := range w {
						if d := math.Abs(got[name][i]-v) / size; !(d <= bound) {
							t.Errorf("%s: %s[%d] is %g, wanted %g: off by %.1e of the largest, wanted %.0e", compute, name, i, got[name][i], v, d, bound)
							break
						}
					}
				}
			}
		})
	}
}

// TestEveryKernel: the kernels that graphs for a GPU, and for a CPU, can have are those that are there.
func TestEveryKernel(t *testing.T) {
	for _, on := range []struct {
		gpu   bool
		there []string
	}{{true, kernels.Ops()}, {false, hostkernels.Ops()}} {
		var inGraphs []string
		for _, op := range graphgen.Ops() {
			if op.Kernel && graphgen.HasKernel("march."+op.Name, on.gpu) {
				inGraphs = append(inGraphs, op.Name)
			}
		}
		slices.Sort(inGraphs)
		slices.Sort(on.there)
		if !slices.Equal(inGraphs, on.there) {
			t.Errorf("on a GPU: %t: graphs have %v, there are %v", on.gpu, inGraphs, on.there)
		}
	}
}
