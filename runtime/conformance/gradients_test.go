package conformance

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"march/graphgen"
)

// gradCase is one use of an operator whose gradient is compared with central differences.
type gradCase struct {
	op    string // the operator of graphgen.Ops that it is for
	name  string
	in    []input
	build func(in []*graphgen.Tensor) *graphgen.Tensor
	// reference is the same function in float64 Go. Where it is set, the values are
	// compared with it too, and the case runs in float32 as well.
	reference func(in []any) []float64
	// only32 says why the case cannot run in float64, where that is so.
	only32 string
	// bound32 bounds the relative error of a directional derivative in float32; 0:
	// tolerance32.
	bound32 float64
}

// Bounds on the relative error of a directional derivative. The differences themselves,
// extrapolated, are good for 1e-9; in float32 they are those of the float64 reference, so
// that only the gradient's own rounding is left.
const (
	tolerance64 = 1e-8
	tolerance32 = 5e-7
)

// smallGradient is the norm below which a gradient counts as none, so that errors count
// absolutely: all inputs are of the order of one, and some gradients are zero by
// mathematics, so nothing but rounding.
var smallGradient = map[graphgen.DType]float64{graphgen.Float64: 1e-3, graphgen.Float32: 0.5}

// value tolerances, as a share of the largest value.
const (
	value64 = 1e-12
	value32 = 2e-6
)

// input is an input of a case. Those with values of float64 are differentiated.
type input struct {
	shape  []int
	values any // []float64, []int64, []bool, or a func(n int, words ...string) []float64
	// exact inputs keep the type float32 (for casts): their values and steps are short
	// binary fractions.
	exact bool
}

func (x input) float() bool {
	switch x.values.(type) {
	case []int64, []bool:
		return false
	}
	return true
}

