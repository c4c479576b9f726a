package graphgen

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// sum is the sum of all entries, a loss.
func sum(x *Tensor) *Tensor { return ReduceSum(x, false, allAxes(x)...) }

// gradientsOf fails the test on an error.
func gradientsOf(t *testing.T, loss *Tensor, into map[*Tensor]*Tensor, targets ...*Tensor) []*Tensor {
	t.Helper()
	grads, err := Gradients(loss, targets, into)
	if err != nil {
		t.Fatal(err)
	}
	return grads
}

// TestBroadcastIsUndone: whatever a rule returns, a gradient has its input's own shape.
func TestBroadcastIsUndone(t *testing.T) {
	for _, c := range []struct{ a, b Shape }{
		{Shape{3, 5}, Shape{5}}, {Shape{3, 5}, Shape{3, 1}}, {Shape{3, 1}, Shape{1, 5}}, {Shape{5}, Shape{2, 3, 5}},
		{Shape{}, Shape{3, 5}}, {Shape{1, 1}, Shape{2, 3, 5}}, {Shape{2, 1, 5}, Shape{3, 1}}, {Shape{1}, Shape{1, 1}},
	} {
		for name, op := range map[string]func(a, b *Tensor) *Tensor{
			"Add": Add, "Sub": Sub, "Mul": Mul, "Div": Div, "Max": Max, "Min": Min,
			"Where": func(a, b *Tensor) *Tensor { return Where(Less(a, b), a, b) },
		} {
			g := New()
			a, b := in(g, c.a...), in(g, c.b...)
			for i, d := range gradientsOf(t, sum(op(a, b)), nil, a, b) {
				if want := []*Tensor{a, b}[i]; !d.Shape().Equal(want.Shape()) || d.DType() != want.DType() {
					t.Errorf("%s of %v and %v: gradient %d is %s", name, c.a, c.b, i, d)
				}
			}
		}
	}
	g := New()
	a, b := in(g, 2, 1, 3, 4), in(g, 5, 4, 2)
	for i, d := range gradientsOf(t, sum(MatMul(a, b)), nil, a, b) {
		if want := []*Tensor{a, b}[i]; !d.Shape().Equal(want.Shape()) {
			t.Errorf("batches that broadcast: gradient %d is %s", i, d)
		}
	}
}

// TestFanOut: the gradients of all readers of a tensor add up, readers that the loss does
// not depend on have none, and nothing is computed for what is no target.
func TestFanOut(t *testing.T) {
	g := New()
	x, other := in(g, 3), in(g, 3)
	loss := sum(Add(Mul(x, other), Mul(x, Exp(x))))
	Tanh(x) // read by nothing
	nodes := len(g.nodes)
	d := gradientsOf(t, loss, nil, x)[0]
	added := map[string]int{}
	for _, n := range g.nodes[nodes:] {
		added[n.Op.Name]++
	}
	if added["Add"] != 2 || added["OneMinus"]+added["Sub"] != 0 || d.node.Op.Name != "Add" {
		t.Errorf("three readers' gradients are summed by %v, last %s", added, d)
	}
	// Only x is a target, so Mul(x, other) needs dy·other and nothing for other.
	for _, n := range g.nodes[nodes:] {
		if n.Op.Name == "Mul" && slices.Contains(n.In, x) && !slices.Contains(n.In, other) && !slices.ContainsFunc(n.In, func(t *Tensor) bool { return t.node != nil }) {
			t.Errorf("%s computes a gradient that nobody asked for", n)
		}
	}
}

// TestSharedForward: gradients take what the forward pass computed instead of computing it again.
func TestSharedForward(t *testing.T) {
	g := New()
	x, w, b := in(g, 6, 4), in(g, 4), in(g, 4)
	table, ids := in(g, 7, 4), g.Input("ids", Int64, 6)
	h := LayerNorm(x, w, b, 1e-5)
	h = Attention{Batch: 2, Queries: 3, Keys: 3, Heads: 2, Causal: true}.Apply(h, h, h, AttentionInputs{})
	h = Activation("gelu_tanh", h)
	h = RMSNorm(h, w, 1e-5)
	loss := LossHead(h, table, nil, ids)
	g.Output("loss", loss)
	for i, d := range gradientsOf(t, loss, nil, x, w, b, table) {
		g.Output(fmt.Sprint("grad", i), d)
	}
	for _, target := range StockTargets() {
		p, err := g.Compile(target)
		if err != nil {
			t.Fatal(err)
		}
		h := p.Graph.Histogram()
		for op, want := range map[string]int{"Softmax": 2, "LayerNormalization": 1, "Sigmoid": 1, "Sqrt": 1, "Log": 1} {
			if h[op] != want {
				t.Errorf("%s: %d nodes %s, wanted %d", target, h[op], op, want)
			}
		}
		logits := 0
		for _, n := range p.Graph.nodes {
			if n.Op.Name == "Gemm" && n.Out[0].Shape().Equal(Shape{6, 7}) {
				logits++
			}
		}
		if logits != 1 {
			t.Errorf("%s: logits are computed %d times", target, logits)
		}
	}
}

