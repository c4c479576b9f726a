package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > within {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// Student's sleep data, on which R's documentation shows t.test(extra ~ group, paired = TRUE):
// t = −4.0621, df = 9, p = 0.002833, interval −2.4598858 to −0.7001142.
var sleep = [][]float64{
	{0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0},
	{1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4},
}

func difference(t *testing.T, m *Model, a, b int) Test {
	t.Helper()
	d, factor, ok := m.Difference(a, b)
	if !ok {
		t.Fatalf("variants %d and %d do not compare", a, b)
	}
	return NewTest(d, Noise{m.Variance * factor, float64(m.DF)})
}

func TestPairedT(t *testing.T) {
	m, err := Fit(sleep)
	if err != nil {
		t.Fatal(err)
	}
	x := difference(t, m, 0, 1)
	near(t, "difference", x.Difference, -1.58, 1e-12)
	near(t, "t", x.Difference/x.SE, -4.0621, 5e-5)
	near(t, "df", x.DF, 9, 1e-9)
	near(t, "p", x.P, 0.002833, 5e-7)
	near(t, "interval", x.Difference+x.Half(0.95), -0.7001142, 5e-8)
}

// In a full table the variance is that of the textbook's two-way analysis, and a difference has 2/N
// of it.
func TestFullTable(t *testing.T) {
	y := [][]float64{{3.1, 3.4, 2.9, 3.3}, {2.7, 3.0, 2.8, 2.9}, {3.2, 3.9, 3.0, 3.1}}
	var grand float64
	row, column := make([]float64, 3), make([]float64, 4)
	for v := range y {
		for s, x := range y[v] {
			grand, row[v], column[s] = grand+x/12, row[v]+x/4, column[s]+x/3
		}
	}
	var square float64
	for v := range y {
		for s, x := range y[v] {
			square += math.Pow(x-row[v]-column[s]+grand, 2)
		}
	}
	m, err := Fit(y)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "variance", m.Variance, square/6, 1e-12)
	d, factor, _ := m.Difference(2, 0)
	near(t, "difference", d, row[2]-row[0], 1e-12)
	near(t, "factor", factor, 0.5, 1e-12)
	if m.DF != 6 {
		t.Errorf("%d degrees of freedom, want 6", m.DF)
	}
}

func TestMissingFigures(t *testing.T) {
	y := [][]float64{{3.1, 3.4, 2.9}, {2.7, 3.0, 2.8}, {3.2, 3.9, 3.0}}
	full, err := Fit(y)
	if err != nil {
		t.Fatal(err)
	}
	want := difference(t, full, 1, 0)
	t.Run("a seed that one variant has says nothing", func(t *testing.T) {
		m, err := Fit([][]float64{{3.1, 3.4, 2.9, 77}, {2.7, 3.0, 2.8}, {3.2, 3.9, 3.0}})
		if err != nil {
			t.Fatal(err)
		}
		got := difference(t, m, 1, 0)
		near(t, "difference", got.Difference, want.Difference, 1e-9)
		near(t, "p", got.P, want.P, 1e-9)
	})
	t.Run("infinite and missing figures", func(t *testing.T) {
		m, err := Fit([][]float64{y[0], y[1], y[2], {math.Inf(1), math.NaN(), math.NaN()}})
		if err != nil {
			t.Fatal(err)
		}
		near(t, "p", difference(t, m, 1, 0).P, want.P, 1e-9)
		if _, _, ok := m.Difference(3, 0); ok {
			t.Error("a variant without figures is compared")
		}
	})
	t.Run("no common seeds", func(t *testing.T) {
		n := math.NaN()
		m, err := Fit([][]float64{{1, 2, n, n}, {1.1, 2.2, n, n}, {n, n, 5, 6}, {n, n, 5, 6.3}})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, ok := m.Difference(0, 2); ok {
			t.Error("variants without any seed in common are compared")
		}
		if _, _, ok := m.Difference(0, 1); !ok || m.DF != 2 {
			t.Errorf("variants with the same seeds are not compared (%d degrees of freedom, want 2)", m.DF)
		}
	})
	for name, y := range map[string][][]float64{"one seed": {{1}, {2}, {3}}, "one variant": {{1, 2, 3}}, "nothing": nil, "one figure": {{1}}} {
		if _, err := Fit(y); err == nil {
			t.Errorf("%s: noise is measured", name)
		}
	}
}

// The example of Holm's correction: R's p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm").
func TestHolm(t *testing.T) {
	got := Holm([]float64{0.03, math.NaN(), 0.01, 0.05, 0.02, 0.04})
	for i, want := range []float64{0.09, math.NaN(), 0.05, 0.09, 0.08, 0.09} {
		if math.IsNaN(want) != math.IsNaN(got[i]) || math.Abs(got[i]-want) > 1e-12 {
			t.Errorf("p %d is %v, want %v", i, got[i], want)
		}
	}
}

