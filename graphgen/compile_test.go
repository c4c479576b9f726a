package graphgen

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestTargets(t *testing.T) {
	for _, target := range Targets() {
		if got, err := ParseTarget(string(target)); got != target || err != nil {
			t.Errorf("%s: %s, %v", target, got, err)
		}
	}
	for _, s := range []string{"", "fast", "ORT", "cuda"} {
		if _, err := ParseTarget(s); err == nil || !strings.Contains(err.Error(), "[portable ort fused]") {
			t.Errorf("target %q: error %v", s, err)
		}
	}
}

// every builds a graph with each of march's own operators and their gradients.
func every(t *testing.T) *Graph {
	g := New()
	err := Build(func() error {
		table, w, b := in(g, 9, 4), in(g, 4), in(g, 4)
		bias, ids, lengths := in(g, 4, 3, 3), g.Input("ids", Int64, 6), g.Input("lengths", Int64, 2)
		var x *Tensor
		g.In("decoder.0", func() {
			x = LayerNorm(Embedding(table, ids), w, b, 1e-5)
			q := Concat(1, x, x)
			x = First(Attention{Batch: 2, Queries: 3, Keys: 3, Heads: 4, KVHeads: 2, Scale: 0.5, Causal: true, Window: 2}.Apply(q, x, x, AttentionInputs{Bias: bias, Lengths: lengths}), 1, 4)
			for _, kind := range ActivationNames() {
				x = GLU(kind, Activation(kind, x), x)
			}
			g.Recomputed(func() { x = RMSNorm(Tanh(x), w, 1e-5) })
		})
		taught, distill := DistillHead(x, table, nil, ids, in(g, 6, 9), 2)
		loss := Add(LossHead(x, table, nil, ids), Add(taught, distill))
		g.Output("loss", loss)
		grads, err := Gradients(loss, []*Tensor{table, w, b, bias}, nil)
		if err != nil {
			return err
		}
		s := AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Clip: 1}.Begin(grads, LabelCount(ids), g.Input("lr", Float32), g.Input("step", Int64))
		p, m, v := s.Update(table, g.Input("m", Float32, 9, 4), g.Input("v", Float32, 9, 4), grads[0], true)
		for i, o := range []*Tensor{s.Norm, p, m, v, grads[1], grads[2], grads[3]} {
			g.Output(fmt.Sprint("out", i), o)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestCompile: every operator of march's own is decomposed, for each target into what it
// has, and keeps its place in the model.
func TestCompile(t *testing.T) {
	for _, gpu := range []bool{false, true} {
		checkCompile(t, gpu)
	}
}

func checkCompile(t *testing.T, gpu bool) {
	g := every(t)
	if gpu {
		g.ForGPU()
	}
	h := g.Histogram()
	for _, op := range Ops() {
		if op.Lower != nil && h["march."+op.Name] == 0 && op.Name != "SumRows" && op.Name != "DropoutMask" {
			t.Errorf("the graph of this test lacks %s", op.Name)
		}
	}
	before := maps.Clone(h)
	for _, target := range Targets() {
		p, err := g.Compile(target)
		if err != nil {
			t.Fatal(err)
		}
		if p.Target != target {
			t.Errorf("compiled for %s", p.Target)
		}
		fused, placed := 0, 0
		for _, n := range p.Graph.nodes {
			switch n.Op.Domain {
			case "":
			case "com.microsoft":
				fused++
			default:
				if target != Fused || !n.Op.Kernel {
					t.Errorf("%s: %s is left", target, n)
				}
			}
			if strings.HasPrefix(n.Scope, "decoder.0") || strings.HasPrefix(n.Scope, "grad.decoder.0") {
				placed++
			}
		}
		if (target == Portable) != (fused == 0) {
			t.Errorf("%s: %d nodes of com.microsoft", target, fused)
		}
		if placed < len(p.Graph.nodes)*2/5 { // kernels are few
			t.Errorf("%s: of %d nodes %d are placed in the decoder", target, len(p.Graph.nodes), placed)
		}
		if len(p.Graph.inputs) != len(g.inputs) || len(p.Graph.outputs) != len(g.outputs) {
			t.Errorf("%s: other inputs or outputs", target)
		}
		chains(t, p.Graph)
	}
	if !maps.Equal(g.Histogram(), before) {
		t.Error("compiling changed the graph")
	}
}

// chains finds what should have become one node.
func chains(t *testing.T, g *Graph) {
	t.Helper()
	for _, n := range g.nodes {
		for _, name := range []string{"Reshape", "Transpose", "Cast"} {
			if p := n.In[0]; n.Op.Name == name && p != nil && p.node != nil && p.node.Op.Name == name {
				t.Errorf("%s of a %s: %s reads %s", name, name, n, p)
			}
		}
		if n.Op.Name == "Reshape" && n.In[0].Shape().Equal(n.Out[0].Shape()) {
			t.Errorf("%s reshapes to the shape that is there", n)
		}
	}
}

// TestDecompositionIsChecked: one that gives another type is march's bug and says so.
func TestDecompositionIsChecked(t *testing.T) {
	register(&Op{Name: "TestLower", Domain: "march", NoGrad: "a test", Infer: func(_ *Graph, n *Node) []Type { return []Type{n.In[0].typ} },
		Lower: func(_ *Graph, n *Node, _ Target) []*Tensor { return []*Tensor{Cast(n.In[0], Float64)} }})
	defer delete(registry, "TestLower")
	g := New()
	g.Output("y", one("TestLower", nil, in(g, 2)))
	if _, err := g.Compile(Portable); err == nil || !strings.Contains(err.Error(), "TestLower: output 0 became Cast float64[2], wanted TestLower float32[2]") {
		t.Errorf("error %v", err)
	}
}

// TestOperatorsOfOtherTargets: a graph that holds one cannot be compiled for a target without it.
func TestOperatorsOfOtherTargets(t *testing.T) {
	g := New()
	g.Output("y", one("FusedMatMul", Attrs{"transA": true, "transB": false, "alpha": 0.5}, in(g, 3, 2), in(g, 3, 4)))
	if _, err := g.Compile(Portable); err == nil || !strings.Contains(err.Error(), "FusedMatMul is not one of target portable") {
		t.Errorf("error %v", err)
	}
	if _, err := g.Compile(ORT); err != nil {
		t.Error(err)
	}
}

func TestPrune(t *testing.T) {
	g := New()
	x := in(g, 4, 4)
	pieces := Split(x, 0, 1, 3)
	dead := Exp(Tanh(pieces[0]))
	y := Log(pieces[1])
	g.Output("y", y)
	p := prune(g)
	if h := p.Histogram(); !maps.Equal(h, map[string]int{"Split": 1, "Log": 1}) {
		t.Errorf("%v is left", h)
	}
	if err := p.Verify(); err != nil {
		t.Error(err)
	}
	if dead.g != g || len(g.nodes) != 4 {
		t.Error("the graph itself was changed")
	}
}

// TestRewriteRules: each rule where it applies and where it must not.
func TestRewriteRules(t *testing.T) {
	type operands struct {
		g                *Graph
		acc, a, b, other *Tensor // acc and a·b [3,5]
	}
	product := func(o operands) *Tensor { return Linear(o.a, o.b, nil) }
	scatter := func(o operands, data *Tensor) *Tensor {
		return scatterAdd(data, o.g.Input("i", Int64, 2, 5), in(o.g, 2, 5), 0)
	}
	for _, c := range []struct {
		name  string
		build func(o operands) *Tensor
		want  map[string]int
	}{
		{"sum and product", func(o operands) *Tensor { return Add(o.acc, product(o)) }, map[string]int{"Gemm": 1}},
		{"product and sum", func(o operands) *Tensor { return Add(product(o), o.acc) }, map[string]int{"Gemm": 1}},
		{"a chain", func(o operands) *Tensor {
			return Add(Add(Add(o.acc, product(o)), Linear(o.other, o.b, nil)), Linear(Exp(o.a), o.b, nil))
		}, map[string]int{"Gemm": 3, "Exp": 1}},
		{"two products", func(o operands) *Tensor { return Add(product(o), Linear(o.other, o.b, nil)) }, map[string]int{"Gemm": 2}},
		{"a product that another reads", func(o operands) *Tensor {
			p := product(o)
			o.g.Output("z", Exp(p))
			return Add(o.acc, p)
		}, map[string]int{"Gemm": 1, "Exp": 1, "Add": 1}},
		{"a product that is an output", func(o operands) *Tensor {
			p := product(o)
			o.g.Output("z", p)
			return Add(o.acc, p)
		}, map[string]int{"Gemm": 1, "Add": 1}},
		{"a product and itself", func(o operands) *Tensor { return Add(product(o), product(o)) }, map[string]int{"Gemm": 1, "Add": 1}},
		{"a product with a bias", func(o operands) *Tensor {
			return Add(o.acc, Linear(o.a, o.b, in(o.g, 5)))
		}, map[string]int{"Gemm": 1, "Add": 1}},
		{"a sum that widens", func(o operands) *Tensor { return Add(in(o.g, 2, 3, 5), product(o)) }, map[string]int{"Gemm": 1, "Add": 1}},
		{"a row", func(o operands) *Tensor { return Add(in(o.g, 5), product(o)) }, map[string]int{"Gemm": 1, "Add": 1}},
		{"a difference", func(o operands) *Tensor { return Sub(o.acc, product(o)) }, map[string]int{"Gemm": 1, "Sub": 1}},
		{"sum and scatter", func(o operands) *Tensor { return Add(o.acc, scatter(o, o.g.Fill(Float32, 0, 3, 5))) }, map[string]int{"ScatterElements": 1}},
		{"scatter and sum", func(o operands) *Tensor { return Add(scatter(o, o.g.Fill(Float32, 0, 3, 5)), o.acc) }, map[string]int{"ScatterElements": 1}},
		{"a scatter into ones", func(o operands) *Tensor { return Add(o.acc, scatter(o, o.g.Fill(Float32, 1, 3, 5))) }, map[string]int{"ScatterElements": 1, "Add": 1}},
		{"a scatter into a tensor", func(o operands) *Tensor { return Add(o.acc, scatter(o, Exp(o.acc))) }, map[string]int{"ScatterElements": 1, "Exp": 1, "Add": 1}},
		{"product, then scatter", func(o operands) *Tensor {
			return Add(Add(o.acc, product(o)), scatter(o, o.g.Fill(Float32, 0, 3, 5)))
		}, map[string]int{"ScatterElements": 1, "Gemm": 1}},
	} {
		g := New()
		o := operands{g, in(g, 3, 5), in(g, 3, 2), in(g, 2, 5), in(g, 3, 2)}
		y := c.build(o)
		g.Output("y", y)
		r := rewrite(g)
		if h := r.Histogram(); !maps.Equal(h, c.want) {
			t.Errorf("%s: %v, wanted %v", c.name, h, c.want)
		}
		if err := r.Verify(); err != nil && !strings.Contains(err.Error(), "read by nothing") {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := r.outputs[len(r.outputs)-1].Tensor; !got.Shape().Equal(y.Shape()) {
			t.Errorf("%s: the result is %s", c.name, got)
		}
	}
}

// TestFoldedAddend: what is folded is read as the addend, the factors stay the factors.
func TestFoldedAddend(t *testing.T) {
	g := New()
	acc, a, b := in(g, 3, 5), in(g, 2, 3), in(g, 5, 2)
	g.Output("y", Add(acc, gemm(a, b, nil, true, true, 0.5)))
	n := rewrite(g).outputs[0].Tensor.node
	var names []string
	for _, t := range n.In {
		names = append(names, t.name)
	}
	if !slices.Equal(names, []string{"xb", "xc", "xa"}) || !n.Attrs.bool("transA") || !n.Attrs.bool("transB") || n.Attrs.num("alpha") != 0.5 {
		t.Errorf("Gemm of %v with %v", names, n.Attrs)
	}
}

// TestFLOPs counts by hand: two for each pair of factors.
func TestFLOPs(t *testing.T) {
	const b, s, d, h, kv, dk, v = 2, 3, 8, 4, 2, 5, 11
	const n = b * s
	attention := int64(2 * b * h * s * s * dk) // one of its products
	for _, c := range []struct {
		name              string
		build             func(g *Graph) *Tensor
		forward, training int64
	}{
		{"linear", func(g *Graph) *Tensor { return Linear(in(g, n, d), in(g, d, v), in(g, v)) }, 2 * n * d * v, 3 * 2 * n * d * v},
		{"linear, transposed", func(g *Graph) *Tensor { return LinearT(in(g, n, d), in(g, v, d), nil) }, 2 * n * d * v, 3 * 2 * n * d * v},
		{"batches", func(g *Graph) *Tensor { return MatMul(in(g, b, 1, s, d), in(g, h, d, v)) }, 2 * b * h * s * d * v, 3 * 2 * b * h * s * d * v},
		{"attention", func(g *Graph) *Tensor {
			return Attention{Batch: b, Queries: s, Keys: s, Heads: h, KVHeads: kv, Scale: 0.5, Causal: true}.Apply(in(g, n, h*dk), in(g, n, kv*dk), in(g, n, kv*dk), AttentionInputs{})
		}, 2 * attention, 6 * attention},
		{"attention, computed anew", func(g *Graph) *Tensor {
			return Attention{Batch: b, Queries: s, Keys: s, Heads: h, KVHeads: kv, Scale: 0.5, Causal: true, Recompute: true}.Apply(in(g, n, h*dk), in(g, n, kv*dk), in(g, n, kv*dk), AttentionInputs{})
		}, 2 * attention, 7 * attention},
		{"a block, computed anew", func(g *Graph) (y *Tensor) {
			x := Embedding(in(g, v, d), g.Input("ids", Int64, n))
			g.Recomputed(func() { y = Linear(Tanh(Linear(x, in(g, d, v), nil)), in(g, v, d), nil) })
			return y // the second product is not needed again
		}, 2 * 2 * n * d * v, (3*2 + 1) * 2 * n * d * v},
		{"loss", func(g *Graph) *Tensor { return LossHead(in(g, n, d), in(g, v, d), nil, g.Input("labels", Int64, n)) }, 2 * n * d * v, 3 * 2 * n * d * v},
		{"elementwise", func(g *Graph) *Tensor { return Exp(Add(in(g, n), in(g, n))) }, 0, 0},
	} {
		for _, target := range StockTargets() { // a kernel's are counted where it is planned
			g := New()
			y := c.build(g)
			g.Output("y", y)
			p, err := g.Compile(target)
			if err != nil {
				t.Fatal(err)
			}
			// The operators themselves count what their decompositions do.
			if got := p.Graph.FLOPs(); got != c.forward || g.FLOPs() != got {
				t.Errorf("%s, %s: %d forward, decomposed %d, wanted %d", c.name, target, g.FLOPs(), got, c.forward)
			}
			var targets []*Tensor
			for _, x := range g.inputs {
				if x.DType().Float() {
					targets = append(targets, x)
				}
			}
			loss := y
			if y.Rank() > 0 {
				loss = sum(Mul(y, y)) // so that the gradients are not constants
			}
			for i, d := range gradientsOf(t, loss, nil, targets...) {
				g.Output(fmt.Sprint("d", i), Identity(d))
			}
			if p, err = g.Compile(target); err != nil {
				t.Fatal(err)
			}
			if got := p.Graph.FLOPs(); got != c.training || prune(g).FLOPs() != got {
				t.Errorf("%s, %s: %d forward and backward, decomposed %d, wanted %d", c.name, target, g.FLOPs(), got, c.training)
			}
		}
	}
}

func TestHistogram(t *testing.T) {
	g := New()
	x := in(g, 4, 4)
	Add(Exp(x), Exp(Tanh(x)))
	one("FusedMatMul", Attrs{"transA": true}, x, x)
	RMSNorm(x, in(g, 4), 1e-5)
	if h := g.Histogram(); !maps.Equal(h, map[string]int{"Exp": 2, "Tanh": 1, "Add": 1, "com.microsoft.FusedMatMul": 1, "march.RMSNorm": 1}) {
		t.Errorf("%v", h)
	}
}

// attentionGradient is a compiled attention of one sequence with its gradient.
func attentionGradient(t *testing.T, target Target, d DType, a Attention, size int) *Graph {
	t.Helper()
	g := New()
	q, k, v := g.Input("q", d, a.Batch*a.Queries, a.Heads*size), g.Input("k", d, a.Batch*a.Keys, a.Heads*size), g.Input("v", d, a.Batch*a.Keys, a.Heads*size)
	y := a.Apply(q, k, v, AttentionInputs{})
	g.Output("y", y)
	dy := g.Input("dy", d, y.Shape()...)
	for i, x := range gradientsOf(t, Cast(sum(Mul(y, dy)), Float32), nil, q, k, v) {
		g.Output(fmt.Sprint("d", i), x)
	}
	p, err := g.Compile(target)
	if err != nil {
		t.Fatal(err)
	}
	return p.Graph
}

// TestBlocksOfQueries: long causal attention has no array of all queries and all keys, and
// its largest arrays together are half as large and a little.
func TestBlocksOfQueries(t *testing.T) {
	for _, target := range Targets() {
		for _, c := range []struct {
			a      Attention
			blocks int
			most   int // keys of a block
		}{
			{Attention{Batch: 1, Queries: 512, Keys: 512, Heads: 1, Causal: true}, 1, 512},
			{Attention{Batch: 1, Queries: 2048, Keys: 2048, Heads: 1, Causal: true}, 4, 2048},
			{Attention{Batch: 1, Queries: 2048, Keys: 2048, Heads: 1, Causal: true, Window: 513}, 4, 1024},
			{Attention{Batch: 1, Queries: 2048, Keys: 2048, Heads: 1, Causal: true, Window: 514}, 4, 1536},
			{Attention{Batch: 1, Queries: 2048, Keys: 2048, Heads: 1}, 1, 2048},
			{Attention{Batch: 1, Queries: 1100, Keys: 1100, Heads: 1, Causal: true}, 1, 1100},
		} {
			g := attentionGradient(t, target, Float32, c.a, 8)
			blocks, most := 0, 0
			for _, n := range g.nodes {
				if n.Op.Name == "Softmax" || n.Op.Name == "MaskedSoftmax" {
					blocks, most = blocks+1, max(most, n.Out[0].Dim(-1))
				}
			}
			if blocks != c.blocks || most != c.most {
				t.Errorf("%s, %+v: %d softmaxes, %d keys at most, wanted %d and %d", target, c.a, blocks, most, c.blocks, c.most)
			}
		}
	}
}

// TestCentredInProduct: with many keys the row sums are taken off within a product, where
// nothing else needs the array between.
func TestCentredInProduct(t *testing.T) {
	for keys, passes := range map[int]int{8*16 - 1: 1, 8 * 16: 0} {
		g := attentionGradient(t, ORT, BFloat16, Attention{Batch: 2, Queries: 3, Keys: keys, Heads: 2}, 8)
		got := 0
		for _, n := range g.nodes {
			if n.Op.Name == "Sub" && n.Out[0].Dim(-1) == keys {
				got++
			}
		}
		if got != passes {
			t.Errorf("%d keys: %d subtractions from arrays of probabilities, wanted %d", keys, got, passes)
		}
	}
}

// TestLargeArrays: an array that no cache holds has its activation from one kernel, what
// passes a norm in one sum with the norm's gradient, and no logit's array but the product,
// its softmax and what the two gradients read.
func TestLargeArrays(t *testing.T) {
	for _, c := range []struct {
		rows           int
		d              DType
		kernels, slope int
		sums           int
	}{{16, Float32, 0, 0, 0}, {16, BFloat16, 2, 1, 0}, {1 << 17, Float32, 2, 0, 1}, {1 << 17, BFloat16, 2, 1, 1}} {
		g := New()
		x, w, table, ids := g.Input("x", c.d, c.rows, 32), g.Input("w", c.d, 32), g.Input("table", c.d, 64, 32), g.Input("ids", Int64, c.rows)
		h := Add(x, Activation("silu", Activation("gelu_tanh", LayerNorm(x, w, g.Fill(c.d, 0, 32), 1e-5))))
		loss := LossHead(h, table, nil, ids)
		g.Output("loss", loss)
		for i, d := range gradientsOf(t, loss, nil, x, w, table) {
			g.Output(fmt.Sprint("d", i), d)
		}
		p, err := g.Compile(ORT)
		if err != nil {
			t.Fatal(err)
		}
		o := p.Graph.Histogram()
		if got := o["com.microsoft.FastGelu"] + o["com.microsoft.QuickGelu"]; got != c.kernels {
			t.Errorf("%d rows, %s: %d activations are kernels, wanted %d", c.rows, c.d, got, c.kernels)
		}
		if got := o["Gather"]; got != 1+c.slope { // the labels' rows
			t.Errorf("%d rows, %s: %d look-ups, wanted %d", c.rows, c.d, got, 1+c.slope)
		}
		if o["Sum"] != c.sums {
			t.Errorf("%d rows, %s: %d sums of three, wanted %d", c.rows, c.d, o["Sum"], c.sums)
		}
		for _, n := range p.Graph.nodes {
			if s := n.Out[0].Shape(); s.Equal(Shape{c.rows, 64}) && n.Op.Name != "Gemm" && n.Op.Name != "Softmax" {
				t.Errorf("%d rows, %s: %s makes another array of the logits' size", c.rows, c.d, n)
			}
		}
	}
}

// TestSlopes: the table that derivatives are looked up in holds the derivative of its function.
func TestSlopes(t *testing.T) {
	reference := map[string]func(x float64) float64{
		"gelu_tanh": func(x float64) float64 {
			return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		},
		"gelu": func(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) },
	}
	for _, f := range activations {
		if f.slope == nil {
			continue
		}
		g := New()
		at := f.lookUp(g.Input("x", BFloat16, 3)).node
		table := at.In[0].value.Floats
		for x := -9.0; x <= 9; x += 1.0 / 16 {
			want := (reference[f.name](x+1e-5) - reference[f.name](x-1e-5)) / 2e-5
			i := int(max(-slopeBound, min(slopeBound, x)) * slopeSteps)
			if got := table[(i+len(table))%len(table)]; math.Abs(got-want) > 1e-6 {
				t.Errorf("%s: slope at %v is %v, wanted %v", f.name, x, got, want)
			}
		}
		fine := fineSlopes[f.name]().Floats
		for x := -slopeBound + 1e-4; x < slopeBound; x += 0.0123 { // as lookUpFine finds it
			at := float32(x)*float32(0.5/slopeBound) + float32(0.5+0.25/(slopeBound*slopeFineness))
			if got := fine[int(at*2*slopeBound*slopeFineness)]; math.Abs(got-f.slope(x)) > 2.6e-5 {
				t.Errorf("%s: fine slope at %v is %v, wanted %v", f.name, x, got, f.slope(x))
			}
		}
		if last := fine[len(fine)-1]; len(fine) != 2*slopeBound*slopeFineness+1 || math.Abs(fine[0]) > 1e-6 || math.Abs(last-1) > 1e-6 {
			t.Errorf("%s: %d fine slopes from %v to %v", f.name, len(fine), fine[0], last)
		}
		for i := 1; i < slopeSteps/16; i++ { // where bfloat16 is finer than the table
			for _, x := range []int{i, -i} {
				got, next := table[(x+len(table))%len(table)], f.slope((float64(x)+float64(x/i))/slopeSteps)
				if math.Abs(got-next) > 1.0/512 {
					t.Errorf("%s: slopes next to %d/%d differ by %v", f.name, x, slopeSteps, math.Abs(got-next))
				}
			}
		}
	}
}
