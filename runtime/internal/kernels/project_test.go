package kernels

import (
	"fmt"
	"testing"
)

// projectionsNode is the products of x [m,k] with factors of these columns, and gradientsNode their gradients.
func projectionsNode(m, k int, bias bool, columns ...int) Node {
	n := Node{Op: "Projections", In: []Tensor{half(m, k)}}
	for _, c := range columns {
		b := absent
		if bias {
			b = half(c)
		}
		n.In, n.Out = append(n.In, half(k, c), b), append(n.Out, half(m, c))
	}
	return n
}

func gradientsNode(m, k int, bias bool, columns ...int) Node {
	n := Node{Op: "ProjectionsGrad", In: []Tensor{half(m, k), absent}, Out: []Tensor{half(m, k)}}
	for _, c := range columns {
		n.In, n.Out = append(n.In, half(m, c), half(k, c), f32(k, c), absent), append(n.Out, f32(k, c))
	}
	if bias {
		for _, c := range columns {
			n.Out = append(n.Out, f32(c))
		}
	}
	return n
}

// TestDivide: each tile of dx and each part of dw is some cluster's, as the kernel counts them, and no part of a sum is empty.
func TestDivide(t *testing.T) {
	for _, m := range []int{1, 64, 100, 1000, 5000, 16384, 40000} {
		for _, k := range []int{64, 200, 256, 512, 1096, 2048} {
			for _, columns := range [][]int{{64}, {512}, {2048}, {512, 512}, {264, 72, 136}, {512, 512, 512}} {
				s := shared{m: m, k: k}
				for _, c := range columns {
					s.list = append(s.list, projection{columns: c})
				}
				name := fmt.Sprintf("[%d,%d]·%v", m, k, columns)
				d, ok := s.divide()
				parts := ceil(k, tileRows) * s.across() * d.splits
				if tiles := ceil(k, tileRows) * s.across(); ok != (tiles <= clusters) {
					t.Errorf("%s: %d tiles of dw, %v", name, tiles, ok)
				}
				if !ok {
					continue
				}
				if parts > clusters || d.splits > ceil(m, sumStep) || d.splits < 1 {
					t.Errorf("%s: %+v, %d parts", name, d, parts)
				}
				units, seen := ceil(m, tileRows)*ceil(k, tileColumns), map[int]int{}
				for cluster := range clusters {
					others, has := clusters-parts, cluster < parts
					first, stride, last := cluster-parts, others, min(units, others*d.alone)
					if has {
						first, stride, last = others*d.alone+cluster, parts, units
					}
					for u := first; u < last; u += stride {
						seen[u]++
					}
				}
				for u := range units {
					if seen[u] != 1 {
						t.Fatalf("%s: %+v: tile %d of %d is made %d times", name, d, u, units, seen[u])
					}
				}
			}
		}
	}
}

// TestDivideBalances: no cluster has much more to do than others. P1's projections by hand: 12 tiles of 256 steps in five parts are 52 steps for each
// of 60 clusters, which leaves two tiles of 24 steps for each, and the six others are done by then.
func TestDivideBalances(t *testing.T) {
	for _, c := range []struct {
		k             int
		columns       []int
		splits, alone int
	}{{512, []int{512, 512, 512}, 5, 2}, {512, []int{2048}, 2, 4}, {1024, []int{1024, 1024, 1024}, 1, 7}} {
		s := shared{m: 16384, k: c.k}
		for _, columns := range c.columns {
			s.list = append(s.list, projection{columns: columns})
		}
		if d, ok := s.divide(); !ok || d.splits != c.splits || d.alone != c.alone || d.busy < 0.75 || d.busy > 1 {
			t.Errorf("[16384,%d]·%v: %+v, wanted %d parts and %d tiles", c.k, c.columns, d, c.splits, c.alone)
		}
	}
}

