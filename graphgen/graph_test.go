package graphgen

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// in is a float32 input, named after how many inputs the graph has.
func in(g *Graph, shape ...int) *Tensor {
	return g.Input("x"+string(rune('a'+len(g.inputs))), Float32, shape...)
}

// TestSharing: asking twice for the same thing gives the same tensor; anything that
// differs, in operator, attribute, input or constant, does not.
func TestSharing(t *testing.T) {
	g := New()
	x, y := in(g, 6, 4), in(g, 6, 4)
	w, ids := in(g, 4, 4), g.Input("ids", Int64, 6)
	a := Attention{Batch: 2, Queries: 3, Keys: 3, Heads: 2, Scale: 0.5, Causal: true}
	for _, c := range []struct {
		name  string
		build func() *Tensor
	}{
		{"unary", func() *Tensor { return Exp(x) }},
		{"binary", func() *Tensor { return Sub(x, y) }},
		{"attributes", func() *Tensor { return Transpose(x, 1, 0) }},
		{"an input left out", func() *Tensor { return Linear(x, w, nil) }},
		{"attention", func() *Tensor { return a.Apply(x, x, x, AttentionInputs{}) }},
		{"march's own", func() *Tensor { return LayerNorm(x, ones4(g), ones4(g), 1e-5) }},
		{"reshape", func() *Tensor { return Reshape(x, 3, 8) }},
		{"embedding", func() *Tensor { return Embedding(x, ids) }},
		{"reduction, axes in another order", func() *Tensor { return ReduceSum(x, true, 1, 0) }},
		{"several outputs", func() *Tensor { return Split(x, 0, 2, 4)[1] }},
		{"constants", func() *Tensor { return g.Floats(Float32, []float64{1, 2}) }},
		{"NaN", func() *Tensor { return g.Scalar(Float32, math.NaN()) }},
		{"positions", func() *Tensor { return g.Iota(5) }},
	} {
		if first, nodes := c.build(), len(g.nodes); c.build() != first || len(g.nodes) != nodes {
			t.Errorf("%s: built twice gave two tensors", c.name)
		}
	}
	if ReduceSum(x, true, 0, 1) != ReduceSum(x, true, -1, 0) {
		t.Error("the same axes in another form gave two tensors")
	}
	for _, c := range []struct {
		name string
		a, b *Tensor
	}{
		{"operator", Exp(x), Log(x)},
		{"input", Exp(x), Exp(y)},
		{"order of inputs", Sub(x, y), Sub(y, x)},
		{"permutation", Transpose(Reshape(x, 2, 3, 4), 1, 0, 2), Transpose(Reshape(x, 2, 3, 4), 2, 1, 0)},
		{"transposition", Linear(x, w, nil), LinearT(x, w, nil)},
		{"scale of an attention", a.Apply(x, x, x, AttentionInputs{}), Attention{Batch: 2, Queries: 3, Keys: 3, Heads: 2, Scale: 0.25, Causal: true}.Apply(x, x, x, AttentionInputs{})},
		{"window of an attention", a.Apply(x, x, x, AttentionInputs{}), Attention{Batch: 2, Queries: 3, Keys: 3, Heads: 2, Scale: 0.5, Causal: true, Window: 2}.Apply(x, x, x, AttentionInputs{})},
		{"activation", Activation("relu", x), Activation("silu", x)},
		{"eps", RMSNorm(x, ones4(g), 1e-5), RMSNorm(x, ones4(g), 1e-6)},
		{"output", Split(x, 0, 2, 4)[0], Split(x, 0, 2, 4)[1]},
		{"kept dimensions", ReduceSum(x, true, 0), ReduceSum(x, false, 0)},
		{"type of a constant", g.Scalar(Float32, 1), g.Scalar(Float64, 1)},
		{"shape of a constant", g.Scalar(Float32, 1), g.Fill(Float32, 1, 1)},
		{"sign of zero", g.Scalar(Float32, 0), g.Scalar(Float32, math.Copysign(0, -1))},
		{"fill and list", g.Fill(Int64, 7, 2), g.Ints([]int64{7, 8})},
		{"adjacent numbers", g.Ints([]int64{1, 23}), g.Ints([]int64{12, 3})},
	} {
		if c.a == c.b {
			t.Errorf("tensors that differ by the %s are one", c.name)
		}
	}
}

// ones4 is a vector of ones for norms of width 4.
func ones4(g *Graph) *Tensor { return g.Fill(Float32, 1, 4) }

// TestPlace: nodes carry the place in the model that asked for them first.
func TestPlace(t *testing.T) {
	g := New()
	x := in(g, 3)
	var y, again *Tensor
	g.In("decoder.3", func() { g.In("attn", func() { y = Exp(x) }) })
	g.In("loss", func() { again = Exp(x) })
	if got := y.node.String(); got != "decoder.3.attn/Exp" || again != y {
		t.Errorf("the node is called %s", got)
	}
	if got := Log(x).node.String(); got != "Log" {
		t.Errorf("a node outside every place is called %s", got)
	}
	func() { // a panic leaves the place
		defer func() { recover() }()
		g.In("broken", func() { panic("stop") })
	}()
	if len(g.scope) != 0 {
		t.Errorf("after a panic the place is %v", g.scope)
	}
}

