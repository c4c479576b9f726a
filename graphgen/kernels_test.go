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
		"march.Linear": 6, "march.LinearGrad": 6, "march.Normalize": 2, "march.NormalizeGrad": 2,
		"march.Activate": 1, "march.ActivateGrad": 1, "march.FusedLossHead": 1, "march.EmbeddingSum": 1, "Gather": 1,
	}
	for d, attention := range map[DType]map[string]int{
		BFloat16: {"march.FlashAttention": 1, "march.FlashAttentionGrad": 1, "Cast": 13},
		Float32:  {"com.microsoft.FusedMatMul": 5, "MatMul": 1, "Softmax": 1, "march.SoftmaxGrad": 1, "Transpose": 8, "Reshape": 9, "LessOrEqual": 1, "Where": 1, "Add": 1},
	} {
		p, err := layer(t, d).Compile(Fused)
		if err != nil {
			t.Fatal(err)
		}
		want := maps.Clone(kernels)
		maps.Copy(want, attention)
		if h := p.Graph.Histogram(); !maps.Equal(h, want) {
			t.Errorf("%s: got %v\nwant %v", d, h, want)
		}
		for _, in := range p.Graph.Inputs() {
			if slices.ContainsFunc(p.Graph.Outputs(), func(o Output) bool { return o.Name == in.Name()+".new" }) {
				if err := p.Graph.SafeInPlace(in.Name(), in.Name()+".new"); err != nil {
					t.Error(err)
				}
			}
		}
		if _, err := p.Encode(EncodeOptions{Name: "fused"}); err != nil {
			t.Error(err)
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