// TestAccumulators: the accumulator of a matrix costs no pass of its own, however many
// uses the matrix has.
func TestAccumulators(t *testing.T) {
	g := New()
	table, w, tokens := in(g, 9, 4), in(g, 4, 4), g.Input("tokens", Int64, 6)
	accTable, accW := g.Input("table.grad", Float32, 9, 4), g.Input("w.grad", Float32, 4, 4)
	x := Embedding(table, tokens)
	for range 3 {
		x = Tanh(Linear(x, w, nil))
	}
	loss := LossHead(x, table, nil, tokens)
	grads := gradientsOf(t, loss, map[*Tensor]*Tensor{table: accTable, w: accW}, table, w)
	g.Output("loss", loss)
	g.Output("table.grad.new", grads[0])
	g.Output("w.grad.new", grads[1])
	for _, target := range Targets() {
		p, err := g.Compile(target)
		if err != nil {
			t.Fatal(err)
		}
		addends := 0
		for _, n := range p.Graph.nodes {
			if n.Op.Name == "Add" && (n.Out[0].Shape().Equal(table.Shape()) || n.Out[0].Shape().Equal(w.Shape())) {
				t.Errorf("%s: %s adds %s and %s", target, n, n.In[0], n.In[1])
			}
			if n.Op.Name == "Gemm" && n.In[2] != nil {
				addends++
			}
		}
		if addends != 4 { // three uses of w, the loss head's use of the table
			t.Errorf("%s: %d Gemms take what was there before, wanted 4", target, addends)
		}
		for in, out := range map[string]string{"table.grad": "table.grad.new", "w.grad": "w.grad.new"} {
			if err := p.Graph.SafeInPlace(in, out); err != nil {
				t.Errorf("%s: %v", target, err)
			}
		}
	}
}

// TestGradientPlaces: what differentiates a node stands under grad and the node's place.
func TestGradientPlaces(t *testing.T) {
	g := New()
	x := in(g, 3)
	var y *Tensor
	g.In("decoder.1", func() { y = Tanh(x) })
	if d := gradientsOf(t, sum(y), nil, x)[0]; d.node.Scope != "grad.decoder.1" {
		t.Errorf("the gradient stands at %q", d.node.Scope)
	}
	if len(g.scope) != 0 {
		t.Errorf("differentiation leaves the place at %v", g.scope)
	}
}

// TestIntegerInputs have no gradient and stop none.
func TestIntegerInputs(t *testing.T) {
	g := New()
	table, ids := in(g, 5, 4), g.Input("ids", Int64, 3)
	loss := sum(Mul(Embedding(table, ids), Cast(Reshape(ids, 3, 1), Float32)))
	if d := gradientsOf(t, loss, nil, table)[0]; !d.Shape().Equal(table.Shape()) {
		t.Errorf("the table's gradient is %s", d)
	}
	if _, err := Gradients(loss, []*Tensor{ids}, nil); err == nil || !strings.Contains(err.Error(), "does not depend on ids int64[3]") {
		t.Errorf("gradient of whole numbers: error %v", err)
	}
}

