package graphgen

import "testing"

// Large arrays meet smaller ones as matrices; small ones, and masks in float32, as they are.
func TestFlatBroadcast(t *testing.T) {
	build := func(d DType, op func(a, b *Tensor) *Tensor, x, y Shape) *Graph {
		g := New()
		g.Output("out", op(g.Input("x", d, x...), g.Input("y", d, y...)))
		p, err := g.Compile(ORT)
		if err != nil {
			t.Fatal(err)
		}
		return p.Graph
	}
	big := Shape{4, 8, 512, 512}
	for _, c := range []struct {
		name    string
		d       DType
		op      func(a, b *Tensor) *Tensor
		x, y    Shape
		flat    bool
		a, b    Shape
		further int // reshapes
	}{
		{"rows' sums", Float32, Sub, big, Shape{4, 8, 512, 1}, true, Shape{16384, 512}, Shape{16384, 1}, 3},
		{"mask", BFloat16, Add, big, Shape{512, 512}, true, Shape{32, 512 * 512}, Shape{512 * 512}, 3},
		{"mask in float32", Float32, Add, big, Shape{512, 512}, false, nil, nil, 0},
		{"small", Float32, Sub, Shape{2, 2, 8, 8}, Shape{2, 2, 8, 1}, false, nil, nil, 0},
		{"lengths", BFloat16, Add, big, Shape{4, 1, 1, 512}, false, nil, nil, 0},
		{"same", BFloat16, Add, big, big, false, nil, nil, 0},
		{"scalar", BFloat16, Mul, big, Shape{}, false, nil, nil, 0},
		{"matrix", BFloat16, Mul, Shape{65536, 512}, Shape{65536, 1}, false, nil, nil, 0},
	} {
		g := build(c.d, c.op, c.x, c.y)
		if h := g.Histogram(); h["Reshape"] != c.further {
			t.Errorf("%s: %v", c.name, h)
		}
		if !c.flat {
			continue
		}
		for _, n := range g.Nodes() {
			if n.Op.Name != "Reshape" && (!n.In[0].Shape().Equal(c.a) || !n.In[1].Shape().Equal(c.b)) {
				t.Errorf("%s: %s with %s", c.name, n.In[0], n.In[1])
			}
		}
	}
}
