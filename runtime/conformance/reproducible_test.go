package conformance

import (
	"testing"

	"march/graphgen"
)

// The rewriting that makes a GPU's sums reproducible leaves no sum to chance, and the values as
// they were.
func TestReproducible(t *testing.T) {
	const n, v, d = 24, 11, 6
	g := graphgen.New()
	table, bias := g.Input("table", graphgen.Float32, v, d), g.Input("bias", graphgen.Float32, v)
	ids, labels := g.Input("ids", graphgen.Int64, n), g.Input("labels", graphgen.Int64, n)
	sum := g.Input("sum", graphgen.Float32, v, d)
	h := graphgen.Add(graphgen.Embedding(table, ids), g.Input("shift", graphgen.Float32, d))
	grads, err := graphgen.Gradients(graphgen.LossHead(h, table, bias, labels), []*graphgen.Tensor{table, bias}, map[*graphgen.Tensor]*graphgen.Tensor{table: sum})
	if err != nil {
		t.Fatal(err)
	}
	g.Output("dtable", grads[0])
	g.Output("dbias", grads[1])
	g.Output("rows", graphgen.ReduceSum(graphgen.Reshape(h, 4, n/4, d), false, 0, 1))
	plain, err := g.Compile(graphgen.ORT)
	if err != nil {
		t.Fatal(err)
	}
	if h := plain.Graph.Histogram(); h["ScatterElements"] == 0 || h["ReduceSum"] == 0 {
		t.Fatalf("nothing to rewrite: %v", h)
	}
	fixed, err := g.Compile(graphgen.ORT, graphgen.Reproducible)
	if err != nil {
		t.Fatal(err)
	}
	if h := fixed.Graph.Histogram(); h["ScatterElements"] > 0 || h["ReduceSum"] >= plain.Graph.Histogram()["ReduceSum"] {
		t.Errorf("%v are left of %v", h, plain.Graph.Histogram())
	}
	want := load(t, g, graphgen.ORT, loadOptions{})
	got := load(t, g, graphgen.ORT, loadOptions{passes: []func(*graphgen.Graph) *graphgen.Graph{graphgen.Reproducible}})
	for _, l := range []*loaded{want, got} {
		for name, x := range map[string]any{
			"table": ramp(v*d, 0.1), "bias": ramp(v, 0.3), "shift": ramp(d, 0.2), "sum": ramp(v*d, 0.7),
			"ids": cycle(n, v, 3), "labels": cycle(n, v, 5),
		} {
			l.set(name, x)
		}
		l.run()
	}
	for _, name := range []string{"dtable", "dbias", "rows"} {
		if x := apart(got.get(name), want.get(name)); !(x < 1e-5) {
			t.Errorf("%s is off by %.2g of its largest entry", name, x)
		}
	}
}

func ramp(n int, step float64) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = step * float64(i%7-3)
	}
	return v
}

func cycle(n, below, by int) []int64 {
	v := make([]int64, n)
	for i := range v {
		v[i] = int64(i * by % below)
	}
	return v
}
