package stats

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// The levels that march's tables use.
const (
	// Alpha bounds the probability that a table of equal variants shows any difference.
	Alpha = 0.05
	// Power is the probability with which a difference of Test.Shown would have been found.
	Power = 0.8
)

// Noise is a part of an estimate's variance that has its own degrees of freedom.
type Noise struct {
	Variance float64
	DF       float64
}

// Test is a difference and what it is to be measured against.
type Test struct {
	Difference float64
	SE         float64 // standard error; 0 where the figures had no spread at all
	DF         float64
	P          float64 // two-sided, for this difference alone; NaN where SE is 0
}

// NewTest tests a difference whose variance is the sum of several.
func NewTest(difference float64, noise ...Noise) Test {
	var variance, weight float64
	for _, n := range noise {
		variance += n.Variance
		if n.Variance > 0 {
			weight += n.Variance * n.Variance / n.DF
		}
	}
	t := Test{Difference: difference, SE: math.Sqrt(variance), P: math.NaN()}
	if variance > 0 {
		t.DF = variance * variance / weight
		t.P = 2 * t.student().Survival(math.Abs(difference)/t.SE)
	}
	return t
}

func (t Test) student() distuv.StudentsT { return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: t.DF} }

// Half is half the width of the confidence interval of that level, 0.95 for one: the difference
// lies within Difference ± Half. It is for this difference alone, without Holm's correction.
func (t Test) Half(level float64) float64 {
	if t.SE == 0 {
		return 0
	}
	return t.SE * t.student().Quantile((1+level)/2)
}

// Shown is the smallest true difference that a table of so many tests finds with probability Power,
// whatever the others are: Holm's first and strictest step. 0 where SE is 0.
func (t Test) Shown(tests int) float64 {
	if t.SE == 0 || tests < 1 {
		return 0
	}
	s := t.student()
	return t.SE * (s.Quantile(1-Alpha/float64(2*tests)) + s.Quantile(Power))
}

// Holm corrects p-values for being many: each result is to be compared with the level that the
// smallest would be compared with if it were alone. The probability of any false rejection is then
// at most that level, whatever depends on what. NaN stays NaN and does not count.
func Holm(p []float64) []float64 {
	order := make([]int, 0, len(p))
	out := make([]float64, len(p))
	for i, x := range p {
		out[i] = math.NaN()
		if !math.IsNaN(x) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	highest := 0.0
	for rank, i := range order {
		highest = max(highest, min(1, p[i]*float64(len(order)-rank)))
		out[i] = highest
	}
	return out
}

// Best says which variants are the best of a column: that with the highest mean (the lowest where
// sign is −1), and all that are not shown to be worse. It is nil where none is shown to be worse, so
// that nothing is called best without evidence. Since the best is chosen by looking, all pairs count
// as tests. values are those of [Fit].
func Best(values [][]float64, sign int) []bool {
	m, err := Fit(values)
	if err != nil || m.Variance == 0 {
		return nil
	}
	top, here := -1, 0
	for v, x := range m.Effects {
		if math.IsNaN(x) {
			continue
		}
		here++
		if top >= 0 && m.component[v] != m.component[top] {
			return nil // no common scale to be best on
		}
		if top < 0 || (x-m.Effects[top])*float64(sign) > 0 {
			top = v
		}
	}
	var p []float64
	at := make([]int, len(values))
	for a := range values {
		for b := range a {
			d, factor, ok := m.Difference(a, b)
			if !ok {
				continue
			}
			if a == top {
				at[b] = len(p)
			} else if b == top {
				at[a] = len(p)
			}
			p = append(p, NewTest(d, Noise{m.Variance * factor, float64(m.DF)}).P)
		}
	}
	p = Holm(p)
	best, worse := make([]bool, len(values)), false
	for v, x := range m.Effects {
		switch {
		case v == top:
			best[v] = true
		case !math.IsNaN(x):
			best[v] = p[at[v]] > Alpha
			worse = worse || !best[v]
		}
	}
	if !worse || here < 2 {
		return nil
	}
	return best
}

// LargestVariance is Cochran's test that the variant with the widest spread has no wider one than
// the others, which pooling supposes: its index, and the probability of so large a share of all
// variance by chance. Variants with fewer than two figures are left out. The seeds' effects, which all
// variants have alike, stay in and make the test blunter. p is 1 where fewer than two variants remain.
func LargestVariance(values [][]float64) (variant int, p float64) {
	variant, p = -1, 1
	var sum, largest, n, k float64
	for v, row := range values {
		var list []float64
		for _, y := range row {
			if finite(y) {
				list = append(list, y)
			}
		}
		if len(list) < 2 {
			continue
		}
		_, sd := MeanSD(list)
		sum += sd * sd
		n += float64(len(list))
		k++
		if sd*sd > largest {
			variant, largest = v, sd*sd
		}
	}
	if k < 2 || sum == largest || largest == 0 {
		return variant, 1
	}
	n /= k
	share := largest / sum
	f := distuv.F{D1: n - 1, D2: (k - 1) * (n - 1)}
	return variant, min(1, k*f.Survival((k-1)*share/(1-share)))
}

// Spearman is the rank correlation of two lists, ties at their mean rank, and the probability of one as
// far from 0 by chance, from 10,000 permutations (the same ones each time). Both are NaN for fewer than
// three pairs, or where a list is constant.
func Spearman(x, y []float64) (rho, p float64) {
	a, b := ranks(x), ranks(y)
	if rho = stat.Correlation(a, b, nil); len(x) < 3 || math.IsNaN(rho) {
		return math.NaN(), math.NaN()
	}
	const permutations = 10_000
	random := rand.New(rand.NewPCG(1, 0x72616e6b))
	as := 1 // the one that was found
	for range permutations {
		random.Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] })
		if math.Abs(stat.Correlation(a, b, nil)) >= math.Abs(rho)-1e-12 {
			as++
		}
	}
	return rho, float64(as) / (permutations + 1)
}

// ranks are the places of figures in their order, from 1 on; equal ones share theirs.
func ranks(x []float64) []float64 {
	r := make([]float64, len(x))
	for i := range x {
		for j := range x {
			switch {
			case x[j] < x[i]:
				r[i]++
			case x[j] == x[i]:
				r[i] += 0.5
			}
		}
		r[i] += 0.5
	}
	return r
}

// MeanSD returns the mean and the sample standard deviation (divisor n − 1), which is NaN for one
// value.
func MeanSD(values []float64) (mean, sd float64) {
	for _, x := range values {
		mean += x
	}
	mean /= float64(len(values))
	if len(values) < 2 {
		return mean, math.NaN()
	}
	var square float64
	for _, x := range values {
		square += (x - mean) * (x - mean)
	}
	return mean, math.Sqrt(square / float64(len(values)-1))
}