func TestNoSpread(t *testing.T) {
	m, err := Fit([][]float64{{0.1, 0.1, 0.1}, {0.2, 0.2, 0.2}})
	if err != nil {
		t.Fatal(err)
	}
	if x := difference(t, m, 1, 0); m.Variance != 0 || !math.IsNaN(x.P) || x.Half(0.95) != 0 || x.Shown(1) != 0 {
		t.Errorf("figures without spread: variance %v, p %v: want no test", m.Variance, x.P)
	}
	if b := best([][]float64{{0.1, 0.1}, {0.2, 0.2}}, 1); b != nil {
		t.Errorf("best without spread: %v", b)
	}
}

func best(values [][]float64, sign int) []bool {
	return Best(Contest{Values: values, Sign: sign})[0].Best
}

func TestBest(t *testing.T) {
	inf := math.Inf(1)
	y := [][]float64{{1.00, 1.02, 0.99}, {2.01, 1.99, 2.02}, {2.00, 2.03, 1.98}, {1.51, 1.50, 1.52}, {inf, 1, 1}}
	if got := best(y, +1); !slices.Equal(got, []bool{false, true, true, false, false}) {
		t.Errorf("highest: %v", got)
	}
	if got := best(y[:4], -1); !slices.Equal(got, []bool{true, false, false, false}) {
		t.Errorf("lowest: %v", got)
	}
	if got := best([][]float64{{1}, {2}, {3}}, 1); got != nil {
		t.Errorf("one seed: %v", got)
	}
	// Who cannot be judged takes no part, though the figure is the best of all.
	n := math.NaN()
	y = append(y, []float64{n, 9, n}, []float64{n, n, n}, []float64{9, 900, 9}, []float64{2, inf, 9})
	m := Best(Contest{Values: y, Sign: +1})[0]
	if want := []bool{false, true, true, false, false, false, false, false, false}; !slices.Equal(m.Best, want) {
		t.Errorf("with some who cannot be judged: %v", m.Best)
	}
	if want := []Standing{TookPart, TookPart, TookPart, TookPart, NotFinite, OneSeed, Absent, Scattered, NotFinite}; !slices.Equal(m.Standing, want) {
		t.Errorf("standing %v, want %v", m.Standing, want)
	}
	// The noise of the items is noise of a difference.
	items := func(a, b int) Noise { return Noise{1, 100} }
	if m := Best(Contest{y, +1, items})[0]; m.Best != nil {
		t.Errorf("best %v, although the items alone would make such differences", m.Best)
	}
}

// A variant that scatters is compared by Student's paired test, the others by the pool of the rest.
func TestPool(t *testing.T) {
	y := [][]float64{{3.1, 3.4, 2.9}, {2.7, 3.0, 2.8}, {3.2, 3.9, 3.0}}
	want, err := Fit(y)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := NewPool(append(y, []float64{3.0, 800, 2.9}))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(pool.Apart, []bool{false, false, false, true}) || math.Abs(pool.Variance-want.Variance) > 1e-12 || pool.DF != want.DF {
		t.Errorf("apart %v, variance %v with %d degrees of freedom, want that of the others, %v with %d", pool.Apart, pool.Variance, pool.DF, want.Variance, want.DF)
	}
	// Differences −0.1, 796.6, 0 of the fourth and the first: mean 265.5, variance of the mean 70516.8.
	d, noise, ok := pool.Difference(3, 0)
	near(t, "difference", d, 265.5, 1e-9)
	near(t, "variance", noise.Variance, 70516.803, 0.001)
	if !ok || noise.DF != 2 {
		t.Errorf("%v degrees of freedom, want 2", noise.DF)
	}
	// One seed in common is no test, and the last two variants are left to each other.
	if _, _, ok := mustPool(t, [][]float64{y[0], y[1], y[2], {math.NaN(), math.NaN(), 5, 900}}).Difference(3, 0); ok {
		t.Error("a test of one common seed")
	}
	if two := mustPool(t, [][]float64{y[0], {1, 500, 2}}); two.Apart[0] || two.Apart[1] {
		t.Error("of two variants none can be left out")
	}
}

