package stats

import (
	"math"
	"math/rand/v2"
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
	m, err := Fit(y)
	if err != nil {
		t.Fatal(err)
	}
	var p []float64
	for v := 1; v < len(y); v++ {
		d, factor, _ := m.Difference(v, 0)
		noise := []Noise{{m.Variance * factor, float64(m.DF)}}
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
			if Best(y, +1) != nil {
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

// Minimal pairs: items of different difficulty, of which each variant takes some to its liking, runs
// that are better and worse, and right or wrong by chance. Asked of other seeds and other items, equal
// variants show no difference in more than 5 % of tables; asked of other seeds alike, they do.
func TestEqualVariantsOnItems(t *testing.T) {
	const seeds, pairs = 3, 150
	random := rand.New(rand.NewPCG(11, 4))
	with, without := 0, 0
	for range tables {
		hard := make([]float64, pairs)
		for i := range hard {
			hard[i] = 1 + random.NormFloat64()
		}
		items, y := make([]Items, variants), make([][]float64, variants)
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
		if shows(against(t, y, items)) {
			with++
		}
		if shows(against(t, y, nil)) {
			without++
		}
	}
	t.Logf("%d of %d tables show a difference; %d where the choice of items is not counted", with, tables, without)
	if with > mostWrong {
		t.Errorf("%d of %d tables show a difference, want at most %d", with, tables, mostWrong)
	}
	if without <= mostWrong {
		t.Errorf("only %d tables show one where the choice of items is not counted: this simulation tests nothing", without)
	}
}
