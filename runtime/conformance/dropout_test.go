package conformance

import (
	"fmt"
	"math"
	"slices"
	"testing"

	g "march/graphgen"
)

// masks runs a graph of dropout masks for each seed: which elements are kept.
func masks(t *testing.T, target g.Target, rate float64, n int, places []string, seeds ...int64) (kept [][][]bool) {
	t.Helper()
	graph := g.New()
	if err := g.Build(func() error {
		seed := graph.Input("seed", g.Int64)
		for i, place := range places {
			graph.Output(fmt.Sprint("m", i), g.DropoutMask(seed, place, rate, g.Float32, n))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	l := load(t, graph, target, loadOptions{})
	for _, seed := range seeds {
		l.set("seed", []int64{seed})
		l.run()
		var of [][]bool
		for i := range places {
			v, list := l.get(fmt.Sprint("m", i)), make([]bool, n)
			for j, x := range v {
				if list[j] = x != 0; list[j] && math.Abs(x-1/(1-rate)) > 1e-6 {
					t.Fatalf("a kept element is %v, wanted %v", x, 1/(1-rate))
				}
			}
			of = append(of, list)
		}
		kept = append(kept, of)
	}
	return kept
}

// TestDropoutMask: the keep rate, and independence of neighbours, of elements at a few
// distances, of places and of seeds, each within four standard errors.
func TestDropoutMask(t *testing.T) {
	const n = 200_000
	seeds := []int64{0, 1, 2, 1 << 30, 1<<31 - 2}
	for _, rate := range []float64{0.1, 0.5, 0.9} {
		kept := masks(t, g.ORT, rate, n, []string{"decoder.0.ff", "decoder.1.ff"}, seeds...)
		p := 1 - rate
		// both counts how often two are kept, of pairs that are independent.
		check := func(what string, pairs, both int) {
			t.Helper()
			if q := p * p; math.Abs(float64(both)/float64(pairs)-q) > 4*math.Sqrt(q*(1-q)/float64(pairs))+4*p*math.Sqrt(p*rate/float64(pairs)) {
				t.Errorf("rate %v, %s: both kept in %.4f, wanted %.4f", rate, what, float64(both)/float64(pairs), q)
			}
		}
		for s, seed := range seeds {
			for place, m := range kept[s] {
				count := 0
				for _, k := range m {
					if k {
						count++
					}
				}
				if share := float64(count) / n; math.Abs(share-p) > 4*math.Sqrt(p*rate/n) {
					t.Errorf("rate %v, seed %d, place %d: %.4f are kept", rate, seed, place, share)
				}
				for _, distance := range []int{1, 2, 3, 16, 96, 128, 384, 4096} {
					both := 0
					for i := range n - distance {
						if m[i] && m[i+distance] {
							both++
						}
					}
					check(fmt.Sprintf("seed %d, distance %d", seed, distance), n-distance, both)
				}
			}
			together := func(a, b []bool) (both int) {
				for i := range a {
					if a[i] && b[i] {
						both++
					}
				}
				return both
			}
			check(fmt.Sprintf("seed %d, two places", seed), n, together(kept[s][0], kept[s][1]))
			if s > 0 {
				check(fmt.Sprintf("seeds %d and %d", seeds[s-1], seed), n, together(kept[s-1][0], kept[s][0]))
			}
		}
	}
}

// TestDropoutMaskIsTheSame: by its formula in Go, on every target and at every run.
func TestDropoutMaskIsTheSame(t *testing.T) {
	const n, p = 5000, 1<<31 - 1
	fifth := func(x int64) int64 {
		x2 := x * x % p
		return x2 * x2 % p * x % p
	}
	want := make([]bool, n)
	// The lines of the seed and of place "x": FNV-1a of "key", "ax" and "bx".
	line := func(s string, x int64) int64 {
		h := uint64(14695981039346656037)
		for _, b := range []byte(s) {
			h = (h ^ uint64(b)) * 1099511628211
		}
		return (x*int64(1+h%(p-1))%p + int64(h>>33)) % p
	}
	key := fifth(line("key", 77))
	a, b := max(line("ax", key), 1), line("bx", key)
	for i := range want {
		want[i] = fifth((int64(i)*a+b)%p) < int64(math.Floor((1-0.3)*p))
	}
	for _, target := range g.StockTargets() {
		for range 2 {
			got := masks(t, target, 0.3, n, []string{"x"}, 77)[0][0]
			for i := range want {
				if got[i] != want[i] {
					t.Fatalf("%s: element %d is %t, by the formula %t", target, i, got[i], want[i])
				}
			}
		}
		const parts = 4 // of a batch: its masks are the batch's
		for part := range int64(parts) {
			got := masks(t, target, 0.3, n/parts, []string{"x"}, g.DropoutPart(77, part))[0][0]
			if !slices.Equal(got, want[part*n/parts:(part+1)*n/parts]) {
				t.Errorf("%s: part %d of %d has another mask than that share of the whole", target, part, parts)
			}
		}
	}
}
