package graphgen

import (
	"strings"
	"testing"
)

// twoNodes is y = log(exp(x)) with an output, whole and in order.
func twoNodes() (g *Graph, x, inner, y *Tensor) {
	g = New()
	x = in(g, 3)
	inner = Exp(x)
	y = Log(inner)
	g.Output("y", y)
	return g, x, inner, y
}

// TestVerify breaks each rule once.
func TestVerify(t *testing.T) {
	if g, _, _, _ := twoNodes(); g.Verify() != nil {
		t.Fatal(g.Verify())
	}
	for _, c := range []struct {
		name, want string
		breakIt    func(g *Graph, x, inner, y *Tensor)
	}{
		{"order", "Log reads Exp float32[3] before it is computed", func(g *Graph, _, _, _ *Tensor) { g.nodes[0], g.nodes[1] = g.nodes[1], g.nodes[0] }},
		{"a node gone", "before it is computed", func(g *Graph, _, _, _ *Tensor) { g.nodes = g.nodes[1:] }},
		{"another graph's tensor", "of another graph", func(g *Graph, _, _, _ *Tensor) { g.nodes[0].In[0] = in(New(), 3) }},
		{"assigned twice", "Exp assigns output 0 twice", func(g *Graph, _, _, _ *Tensor) { g.nodes = append(g.nodes[:1:1], g.nodes...) }},
		{"an output of another node", "Log assigns output 0 twice", func(g *Graph, x, _, _ *Tensor) { g.nodes[1].Out = []*Tensor{Tanh(x)} }},
		{"wrong shape", "output 0 is Exp float32[4], its rule gives float32[3]", func(_ *Graph, _, inner, _ *Tensor) { inner.typ.Shape = Shape{4} }},
		{"wrong element type", "its rule gives float32[3]", func(_ *Graph, _, inner, _ *Tensor) { inner.typ.DType = Float64 }},
		{"too few outputs", "Exp has 0 outputs, its rule gives 1", func(g *Graph, _, _, _ *Tensor) { g.nodes[0].Out = nil }},
		{"inputs that the rule refuses", "do not broadcast", func(g *Graph, x, _, _ *Tensor) {
			Add(x, in(g, 1)).node.In[1] = in(g, 2)
		}},
		{"no outputs", "no outputs", func(g *Graph, _, _, _ *Tensor) { g.outputs = nil }},
		{"output of another graph", `output "y" is not computed`, func(g *Graph, _, _, _ *Tensor) { g.outputs[0].Tensor = Exp(in(New(), 3)) }},
		{"output of a node that is gone", `output "z" is not computed`, func(g *Graph, x, _, _ *Tensor) {
			g.Output("z", Tanh(x))
			g.nodes = g.nodes[:2]
		}},
		{"output that is an input", "directly an input or a constant", func(g *Graph, x, _, _ *Tensor) { g.Output("z", x) }},
		{"output that is a constant", "directly an input or a constant", func(g *Graph, x, _, _ *Tensor) { g.Output("z", g.Scalar(Float32, 1)) }},
		{"input without a reader", "input xb float32[2] is read by nothing", func(g *Graph, _, _, _ *Tensor) { in(g, 2) }},
		{"input without a name", `input ""`, func(_ *Graph, x, _, _ *Tensor) { x.name = "" }},
		{"output without a name", `output ""`, func(g *Graph, _, _, _ *Tensor) { g.outputs[0].Name = "" }},
		{"two inputs of one name", `input "xa" has no name, or one that another`, func(g *Graph, _, _, _ *Tensor) { Exp(in(g, 1)).node.In[0].name = "xa" }},
		{"input and output of one name", `output "xa"`, func(g *Graph, _, _, _ *Tensor) { g.outputs[0].Name = "xa" }},
	} {
		g, x, inner, y := twoNodes()
		c.breakIt(g, x, inner, y)
		if err := g.Verify(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, wanted %q in it", c.name, err, c.want)
		}
		if _, err := g.Compile(Portable); err == nil {
			t.Errorf("%s: compiles", c.name)
		}
	}
	g, _, _, _ := twoNodes()
	g.Input("lengths", Int64, 2)
	if err := g.Verify(); err != nil {
		t.Errorf("a whole-number input may be unread: %v", err)
	}
}

// TestVerifyTable: an operator that breaks a rule of the table is found with any graph.
func TestVerifyTable(t *testing.T) {
	g, _, _, _ := twoNodes()
	for want, op := range map[string]*Op{
		"no type rule":                          {Name: "TestOp", NoGrad: "a test"},
		"together with a decomposition":         {Name: "TestOp", NoGrad: "a test", Domain: "march", Infer: normType},
		"TestOp: domain march goes together wi": {Name: "TestOp", NoGrad: "a test", Infer: normType, Lower: func(*Graph, *Node, Target) []*Tensor { return nil }},
	} {
		register(op)
		if err := g.Verify(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, wanted %q in it", err, want)
		}
		delete(registry, "TestOp")
	}
	for name, op := range map[string]*Op{"twice": {Name: "Exp", NoGrad: "a test"}, "no reason": {Name: "TestOp"}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: registered", name)
				}
			}()
			register(op)
		}()
	}
}

