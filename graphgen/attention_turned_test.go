package graphgen

import (
	"slices"
	"testing"
)

// TestTurned: on a CPU small heads have their positions in columns, and no gradient of them is a product with
// [queries, keys] transposed; large heads, grouped ones and those for a GPU are as they were.
func TestTurned(t *testing.T) {
	const batch, length, heads = 2, 16, 4
	for _, c := range []struct {
		name   string
		size   int
		kv     int
		target Target
		gpu    bool
		turned bool
	}{
		{"small heads", turnedHead, heads, ORT, false, true},
		{"large heads", turnedHead + 1, heads, ORT, false, false},
		{"groups", turnedHead, 2, ORT, false, false},
		{"portable", turnedHead, heads, Portable, false, false},
		{"a GPU", turnedHead, heads, ORT, true, false},
	} {
		g := New()
		if c.gpu {
			g.ForGPU()
		}
		q, k, v := in(g, batch*length, heads*c.size), in(g, batch*length, c.kv*c.size), in(g, batch*length, c.kv*c.size)
		y := Attention{Batch: batch, Queries: length, Keys: length, Heads: heads, KVHeads: c.kv, Scale: 0.5, Causal: true}.Apply(q, k, v, AttentionInputs{})
		for i, d := range gradientsOf(t, sum(Mul(y, y)), nil, q, k, v) {
			g.Output(string(rune('a'+i)), d)
		}
		p, err := g.Compile(c.target)
		if err != nil {
			t.Fatal(err)
		}
		turned, of := 0, 0 // transpositions to columns; products with [queries, keys] transposed
		for _, n := range p.Graph.nodes {
			if n.Op.Name == "Transpose" && slices.Equal(n.Attrs.ints("perm"), []int{0, 2, 3, 1}) {
				turned++
			}
			if n.Op.Name == "FusedMatMul" && n.Attrs.bool("transA") && n.In[0].Dim(-1) == length && n.In[0].Dim(-2) == length {
				of++
			}
		}
		if (turned == 4 && of == 0) != c.turned {
			t.Errorf("%s: %d transpositions to columns, %d products with [queries, keys] transposed", c.name, turned, of)
		}
	}
}

// TestRowSums: the gradients of a bias that is used twice, and what was summed before, are one chain of products.
func TestRowSums(t *testing.T) {
	for _, gpu := range []bool{false, true} {
		g := New()
		if gpu {
			g.ForGPU()
		}
		x, b, before := in(g, 8, 3), in(g, 3), in(g, 3)
		y := Add(Tanh(Add(x, b)), b)
		loss := sum(Mul(y, y))
		g.Output("new", gradientsOf(t, loss, map[*Tensor]*Tensor{b: before}, b)[0])
		p, err := g.Compile(ORT)
		if err != nil {
			t.Fatal(err)
		}
		h := p.Graph.Histogram()
		rows := 0
		for _, n := range p.Graph.nodes {
			if n.Op.Name == "Add" && n.Out[0].Rank() == 1 {
				rows++
			}
		}
		if chained := h["Gemm"] == 2 && h["ReduceSum"] == 0 && rows == 0; chained == gpu {
			t.Errorf("for a GPU %t: %v, %d additions of rows", gpu, h, rows)
		}
		if err := p.Graph.SafeInPlace(before.Name(), "new"); err != nil {
			t.Error(err)
		}
	}
}
