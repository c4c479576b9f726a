package graphgen_test

import (
	"errors"
	"strings"
	"testing"

	. "march/graphgen"
)

// TestBuildError: what is built wrongly becomes an error with the place in the model, the
// reason, and the line of code outside the package.
func TestBuildError(t *testing.T) {
	g := New()
	err := Build(func() error {
		x := g.Input("x", Float32, 3, 5)
		g.In("decoder.3", func() {
			g.In("attn", func() { Add(x, g.Input("y", Float32, 4, 5)) })
		})
		return nil
	})
	var e *BuildError
	if !errors.As(err, &e) {
		t.Fatalf("error %v", err)
	}
	if want := "decoder.3.attn: Add: shapes [3,5] and [4,5] do not broadcast"; e.Error() != want {
		t.Errorf("error %q, wanted %q", e, want)
	}
	if e.Place != "decoder.3.attn" || !strings.Contains(e.Caller, "builderror_test.go:") {
		t.Errorf("place %q, caller %q", e.Place, e.Caller)
	}
	if err := Build(func() error { return errors.New("an error of the caller's") }); err == nil || err.Error() != "an error of the caller's" {
		t.Errorf("the caller's own error became %v", err)
	}
	defer func() {
		if r := recover(); r != "the caller's own panic" {
			t.Errorf("recovered %v", r)
		}
	}()
	Build(func() error { panic("the caller's own panic") })
}