// TestGradientErrors: what cannot be differentiated says so, with operator and place.
func TestGradientErrors(t *testing.T) {
	bad := func(name string, grad func(g *Graph, n *Node, dy []*Tensor) []*Tensor) {
		register(&Op{Name: name, Infer: func(_ *Graph, n *Node) []Type { return []Type{n.In[0].typ} }, Grad: grad})
		t.Cleanup(func() { delete(registry, name) })
	}
	bad("TestCount", func(_ *Graph, _ *Node, dy []*Tensor) []*Tensor { return append(dy, dy...) })
	bad("TestType", func(_ *Graph, _ *Node, dy []*Tensor) []*Tensor { return []*Tensor{Cast(dy[0], Float64)} })
	bad("TestShape", func(g *Graph, _ *Node, _ []*Tensor) []*Tensor { return []*Tensor{g.Fill(Float32, 1, 3, 2)} })
	for _, c := range []struct {
		name string
		loss func(g *Graph, x *Tensor) *Tensor
		into func(g *Graph, x *Tensor) map[*Tensor]*Tensor
		want string
	}{
		{"no gradient", func(g *Graph, x *Tensor) *Tensor { return sum(ReduceMax(x, false, 0)) }, nil,
			"decoder.1/ReduceMax: operator ReduceMax has no gradient (used for numerical range"},
		{"second order", func(g *Graph, x *Tensor) *Tensor {
			w := g.Fill(Float32, 1, 4)
			return sum(one("RMSNormGrad", Attrs{"eps": 1e-5}, x, w, x))
		}, nil, "decoder.1/RMSNormGrad: operator RMSNormGrad has no gradient (second derivatives"},
		{"a loss that is no scalar", func(_ *Graph, x *Tensor) *Tensor { return Exp(x) }, nil, "must be a floating-point scalar"},
		{"a whole-number loss", func(_ *Graph, x *Tensor) *Tensor { return LabelCount(Cast(x, Int64)) }, nil, "must be a floating-point scalar"},
		{"independent", func(g *Graph, x *Tensor) *Tensor { return sum(g.Input("other", Float32, 2)) }, nil, "the loss does not depend on xa float32[3,4]"},
		{"through a whole number", func(g *Graph, x *Tensor) *Tensor { return sum(Cast(Cast(x, Int64), Float32)) }, nil, "the loss does not depend on xa"},
		{"wrong number of results", func(_ *Graph, x *Tensor) *Tensor { return sum(one("TestCount", nil, x)) }, nil,
			"decoder.1/TestCount: the gradient rule of TestCount gave 2 results for 1 inputs"},
		{"wrong type", func(_ *Graph, x *Tensor) *Tensor { return sum(one("TestType", nil, x)) }, nil, "decoder.1/TestType: gradient 0 of TestType is"},
		{"wrong shape", func(_ *Graph, x *Tensor) *Tensor { return sum(one("TestShape", nil, x)) }, nil, "decoder.1/TestShape: gradient 0 of TestShape is constant float32[3,2] for xa"},
		{"accumulator of another shape", func(_ *Graph, x *Tensor) *Tensor { return sum(x) },
			func(g *Graph, x *Tensor) map[*Tensor]*Tensor {
				return map[*Tensor]*Tensor{x: g.Input("acc", Float32, 1, 3, 4)}
			}, "cannot take the gradient of xa"},
		{"accumulator of another type", func(_ *Graph, x *Tensor) *Tensor { return sum(x) },
			func(g *Graph, x *Tensor) map[*Tensor]*Tensor {
				return map[*Tensor]*Tensor{x: g.Input("acc", Float64, 3, 4)}
			}, "cannot take the gradient of xa"},
		{"accumulator of an inner tensor", func(_ *Graph, x *Tensor) *Tensor { return sum(Exp(x)) },
			func(g *Graph, x *Tensor) map[*Tensor]*Tensor {
				return map[*Tensor]*Tensor{Exp(x): g.Input("acc", Float32, 3, 4)}
			}, "an accumulator of an input's own type"},
	} {
		g := New()
		x := in(g, 3, 4)
		var loss *Tensor
		g.In("decoder.1", func() { loss = c.loss(g, x) })
		var into map[*Tensor]*Tensor
		if c.into != nil {
			into = c.into(g, x)
		}
		if _, err := Gradients(loss, []*Tensor{x}, into); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, wanted %q in it", c.name, err, c.want)
		}
	}
}

// TestGradientNeedsKnownSizes: rules that fill in the rest of a slice cannot do so with symbols.
func TestGradientNeedsKnownSizes(t *testing.T) {
	g := New()
	s := g.Symbol("length")
	x := g.Input("x", Float32, 8, 4)
	g.Input("tokens", Int64, s)
	if _, err := Gradients(sum(First(x, 0, s)), []*Tensor{x}, nil); err == nil || !strings.Contains(err.Error(), "known before the graph runs") {
		t.Errorf("error %v", err)
	}
}
