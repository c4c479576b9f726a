package conformance

import (
	"fmt"
	"slices"
	"testing"

	"march/graphgen"
	"march/runtime"
)

// accumulating is a small model whose gradients go through every operator that takes an
// accumulator in: a weight shared by three uses (a chain of Gemms with an addend), a tied
// embedding (a Gemm, then a scatter), a bias (a plain sum).
func accumulating(t *testing.T) (g *graphgen.Graph, params map[string][]int) {
	const batch, length, vocab, d = 2, 5, 6, 4
	params = map[string][]int{"table": {vocab, d}, "w": {d, d}, "b": {d}}
	g = graphgen.New()
	err := graphgen.Build(func() error {
		names := []string{"table", "w", "b"}
		var p []*graphgen.Tensor
		into := map[*graphgen.Tensor]*graphgen.Tensor{}
		for i, name := range names {
			p = append(p, g.Input(name, graphgen.Float32, params[name]...))
			into[p[i]] = g.Input(name+".grad", graphgen.Float32, params[name]...)
		}
		tokens := g.Input("tokens", graphgen.Int64, batch*length)
		x := graphgen.Embedding(p[0], tokens)
		for range 3 {
			x = graphgen.Add(x, graphgen.Activation("silu", graphgen.Linear(x, p[1], p[2])))
		}
		loss := graphgen.LossHead(x, p[0], nil, tokens)
		grads, err := graphgen.Gradients(loss, p, into)
		if err != nil {
			return err
		}
		g.Output("loss", loss)
		for i, name := range names {
			g.Output(name+".grad.new", grads[i])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return g, params
}

// TestInPlaceAccumulation binds accumulators to their own outputs, which graphgen says is
// safe, and compares with separate memory bit by bit.
func TestInPlaceAccumulation(t *testing.T) {
	g, params := accumulating(t)
	shared := map[string]string{}
	for name := range params {
		shared[name+".grad.new"] = name + ".grad"
	}
	for _, target := range graphgen.StockTargets() {
		p, err := g.Compile(target)
		if err != nil {
			t.Fatal(err)
		}
		for out, in := range shared {
			if err := p.Graph.SafeInPlace(in, out); err != nil {
				t.Error(err)
			}
		}
		for _, level := range []string{"disable", "basic", "extended", "all"} {
			t.Run(fmt.Sprintf("%s/%s", target, level), func(t *testing.T) {
				apartFrom := load(t, g, target, loadOptions{optimization: level})
				inPlace := load(t, g, target, loadOptions{optimization: level, shared: shared})
				for _, l := range []*loaded{apartFrom, inPlace} {
					for name, shape := range params {
						n := graphgen.Shape(shape).Elements()
						l.set(name, normals(n, "in place", name))
						l.set(name+".grad", normals(n, "in place", name, "grad"))
					}
				}
				for micro := range 4 {
					tokens := make([]int64, 10)
					for i := range tokens {
						tokens[i] = int64((i*i + micro) % 6)
					}
					for _, l := range []*loaded{apartFrom, inPlace} {
						l.set("tokens", tokens)
						l.run()
					}
					for name := range params {
						want, got := apartFrom.get(name+".grad.new"), inPlace.get(name+".grad")
						if !slices.Equal(got, want) {
							t.Fatalf("micro-batch %d: %s in place is %v, in separate memory %v", micro, name, got, want)
						}
						apartFrom.set(name+".grad", want)
					}
				}
			})
		}
	}
}

// TestScatterOfDuplicates sums many rows into few, as the gradient of an embedding of
// common tokens does: the sum is right, and the same bit by bit however often it runs and
// on however many threads.
func TestScatterOfDuplicates(t *testing.T) {
	const rows, vocab, d = 6000, 3, 16
	g := graphgen.New()
	err := graphgen.Build(func() error {
		table, acc := g.Input("table", graphgen.Float32, vocab, d), g.Input("acc", graphgen.Float32, vocab, d)
		ids, dy := g.Input("ids", graphgen.Int64, rows), g.Input("dy", graphgen.Float32, rows, d)
		loss := graphgen.ReduceSum(graphgen.Mul(graphgen.Embedding(table, ids), dy), false, 0, 1)
		grads, err := graphgen.Gradients(loss, []*graphgen.Tensor{table}, map[*graphgen.Tensor]*graphgen.Tensor{table: acc})
		g.Output("loss", loss)
		g.Output("acc.new", grads[0])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ids, dy, acc := make([]int64, rows), toFloat64(normals(rows*d, "scatter")), toFloat64(normals(vocab*d, "scatter", "acc"))
	want := slices.Clone(acc)
	for i := range ids {
		ids[i] = int64(i * i % 7 % vocab)
		for j := range d {
			want[int(ids[i])*d+j] += dy[i*d+j]
		}
	}
	var first []float64
	for _, threads := range []int{1, 2} {
		r, err := runtime.Open(runtime.Options{Device: rt.Device(), Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for range 2 { // two sessions
			l := load(t, g, graphgen.Portable, loadOptions{runtime: r, shared: map[string]string{"acc.new": "acc"}})
			for range 5 {
				l.set("ids", ids)
				l.set("dy", dy)
				l.set("acc", acc)
				l.set("table", make([]float64, vocab*d))
				l.run()
				got := l.get("acc")
				if first == nil {
					first = got
					if e := apart(got, want); !(e <= 1e-5) {
						t.Errorf("the sum of %d rows into %d is off by %.1e of its largest entry", rows, vocab, e)
					}
				}
				if rt.Device().Kind == "cpu" && !slices.Equal(got, first) {
					t.Fatalf("another run, or %d threads, gave other bits", threads)
				}
			}
		}
	}
}
