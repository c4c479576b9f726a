package conformance

import (
	"math"
	"slices"

	g "march/graphgen"
)

// Shorthand for the table. Values stay at least 0.2 away from where a function has a kink
// or a pole, which is more than the differences step.

func in(shape ...int) input { return input{shape: shape, values: normals} }

// away draws values of magnitude 0.2 to 2.7, of either sign.
func away(shape ...int) input {
	return input{shape: shape, values: func(n int, words ...string) []float64 {
		return each(normals(n, words...), func(x float64) float64 { return math.Copysign(math.Abs(x)+0.2, x) })
	}}
}

// positive draws values from 0.3 to 2.8.
func positive(shape ...int) input {
	return input{shape: shape, values: func(n int, words ...string) []float64 {
		return each(normals(n, words...), func(x float64) float64 { return math.Abs(x) + 0.3 })
	}}
}

// grid draws multiples of 0.5 plus an offset, so that two grids of different offsets
// never meet.
func grid(offset float64, shape ...int) input {
	return input{shape: shape, values: func(n int, words ...string) []float64 {
		return each(normals(n, words...), func(x float64) float64 { return math.Round(2*x)/2 + offset })
	}}
}

func integers(v []int64, shape ...int) input { return input{shape: shape, values: v} }

func elementwise(op string, in input, f func(x *g.Tensor) *g.Tensor, reference func(float64) float64) gradCase {
	return gradCase{op: op, name: "3x5", in: []input{in},
		build:     func(x []*g.Tensor) *g.Tensor { return f(x[0]) },
		reference: func(x []any) []float64 { return each(x[0].([]float64), reference) }}
}

func binary(op, name string, a, b input, f func(a, b *g.Tensor) *g.Tensor) gradCase {
	return gradCase{op: op, name: name, in: []input{a, b}, build: func(x []*g.Tensor) *g.Tensor { return f(x[0], x[1]) }}
}

func unary(op, name string, x input, f func(x *g.Tensor) *g.Tensor) gradCase {
	return gradCase{op: op, name: name, in: []input{x}, build: func(x []*g.Tensor) *g.Tensor { return f(x[0]) }}
}

