package conformance

import (
	"fmt"
	"math"
	"testing"

	"march/graphgen"
)

// TestAttentionWithoutVisibleKeys: a row that sees nothing stays a number, and leaves the
// other rows alone.
func TestAttentionWithoutVisibleKeys(t *testing.T) {
	const batch, length, d = 2, 3, 4
	for _, target := range graphgen.StockTargets() {
		t.Run(string(target), func(t *testing.T) {
			g := graphgen.New()
			err := graphgen.Build(func() error {
				x := g.Input("x", graphgen.Float32, batch*length, d)
				lengths := g.Input("lengths", graphgen.Int64, batch)
				y := graphgen.Attention{Batch: batch, Queries: length, Keys: length, Heads: 2, Causal: true}.Apply(x, x, x, graphgen.AttentionInputs{Lengths: lengths})
				axes := []int{0, 1}
				grads, err := graphgen.Gradients(graphgen.ReduceSum(y, false, axes...), []*graphgen.Tensor{x}, nil)
				g.Output("y", y)
				g.Output("x.grad", grads[0])
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			l := load(t, g, target, loadOptions{})
			x := toFloat64(normals(batch*length*d, "unseen"))
			l.set("x", x)
			l.set("lengths", []int64{0, 3})
			l.run()
			a := attentionShape{1, length, length, 2, 2, d / 2, d / 2, 1, true, 0, 0}
			half := length * d
			want := attentionReference(a, x[half:], x[half:], x[half:], nil, nil, []int64{3}, nil)
			if e := apart(l.get("y")[half:], want); !(e <= value32) {
				t.Errorf("the sequence that sees its keys differs from the reference by %.1e", e)
			}
			for _, name := range []string{"y", "x.grad"} {
				if v := largest(l.get(name)); math.IsNaN(v) || math.IsInf(v, 0) {
					t.Errorf("%s holds %v", name, v)
				}
			}
		})
	}
}

// TestDynamicSizes runs one graph whose batch and length are symbols at several sizes:
// embedding, learned positions, attention with every mask, norm and projection.
func TestDynamicSizes(t *testing.T) {
	const vocab, positions, d, heads = 7, 12, 6, 2
	build := func(batch, length int, g *graphgen.Graph) func() error {
		return func() error {
			table := g.Input("table", graphgen.Float32, vocab, d)
			place := g.Input("positions", graphgen.Float32, positions, d)
			w := g.Input("w", graphgen.Float32, d)
			tokens := g.Input("tokens", graphgen.Int64, batch, length)
			rows := g.Product(batch, length)
			x := graphgen.Add(graphgen.Embedding(table, tokens), graphgen.First(place, 0, length))
			x = graphgen.Reshape(x, rows, d)
			lengths := graphgen.Reshape(graphgen.ReduceSum(graphgen.Cast(graphgen.GreaterOrEqual(tokens, g.Scalar(graphgen.Int64, 0)), graphgen.Int64), false, 1), batch)
			y := graphgen.Attention{Batch: batch, Queries: length, Keys: length, Heads: heads, Causal: true, Window: 3, Scale: 0.5}.Apply(x, x, x, graphgen.AttentionInputs{Lengths: lengths})
			y = graphgen.RMSNorm(graphgen.Add(x, y), w, 1e-5)
			y = graphgen.Activation("silu", graphgen.LinearT(y, table, nil))
			g.Output("y", graphgen.Reshape(y, batch, length, vocab))
			g.Output("top", graphgen.Reshape(graphgen.ArgMax(y), batch, length))
			return nil
		}
	}
	dynamic := graphgen.New()
	if err := graphgen.Build(build(dynamic.Symbol("batch"), dynamic.Symbol("length"), dynamic)); err != nil {
		t.Fatal(err)
	}
	for _, target := range graphgen.StockTargets() {
		for _, size := range [][2]int{{1, 1}, {1, 12}, {3, 5}, {4, 1}} {
			t.Run(fmt.Sprintf("%dx%d/%s", size[0], size[1], target), func(t *testing.T) {
				static := graphgen.New()
				if err := graphgen.Build(build(size[0], size[1], static)); err != nil {
					t.Fatal(err)
				}
				shape := graphgen.Shape{size[0], size[1]}
				run := func(l *loaded) ([]float64, []int64) {
					l.set("table", normals(vocab*d, "dynamic", "table"))
					l.set("positions", normals(positions*d, "dynamic", "positions"))
					l.set("w", normals(d, "dynamic", "w"))
					tokens := make([]int64, shape.Elements())
					for i := range tokens {
						tokens[i] = int64(i*i) % vocab
					}
					l.set("tokens", tokens)
					l.run()
					return l.get("y"), l.ints("top")
				}
				want, wantTop := run(load(t, static, target, loadOptions{}))
				got, gotTop := run(load(t, dynamic, target, loadOptions{sizes: map[string]graphgen.Shape{
					"tokens": shape, "top": shape, "y": {size[0], size[1], vocab}}}))
				if e := apart(got, want); !(e <= value32) {
					t.Errorf("the dynamic graph differs from the static one by %.1e", e)
				}
				for i := range wantTop {
					if gotTop[i] != wantTop[i] {
						t.Errorf("top %v, the static graph's %v", gotTop, wantTop)
						break
					}
				}
			})
		}
	}
}