func mustPool(t *testing.T, y [][]float64) *Pool {
	t.Helper()
	p, err := NewPool(y)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Cochran and Cox: with parts of 3 and 1 times a variance, of 4 and 60 degrees of freedom, the critical
// value at 5 % is (3·2.776445 + 2.000298)/4 = 2.582408 (qt(0.975, 4) and qt(0.975, 60) in R).
func TestSeveralNoises(t *testing.T) {
	x := NewTest(2*2.5824083, Noise{3, 4}, Noise{1, 60}, Noise{0, 1})
	near(t, "p", x.P, 0.05, 1e-6)
	near(t, "half", x.Half(0.95), 2*2.5824083, 1e-6)
	near(t, "Satterthwaite's degrees of freedom", x.DF, 16/(9.0/4+1.0/60), 1e-9)
	// However large the difference, p stays between those of either part alone.
	for _, d := range []float64{0, 0.1, 1, 10, 100, 1e6, 1e30} {
		x := NewTest(d, Noise{3, 4}, Noise{1, 60})
		few, many := NewTest(d, Noise{4, 4}), NewTest(d, Noise{4, 60})
		if !(many.P <= x.P && x.P <= few.P) {
			t.Errorf("p of %v is %v, want between %v and %v", d, x.P, many.P, few.P)
		}
	}
}

// The shift of the noncentral t distribution that passes Student's critical value with probability 0.8:
// scipy.optimize.brentq over scipy.stats.nct.sf.
func TestShown(t *testing.T) {
	for _, c := range []struct {
		df    float64
		tests int
		want  float64
	}{{1, 1, 16.334009}, {2, 1, 5.6534893}, {2, 3, 9.8163565}, {3.7, 5, 6.2112629}, {4, 6, 6.1698988}, {6, 12, 5.6512456}, {10, 15, 4.8308750}, {56, 14, 3.9040473}, {1, 30, 489.517199}, {200_000, 6, 3.4799088}} {
		got := NewTest(0, Noise{4, c.df}).Shown(c.tests)
		near(t, "smallest difference", got, 2*c.want, 2e-6*c.want)
	}
}

func TestLargestVariance(t *testing.T) {
	y := [][]float64{{1, 1.1, 0.9, 1}, {2, 2.1, 2, 1.9}, {1, 3, 5, 9}, {3, 3.1, 2.9, 3}}
	if v, p := LargestVariance(y); v != 2 || p > 1e-3 {
		t.Errorf("variant %d, p %v: want variant 2 to stand out", v, p)
	}
	if _, p := LargestVariance([][]float64{y[0], y[1], y[3]}); p < 0.2 {
		t.Errorf("p %v of like spreads", p)
	}
}

func TestItemNoise(t *testing.T) {
	// One seed: the paired differences' variance over their number.
	a, b := Items{{1, 0, 1, 1}}, Items{{0, 0, 1, 0}}
	near(t, "variance", ItemNoise(a, b, nil).Variance, (0.25*2+0.25*2)/3.0/4, 1e-12)
	// What the same items do alike for both is no noise of the difference.
	if v := ItemNoise(a, a, nil).Variance; v != 0 {
		t.Errorf("variance %v of a variant against itself", v)
	}
	// A difference between strata is none within them.
	if v := ItemNoise(Items{{1, 1, 0, 0}}, Items{{0, 0, 0, 0}}, Strata{2, 2}).Variance; v != 0 {
		t.Errorf("variance %v where each stratum's items agree", v)
	}
	// Noise of a seed on an item is the seeds' already: independent noise averages out of this part.
	random := rand.New(rand.NewPCG(1, 1))
	x, y := make(Items, 5), make(Items, 5)
	for s := range x {
		for range 4000 {
			x[s], y[s] = append(x[s], random.NormFloat64()), append(y[s], random.NormFloat64())
		}
	}
	if v, all := ItemNoise(x, y, nil).Variance, 2.0/5/4000; v > 0.1*all {
		t.Errorf("variance %v, want almost none of %v", v, all)
	}
}

func TestBootstrap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	a, b := make(Items, 1), make(Items, 1)
	for range 900 {
		a[0], b[0] = append(a[0], 0.1+random.NormFloat64()), append(b[0], 0)
	}
	mean, sd := MeanSD(a[0])
	low, high := Bootstrap(a, b, nil, 0.95, 4000, 1)
	near(t, "low", low, mean-1.96*sd/30, 0.006)
	near(t, "high", high, mean+1.96*sd/30, 0.006)
	again, _ := Bootstrap(a, b, nil, 0.95, 4000, 1)
	if again != low {
		t.Error("the same arguments give another interval")
	}
	low, high = Bootstrap(Items{{1, 1, 0, 0}}, Items{{0, 0, 0, 0}}, Strata{2, 2}, 0.95, 500, 1)
	if low != 0.5 || high != 0.5 {
		t.Errorf("%v to %v: want each stratum drawn by itself", low, high)
	}
}

func TestSpearman(t *testing.T) {
	// Ranks 1 2 3 4 5 against 2 1 4 3 5: 1 − 6·4/(5·24) = 0.8; of the 120 orders 16 are as far from 0.
	rho, p := Spearman([]float64{10, 20, 30, 40, 50}, []float64{2, 1, 40, 30, 500})
	near(t, "rank correlation", rho, 0.8, 1e-12)
	near(t, "p", p, 16.0/120, 0.012)
	// With ties, as R's cor(c(1, 2, 2, 3), c(1, 3, 2, 4), method = "spearman").
	rho, _ = Spearman([]float64{1, 2, 2, 3}, []float64{1, 3, 2, 4})
	near(t, "with ties", rho, 0.9486833, 1e-7)
	for _, y := range [][]float64{{1, 1, 1}, {1, 2}} {
		if rho, p := Spearman([]float64{1, 2, 3}[:len(y)], y); !math.IsNaN(rho) || !math.IsNaN(p) {
			t.Errorf("%v of %v", rho, y)
		}
	}
}