var gradCases = slices.Concat([]gradCase{
	binary("Add", "same shape", in(3, 5), in(3, 5), g.Add),
	binary("Add", "row", in(3, 5), in(5), g.Add),
	binary("Add", "column and row", in(3, 1), in(1, 5), g.Add),
	binary("Add", "scalar", in(2, 3), in(), g.Add),
	binary("Add", "rank 3 and scalar of rank 2", in(2, 3, 4), in(1, 1), g.Add),
	unary("Add", "of itself", in(4), func(x *g.Tensor) *g.Tensor { return g.Add(x, x) }),
	binary("Sub", "row", in(3, 5), in(5), g.Sub),
	binary("Sub", "from a row", in(5), in(3, 5), g.Sub),
	binary("Mul", "column", in(3, 5), in(3, 1), g.Mul),
	binary("Mul", "middle dimension", in(2, 3, 4), in(3, 1), g.Mul),
	unary("Mul", "square", in(7), func(x *g.Tensor) *g.Tensor { return g.Mul(x, x) }),
	binary("Div", "row", in(3, 5), away(5), g.Div),
	binary("Div", "of a scalar", in(), away(3, 5), g.Div),
	binary("Max", "row", grid(0, 3, 5), grid(0.25, 5), g.Max),
	binary("Min", "column", grid(0.25, 3, 5), grid(0, 3, 1), g.Min),

	elementwise("Neg", in(3, 5), g.Neg, func(x float64) float64 { return -x }),
	elementwise("Exp", in(3, 5), g.Exp, math.Exp),
	elementwise("Log", positive(3, 5), g.Log, math.Log),
	elementwise("Sqrt", positive(3, 5), g.Sqrt, math.Sqrt),
	elementwise("Tanh", in(3, 5), g.Tanh, math.Tanh),
	elementwise("Sigmoid", in(3, 5), g.Sigmoid, activationReference["sigmoid"]),
	elementwise("Sin", in(3, 5), g.Sin, math.Sin),
	elementwise("Cos", in(3, 5), g.Cos, math.Cos),
	elementwise("Relu", away(3, 5), g.Relu, activationReference["relu"]),
	elementwise("Identity", in(3, 5), g.Identity, activationReference["identity"]),
	only32(noErf64, elementwise("Erf", in(3, 5), g.Erf, math.Erf)),

	{op: "Where", name: "of three shapes", in: []input{{shape: []int{3, 1}, values: []bool{true, false, true}}, in(5), in(3, 5)},
		build: func(x []*g.Tensor) *g.Tensor { return g.Where(x[0], x[1], x[2]) }},
	{op: "Where", name: "a wider condition", in: []input{{shape: []int{2, 3}, values: []bool{true, false, true, false, false, true}}, in(3), in()},
		build: func(x []*g.Tensor) *g.Tensor { return g.Where(x[0], x[1], x[2]) }},
	{op: "Cast", name: "from float32", in: []input{{shape: []int{3, 5}, values: normals, exact: true}},
		build: func(x []*g.Tensor) *g.Tensor { return g.Cast(x[0], g.Float64) }},

	unary("Reshape", "3x4 to 2x6", in(3, 4), func(x *g.Tensor) *g.Tensor { return g.Reshape(x, 2, 6) }),
	unary("Reshape", "to a scalar", in(1, 1), func(x *g.Tensor) *g.Tensor { return g.Reshape(x) }),
	unary("Transpose", "2x3x5", in(2, 3, 5), func(x *g.Tensor) *g.Tensor { return g.Transpose(x, 1, 2, 0) }),
	{op: "Concat", name: "of three", in: []input{in(2, 3), in(2, 1), in(2, 4)},
		build: func(x []*g.Tensor) *g.Tensor { return g.Concat(1, x...) }},
	unary("Concat", "of one twice", in(2, 3), func(x *g.Tensor) *g.Tensor { return g.Concat(0, x, x) }),
	unary("Split", "all pieces read", in(7, 3), func(x *g.Tensor) *g.Tensor {
		p := g.Split(x, 0, 2, 2, 3)
		return g.Concat(0, g.Mul(p[0], p[1]), p[2])
	}),
	unary("Split", "a piece unread", in(2, 7), func(x *g.Tensor) *g.Tensor {
		p := g.Split(x, 1, 1, 4, 2)
		return g.Concat(1, p[0], p[2])
	}),
	unary("Slice", "first rows", in(5, 3), func(x *g.Tensor) *g.Tensor { return g.First(x, 0, 2) }),
	unary("Slice", "first columns", in(2, 5, 3), func(x *g.Tensor) *g.Tensor { return g.First(x, 1, 4) }),
	unary("Unsqueeze", "in the middle", in(3, 5), func(x *g.Tensor) *g.Tensor { return g.Unsqueeze(x, 1) }),
	unary("Expand", "row", in(5), func(x *g.Tensor) *g.Tensor { return g.Expand(x, 3, 5) }),
	unary("Expand", "column", in(2, 1, 3), func(x *g.Tensor) *g.Tensor { return g.Expand(x, 2, 4, 3) }),

	unary("ReduceSum", "inner, dropped", in(2, 3, 5), func(x *g.Tensor) *g.Tensor { return g.ReduceSum(x, false, 1) }),
	unary("ReduceSum", "two, kept", in(2, 3, 5), func(x *g.Tensor) *g.Tensor { return g.ReduceSum(x, true, -1, 0) }),
	unary("ReduceSum", "mean over all", in(3, 5), func(x *g.Tensor) *g.Tensor { return g.ReduceMean(x, false, 0, 1) }),
	{op: "Softmax", name: "rows of 7", in: []input{in(3, 7)},
		build: func(x []*g.Tensor) *g.Tensor { return g.Softmax(x[0]) },
		reference: func(x []any) (y []float64) {
			for r := range slices.Chunk(x[0].([]float64), 7) {
				y = append(y, softmaxRow(r)...)
			}
			return y
		}},

	binary("MatMul", "matrices", in(3, 4), in(4, 5), g.MatMul),
	binary("MatMul", "batched", in(2, 3, 4), in(2, 4, 1), g.MatMul),
	binary("MatMul", "batches that broadcast", in(2, 1, 3, 4), in(5, 4, 2), g.MatMul),
	binary("MatMul", "one matrix for a batch", in(4, 3, 2), in(2, 3), g.MatMul),
	binary("Gemm", "no addend", in(3, 4), in(4, 5), func(x, w *g.Tensor) *g.Tensor { return g.Linear(x, w, nil) }),
	binary("Gemm", "transposed", in(3, 4), in(5, 4), func(x, w *g.Tensor) *g.Tensor { return g.LinearT(x, w, nil) }),
	{op: "Gemm", name: "bias", in: []input{in(3, 4), in(4, 5), in(5)},
		build: func(x []*g.Tensor) *g.Tensor { return g.Linear(x[0], x[1], x[2]) }},
	{op: "Gemm", name: "transposed, addend of a column", in: []input{in(3, 4), in(5, 4), in(3, 1)},
		build: func(x []*g.Tensor) *g.Tensor { return g.LinearT(x[0], x[1], x[2]) }},
	{op: "Gemm", name: "full addend", in: []input{in(1, 4), in(4, 5), in(1, 5)},
		build: func(x []*g.Tensor) *g.Tensor { return g.Linear(x[0], x[1], x[2]) }},
}, embeddingCases, normCases(), activationCases(), attentionCases(), lossCases(), distillCases())

const noErf64 = "ONNX Runtime has no Erf in float64"

func only32(reason string, c gradCase) gradCase {
	c.only32 = reason
	return c
}
