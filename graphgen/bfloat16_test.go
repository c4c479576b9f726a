package graphgen

import (
	"slices"
	"strings"
	"testing"

	"march/graphgen/onnxpb"
)

// names are the operators of a compiled graph in their order.
func names(g *Graph) string {
	var list []string
	for _, n := range g.nodes {
		list = append(list, n.Op.Name)
	}
	return strings.Join(list, " ")
}

// TestWiden: what has no kernel in bfloat16 is computed in float32 between casts; nothing is
// rounded between two such nodes, and what has a kernel is left alone.
func TestWiden(t *testing.T) {
	for _, c := range []struct {
		build func(x *Tensor) *Tensor
		want  string
	}{
		{func(x *Tensor) *Tensor { return Tanh(Add(x, x)) }, "Add Tanh"},
		{func(x *Tensor) *Tensor { return Tanh(Log(Shift(x, 0.3))) }, "Add Cast Log Cast Tanh"},
		{func(x *Tensor) *Tensor { return Cos(Log(x)) }, "Cast Log Cos Cast"},
		{func(x *Tensor) *Tensor { l := Log(x); return Add(Cos(l), l) }, "Cast Log Cast Cos Cast Add"},
		{func(x *Tensor) *Tensor { return Where(Greater(x, x.like(0.3)), x, x.like(0)) }, "Cast Greater Where"},
		{func(x *Tensor) *Tensor { return Relu(Cast(Log(x), Float32)) }, "Cast Log Cast Cast Relu"},
	} {
		for _, target := range Targets() {
			g := New()
			g.Output("y", c.build(g.Input("x", BFloat16, 3, 4)))
			p, err := g.Compile(target)
			if err != nil {
				t.Fatal(err)
			}
			if got := names(p.Graph); got != c.want {
				t.Errorf("%s: %s, wanted %s", target, got, c.want)
			}
			for _, n := range p.Graph.nodes {
				if n.lacksKernel() {
					t.Errorf("%s: %s is in bfloat16", target, n)
				}
				if i := slices.IndexFunc(n.In, func(t *Tensor) bool { return t.value != nil && t.DType() == Float32 && t.value.Floats[0] == 0.3 }); n.Op.Name == "Greater" && i < 0 {
					t.Errorf("%s: the constant that float32 is compared with is rounded", target)
				}
			}
		}
	}
	for name := range bf16Operators {
		if registry[name] == nil {
			t.Errorf("the table names %s, which is no operator", name)
		}
	}
}

// TestLiftCasts: a copy of an input becomes an input, in its place; so it stays where both
// are read; and what is not named keeps its cast.
func TestLiftCasts(t *testing.T) {
	g := New()
	copied, both, kept := in(g, 2), in(g, 2), in(g, 2)
	sum := Add(Add(Cast(copied, BFloat16), Cast(both, BFloat16)), Cast(kept, BFloat16))
	g.Output("y", Add(Cast(sum, Float32), both))
	lifted := g.LiftCasts(func(input string) string {
		if input == kept.name {
			return ""
		}
		return input + ".copy"
	})
	if err := lifted.Verify(); err != nil {
		t.Fatal(err)
	}
	var inputs []string
	for _, x := range lifted.inputs {
		inputs = append(inputs, x.String())
	}
	want := "xa.copy bfloat16[2], xb float32[2], xb.copy bfloat16[2], xc float32[2]"
	if got := strings.Join(inputs, ", "); got != want {
		t.Errorf("inputs %s, wanted %s", got, want)
	}
	if got := names(lifted); got != "Add Cast Add Cast Add" {
		t.Errorf("nodes %s", got)
	}
}