// TestGradients compares every operator's gradient with central differences along random
// directions, for each input alone and for all together.
func TestGradients(t *testing.T) {
	covered, worst := map[string]bool{}, map[string]float64{}
	for _, c := range gradCases {
		covered[c.op] = true
		for _, target := range graphgen.StockTargets() {
			for _, dtype := range c.dtypes(t) {
				t.Run(fmt.Sprintf("%s/%s/%s/%s", c.op, c.name, target, dtype), func(t *testing.T) {
					e := c.check(t, target, dtype)
					kind := dtype.String() + " " + c.op
					worst[kind] = max(worst[kind], e)
				})
			}
		}
	}
	for _, op := range graphgen.Ops() {
		if op.Grad != nil && !covered[op.Name] {
			t.Errorf("operator %s has a gradient and no case in gradCases", op.Name)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(worst)) {
		t.Logf("worst relative error of a directional derivative, %s: %.1e", kind, worst[kind])
	}
}

// dtypes are the element types that a case runs in.
func (c gradCase) dtypes(t *testing.T) (list []graphgen.DType) {
	if c.only32 == "" {
		list = append(list, graphgen.Float64)
	}
	if c.reference != nil {
		list = append(list, graphgen.Float32)
	}
	if len(list) == 0 {
		t.Fatalf("%s/%s: a case in float32 needs a reference", c.op, c.name)
	}
	return list
}

// lowersTo reports whether a compiled graph has an operator.
func lowersTo(t *testing.T, g *graphgen.Graph, target graphgen.Target, op string) bool {
	p, err := g.Compile(target)
	if err != nil {
		t.Fatal(err)
	}
	return p.Graph.Histogram()[op] > 0
}

// check runs a case on a target and returns the worst relative error of a derivative.
func (c gradCase) check(t *testing.T, target graphgen.Target, dtype graphgen.DType) (worst float64) {
	tolerance, values := tolerance64, value64
	if dtype == graphgen.Float32 {
		tolerance, values = cmp.Or(c.bound32, tolerance32), value32
	}
	x := c.inputs(dtype)
	g, weights := c.graph(t, dtype)
	if rt.GPU() != "" {
		g.ForGPU() // as graphs that train there
	}
	if dtype == graphgen.Float64 && rt.GPU() != "" && lowersTo(t, g, target, "Softmax") {
		tolerance, values = 3e-4, 1e-7 // CUDA's Softmax of float64 takes its exponentials in float32
	}
	l := load(t, g, target, loadOptions{})
	// f gives the values and the weighted sum of them.
	f := func(x []any) ([]float64, float64) {
		for i := range c.in {
			l.set(inputName(i), x[i])
		}
		l.run()
		return l.get("y"), l.get("loss")[0]
	}
	y, _ := f(x)
	if c.reference != nil {
		want := c.reference(x)
		if d := apart(y, want); !(d <= values) {
			t.Errorf("values differ from the reference by %.1e of the largest, wanted %.0e", d, values)
		}
	}
	grads := map[int][]float64{}
	for i := range c.in {
		if c.in[i].float() {
			grads[i] = l.get(gradName(i))
		}
	}
	loss := func(x []any) float64 { _, loss := f(x); return loss }
	if dtype == graphgen.Float32 {
		loss = func(x []any) float64 { return dot(c.reference(x), weights) }
	}
	for name, along := range c.directions() {
		d := drawDirection(c, along, grads)
		analytic, size := 0.0, 0.0
		for i, v := range d {
			analytic += dot(grads[i], v)
			size += dot(grads[i], grads[i])
		}
		numeric := derivative(func(h float64) float64 { return loss(move(x, d, h)) }, slices.ContainsFunc(c.in, func(x input) bool { return x.exact }))
		e := math.Abs(analytic-numeric) / max(math.Sqrt(size), smallGradient[dtype])
		if !(e <= tolerance) {
			t.Errorf("along %s: the gradient gives %.12g, differences %.12g: relative error %.1e, wanted %.0e", name, analytic, numeric, e, tolerance)
		}
		worst = max(worst, e)
	}
	return worst
}

func inputName(i int) string { return fmt.Sprintf("x%d", i) }
func gradName(i int) string  { return fmt.Sprintf("x%d.grad", i) }

// inputs draws the case's inputs, rounded to what the graph takes.
func (c gradCase) inputs(dtype graphgen.DType) []any {
	x := make([]any, len(c.in))
	for i, in := range c.in {
		n := graphgen.Shape(in.shape).Elements()
		switch v := in.values.(type) {
		case func(n int, words ...string) []float64:
			x[i] = round(v(n, c.op, c.name, inputName(i)), dtype, in.exact)
		case []float64:
			x[i] = round(v, dtype, in.exact)
		default:
			x[i] = v
		}
	}
	return x
}

func round(v []float64, dtype graphgen.DType, exact bool) []float64 {
	return each(v, func(x float64) float64 {
		switch {
		case exact:
			return math.Round(x*256) / 256
		case dtype == graphgen.Float32:
			return float64(float32(x))
		}
		return x
	})
}

// graph builds y, loss = Σ weight·y and the loss's gradients.
func (c gradCase) graph(t *testing.T, dtype graphgen.DType) (g *graphgen.Graph, weights []float64) {
	g = graphgen.New()
	err := graphgen.Build(func() error {
		in := make([]*graphgen.Tensor, len(c.in))
		var targets []*graphgen.Tensor
		for i, x := range c.in {
			d := dtype
			switch x.values.(type) {
			case []int64:
				d = graphgen.Int64
			case []bool:
				d = graphgen.Bool
			default:
				if x.exact {
					d = graphgen.Float32
				}
			}
			in[i] = g.Input(inputName(i), d, x.shape...)
			if x.float() {
				targets = append(targets, in[i])
			}
		}
		y := c.build(in)
		if g.Histogram()[c.op]+g.Histogram()["march."+c.op] == 0 {
			return fmt.Errorf("the case builds no %s: %v", c.op, g.Histogram())
		}
		loss := y
		weights = []float64{1}
		if y.Rank() > 0 {
			weights = round(normals(y.Shape().Elements(), c.op, c.name, "weights"), graphgen.Float32, false)
			loss = weighted(y, g.Floats(y.DType(), weights, y.Shape()...))
		}
		g.Output("loss", graphgen.Identity(loss))
		return outputs(y, loss, targets, c.in)
	})
	if err != nil {
		t.Fatal(err)
	}
	return g, weights
}

// weighted is the sum of y with a weight for each element.
func weighted(y, weights *graphgen.Tensor) *graphgen.Tensor {
	axes := make([]int, y.Rank())
	for i := range axes {
		axes[i] = i
	}
	return graphgen.ReduceSum(graphgen.Mul(y, weights), false, axes...)
}

// outputs declares y and the loss's gradients, of those inputs that are differentiated: the targets.
func outputs(y, loss *graphgen.Tensor, targets []*graphgen.Tensor, in []input) error {
	grads, err := graphgen.Gradients(loss, targets, nil)
	if err != nil {
		return err
	}
	y.Graph().Output("y", graphgen.Identity(y))
	for i, x := range in {
		if x.float() {
			y.Graph().Output(gradName(i), graphgen.Identity(grads[0]))
			grads = grads[1:]
		}
	}
	return nil
}

// directions names what is varied: each differentiable input alone, and all of them.
func (c gradCase) directions() map[string][]int {
	list, all := map[string][]int{}, []int(nil)
	for i, x := range c.in {
		if x.float() {
			list[fmt.Sprintf("input %d", i)] = []int{i}
			all = append(all, i)
		}
	}
	if len(all) > 1 {
		list["all inputs"] = all
	}
	return list
}

// drawDirection draws a random direction over some inputs, anew until it is not nearly
// at right angles to the gradient: the derivative would be small by cancellation there.
func drawDirection(c gradCase, along []int, grads map[int][]float64) map[int][]float64 {
	for try := 0; ; try++ {
		d, slope, size := map[int][]float64{}, 0.0, 0.0
		for _, i := range along {
			d[i] = round(normals(len(grads[i]), c.op, c.name, inputName(i), fmt.Sprint("direction", try)), graphgen.Float64, c.in[i].exact)
			slope += dot(d[i], grads[i])
			size += dot(grads[i], grads[i])
		}
		if math.Abs(slope) >= 0.3*math.Sqrt(size) || try == 20 {
			return d
		}
	}
}

// move is x + h·d.
func move(x []any, d map[int][]float64, h float64) []any {
	moved := slices.Clone(x)
	for i, v := range d {
		at := slices.Clone(x[i].([]float64))
		for j := range at {
			at[j] += h * v[j]
		}
		moved[i] = at
	}
	return moved
}

// derivative is f'(0) by central differences with steps h, h/2 and h/4, extrapolated to
// h = 0 (Richardson): the error falls with h⁶. Exact functions are linear, and their steps
// are powers of two that lose nothing.
func derivative(f func(h float64) float64, exact bool) float64 {
	central := func(h float64) float64 { return (f(h) - f(-h)) / (2 * h) }
	if exact {
		return central(1.0 / 64)
	}
	const h = 4e-3
	a, b, c := central(h), central(h/2), central(h/4)
	ab, bc := (4*b-a)/3, (4*c-b)/3
	return (16*bc - ab) / 15
}
