package graphgen

import "testing"

// TestSiblings: the gradients of equally narrow products of a large factor are joined in a graph for a GPU, and no others; what is
// joined still adds to its accumulators.
func TestSiblings(t *testing.T) {
	const rows = 1 << 17 // 32 columns are a large array
	for _, c := range []struct {
		name   string
		rows   int
		widths []int
		gpu    bool
		joined bool
	}{
		{"queries, keys and values", rows, []int{32, 32, 32}, true, true},
		{"two", rows, []int{32, 32}, true, true},
		{"one", rows, []int{32}, true, false},
		{"unequal ones", rows, []int{32, 32, 64}, true, false},
		{"wide ones", 1 << 12, []int{1024, 1024}, true, false},
		{"small arrays", 64, []int{32, 32}, true, false},
		{"on a CPU", rows, []int{32, 32}, false, false},
	} {
		g := New()
		if c.gpu {
			g.ForGPU()
		}
		x := g.Input("x", Float32, c.rows, 16)
		h := Mul(x, g.Input("scale", Float32, 16)) // so that dx is no output
		targets, into := []*Tensor{g.inputs[1]}, map[*Tensor]*Tensor{}
		var loss *Tensor
		for i, width := range c.widths {
			w := g.Input("w"+string(rune('0'+i)), Float32, 16, width)
			targets, into[w] = append(targets, w), g.Input(w.name+".grad", Float32, 16, width)
			y := Linear(h, w, nil)
			if part := sum(Mul(y, y)); loss == nil {
				loss = part
			} else {
				loss = Add(loss, part)
			}
		}
		g.Output("loss", loss)
		grads, err := Gradients(loss, targets, into)
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range grads {
			g.Output(targets[i].name+".grad.new", d)
		}
		p, err := g.Compile(ORT)
		if err != nil {
			t.Fatal(err)
		}
		h2 := p.Graph.Histogram()
		if products := len(c.widths); c.joined {
			if h2["Gemm"] != products+2 || h2["Split"] != 1 || h2["Concat"] != 2 {
				t.Errorf("%s: not joined in %v", c.name, h2)
			}
		} else if c.gpu && h2["Gemm"] != 3*products || !c.gpu && h2["Gemm"] != 3*products+1 || h2["Split"] != 0 {
			t.Errorf("%s: joined in %v", c.name, h2)
		}
		for _, w := range targets[1:] {
			if err := p.Graph.SafeInPlace(w.name+".grad", w.name+".grad.new"); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
}
