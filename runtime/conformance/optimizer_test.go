package conformance

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"march/graphgen"
)

// adamWReference is the published algorithm in float64, entry by entry: clipping by
// the global norm, then decoupled decay and the bias-corrected step.
type adamWReference struct {
	c       graphgen.AdamW
	p, m, v [][]float64
	decay   []bool
}

func (r *adamWReference) step(grads [][]float64, count, lr, step float64) (size float64) {
	for _, g := range grads {
		for _, x := range g {
			size += x / count * x / count
		}
	}
	size = math.Sqrt(size)
	scale := 1 / count
	if r.c.Clip > 0 {
		scale *= min(1, r.c.Clip/(size+1e-6))
	}
	for i := range r.p {
		for j := range r.p[i] {
			g := grads[i][j] * scale
			r.m[i][j] = r.c.Beta1*r.m[i][j] + (1-r.c.Beta1)*g
			r.v[i][j] = r.c.Beta2*r.v[i][j] + (1-r.c.Beta2)*g*g
			if r.decay[i] {
				r.p[i][j] *= 1 - lr*r.c.Decay
			}
			m, v := r.m[i][j]/(1-math.Pow(r.c.Beta1, step)), r.v[i][j]/(1-math.Pow(r.c.Beta2, step))
			r.p[i][j] -= lr * m / (math.Sqrt(v) + r.c.Eps)
		}
	}
	return size
}

