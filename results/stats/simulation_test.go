package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

const (
	tables   = 1000
	variants = 15
	// Of so many simulated tables at most so many may be wrong: 5 %, and two standard errors.
	mostWrong = 64
)

// normal makes a table of figures: each seed moves all variants, and noise of one each.
func normal(random *rand.Rand, seeds int) [][]float64 {
	common := make([]float64, seeds)
	for s := range common {
		common[s] = 2 * random.NormFloat64()
	}
	y := make([][]float64, variants)
	for v := range y {
		for s := range seeds {
			y[v] = append(y[v], common[s]+random.NormFloat64())
		}
	}
	return y
}

// against tests every variant against the first: Holm's p of each.
func against(t *testing.T, y [][]float64, items []Items) []float64 {
	pool, err := NewPool(y)
	if err != nil {
		t.Fatal(err)
	}
	var p []float64
	for v := 1; v < len(y); v++ {
		d, seeds, _ := pool.Difference(v, 0)
		noise := []Noise{seeds}
		if items != nil {
			noise = append(noise, ItemNoise(items[v], items[0], nil))
		}
		p = append(p, NewTest(d, noise...).P)
	}
	return Holm(p)
}

func shows(p []float64) bool {
	for _, x := range p {
		if x <= Alpha {
			return true
		}
	}
	return false
}

// Fifteen equal variants: a table shows a difference, or marks a best, in at most 5 % of cases.
func TestEqualVariants(t *testing.T) {
	for _, seeds := range []int{2, 3, 5} {
		random := rand.New(rand.NewPCG(uint64(seeds), 7))
		shown, marked := 0, 0
		for range tables {
			y := normal(random, seeds)
			if shows(against(t, y, nil)) {
				shown++
			}
			if marks(Contest{Values: y, Sign: +1}) {
				marked++
			}
		}
		t.Logf("%d seeds: %d of %d tables show a difference, %d mark a best", seeds, shown, tables, marked)
		if shown > mostWrong || marked > mostWrong {
			t.Errorf("%d seeds: %d of %d tables show a difference and %d mark a best, want at most %d", seeds, shown, tables, marked, mostWrong)
		}
		if shown == 0 {
			t.Errorf("%d seeds: no table of %d shows a difference: the test cannot be at its level", seeds, tables)
		}
	}
}

// One variant differs by three times the noise floor, with five seeds: at least 80 % of tables say so.
// And where it differs by what Shown says, as many do as Shown says.
func TestPlantedDifference(t *testing.T) {
	const seeds, noiseFloor = 5, 1.0
	find := func(difference float64) (found int) {
		random := rand.New(rand.NewPCG(5, 3))
		for range tables {
			y := normal(random, seeds)
			for s := range y[9] {
				y[9][s] += difference
			}
			if against(t, y, nil)[8] <= Alpha {
				found++
			}
		}
		return found
	}
	shown := NewTest(0, Noise{noiseFloor * 2 / seeds, (variants - 1) * (seeds - 1)}).Shown(variants - 1)
	large, small := find(3*noiseFloor), find(shown)
	t.Logf("%d of %d tables find three times the noise floor, %d find the %.2f times that Shown names", large, tables, small, shown)
	if large < 800 {
		t.Errorf("%d of %d tables find three times the noise floor, want at least 800", large, tables)
	}
	near(t, "tables that find what Shown names", float64(small), Power*tables, 45) // some more: Holm's later steps are less strict
}

// A run that goes astray, in one variant of equal ones, neither hides a difference of three times the noise
// floor between others nor makes one.
func TestOneVariantAstray(t *testing.T) {
	const seeds, astray = 3, 4
	for _, planted := range []float64{0, 6} {
		random := rand.New(rand.NewPCG(14, 14))
		shown, marked, right, found := 0, 0, 0, 0
		for range tables {
			y := normal(random, seeds)
			y[astray][1] += 1000
			for s := range y[9] {
				y[9][s] += planted
			}
			p := against(t, y, nil)
			if shows(p) {
				shown++
			}
			if p[8] <= Alpha {
				found++
			}
			m := Best(Contest{Values: y, Sign: +1})[0]
			if m.Best != nil {
				marked++
				if m.Best[9] {
					right++
				}
			}
			if m.Best != nil && m.Best[astray] || m.Standing[astray] != Scattered {
				t.Fatalf("the variant that went astray: standing %v, best %v", m.Standing[astray], m.Best)
			}
		}
		t.Logf("planted %v: %d of %d tables show a difference, %d mark a best; %d find the planted one, %d mark it", planted, shown, tables, marked, found, right)
		if planted == 0 && (shown > mostWrong || marked > mostWrong) {
			t.Errorf("equal variants: %d of %d tables show a difference and %d mark a best, want at most %d", shown, tables, marked, mostWrong)
		}
		if planted > 0 && (found < 800 || right < 800) {
			t.Errorf("%d of %d tables find the planted difference and %d mark it, want at least 800", found, tables, right)
		}
	}
}