// TestSafeInPlace: an output may take an input's memory only where nobody reads the input afterwards.
func TestSafeInPlace(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(g *Graph, x *Tensor) *Tensor // y, which wants x's memory
		want  string                            // in the error; "": safe
	}{
		{"elementwise", func(_ *Graph, x *Tensor) *Tensor { return Exp(x) }, ""},
		{"elementwise chain", func(_ *Graph, x *Tensor) *Tensor { return Log(Exp(x)) }, ""},
		{"read twice by the writer", func(_ *Graph, x *Tensor) *Tensor { return Mul(x, x) }, ""},
		{"read early and by the writer", func(g *Graph, x *Tensor) *Tensor { return Mul(x, sum(Tanh(x))) }, ""},
		{"an addend", func(g *Graph, x *Tensor) *Tensor { return Linear(in(g, 4, 5), in(g, 5, 4), x) }, ""},
		{"scattered into", func(g *Graph, x *Tensor) *Tensor {
			return scatterAdd(x, g.Input("i", Int64, 2, 4), in(g, 2, 4), 0)
		}, ""},
		{"moved and back", func(_ *Graph, x *Tensor) *Tensor { return Reshape(Exp(Reshape(x, 16)), 4, 4) }, ""},
		{"through an identity", func(_ *Graph, x *Tensor) *Tensor { return Identity(Exp(x)) }, ""},
		{"copied", func(_ *Graph, x *Tensor) *Tensor { return Identity(x) }, ""},

		{"a factor of a product", func(_ *Graph, x *Tensor) *Tensor { return MatMul(x, x) }, "MatMul may read it"},
		{"a factor, then an identity that may be left out", func(_ *Graph, x *Tensor) *Tensor { return Identity(MatMul(x, x)) }, "MatMul may read it"},
		{"a factor, then a reshape", func(_ *Graph, x *Tensor) *Tensor {
			return Reshape(MatMul(Reshape(x, 1, 4, 4), Reshape(x, 1, 4, 4)), 4, 4)
		}, "MatMul may read it"},
		{"addend and factor", func(g *Graph, x *Tensor) *Tensor { return Linear(x, in(g, 4, 4), x) }, "Gemm may read it"},
		{"softmax", func(_ *Graph, x *Tensor) *Tensor { return Softmax(x) }, "Softmax may read it"},
		{"transposed", func(_ *Graph, x *Tensor) *Tensor { return Transpose(x, 1, 0) }, "Transpose may read it"},
		{"broadcast", func(g *Graph, x *Tensor) *Tensor { return Add(x, First(x, 0, 1)) }, ""},
		{"scattered from", func(g *Graph, x *Tensor) *Tensor {
			return scatterAdd(in(g, 4, 4), g.Input("i", Int64, 4, 4), x, 0)
		}, "ScatterElements may read it"},
		{"another reader", func(g *Graph, x *Tensor) *Tensor { g.Output("z", sum(x)); return Exp(x) }, "ReduceSum may read it"},
		{"a later reader", func(g *Graph, x *Tensor) *Tensor { y := Exp(x); g.Output("z", Add(y, x)); return y }, "Add may read it"},
		{"another reader of a view", func(g *Graph, x *Tensor) *Tensor {
			view := Reshape(x, 16)
			g.Output("z", sum(Exp(view)))
			return Reshape(Tanh(view), 4, 4)
		}, "Exp may read it"},
		{"a reader of a view that the writer's side made", func(g *Graph, x *Tensor) *Tensor {
			view := Unsqueeze(x, 0)
			g.Output("z", Softmax(view))
			return Add(Tanh(x), Reshape(Exp(view), 4, 4))
		}, "Softmax may read it"},
		{"another type", func(_ *Graph, x *Tensor) *Tensor { return Cast(x, Float64) }, "types differ"},
		{"another shape", func(_ *Graph, x *Tensor) *Tensor { return Reshape(x, 16) }, "types differ"},
	} {
		g := New()
		x := g.Input("x", Float32, 4, 4)
		g.Output("y", c.build(g, x))
		err := g.SafeInPlace("x", "y")
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, wanted %q", c.name, err, c.want)
		}
	}
	g, _, _, _ := twoNodes()
	for _, names := range [][2]string{{"xa", "z"}, {"z", "y"}} {
		if err := g.SafeInPlace(names[0], names[1]); err == nil {
			t.Errorf("no error for %v", names)
		}
	}
}
