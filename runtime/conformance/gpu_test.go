package conformance

import (
	"testing"

	"march/graphgen"
)

// TestForGPU: what graphs for a GPU compute of large arrays is what others do, wherever it runs: products with
// transposed factors, and slopes from a table, with values beyond its ends.
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
	for _, kind := range []string{"gelu_tanh", "gelu"} {
		c := kernelCase{name: "for a GPU: " + kind,
			in: []input{in(rows, width), scaled(0.8, width, hidden), scaled(0.05, hidden), scaled(0.02, hidden, width), scaled(0.2, hidden, width), integers(labels, rows)},
			build: func(x []*graphgen.Tensor) *graphgen.Tensor {
				h := graphgen.Linear(graphgen.Activation(kind, graphgen.Linear(x[0], x[1], x[2])), x[3], nil)
				return graphgen.LossHead(graphgen.Add(x[0], h), x[4], nil, x[5])
			}}
		g := c.graph(t, graphgen.Float32)
		want := c.run(t, rt, g, graphgen.ORT)
		g.ForGPU()
		p, err := g.Compile(graphgen.ORT)
		if err != nil {
			t.Fatal(err)
		}
		if h := p.Graph.Histogram(); h["HardSigmoid"] != 1 || h["Transpose"] != 6 {
			t.Errorf("%s: %d slopes and %d transpositions in %v", kind, h["HardSigmoid"], h["Transpose"], h)
		}
		got := c.run(t, rt, g, graphgen.ORT)
		for name, w := range want {
			if d := apart(got[name], w); !(d < 2e-5) {
				t.Errorf("%s: %s is off by %.2g of its largest entry", kind, name, d)
			} else {
				t.Logf("%s: %s is off by %.2g of its largest entry", kind, name, d)
			}
		}
	}
}