// onItems makes a table of minimal pairs: items of different difficulty, of which each variant takes some
// to its liking, runs that are better and worse, and right or wrong by chance.
func onItems(random *rand.Rand, variants, seeds, pairs int) (y [][]float64, items []Items) {
	hard := make([]float64, pairs)
	for i := range hard {
		hard[i] = 1 + random.NormFloat64()
	}
	items, y = make([]Items, variants), make([][]float64, variants)
	for v := range items {
		taste := make([]float64, pairs)
		for i := range taste {
			taste[i] = 1.5 * random.NormFloat64()
		}
		for range seeds {
			run := 0.15 * random.NormFloat64()
			right := make([]float64, pairs)
			for i := range right {
				if random.Float64() < 1/(1+math.Exp(-hard[i]-taste[i]-run)) {
					right[i] = 1
				}
			}
			mean, _ := MeanSD(right)
			items[v], y[v] = append(items[v], right), append(y[v], mean)
		}
	}
	return y, items
}

// marks reports whether any contest has a best.
func marks(contests ...Contest) bool {
	return slices.ContainsFunc(Best(contests...), func(m Marks) bool { return m.Best != nil })
}

// between is the noise of items in a contest of such variants.
func between(items []Items) func(a, b int) Noise {
	return func(a, b int) Noise { return ItemNoise(items[a], items[b], nil) }
}

// Asked of other seeds and other items, equal variants show no difference in more than 5 % of tables, and
// mark no best in more; asked of other seeds alike, they do both.
func TestEqualVariantsOnItems(t *testing.T) {
	const seeds, pairs = 3, 150
	random := rand.New(rand.NewPCG(11, 4))
	shown, marked, shownAlone, markedAlone := 0, 0, 0, 0
	for range tables {
		y, items := onItems(random, variants, seeds, pairs)
		count := func(n *int, is bool) {
			if is {
				*n++
			}
		}
		count(&shown, shows(against(t, y, items)))
		count(&shownAlone, shows(against(t, y, nil)))
		count(&marked, marks(Contest{y, +1, between(items)}))
		count(&markedAlone, marks(Contest{Values: y, Sign: +1}))
	}
	t.Logf("%d of %d tables show a difference, %d mark a best; %d and %d where the choice of items is not counted", shown, tables, marked, shownAlone, markedAlone)
	if shown > mostWrong || marked > mostWrong {
		t.Errorf("%d of %d tables show a difference and %d mark a best, want at most %d", shown, tables, marked, mostWrong)
	}
	if shownAlone <= mostWrong || markedAlone <= mostWrong {
		t.Errorf("only %d tables show one and %d mark one where the choice of items is not counted: this simulation tests nothing", shownAlone, markedAlone)
	}
}

// Few variants, few seeds and many items, in a table of three measures: the seeds' noise has few degrees of
// freedom, the items' many.
func TestEqualVariantsInSmallTables(t *testing.T) {
	const variants, seeds, pairs, measures = 3, 2, 1000, 3
	random := rand.New(rand.NewPCG(2, 1000))
	shown, marked := 0, 0
	for range tables {
		var p []float64
		var list []Contest
		for range measures {
			y, items := onItems(random, variants, seeds, pairs)
			pool, err := NewPool(y)
			if err != nil {
				t.Fatal(err)
			}
			for v := 1; v < variants; v++ {
				d, noise, _ := pool.Difference(v, 0)
				p = append(p, NewTest(d, noise, between(items)(v, 0)).P)
			}
			list = append(list, Contest{y, +1, between(items)})
		}
		if shows(Holm(p)) {
			shown++
		}
		if marks(list...) {
			marked++
		}
	}
	t.Logf("%d of %d tables show a difference, %d mark a best", shown, tables, marked)
	if shown > mostWrong || marked > mostWrong {
		t.Errorf("%d of %d tables show a difference and %d mark a best, want at most %d", shown, tables, marked, mostWrong)
	}
}

// A suite broken down to eight paradigms: a table of equal variants marks any best of any row in at most
// 5 % of cases, as the rows together are one family; each for itself, they mark some in far more.
func TestEqualVariantsInRows(t *testing.T) {
	const rows, variants, seeds, pairs = 8, 4, 3, 60
	random := rand.New(rand.NewPCG(67, 4))
	marked, alone := 0, 0
	for range tables {
		var list []Contest
		any := false
		for range rows {
			y, items := onItems(random, variants, seeds, pairs)
			list = append(list, Contest{y, +1, between(items)})
			any = any || marks(list[len(list)-1])
		}
		if any {
			alone++
		}
		if marks(list...) {
			marked++
		}
	}
	t.Logf("%d of %d tables mark a best; %d where each row is corrected by itself", marked, tables, alone)
	if marked > mostWrong {
		t.Errorf("%d of %d tables mark a best, want at most %d", marked, tables, mostWrong)
	}
	if alone <= mostWrong {
		t.Errorf("only %d tables mark one where each row is corrected by itself: this simulation tests nothing", alone)
	}
}