// TestProjectionPlans: what suits a Hopper's kernels is one launch, its gradients two, and elsewhere cuBLASLt's products; other sizes are these
// everywhere.
func TestProjectionPlans(t *testing.T) {
	steps := func(p Plan) (launches, products int) {
		for _, s := range p.Steps {
			switch s.(type) {
			case Launch:
				launches++
			case Product:
				products++
			}
		}
		return launches, products
	}
	for _, c := range []struct {
		n                                    Node
		launches, products, there, elsewhere int
	}{
		{projectionsNode(16384, 512, true, 512, 512, 512), 1, 0, 0, 3},
		{projectionsNode(16384, 512, false, 512, 256), 1, 0, 0, 2},
		{projectionsNode(16384, 512, false, 512, 64), 0, 2, 0, 0},
		{projectionsNode(16384, 512, false, 1408, 1408), 0, 2, 0, 0},
		{projectionsNode(500, 512, false, 512, 512), 0, 2, 0, 0},
		{gradientsNode(16384, 512, true, 512, 512, 512), 2, 0, 6, 6},
		{gradientsNode(16384, 512, false, 512, 512, 512), 2, 0, 0, 6},
		{gradientsNode(16384, 2048, false, 2048, 2048), 0, 4, 0, 0},
		{gradientsNode(16384, 1024, false, 1024, 1024, 1024), 1, 0, 0, 6},
		{gradientsNode(16384, 512, false, 1408, 1408), 0, 4, 0, 0},
		{gradientsNode(16384, 512, false, 2048), 2, 0, 0, 2},
		{Node{Op: "LinearGrad", In: []Tensor{half(16384, 512), half(16384, 2048), half(2048, 512)}, Out: []Tensor{half(16384, 2048), f32(2048, 512), f32(512)}}, 2, 0, 2, 2},
		{Node{Op: "LinearGrad", In: []Tensor{half(16384, 512), half(16384, 2048), half(2048, 512)}, Out: []Tensor{half(16384, 2048), f32(2048, 512)}}, 0, 2, 0, 0},
		{Node{Op: "LinearGrad", In: []Tensor{f32(16384, 512), f32(16384, 512), f32(512, 512)}, Out: []Tensor{f32(16384, 512), f32(512, 512)}}, 0, 2, 0, 0},
	} {
		p := planOf(t, c.n)
		launches, products := steps(p)
		var there, elsewhere int
		if p.Elsewhere != nil {
			there, elsewhere = steps(*p.Elsewhere)
		}
		if launches != c.launches || products != c.products || there != c.there || elsewhere != c.elsewhere {
			t.Errorf("%s of %v: %d launches and %d products, elsewhere %d and %d", c.n.Op, c.n.In, launches, products, there, elsewhere)
		}
	}
}

// TestProjectionScratch: parts of dw and db lie behind each other in scratch memory, and are added up where they were written.
func TestProjectionScratch(t *testing.T) {
	p := planOf(t, gradientsNode(16384, 512, true, 512, 256, 512))
	make, fold := p.Steps[0].(Launch), p.Steps[1].(Launch)
	d, _ := shared{m: 16384, k: 512, list: []projection{{columns: 512}, {columns: 256}, {columns: 512}}}.divide()
	const dw, db = 18, 21 // places in project_grad's arguments
	at := 0
	for i, columns := range []int{512, 256, 512} {
		for _, c := range []struct{ made, added, bytes int }{{dw + i, i, d.splits * 512 * columns * 4}, {db + i, 14 + i, d.splits * 4 * columns * 4}} {
			if a := make.Args[c.made]; a != Scratch(at) || fold.Args[c.added] != a {
				t.Errorf("product %d: %+v, added up from %+v, wanted scratch at %d", i, a, fold.Args[c.added], at)
			}
			at += Round(c.bytes, 256)
		}
	}
	if p.Scratch != at {
		t.Errorf("%d bytes of scratch, wanted %d", p.Scratch, at)
	}
}
