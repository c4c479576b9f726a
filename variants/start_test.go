package variants

import (
	"math"
	"slices"
	"testing"
)

// TestStart: start values have the mean and deviation they claim, depend on seed and name
// alone, and on nothing else that the model has.
func TestStart(t *testing.T) {
	p := Parameter{Name: "decoder.0.ff.up", Shape: []int{300, 200}, Init: "normal", Std: 0.02}
	v := p.Start(1)
	n, mean, square, fourth := float64(len(v)), 0.0, 0.0, 0.0
	for _, x := range v {
		z := float64(x) / p.Std
		mean, square, fourth = mean+z/n, square+z*z/n, fourth+z*z*z*z/n
	}
	// Four standard errors: 1/√n, √(2/n), √(96/n).
	if math.Abs(mean) > 4/math.Sqrt(n) || math.Abs(square-1) > 4*math.Sqrt(2/n) || math.Abs(fourth-3) > 4*math.Sqrt(96/n) {
		t.Errorf("mean %.4f, variance %.4f, fourth moment %.3f of %v normal numbers", mean, square, fourth, n)
	}
	if !slices.Equal(v, p.Start(1)) {
		t.Error("other values the second time")
	}
	for name, q := range map[string]Parameter{
		"another shape":     {Name: p.Name, Shape: []int{200}, Init: "normal", Std: 0.02},
		"another deviation": {Name: p.Name, Shape: []int{300, 200}, Init: "normal", Std: 0.04},
	} {
		for i, x := range q.Start(1) {
			if math.Abs(float64(x)/q.Std-float64(v[i])/p.Std) > 1e-6 {
				t.Errorf("%s: entry %d is another number", name, i)
				break
			}
		}
	}
	q := p
	q.Name = "decoder.1.ff.up"
	for name, w := range map[string][]float32{"another name": q.Start(1), "another seed": p.Start(2)} {
		same, product := 0, 0.0
		for i := range w {
			if w[i] == v[i] {
				same++
			}
			product += float64(w[i]) * float64(v[i]) / (p.Std * p.Std) / n
		}
		if same > 10 || math.Abs(product) > 4/math.Sqrt(n) {
			t.Errorf("%s: %d of %v entries are the same, correlation %.4f", name, same, n, product)
		}
	}
	for init, want := range map[string]float32{"ones": 1, "zeros": 0} {
		if v := (Parameter{Name: "x", Shape: []int{3}, Init: init}).Start(1); !slices.Equal(v, []float32{want, want, want}) {
			t.Errorf("%s: %v", init, v)
		}
	}
}

// TestStartOfSharedModels: a variant changes the start values of no parameter that it keeps.
func TestStartOfSharedModels(t *testing.T) {
	all := func(name string) map[string][]float32 {
		params, err := mustFind(t, name, "tiny").Config.Parameters()
		if err != nil {
			t.Fatal(err)
		}
		m := map[string][]float32{}
		for _, p := range params {
			m[p.Name] = p.Start(7)
		}
		return m
	}
	base, other := all("baseline"), all("gpt2+glu=true+share.unique=3")
	kept := 0
	for name, v := range other {
		if w, ok := base[name]; ok {
			kept++
			if !slices.Equal(v, w) {
				t.Errorf("%s starts with other values", name)
			}
		}
	}
	if kept < 30 {
		t.Errorf("only %d parameters are in both", kept)
	}
}
