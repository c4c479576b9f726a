package variants

import (
	"math"
	"testing"
)

// TestSparsity compares with the schedule's formula at points worked out by hand.
func TestSparsity(t *testing.T) {
	p := Prune{Sparsity: 0.8, Start: 0.2, End: 0.6, Every: 10}
	for step, want := range map[int64]float64{
		1: 0, 20: 0, 30: 0.8 * (1 - 0.75*0.75*0.75), 40: 0.8 * (1 - 0.125), 50: 0.8 * (1 - 0.25*0.25*0.25), 60: 0.8, 61: 0.8, 100: 0.8,
	} {
		if got := p.SparsityAt(step, 100); math.Abs(got-want) > 1e-12 {
			t.Errorf("sparsity %v at step %d, wanted %v", got, step, want)
		}
	}
	var due []int64
	for step := int64(1); step <= 100; step++ {
		if p.Due(step, 100) {
			due = append(due, step)
		}
	}
	want := []int64{1, 11, 21, 31, 41, 51, 60, 61, 71, 81, 91} // 60 has the whole sparsity first
	if len(due) != len(want) {
		t.Fatalf("masks are due at %v, wanted %v", due, want)
	}
	for i := range due {
		if due[i] != want[i] {
			t.Fatalf("masks are due at %v, wanted %v", due, want)
		}
	}
	if (Prune{Every: 1, End: 1}).Due(1, 5) {
		t.Error("masks are due where nothing is pruned")
	}
	// A short run comes to the whole sparsity too.
	short := Prune{Sparsity: 0.5, Start: 0.2, End: 0.8, Every: 10}
	if !short.Due(4, 5) || short.SparsityAt(4, 5) != 0.5 {
		t.Errorf("step 4 of 5 has %v", short.SparsityAt(4, 5))
	}
	for _, x := range []struct {
		n     int
		share float64
		want  int
	}{{10, 0.25, 3}, {10, 0.24, 2}, {7, 0, 0}, {3, 0.5, 2}, {1, 0.49, 0}} {
		if got := Masked(x.n, x.share); got != x.want {
			t.Errorf("%v of %d weights are %d, wanted %d", x.share, x.n, got, x.want)
		}
	}
}