// TestCopiesAddUp: the gradients of a copy's readers meet in float32, in the accumulator,
// and a table's rows are never added in bfloat16.
func TestCopiesAddUp(t *testing.T) {
	g := New()
	table, w, ids := in(g, 9, 4), in(g, 4, 4), g.Input("ids", Int64, 6)
	into := map[*Tensor]*Tensor{table: g.Input("table.grad", Float32, 9, 4), w: g.Input("w.grad", Float32, 4, 4)}
	x := Embedding(Cast(table, BFloat16), ids)
	for range 3 {
		x = Tanh(Linear(x, Cast(w, BFloat16), nil))
	}
	loss := LossHead(x, Cast(table, BFloat16), nil, ids)
	if loss.DType() != Float32 {
		t.Errorf("the loss is %s", loss)
	}
	g.Output("loss", loss)
	for i, d := range gradientsOf(t, loss, into, table, w) {
		g.Output([]string{"table.grad.new", "w.grad.new"}[i], d)
	}
	p, err := g.Compile(ORT)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range p.Graph.nodes {
		parameter := n.Out[0].Shape().Equal(table.Shape()) || n.Out[0].Shape().Equal(w.Shape())
		if (n.Op.Name == "ScatterElements" || n.Op.Name == "Add" && parameter) && n.Out[0].DType() != Float32 {
			t.Errorf("%s adds in %s", n, n.Out[0].DType())
		}
	}
	for _, name := range []string{"table.grad", "w.grad"} {
		if err := p.Graph.SafeInPlace(name, name+".new"); err != nil {
			t.Error(err)
		}
	}
	if h := p.Graph.Histogram(); h["ScatterElements"] != 2 {
		t.Errorf("%d scatters, wanted one for the labels and one for the tokens", h["ScatterElements"])
	}
}

// TestFillBFloat16: a large filled constant in bfloat16 is made in float32 and converted.
func TestFillBFloat16(t *testing.T) {
	g := New()
	g.Output("y", Mul(g.Input("x", BFloat16, 100), g.Fill(BFloat16, 3, 100)))
	m := encoded(t, g, ORT, EncodeOptions{Name: "fill"})
	var ops []string
	for _, n := range m.Graph.Node {
		ops = append(ops, n.GetOpType())
		if n.GetOpType() == "ConstantOfShape" && n.Attribute[0].T.GetDataType() != int32(onnxpb.TensorProto_FLOAT) {
			t.Errorf("the value is of type %d", n.Attribute[0].T.GetDataType())
		}
	}
	if got := strings.Join(ops, " "); got != "ConstantOfShape Cast Mul" {
		t.Errorf("nodes %s", got)
	}
}

// TestSumRows: many rows in bfloat16 are summed side by side first and then in float32, so
// that the gradient of what is added to them, or multiplied with them, is rounded in neither.
func TestSumRows(t *testing.T) {
	for _, c := range []struct {
		d    DType
		n    int
		want string
	}{
		{Float32, 4096, "Gemm[1,32]"},
		{BFloat16, 4096, "ReduceSum[1,2048] ReduceSum[32]"},
		{BFloat16, 96, "ReduceSum[32]"},
		{BFloat16, 4096 * 16, "ReduceSum[1,16384] ReduceSum[32]"},
		{BFloat16, 4097, "ReduceSum[32]"},
	} {
		g := New()
		b := in(g, 32)
		y := Add(g.Input("y", c.d, c.n, 32), Cast(b, c.d))
		loss := LossHead(y, g.Input("table", c.d, 7, 32), nil, g.Input("labels", Int64, c.n))
		d := gradientsOf(t, loss, nil, b)[0]
		g.Output("d", d)
		p, err := g.Compile(ORT)
		if err != nil {
			t.Fatal(err)
		}
		var sums []string
		for _, n := range p.Graph.nodes {
			if n.Op.Name == "ReduceSum" || n.Attrs.bool("_sum") {
				sums = append(sums, n.Op.Name+g.formatShape(n.Out[0].Shape()))
			}
		}
		if got := strings.Join(sums, " "); got != c.want || d.DType() != Float32 {
			t.Errorf("%d rows in %s: %s, wanted %s", c.n, c.d, got, c.want)
		}
	}
}

// TestNoBiasSoftmax: in bfloat16 no softmax reads the sum with an array that has one row for all
// queries, or rows of its own in each sequence, of which ONNX Runtime would make an operator without a kernel.
func TestNoBiasSoftmax(t *testing.T) {
	for d, want := range map[DType]string{Float32: "Add", BFloat16: "Where"} {
		g := New()
		x := g.Input("x", d, 6, 8)
		for name, in := range map[string]AttentionInputs{"of lengths": {Lengths: g.Input("lengths", Int64, 2)}, "of documents": {Documents: g.Input("documents", Int64, 2, 3)}} {
			g.Output(name, Attention{Batch: 2, Queries: 3, Keys: 3, Heads: 2, Causal: true}.Apply(x, x, x, in))
		}
		p, err := g.Compile(ORT)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range p.Graph.nodes {
			if n.Op.Name == "Softmax" && n.In[0].node.Op.Name != want {
				t.Errorf("%s: the softmax reads %s, wanted %s", d, n.In[0].node, want)
			}
		}
	}
}
