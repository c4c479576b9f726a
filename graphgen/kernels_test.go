package graphgen

import (
	"maps"
	"slices"
	"testing"
)

// layer is a block with everything that has a kernel, in the given type, with gradients added to accumulators.
func layer(t *testing.T, d DType) *Graph {
	t.Helper()
	const rows, width, hidden, vocab = 32, 16, 64, 48
	g := New()
	err := Build(func() error {
		var params []*Tensor
		into := map[*Tensor]*Tensor{}
		param := func(name string, shape ...int) *Tensor {
			p := g.Input(name, Float32, shape...)
			params, into[p] = append(params, p), g.Input(name+".grad", Float32, shape...)
			return Cast(p, d)
		}
		ids, labels := g.Input("ids", Int64, rows), g.Input("labels", Int64, rows)
		table := param("table", vocab, width)
		x := Embedding(table, ids)
		h := LayerNorm(x, param("norm", width), param("norm.bias", width), 1e-5)
		q, k, v := Linear(h, param("wq", width, width), nil), Linear(h, param("wk", width, width), nil), Linear(h, param("wv", width, width), nil)
		y := Attention{Batch: 2, Queries: 16, Keys: 16, Heads: 2, Scale: 0.3, Causal: true}.Apply(q, k, v, AttentionInputs{})
		x = Add(x, Linear(y, param("wo", width, width), param("bo", width)))
		h = RMSNorm(x, param("norm2", width), 1e-5)
		h = Activation("gelu_tanh", Linear(h, param("up", width, hidden), param("up.bias", hidden)))
		x = Add(x, Linear(h, param("down", hidden, width), param("down.bias", width)))
		loss := LossHead(x, table, nil, labels)
		grads, err := Gradients(loss, params, into)
		g.Output("loss", loss)
		for i, p := range params {
			g.Output(p.Name()+".grad.new", grads[i])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestFused: a block is kernels, with every addend and every sum of columns inside of one, and no pass over
// memory beside them, but for attention in float32, which is as for ort.
func TestFused(t *testing.T) {
	kernels := map[string]int{
		"march.Normalize": 2, "march.NormalizeGrad": 2,
		"march.Activate": 1, "march.ActivateGrad": 1, "march.FusedLossHead": 1, "march.EmbeddingSum": 1, "Gather": 1,
	}
	for d, attention := range map[DType]map[string]int{
		BFloat16: {"march.Linear": 3, "march.LinearGrad": 3, "march.Projections": 1, "march.ProjectionsGrad": 1, "march.FlashAttention": 1, "march.FlashAttentionGrad": 1, "Cast": 13},
		Float32:  {"march.Linear": 6, "march.LinearGrad": 6, "com.microsoft.FusedMatMul": 5, "MatMul": 1, "Softmax": 1, "march.SoftmaxGrad": 1, "Transpose": 8, "Reshape": 9, "LessOrEqual": 1, "Where": 1, "Add": 1},
	} {
		g := layer(t, d)
		g.ForGPU()
		p, err := g.Compile(Fused)
		if err != nil {
			t.Fatal(err)
		}
		want := maps.Clone(kernels)
		maps.Copy(want, attention)
		if h := p.Graph.Histogram(); !maps.Equal(h, want) {
			t.Errorf("%s: got %v\nwant %v", d, h, want)
		}
		inPlace(t, p.Graph)
		if _, err := p.Encode(EncodeOptions{Name: "fused"}); err != nil {
			t.Error(err)
		}
	}
}

// TestFusedOnHost: on a CPU norms, activation, softmax and sums of rows are kernels, with what is added to them; products and the loss head
// are as for ort, and what the softmax hides is no array.
func TestFusedOnHost(t *testing.T) {
	p, err := layer(t, Float32).Compile(Fused)
	if err != nil {
		t.Fatal(err)
	}
	h := p.Graph.Histogram()
	for op, want := range map[string]int{"march.Normalize": 2, "march.NormalizeGrad": 2, "march.Activate": 1, "march.ActivateGrad": 1, "march.MaskedSoftmax": 1, "march.SoftmaxGrad": 1,
		"march.Linear": 0, "march.FusedLossHead": 0, "march.EmbeddingSum": 0, "LessOrEqual": 0, "ReduceSum": 1, "Sigmoid": 0, "LayerNormalization": 0} {
		if h[op] != want {
			t.Errorf("%d nodes %s, wanted %d, of %v", h[op], op, want, h)
		}
	}
	for _, n := range p.Graph.nodes {
		if n.Op.Kernel && !hasKernel(n.Op.Name, false) {
			t.Errorf("%s has no kernel on a CPU", n)
		}
	}
	inPlace(t, p.Graph)
	// In bfloat16 there are none.
	if p, err = layer(t, BFloat16).Compile(Fused); err != nil {
		t.Fatal(err)
	}
	for _, n := range p.Graph.nodes {
		if n.Op.Kernel {
			t.Errorf("in bfloat16: %s", n)
		}
	}
}

// TestFusedOptimizer: a flat buffer's step is one kernel, which gives the copies too; every output may lie where its input does.
func TestFusedOptimizer(t *testing.T) {
	g := New()
	err := Build(func() error {
		const n = 8192
		p, grad, m, v := g.Input("p", Float32, n), g.Input("g", Float32, n), g.Input("m", Float32, n), g.Input("v", Float32, n)
		s := AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Clip: 1}.Begin([]*Tensor{grad}, g.Input("count", Int64), g.Input("lr", Float32), g.Input("step", Int64))
		p2, m2, v2 := s.Update(p, m, v, grad, true)
		for name, x := range map[string]*Tensor{"p.new": p2, "m.new": m2, "v.new": v2, "copy": Cast(p2, BFloat16), "norm": s.Norm} {
			g.Output(name, x)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	g.ForGPU()
	c, err := g.Compile(Fused)
	if err != nil {
		t.Fatal(err)
	}
	if h := c.Graph.Histogram(); h["march.AdamWStep"] != 1 || h["march.SumSquares"] != 1 || h["Cast"] > 2 {
		t.Errorf("got %v", h)
	}
	for _, name := range []string{"p", "m", "v"} {
		if err := c.Graph.SafeInPlace(name, name+".new"); err != nil {
			t.Error(err)
		}
	}
}

// TestProjections: products of one x are one node where they stand beside each other, at most three of them, and their gradients too; a
// result that is read before the next product, or another kernel between, keeps them apart.
func TestProjections(t *testing.T) {
	const rows, width = 16, 8
	for _, c := range []struct {
		name               string
		products           int
		bias, read, kernel bool // each result is squared at once; a norm of something else follows each product
		together, single   int
		gradients, others  int // of several products, of one
	}{
		{"two", 2, true, false, false, 1, 0, 1, 0},
		{"three without bias", 3, false, false, false, 1, 0, 1, 0},
		{"four", 4, true, false, false, 1, 1, 1, 1},
		{"the first is read before the second", 2, true, true, false, 0, 2, 1, 0},
		{"another kernel between", 2, true, false, true, 0, 2, 0, 2},
	} {
		g := New()
		err := Build(func() error {
			x := g.Input("x", BFloat16, rows, width)
			params := []*Tensor{x}
			into := map[*Tensor]*Tensor{}
			param := func(name string, shape ...int) *Tensor {
				p := g.Input(name, Float32, shape...)
				params, into[p] = append(params, p), g.Input(name+".grad", Float32, shape...)
				return Cast(p, BFloat16)
			}
			var results []*Tensor
			for i := range c.products {
				name := string(rune('a' + i))
				w, bias := param(name, width, width), (*Tensor)(nil)
				if c.bias {
					bias = param(name+".bias", width)
				}
				y := Linear(x, w, bias)
				if c.read {
					y = Mul(y, y)
				}
				results = append(results, y)
				if c.kernel {
					results = append(results, RMSNorm(param(name+".other", rows, width), param(name+".norm", width), 1e-5))
				}
			}
			sum := Mul(results[0], results[0])
			for _, y := range results[1:] {
				sum = Add(sum, Mul(y, y))
			}
			loss := ReduceSum(Cast(sum, Float32), false, 0, 1)
			grads, err := Gradients(loss, params, into)
			if err != nil {
				return err
			}
			g.Output("loss", loss)
			for i, p := range params {
				g.Output(p.Name()+".grad.new", grads[i])
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		g.ForGPU()
		p, err := g.Compile(Fused)
		if err != nil {
			t.Fatal(err)
		}
		h := p.Graph.Histogram()
		if h["march.Projections"] != c.together || h["march.Linear"] != c.single || h["march.ProjectionsGrad"] != c.gradients || h["march.LinearGrad"] != c.others {
			t.Errorf("%s: got %v", c.name, h)
		}
		inPlace(t, p.Graph)
	}
}

// inPlace checks that every output x.new may lie where the input x does.
func inPlace(t *testing.T, g *Graph) {
	t.Helper()
	for _, in := range g.Inputs() {
		if into := in.Name() + ".new"; slices.ContainsFunc(g.Outputs(), func(o Output) bool { return o.Name == into }) {
			if err := g.SafeInPlace(in.Name(), into); err != nil {
				t.Error(err)
			}
		}
	}
}