func TestSymbols(t *testing.T) {
	g := New()
	b, s := g.Symbol("batch"), g.Symbol("length")
	n := g.Product(b, s)
	if n >= 0 || g.Product(b, s) != n || g.Product(1, s) != s || g.Product(b, 1) != b || g.Product(3, 4) != 12 {
		t.Error("products of dimensions are wrong")
	}
	x := g.Input("x", Float32, b, s, 8)
	if got := Reshape(x, n, 8).String(); got != "Reshape float32[batch*length,8]" {
		t.Errorf("a reshape to a product prints as %s", got)
	}
	if Reshape(Reshape(x, n, 8), b, s, 8) != x {
		t.Error("there and back is not free")
	}
	if shape := Reshape(Embedding(g.Input("table", Float32, 5, 8), g.Input("ids", Int64, b, s)), n, 2, 4).Shape(); !shape.Equal(Shape{n, 2, 4}) {
		t.Errorf("a reshape with a symbol has the shape %v", shape)
	}
	if x.Shape().Static() || !(Shape{2, 3}).Static() || (Shape{2, 3}).Elements() != 6 || (Shape{}).Elements() != 1 {
		t.Error("static shapes and their elements are wrong")
	}
}

func TestTypes(t *testing.T) {
	for d, want := range map[DType]struct {
		name  string
		size  int
		float bool
	}{
		Float32: {"float32", 4, true}, Float64: {"float64", 8, true}, BFloat16: {"bfloat16", 2, true},
		Int64: {"int64", 8, false}, Int32: {"int32", 4, false}, Bool: {"bool", 1, false},
	} {
		if d.String() != want.name || d.Size() != want.size || d.Float() != want.float {
			t.Errorf("%s: %d bytes, floating point %t", d, d.Size(), d.Float())
		}
	}
	g := New()
	x := in(g, 2, 3)
	if x.Dim(-1) != 3 || x.Dim(0) != 2 || x.Rank() != 2 || x.Name() != "xa" || Exp(x).Name() != "" || x.Graph() != g {
		t.Error("an input's own description is wrong")
	}
	if v := g.Scalar(Int64, 7); v.Const().Ints[0] != 7 || x.Const() != nil || !strings.Contains(v.String(), "constant int64[]") {
		t.Error("a constant's own description is wrong")
	}
}

// TestShapes: what each operator makes of its inputs' shapes.
func TestShapes(t *testing.T) {
	g := New()
	x, row, col := in(g, 3, 5), in(g, 5), in(g, 3, 1)
	cube, ids := in(g, 2, 3, 5), g.Input("ids", Int64, 4, 2)
	for _, c := range []struct {
		name string
		y    *Tensor
		want Type
	}{
		{"broadcast of a row", Add(x, row), Type{Float32, Shape{3, 5}}},
		{"broadcast of column and row", Mul(col, row), Type{Float32, Shape{3, 5}}},
		{"broadcast to rank 3", Sub(x, cube), Type{Float32, Shape{2, 3, 5}}},
		{"comparison", Less(x, row), Type{Bool, Shape{3, 5}}},
		{"conjunction", And(Less(x, row), Greater(col, row)), Type{Bool, Shape{3, 5}}},
		{"choice", Where(Less(col, col), row, g.Scalar(Float32, 0)), Type{Float32, Shape{3, 5}}},
		{"cast", Cast(x, Float64), Type{Float64, Shape{3, 5}}},
		{"transpose", Transpose(cube, 2, 0, 1), Type{Float32, Shape{5, 2, 3}}},
		{"swap", SwapLast(cube), Type{Float32, Shape{2, 5, 3}}},
		{"concat", Concat(1, cube, cube), Type{Float32, Shape{2, 6, 5}}},
		{"split", Split(cube, 2, 1, 4)[1], Type{Float32, Shape{2, 3, 4}}},
		{"first", First(cube, 1, 2), Type{Float32, Shape{2, 2, 5}}},
		{"unsqueeze at the end", Unsqueeze(x, 2), Type{Float32, Shape{3, 5, 1}}},
		{"expand", Expand(col, 3, 7), Type{Float32, Shape{3, 7}}},
		{"sum, dropped", ReduceSum(cube, false, 0, 2), Type{Float32, Shape{3}}},
		{"sum, kept", ReduceSum(cube, true, -1), Type{Float32, Shape{2, 3, 1}}},
		{"arg max", ArgMax(cube), Type{Int64, Shape{2, 3}}},
		{"linear", Linear(x, in(g, 5, 7), in(g, 7)), Type{Float32, Shape{3, 7}}},
		{"linear, transposed", LinearT(x, in(g, 7, 5), nil), Type{Float32, Shape{3, 7}}},
		{"products of batches", MatMul(in(g, 2, 1, 3, 5), in(g, 4, 5, 2)), Type{Float32, Shape{2, 4, 3, 2}}},
		{"embedding", Embedding(x, ids), Type{Float32, Shape{4, 2, 5}}},
		{"attention of other value sizes", Attention{Batch: 1, Queries: 2, Keys: 3, Heads: 4, KVHeads: 2}.Apply(in(g, 2, 12), in(g, 3, 6), in(g, 3, 10), AttentionInputs{}), Type{Float32, Shape{2, 20}}},
		{"loss", LossHead(x, in(g, 9, 5), nil, g.Input("labels", Int64, 3)), Type{Float32, Shape{}}},
		{"count", LabelCount(ids), Type{Int64, Shape{}}},
		{"positions", g.Iota(4), Type{Int64, Shape{4}}},
	} {
		if c.y.DType() != c.want.DType || !c.y.Shape().Equal(c.want.Shape) {
			t.Errorf("%s: %s, wanted %v", c.name, c.y, c.want)
		}
	}
}