// adamWGraph steps the parameters p0, p1, …, each with moments and gradient.
func adamWGraph(t *testing.T, c graphgen.AdamW, dtype graphgen.DType, decay []bool, shapes ...[]int) *graphgen.Graph {
	g := graphgen.New()
	err := graphgen.Build(func() error {
		count, lr, step := g.Input("count", graphgen.Int64), g.Input("lr", dtype), g.Input("step", graphgen.Int64)
		var grads []*graphgen.Tensor
		for i, s := range shapes {
			grads = append(grads, g.Input(fmt.Sprintf("g%d", i), dtype, s...))
		}
		s := c.Begin(grads, count, lr, step)
		g.Output("norm", s.Norm)
		for i, shape := range shapes {
			in := make([]*graphgen.Tensor, 3)
			for j, kind := range []string{"p", "m", "v"} {
				in[j] = g.Input(fmt.Sprintf("%s%d", kind, i), dtype, shape...)
			}
			p, m, v := s.Update(in[0], in[1], in[2], grads[i], decay[i])
			g.Output(fmt.Sprintf("p%d.new", i), p)
			g.Output(fmt.Sprintf("m%d.new", i), m)
			g.Output(fmt.Sprintf("v%d.new", i), v)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestAdamW takes ten steps of two parameters, in place, and compares with the algorithm.
func TestAdamW(t *testing.T) {
	decay, sizes := []bool{true, false}, []int{15, 4}
	for _, c := range []struct {
		name  string
		adamW graphgen.AdamW
		scale float64 // of the gradients: above or below what is clipped
	}{
		{"clipped", graphgen.AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Clip: 1}, 50},
		{"below the clip", graphgen.AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Clip: 1}, 0.5},
		{"not clipped", graphgen.AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Decay: 0.1}, 50},
		{"eps counts", graphgen.AdamW{Beta1: 0.8, Beta2: 0.99, Eps: 0.1, Decay: 0.5, Clip: 1}, 1},
		{"betas near one", graphgen.AdamW{Beta1: 0.9999, Beta2: 0.99999, Eps: 1e-8, Clip: 1}, 1},
		{"betas of zero", graphgen.AdamW{Eps: 1e-8, Decay: 0.01}, 1},
	} {
		for _, o := range []struct {
			target    graphgen.Target
			dtype     graphgen.DType
			tolerance float64
			shapes    [][]int // of sizes; a kernel takes flat buffers
		}{
			{graphgen.Portable, graphgen.Float64, 1e-12, [][]int{{3, 5}, {4}}}, {graphgen.Portable, graphgen.Float32, 2e-6, [][]int{{3, 5}, {4}}},
			{graphgen.Fused, graphgen.Float32, 2e-6, [][]int{{15}, {4}}},
		} {
			dtype, tolerance, shapes := o.dtype, o.tolerance, o.shapes
			t.Run(fmt.Sprintf("%s/%s/%s", c.name, dtype, o.target), func(t *testing.T) {
				needs(t, o.target)
				shared := map[string]string{}
				r := &adamWReference{c: c.adamW, decay: decay}
				for i, n := range sizes {
					r.p = append(r.p, round(normals(n, "adamw", fmt.Sprint(i)), dtype, false))
					r.m, r.v = append(r.m, make([]float64, n)), append(r.v, make([]float64, n))
					for _, kind := range []string{"p", "m", "v"} {
						shared[fmt.Sprintf("%s%d.new", kind, i)] = fmt.Sprintf("%s%d", kind, i)
					}
				}
				l := load(t, adamWGraph(t, c.adamW, dtype, decay, shapes...), o.target, loadOptions{shared: shared})
				for i := range sizes {
					l.set(fmt.Sprintf("p%d", i), r.p[i])
				}
				for step := 1; step <= 10; step++ {
					grads, lr := [][]float64{}, round([]float64{0.01 * float64(step)}, dtype, false)
					for i, n := range sizes {
						g := each(normals(n, "adamw gradient", fmt.Sprint(i, step)), func(x float64) float64 { return c.scale * x })
						grads = append(grads, round(g, dtype, false))
						l.set(fmt.Sprintf("g%d", i), grads[i])
					}
					l.set("count", []int64{7})
					l.set("lr", lr)
					l.set("step", []int64{int64(step)})
					l.run()
					size := r.step(grads, 7, lr[0], float64(step))
					if got := l.get("norm")[0]; math.Abs(got-size) > tolerance*size {
						t.Errorf("step %d: norm %v, wanted %v", step, got, size)
					}
				}
				for i := range sizes {
					for kind, want := range map[string][]float64{"p": r.p[i], "m": r.m[i], "v": r.v[i]} {
						if e := apart(l.get(fmt.Sprintf("%s%d", kind, i)), want); !(e <= tolerance) {
							t.Errorf("%s%d after ten steps is off by %.1e of its largest entry, wanted %.0e", kind, i, e, tolerance)
						}
					}
				}
			})
		}
	}
}

// needs skips where the target's kernels are not there.
func needs(t *testing.T, target graphgen.Target) {
	t.Helper()
	if err := rt.Kernels(); target == graphgen.Fused && err != nil {
		t.Skip("no kernels here: ", err)
	}
}

// TestStepThatMustNotBeTaken: where the gradient is no number, or nothing was labelled,
// parameters and moments stay bit by bit what they were.
func TestStepThatMustNotBeTaken(t *testing.T) {
	for _, target := range []graphgen.Target{graphgen.ORT, graphgen.Fused} {
		t.Run(string(target), func(t *testing.T) {
			needs(t, target)
			checkNotTaken(t, target)
		})
	}
}

func checkNotTaken(t *testing.T, target graphgen.Target) {
	c := graphgen.AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Clip: 1}
	l := load(t, adamWGraph(t, c, graphgen.Float32, []bool{true}, []int{4}), target, loadOptions{})
	p, m, v := normals(4, "p"), normals(4, "m"), []float64{0.5, 0.25, 1, 0}
	for name, x := range map[string][]float64{"p0": p, "m0": m, "v0": v, "lr": {0.1}} {
		l.set(name, x)
	}
	l.set("step", []int64{3})
	for _, bad := range []struct {
		name  string
		grad  []float64
		count int64
	}{
		{"NaN", []float64{1, math.NaN(), 1, 1}, 5},
		{"infinite", []float64{1, math.Inf(-1), 1, 1}, 5},
		{"the squares overflow", []float64{1, 1e30, 1, 1}, 5},
		{"nothing labelled", []float64{0, 0, 0, 0}, 0},
	} {
		l.set("g0", bad.grad)
		l.set("count", []int64{bad.count})
		l.run()
		for name, want := range map[string][]float64{"p0.new": p, "m0.new": m, "v0.new": v} {
			if got := l.get(name); !slices.Equal(got, toFloat64(want)) {
				t.Errorf("%s: %s is %v, wanted what it was, %v", bad.name, name, got, want)
			}
		}
		if n := l.get("norm")[0]; n < math.MaxFloat32 {
			t.Errorf("%s: the norm is reported as %v", bad.name, n)
		}
	}
}

// TestNormOfManyEntries: one float32 sum over a million squares would lose what each adds.
func TestNormOfManyEntries(t *testing.T) {
	for _, target := range []graphgen.Target{graphgen.Portable, graphgen.Fused} {
		t.Run(string(target), func(t *testing.T) {
			needs(t, target)
			checkNorm(t, target)
		})
	}
}

func checkNorm(t *testing.T, target graphgen.Target) {
	const n = 1 << 20
	c := graphgen.AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Clip: 1}
	l := load(t, adamWGraph(t, c, graphgen.Float32, []bool{false}, []int{n}), target, loadOptions{})
	grad := make([]float64, n)
	sum := 0.0
	for i := range grad {
		grad[i] = float64(float32(0.1 + 0.001*float64(i%7)))
		sum += grad[i] * grad[i]
	}
	l.set("g0", grad)
	l.set("count", []int64{1})
	l.set("lr", []float64{0.1})
	l.set("step", []int64{1})
	l.run()
	if got, want := l.get("norm")[0], math.Sqrt(sum); math.Abs(got-want) > 3e-5*want {
		t.Errorf("norm %v, wanted %v: off by %.1e", got, want, math.Abs(got-want)/want)
	}
}