// TestMisuse: every way to ask an operator for nonsense is a BuildError that names the
// operator, never another panic.
func TestMisuse(t *testing.T) {
	type b struct {
		g                            *Graph
		x, row, scalar, cube, double *Tensor
		ids, cond, dynamic           *Tensor
		symbol                       int
	}
	attention := Attention{Batch: 1, Queries: 3, Keys: 3, Heads: 2}
	for _, c := range []struct {
		want  string // in the message
		build func(b)
	}{
		{"Add: shapes [3,4] and [3]", func(b b) { Add(b.x, b.g.Input("n", Float32, 3)) }},
		{"Add: element types differ", func(b b) { Add(b.x, b.double) }},
		{"Add: element types differ", func(b b) { Add(b.x, b.g.Scalar(Float64, 0)) }},
		{"Mul: element types differ", func(b b) { Mul(b.x, b.g.Scalar(Int64, 1)) }},
		{"Add: input 1 is missing", func(b b) { Add(b.x, nil) }},
		{"Mul: input 0 is missing", func(b b) { Mul(nil, b.x) }},
		{"without inputs", func(b b) { Add(nil, nil) }},
		{"without inputs", func(b b) { Concat(0) }},
		{"another graph", func(b b) { Add(b.x, New().Input("y", Float32, 3, 4)) }},
		{"And: ", func(b b) { And(b.x, b.x) }},
		{"Where: the condition", func(b b) { Where(b.x, b.x, b.x) }},
		{"Where: element types", func(b b) { Where(b.cond, b.x, b.double) }},
		{"Less: element types", func(b b) { Less(b.x, b.ids) }},
		{"Reshape: ", func(b b) { Reshape(b.x, 5) }},
		{"Reshape: ", func(b b) { Reshape(b.x, 12, 0) }},
		{"Reshape: ", func(b b) { Reshape(b.x, -3, -4) }},
		{"Transpose: ", func(b b) { Transpose(b.x, 0) }},
		{"Transpose: ", func(b b) { Transpose(b.x, 0, 0) }},
		{"Transpose: ", func(b b) { Transpose(b.x, 0, 2) }},
		{"Transpose: ", func(b b) { Transpose(b.x, -1, 0) }},
		{"SwapLast: ", func(b b) { SwapLast(b.row) }},
		{"Concat", func(b b) { Concat(2, b.x, b.x) }},
		{"Concat", func(b b) { Concat(-1, b.x, b.x) }},
		{"Concat", func(b b) { Concat(0, b.x, b.g.Input("n", Float32, 3, 5)) }},
		{"Concat", func(b b) { Concat(0, b.x, b.row) }},
		{"Split: ", func(b b) { Split(b.x, 0, 1, 1) }},
		{"Split: ", func(b b) { Split(b.x, 0, 2) }},
		{"Split: ", func(b b) { Split(b.x, 0, 4, -1) }},
		{"Split: ", func(b b) { Split(b.x, 2, 1, 2) }},
		{"no dimension", func(b b) { Split(b.x, 5, 3) }},
		{"First: ", func(b b) { First(b.x, 0, 4) }},
		{"First: ", func(b b) { First(b.x, 0, 0) }},
		{"First: ", func(b b) { First(b.x, 2, 1) }},
		{"no input has the dimension", func(b b) { First(b.x, 0, b.g.Symbol("unbound")) }},
		{"Unsqueeze: ", func(b b) { Unsqueeze(b.x, 3) }},
		{"Unsqueeze: ", func(b b) { Unsqueeze(b.x, -1) }},
		{"Expand: ", func(b b) { Expand(b.x, 3, 5) }},
		{"Expand: ", func(b b) { Expand(b.x, 4) }},
		{"ReduceSum: ", func(b b) { ReduceSum(b.x, false, 2) }},
		{"ReduceSum: ", func(b b) { ReduceSum(b.x, false, -3) }},
		{"ReduceSum: ", func(b b) { ReduceSum(b.x, false, 1, -1) }},
		{"ReduceMean: ", func(b b) { ReduceMean(b.dynamic, false, 0) }},
		{"Softmax: ", func(b b) { Softmax(b.scalar) }},
		{"ArgMax: ", func(b b) { ArgMax(b.scalar) }},
		{"Gemm: ", func(b b) { Linear(b.x, b.x, nil) }},
		{"Gemm: ", func(b b) { Linear(b.cube, b.x, nil) }},
		{"Gemm: ", func(b b) { LinearT(b.x, b.x, b.g.Input("n", Float32, 4)) }},
		{"Gemm: ", func(b b) { LinearT(b.x, b.double, nil) }},
		{"MatMul: ", func(b b) { MatMul(b.x, b.x) }},
		{"MatMul: ", func(b b) { MatMul(b.row, b.row) }},
		{"MatMul: ", func(b b) { MatMul(b.g.Input("m", Float32, 2, 3, 4), b.g.Input("n", Float32, 3, 4, 5)) }},
		{"LayerNorm: ", func(b b) { LayerNorm(b.x, b.g.Input("n", Float32, 3), b.row, 1e-5) }},
		{"LayerNorm: ", func(b b) { LayerNorm(b.cube, b.row, b.row, 1e-5) }},
		{"LayerNorm: input 2 is missing", func(b b) { LayerNorm(b.x, b.row, nil, 1e-5) }},
		{"RMSNorm: ", func(b b) { RMSNorm(b.scalar, b.row, 1e-5) }},
		{"RMSNorm: ", func(b b) { RMSNorm(b.x, b.x, 1e-5) }},
		{`activation "swish" is not one of`, func(b b) { Activation("swish", b.x) }},
		{`activation "" is not one of`, func(b b) { GLU("", b.x, b.x) }},
		{"GLU: ", func(b b) { GLU("relu", b.x, b.row) }},
		{"Embedding: ", func(b b) { Embedding(b.row, b.ids) }},
		{"Embedding: ", func(b b) { Embedding(b.x, b.x) }},
		{"Attention: 2 heads and 3 key/value heads", func(b b) {
			a := attention
			a.KVHeads = 3
			a.Apply(b.x, b.x, b.x, AttentionInputs{})
		}},
		{"Attention: ", func(b b) { Attention{Batch: 1, Queries: 3, Keys: 3}.Apply(b.x, b.x, b.x, AttentionInputs{}) }},
		{"Attention: ", func(b b) {
			Attention{Batch: 1, Queries: 3, Keys: 3, Heads: 2, KVHeads: -2}.Apply(b.x, b.x, b.x, AttentionInputs{})
		}},
		{"Attention: window -1", func(b b) {
			Attention{Batch: 1, Queries: 3, Keys: 3, Heads: 2, Window: -1}.Apply(b.x, b.x, b.x, AttentionInputs{})
		}},
		{"Attention: ", func(b b) { Attention{Batch: 2, Queries: 3, Keys: 3, Heads: 2}.Apply(b.x, b.x, b.x, AttentionInputs{}) }},
		{"Attention: the bias", func(b b) { attention.Apply(b.x, b.x, b.x, AttentionInputs{Bias: b.cube}) }},
		{"Attention: the lengths", func(b b) { attention.Apply(b.x, b.x, b.x, AttentionInputs{Lengths: b.ids}) }},
		{"Attention: the lengths", func(b b) { attention.Apply(b.x, b.x, b.x, AttentionInputs{Lengths: b.g.Input("l", Float32, 1)}) }},
		{"Attention: the documents", func(b b) { attention.Apply(b.x, b.x, b.x, AttentionInputs{Documents: b.ids}) }},
		{"Attention: the documents", func(b b) {
			attention.Apply(b.x, b.x, b.x, AttentionInputs{Documents: b.g.Input("l", Float32, 1, 3)})
		}},
		{"Attention: the documents", func(b b) {
			a := attention
			a.Memory = 1
			a.Apply(b.x, b.x, b.x, AttentionInputs{Documents: b.g.Input("l", Int64, 1, 3)})
		}},
		{"no dimension", func(b b) { attention.Apply(b.row, b.row, b.row, AttentionInputs{}) }},
		{"LossHead: ", func(b b) { LossHead(b.x, b.row, nil, b.ids) }},
		{"LossHead: the bias", func(b b) { LossHead(b.x, b.x, b.row, b.ids) }},
		{"LossHead: ", func(b b) { LossHead(b.x, b.x, nil, b.g.Input("l", Float32, 3)) }},
		{"LossHead: ", func(b b) { LossHead(b.x, b.x, nil, b.g.Input("l", Int64, 4)) }},
		{"no dimension", func(b b) { b.x.Dim(2) }},
		{"no dimension", func(b b) { b.x.Dim(-3) }},
		{"known only when the graph runs", func(b b) { b.dynamic.Shape().Elements() }},
		{`input "x": an input has that name`, func(b b) { b.g.Input("x", Float32) }},
		{"without a name", func(b b) { b.g.Input("", Float32) }},
		{"dimension 1 is 0", func(b b) { b.g.Input("n", Float32, 3, 0) }},
		{"dimension 0 is -7", func(b b) { b.g.Input("n", Float32, -7) }},
		{`output "x": an input has that name`, func(b b) { b.g.Output("x", Exp(b.x)) }},
		{`output "y": an output has that name`, func(b b) { b.g.Output("y", Exp(b.x)); b.g.Output("y", Log(b.x)) }},
		{`input "y": an output has that name`, func(b b) { b.g.Output("y", Exp(b.x)); b.g.Input("y", Float32) }},
		{"cannot hold 3 values", func(b b) { b.g.Floats(Float32, []float64{1, 2, 3}, 2) }},
		{"cannot hold 1 values", func(b b) { b.g.Fill(Float32, 1, b.symbol) }},
		{"cannot be int64", func(b b) { b.g.Floats(Int64, []float64{1}) }},
	} {
		t.Run(c.want, func(t *testing.T) {
			g := New()
			s := g.Symbol("batch")
			b := b{g: g, symbol: s, x: g.Input("x", Float32, 3, 4), row: g.Input("row", Float32, 4), scalar: g.Input("scalar", Float32),
				cube: g.Input("cube", Float32, 2, 3, 4), double: g.Input("double", Float64, 3, 4), ids: g.Input("ids", Int64, 3),
				cond: g.Input("cond", Bool, 3, 4), dynamic: g.Input("dynamic", Float32, s, 4)}
			err := Build(func() error { g.In("here", func() { c.build(b) }); return nil })
			var e *BuildError
			if !errors.As(err, &e) || !strings.Contains(e.Message, c.want) {
				t.Errorf("error %v, wanted a BuildError with %q", err, c.want)
			}
		})
	}
}
