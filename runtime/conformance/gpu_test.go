package conformance

import (
	"slices"
	"testing"

	"march/graphgen"
	"march/runtime"
)

// TestForGPU: what graphs for a GPU compute of large arrays is what others do, wherever it runs: products with
// transposed or joined factors, and slopes from a table, with values beyond its ends.
func TestForGPU(t *testing.T) {
	const rows, width, hidden = 2048, 32, 2048 // 4M hidden values
	labels := make([]int64, rows)
	for i := range labels {
		labels[i] = int64(i*7919%(hidden+1)) - 1
	}
	scaled := func(by float64, shape ...int) input {
		return input{shape: shape, values: func(n int, words ...string) []float64 {
			return each(normals(n, words...), func(x float64) float64 { return x * by })
		}}
	}
	var cases []kernelCase
	want := map[string]map[string]int{}
	add := func(name string, has map[string]int, build func(x []*graphgen.Tensor) *graphgen.Tensor, x ...input) {
		cases, want[name] = append(cases, kernelCase{name: name, in: x, build: build}), has
	}
	for _, kind := range []string{"gelu_tanh", "gelu"} {
		add("a layer with "+kind, map[string]int{"HardSigmoid": 1, "Transpose": 6}, func(x []*graphgen.Tensor) *graphgen.Tensor {
			h := graphgen.Linear(graphgen.Activation(kind, graphgen.Linear(x[0], x[1], x[2])), x[3], nil)
			return graphgen.LossHead(graphgen.Add(x[0], h), x[4], nil, x[5])
		}, in(rows, width), scaled(0.8, width, hidden), scaled(0.05, hidden), scaled(0.02, hidden, width), scaled(0.2, hidden, width), integers(labels, rows))
	}
	add("three products of a factor", map[string]int{"Gemm": 5, "Concat": 2, "Split": 1}, func(x []*graphgen.Tensor) *graphgen.Tensor {
		return graphgen.Mul(graphgen.Linear(x[0], x[1], nil), graphgen.Mul(graphgen.Linear(x[0], x[2], nil), graphgen.Linear(x[0], x[3], nil)))
	}, in(4*rows, width), scaled(0.2, width, hidden/4), scaled(0.2, width, hidden/4), scaled(0.2, width, hidden/4))
	for _, c := range cases {
		g := c.graph(t, graphgen.Float32)
		plain := c.run(t, rt, g, graphgen.ORT)
		g.ForGPU()
		p, err := g.Compile(graphgen.ORT)
		if err != nil {
			t.Fatal(err)
		}
		for op, n := range want[c.name] {
			if h := p.Graph.Histogram(); h[op] != n {
				t.Errorf("%s: %d nodes %s, wanted %d, in %v", c.name, h[op], op, n, h)
			}
		}
		got := c.run(t, rt, g, graphgen.ORT)
		for name, w := range plain {
			d := apart(got[name], w)
			t.Logf("%s: %s is off by %.2g of its largest entry", c.name, name, d)
			if !(d < 2e-5) {
				t.Errorf("%s: %s is off by %.2g of its largest entry, wanted 2e-5", c.name, name, d)
			}
		}
	}
}

// TestConstantOutput: an output that is a constant is there after the run, though the memory for it was asked for
// while the device had much to do. ONNX Runtime copies constants outside of the stream that everything else is in.
func TestConstantOutput(t *testing.T) {
	const size, busy = 5, 1 << 28
	g := graphgen.New()
	if err := graphgen.Build(func() error {
		x := g.Input("x", graphgen.Float32, size)
		g.Output("y", graphgen.Add(x, x))
		g.Output("seven", graphgen.Identity(g.Fill(graphgen.Float32, 7, size)))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s, err := rt.SessionBytes(encode(t, g, graphgen.ORT), runtime.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	work, err := rt.Alloc(busy)
	if err != nil {
		t.Fatal(err)
	}
	defer work.Free()
	tensors := map[string]*runtime.Tensor{}
	if rt.GPU() != "" {
		for range 200 { // some 20 ms
			if err := work.Zero(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"x", "y", "seven"} {
		if tensors[name], err = rt.NewTensor(runtime.Float32, size); err != nil {
			t.Fatal(err)
		}
		defer tensors[name].Close()
	}
	b, err := s.Bind(map[string]*runtime.Tensor{"x": tensors["x"]}, map[string]*runtime.Tensor{"y": tensors["y"], "seven": tensors["seven"]})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Run(); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, size)
	if err := runtime.Download(tensors["seven"], got); err != nil {
		t.Fatal(err)
	}
	if want := []float32{7, 7, 7, 7, 7}; !slices.Equal(got, want) {
		t.Errorf("the constant output is %v, wanted %v", got, want)
	}
}