// TestFree: what changes nothing adds no node.
func TestFree(t *testing.T) {
	g := New()
	x, cube := in(g, 3, 5), in(g, 2, 3, 5)
	zero, ones := g.Scalar(Float32, 0), g.Fill(Float32, 1, 1, 5)
	for _, c := range []struct {
		name      string
		got, want *Tensor
	}{
		{"x + 0", Add(x, zero), x},
		{"0 + x", Add(zero, x), x},
		{"x − 0", Sub(x, zero), x},
		{"x · 1", Mul(x, ones), x},
		{"1 · x", Mul(ones, x), x},
		{"x / 1", Div(x, ones), x},
		{"scale by one", Scale(x, 1), x},
		{"shift by nothing", Shift(x, 0), x},
		{"−−x", Neg(Neg(x)), x},
		{"cast to its own type", Cast(x, Float32), x},
		{"reshape to its own shape", Reshape(x, 3, 5), x},
		{"reshape and back", Reshape(Reshape(x, 15), 3, 5), x},
		{"transpose of nothing", Transpose(cube, 0, 1, 2), cube},
		{"transpose and back", Transpose(Transpose(cube, 1, 2, 0), 2, 0, 1), cube},
		{"swap and back", SwapLast(SwapLast(x)), x},
		{"split into one", Split(x, 0, 3)[0], x},
		{"the first of all", First(x, 1, 5), x},
		{"expand to its own shape", Expand(x, 3, 5), x},
		{"sum over nothing", ReduceSum(x, true), x},
		{"maximum over nothing", ReduceMax(x, true), x},
		{"the identity activation", Activation("identity", x), x},
	} {
		if c.got != c.want {
			t.Errorf("%s is %s", c.name, c.got)
		}
	}
	for name, y := range map[string]*Tensor{
		"0 − x":                       Sub(zero, x),
		"1 / x":                       Div(ones, x),
		"a zero that widens":          Add(x, g.Fill(Float32, 0, 2, 3, 5)),
		"a zero that widens a one":    Add(in(g, 3, 1), g.Fill(Float32, 0, 5)),
		"ones with a number among":    Mul(x, g.Floats(Float32, []float64{1, 1, 1, 1, 2})),
		"nothing added to a constant": Add(x, g.Scalar(Float32, 1e-300)),
	} {
		if y == x || y.node == nil || !slices.Contains([]string{"Add", "Sub", "Mul", "Div"}, y.node.Op.Name) {
			t.Errorf("%s was simplified to %s", name, y)
		}
	}
}

// TestChainsAreOne: reshapes of reshapes and transposes of transposes become one node.
func TestChainsAreOne(t *testing.T) {
	g := New()
	x := in(g, 2, 3, 4, 5)
	y := Reshape(Reshape(Reshape(x, 6, 20), 120), 4, 30)
	if y.node.In[0] != x || !y.Shape().Equal(Shape{4, 30}) {
		t.Errorf("reshapes of a reshape read %s", y.node.In[0])
	}
	// Element [i] of a transposition's shape says where dimension i came from, so composing
	// on the shapes (all sizes differ) is composing the permutations.
	first, second := []int{3, 1, 0, 2}, []int{2, 0, 3, 1}
	both := Transpose(Transpose(x, first...), second...)
	want := make(Shape, 4)
	for i, p := range second {
		want[i] = x.Dim(first[p])
	}
	if both.node.In[0] != x || !both.Shape().Equal(want) {
		t.Errorf("transpose of a transpose is %s of %s, wanted shape %v", both, both.node.In[0], want)
	}
}

// TestPeak: a tensor counts from the node that makes it to its last reader, once however it
// is seen, and an output to the end.
func TestPeak(t *testing.T) {
	g := New()
	x := in(g, 100)
	a := Exp(x)                 // 400 bytes
	b := Exp(Reshape(a, 4, 25)) // with a 800
	c := ReduceSum(b, false, 1) // a is gone: 416
	g.Output("kept", a)
	g.Output("c", Tanh(c))
	if got := g.Peak(); got != 400+400+16 {
		t.Errorf("peak %d", got)
	}
}
