package graphgen

import (
	"math"
	"testing"
)

// TestKeys: what makes nodes and constants equal tells apart all that may differ, and nothing else.
func TestKeys(t *testing.T) {
	key := func(a Attrs) string {
		var k keyBuilder
		k.attrs(a)
		return string(k)
	}
	different := []Attrs{
		nil, {"a": 1}, {"b": 1}, {"a": 2}, {"a": 1, "b": 1}, {"a": 1.0}, {"a": 0.0}, {"a": math.Copysign(0, -1)}, {"a": "1"}, {"a": ""}, {"ab": ""}, {"a": "b", "c": ""},
		{"a": true}, {"a": false}, {"a": []int{1}}, {"a": []int{1, 1}}, {"a": []int{}}, {"a": []int{-1}},
		{"a": []Type{{Float32, Shape{1}}}}, {"a": []Type{{BFloat16, Shape{1}}}}, {"a": []Type{{Float32, Shape{}}, {Float32, Shape{}}}},
		{"a": Attention{Heads: 2}}, {"a": Attention{Heads: 4}}, {"a": Attention{Heads: 2, Causal: true}},
	}
	seen := map[string]int{}
	for i, a := range different {
		if j, ok := seen[key(a)]; ok {
			t.Errorf("%v and %v have the same key", different[j], a)
		}
		seen[key(a)] = i
	}
	a, b := Attrs{"x": 1, "y": []int{2, 3}, "z": "t"}, Attrs{"z": "t", "y": []int{2, 3}, "x": 1}
	for range 20 { // maps have an order of their own each time
		if key(a) != key(b) {
			t.Fatalf("%v has two keys", a)
		}
	}

	g := New()
	constants := []*Tensor{
		g.Scalar(Float32, 1), g.Scalar(Float32, 2), g.Scalar(BFloat16, 1), g.Scalar(Int64, 1), g.Fill(Float32, 1, 2), g.Fill(Float32, 1, 1, 2),
		g.Floats(Float32, []float64{1, 2}), g.Floats(Float32, []float64{2, 1}), g.Ints([]int64{1, 2}), g.Scalar(Float32, 0), g.Scalar(Float32, math.Copysign(0, -1)),
	}
	for i, x := range constants {
		for _, y := range constants[:i] {
			if x == y {
				t.Errorf("%s and %s are one constant", x, y)
			}
		}
	}
	if g.Floats(Float32, []float64{1, 2}) != constants[6] || g.Scalar(Float32, 2) != constants[1] {
		t.Error("equal constants are two")
	}
}
