package conformance

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"march/graphgen"
	"march/runtime"
)

// onCPU is a runtime on the CPU with so many threads, for march's kernels there.
func onCPU(t *testing.T, threads int) *runtime.Runtime {
	t.Helper()
	r, err := runtime.Open(runtime.Options{Device: runtime.Device{Kind: "cpu"}, Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// TestHostKernelsThreads: the kernels' results, sums of thousands of rows among them, have the same bits on one thread and on several.
func TestHostKernelsThreads(t *testing.T) {
	if rt.GPU() != "" {
		t.Skip("the kernels of a CPU; MARCH_TEST_DEVICE asks for a GPU")
	}
	c := kernelCase{name: "threads", in: []input{in(2100, 200), in(200), in(200), in(2100, 200)}, build: func(x []*graphgen.Tensor) *graphgen.Tensor {
		y := graphgen.LayerNorm(x[0], x[1], x[2], 1e-5)
		return graphgen.Add(graphgen.GLU("silu", graphgen.Activation("gelu_tanh", graphgen.Add(y, x[1])), graphgen.RMSNorm(x[3], x[2], 1e-6)), x[2])
	}}
	g := c.graph(t, graphgen.Float32)
	p, err := g.Compile(graphgen.Fused)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{"march.NormalizeGrad", "march.ActivateGrad", "march.GateGrad", "march.ColumnSum"} {
		if p.Graph.Histogram()[op] == 0 {
			t.Errorf("the graph has no %s: %v", op, p.Graph.Histogram())
		}
	}
	want := c.run(t, onCPU(t, 1), g, graphgen.Fused)
	got := c.run(t, onCPU(t, 3), c.graph(t, graphgen.Float32), graphgen.Fused)
	for name, w := range want {
		for i, v := range w {
			if got[name][i] != v {
				t.Errorf("%s[%d] is %v on three threads, %v on one", name, i, got[name][i], v)
				break
			}
		}
	}
}

// TestHostKernelsBlocks: the softmax of an attention cut into blocks of queries, whose first stand behind earlier keys, with a window and
// without, and of rows that fill no vector.
func TestHostKernelsBlocks(t *testing.T) {
	if rt.GPU() != "" {
		t.Skip("the kernels of a CPU; MARCH_TEST_DEVICE asks for a GPU")
	}
	for _, a := range []graphgen.Attention{
		{Batch: 1, Queries: 1024, Keys: 1024, Heads: 1, Causal: true},
		{Batch: 1, Queries: 1024, Keys: 1024, Heads: 1, Causal: true, Window: 200},
		{Batch: 2, Queries: 67, Keys: 67, Heads: 3, Causal: true, Window: 9},
		{Batch: 2, Queries: 67, Keys: 67, Heads: 3, Window: 21},
		{Batch: 1, Queries: 5, Keys: 5, Heads: 2, Causal: true},
	} {
		t.Run(fmt.Sprintf("%d, window %d", a.Queries, a.Window), func(t *testing.T) {
			rows, width := a.Batch*a.Queries, 8*a.Heads
			c := kernelCase{name: "blocks", in: []input{in(rows, width), in(rows, width), in(rows, width)}, build: func(x []*graphgen.Tensor) *graphgen.Tensor {
				return a.Apply(x[0], x[1], x[2], graphgen.AttentionInputs{})
			}}
			g := c.graph(t, graphgen.Float32)
			p, err := g.Compile(graphgen.Fused)
			if err != nil {
				t.Fatal(err)
			}
			if h := p.Graph.Histogram(); h["march.MaskedSoftmax"] == 0 || h["march.SoftmaxGrad"] == 0 || h["Softmax"] > 0 {
				t.Errorf("the graph has %v", h)
			}
			want := c.run(t, rt, c.graph(t, graphgen.Float64), graphgen.Portable)
			got := c.run(t, rt, g, graphgen.Fused)
			for name, w := range want {
				size := max(largest(w), smallValue)
				for i, v := range w {
					if d := math.Abs(got[name][i]-v) / size; !(d <= 1e-5) {
						t.Errorf("%s[%d] is %g, wanted %g: off by %.1e of the largest", name, i, got[name][i], v, d)
						break
					}
				}
			}
		})
	}
}

// TestHostActivations holds every activation and its slope, alone and in a GLU, against their definitions in float64, at values from
// nothing to infinity: relative to what they are, or to a rounding of what they are the difference of.
func TestHostActivations(t *testing.T) {
	if rt.GPU() != "" {
		t.Skip("the kernels of a CPU; MARCH_TEST_DEVICE asks for a GPU")
	}
	var x []float64
	for _, v := range []float64{0, 1e-30, 1e-6, 1e-3, 0.1, 0.5, 0.62, 0.63, 1, 2, 3, 5, 8, 12, 20, 60, 90, 1e3, 1e10, 3e38} {
		x = append(x, float64(float32(v)), float64(float32(-v)))
	}
	phi := func(x float64) float64 { return 0.5 * math.Erfc(-x/math.Sqrt2) }
	sigma := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	u := func(x float64) float64 { return 2 * math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x) }
	type pair struct{ f, slope func(x float64) float64 }
	step := func(x float64) float64 {
		if x > 0 {
			return 1
		}
		return 0
	}
	for kind, want := range map[string]pair{
		"relu":         {func(x float64) float64 { return max(x, 0) }, step},
		"squared_relu": {func(x float64) float64 { return max(x, 0) * max(x, 0) }, func(x float64) float64 { return 2 * max(x, 0) }},
		"gelu_tanh": {func(x float64) float64 { return x * sigma(u(x)) }, func(x float64) float64 {
			s := sigma(u(x))
			if s == 0 || s == 1 {
				return s
			}
			return s + x*s*(1-s)*2*math.Sqrt(2/math.Pi)*(1+3*0.044715*x*x)
		}},
		"gelu": {func(x float64) float64 { return x * phi(x) }, func(x float64) float64 {
			if math.Abs(x) > 40 {
				return step(x)
			}
			return phi(x) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
		}},
		"silu": {func(x float64) float64 { return x * sigma(x) }, func(x float64) float64 {
			if math.Abs(x) > 200 {
				return step(x)
			}
			return sigma(x) * (1 + x*(1-sigma(x)))
		}},
		"sigmoid": {sigma, func(x float64) float64 { return sigma(x) * sigma(-x) }},
		"tanh":    {math.Tanh, func(x float64) float64 { return 1 / (math.Cosh(x) * math.Cosh(x)) }},
	} {
		t.Run(kind, func(t *testing.T) {
			g := graphgen.New()
			err := graphgen.Build(func() error {
				in, gate, up := g.Input("x", graphgen.Float32, len(x)), g.Input("gate", graphgen.Float32, len(x)), g.Input("up", graphgen.Float32, len(x))
				y, gated := graphgen.Activation(kind, in), graphgen.GLU(kind, gate, up)
				slopes, err := graphgen.Gradients(graphgen.Add(graphgen.ReduceSum(y, false, 0), graphgen.ReduceSum(gated, false, 0)), []*graphgen.Tensor{in, gate, up}, nil)
				if err != nil {
					return err
				}
				for name, o := range map[string]*graphgen.Tensor{"y": y, "slope": slopes[0], "gated": gated, "gate slope": slopes[1], "up slope": slopes[2]} {
					g.Output(name, o)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			l := load(t, g, graphgen.Fused, loadOptions{})
			ones := make([]float64, len(x))
			for i := range ones {
				ones[i] = 1
			}
			l.set("x", x)
			l.set("gate", x)
			l.set("up", ones)
			l.run()
			for name, f := range map[string]func(float64) float64{"y": want.f, "slope": want.slope, "gated": want.f, "gate slope": want.slope, "up slope": want.f} {
				for i, got := range l.get(name) {
					w := f(x[i])
					if math.Abs(w) > math.MaxFloat32 {
						w = math.Copysign(math.Inf(1), w)
					}
					bound := 2e-6*math.Abs(w) + 2e-7*math.Min(1, math.Abs(x[i]))
					if x[i] < 0 && !strings.HasSuffix(name, "slope") && kind != "tanh" {
						bound = 2e-5*math.Abs(w) + 1e-37 // tails are right where they are small, too
					}
					if got != w && !(math.Abs(got-w) <= bound) {
						t.Errorf("%s at %g is %g, wanted %g", name, x[i], got, w)
					}
				}
			}
			none := make([]float64, len(x))
			for i := range none {
				none[i] = math.NaN()
			}
			l.set("x", none)
			l.set("gate", none)
			l.run()
			for _, name := range []string{"y", "slope", "gated", "gate slope", "up slope"} {
				for i, got := range l.get(name) {
					if !math.IsNaN(got) {
						t.Fatalf("%s[%d] of NaN is %g", name, i, got)
					}
				}
			}
		})
	}
}
