package rng

import (
	"math"
	"testing"
)

// The first outputs of SplitMix64 seeded with 1234567, as its authors' reference prints them; the
// other figures pin the formulas in the comments, worked out once by a few lines of Python.
func TestGolden(t *testing.T) {
	s := Stream{key: 1234567}
	for i, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821} {
		if at := s.At(uint64(i)); at != want {
			t.Errorf("At(%d) = %d, want %d", i, at, want)
		}
		if got := s.Uint64(); got != want {
			t.Errorf("Uint64 number %d = %d, want %d", i, got, want)
		}
	}
	for _, c := range []struct {
		got, want uint64
	}{
		{Hash(), 0x9e3779b97f4a7c15},
		{Hash(0), goldenHash0},
		{Hash(1, 2, 3), goldenHash123},
		{Name(""), 0xcbf29ce484222325},
		{Name("a"), 0xaf63dc4c8601ec8c},
		{Name("foobar"), 0x85944171f73967e8},
	} {
		if c.got != c.want {
			t.Errorf("got %#x, want %#x", c.got, c.want)
		}
	}
	p := NewPermutation(10, 7, Name("shuffle"), 0)
	for i, want := range goldenPermutation {
		if got := p.At(uint64(i)); got != want {
			t.Errorf("permutation entry %d = %d, want %d", i, got, want)
		}
	}
}

func TestHashTellsListsApart(t *testing.T) {
	seen := map[uint64]bool{}
	for _, words := range [][]uint64{{}, {0}, {0, 0}, {0, 0, 0}, {1}, {0, 1}, {1, 0}, {1, 1}, {2, 1}, {1, 2}} {
		h := Hash(words...)
		if seen[h] {
			t.Errorf("Hash(%v) collides", words)
		}
		seen[h] = true
	}
}

func TestMoments(t *testing.T) {
	const n = 200_000
	s := New(42, Name("moments"))
	var sum, square, normal, normalSquare float64
	for i := range uint64(n) {
		u := s.Float64()
		if u < 0 || u >= 1 {
			t.Fatalf("Float64 = %g", u)
		}
		sum, square = sum+u, square+u*u
		z := s.NormalAt(i)
		normal, normalSquare = normal+z, normalSquare+z*z
	}
	for _, c := range []struct {
		what             string
		got, want, sigma float64 // sigma: standard error of the mean of n draws
	}{
		{"mean", sum / n, 1. / 2, math.Sqrt(1. / 12 / n)},
		{"mean square", square / n, 1. / 3, math.Sqrt(4. / 45 / n)},
		{"normal mean", normal / n, 0, math.Sqrt(1. / n)},
		{"normal mean square", normalSquare / n, 1, math.Sqrt(2. / n)},
	} {
		if math.Abs(c.got-c.want) > 4*c.sigma {
			t.Errorf("%s = %g, want %g ± %g", c.what, c.got, c.want, 4*c.sigma)
		}
	}
}

func TestBelow(t *testing.T) {
	if s := New(1); s.Below(0) != 0 {
		t.Error("Below(0) is not 0")
	}
	for _, n := range []uint64{1, 2, 3, 7, 100} {
		s := New(3, n)
		counts := make([]int, n)
		const per = 2000
		for range per * n {
			counts[s.Below(n)]++ // an index out of range fails the test
		}
		chiSquared(t, "Below", counts, per)
	}
	s := New(4)
	for range 1000 { // the rejecting branch, often taken
		if v := s.Below(1<<63 + 1); v > 1<<63 {
			t.Fatalf("Below(2^63+1) = %d", v)
		}
	}
}

func TestPermutationIsBijection(t *testing.T) {
	lengths := []uint64{1000, 4095, 4096, 4097, 65536, 70001}
	for n := uint64(0); n <= 260; n++ {
		lengths = append(lengths, n)
	}
	for _, n := range lengths {
		p := NewPermutation(n, 5, n)
		seen := make([]bool, n)
		for i := range n {
			v := p.At(i)
			if v >= n || seen[v] {
				t.Fatalf("n %d: entry %d = %d is out of range or comes twice", n, i, v)
			}
			seen[v] = true
		}
		if p.At(n) != n {
			t.Errorf("n %d: entry n = %d", n, p.At(n))
		}
	}
	huge := NewPermutation(1<<63+12345, 9)
	if v := huge.At(1 << 62); v > 1<<63+12345 {
		t.Errorf("huge domain: %d", v)
	}
}

// Over many seeds each number comes equally often to each place, and neighbours are independent:
// the pair (At(0), At(1)) takes all its values equally often.
func TestPermutationIsUniform(t *testing.T) {
	for _, n := range []uint64{2, 3, 4, 5, 8, 13} {
		const per = 300
		places := make([]int, n*n)
		pairs := make([]int, n*(n-1))
		for seed := range per * n * (n - 1) {
			p := NewPermutation(n, seed, Name("uniform"))
			for i := range n {
				places[i*n+p.At(i)]++
			}
			a, b := p.At(0), p.At(1)
			if b > a {
				b--
			}
			pairs[a*(n-1)+b]++
		}
		chiSquared(t, "places", places, float64(per*(n-1)))
		chiSquared(t, "pairs", pairs, per)
	}
}

// chiSquared fails when the counts are further from uniform than chance allows (about 5 sigma).
func chiSquared(t *testing.T, what string, counts []int, want float64) {
	t.Helper()
	chi := 0.0
	for _, c := range counts {
		chi += (float64(c) - want) * (float64(c) - want) / want
	}
	freedom := float64(len(counts) - 1)
	if chi > freedom+5*math.Sqrt(2*freedom)+5 {
		t.Errorf("%s over %d classes: chi squared %.1f, expected about %.0f", what, len(counts), chi, freedom)
	}
}

func BenchmarkPermutation(b *testing.B) {
	p := NewPermutation(300_000, 1)
	var sink uint64
	for i := range b.N {
		sink += p.At(uint64(i) % 300_000)
	}
	_ = sink
}

// Made by a second implementation of the formulas, in Python.
const (
	goldenHash0   = 0x6e789e6aa1b965f4
	goldenHash123 = 0x48cf5028b6df10db
)

var goldenPermutation = []uint64{3, 6, 8, 4, 9, 2, 7, 5, 0, 1}

// Every choice of k of n numbers comes up equally often, in rising order.
func TestChoose(t *testing.T) {
	const n, per = 6, 200
	for k, choices := range []int{1, 6, 15, 20, 15, 6, 1} {
		counts := map[int]int{}
		for seed := range per * choices {
			s := New(uint64(seed), Name("choose"))
			set := 0
			chosen := s.Choose(n, k)
			for i, x := range chosen {
				if x < 0 || x >= n || i > 0 && x <= chosen[i-1] {
					t.Fatalf("%d of %d: %d", k, n, chosen)
				}
				set |= 1 << x
			}
			if len(chosen) != k {
				t.Fatalf("%d of %d: %d", k, n, chosen)
			}
			counts[set]++
		}
		list := make([]int, 0, choices)
		for _, c := range counts {
			list = append(list, c)
		}
		for len(list) < choices {
			list = append(list, 0)
		}
		chiSquared(t, "choices", list, per)
	}
}
