package stats

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/integrate/quad"
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
	DF         float64 // degrees of freedom of SE², Satterthwaite's where it has several parts
	P          float64 // two-sided, for this difference alone; NaN where SE is 0

	noise []Noise // the parts of SE²
}

// NewTest tests a difference whose variance is the sum of several.
func NewTest(difference float64, noise ...Noise) Test {
	t := Test{Difference: difference, P: math.NaN()}
	var variance, weight float64
	for _, n := range noise {
		if n.Variance > 0 {
			variance += n.Variance
			weight += n.Variance * n.Variance / n.DF
			t.noise = append(t.noise, n)
		}
	}
	if t.SE = math.Sqrt(variance); t.SE > 0 {
		t.DF = variance * variance / weight
		t.P = t.p(math.Abs(difference) / t.SE)
	}
	return t
}

// critical is what a difference must pass in standard errors, to either side, to have a p-value of p:
// that of Student's distribution, and with several parts the mean of theirs, each weighed with its
// variance (Cochran and Cox). Satterthwaite's degrees of freedom would do for one test at 5 %, but let
// far too many through at the levels of Holm's correction where the part between seeds has few.
func (t Test) critical(p float64) (c float64) {
	for _, n := range t.noise {
		c -= n.Variance / (t.SE * t.SE) * student(n.DF).Quantile(p/2)
	}
	return c
}

// p is the p for which critical is x. Student's of the most and the fewest degrees of freedom enclose it.
func (t Test) p(x float64) float64 {
	low, high := 1.0, 0.0
	for _, n := range t.noise {
		p := 2 * student(n.DF).Survival(x)
		low, high = min(low, p), max(high, p)
	}
	const smallest = 1e-100 // of which a quantile can be had; below it the larger is as good
	if len(t.noise) == 1 || low == high || low < smallest {
		return high
	}
	// critical is nearly a line over log p: regula falsi, with the end that stays moved closer (Illinois).
	a, b := math.Log(low), math.Log(high)
	fa, fb := t.critical(low)-x, t.critical(high)-x
	for side := 0; b-a > 1e-9 && fa > 0 && fb < 0; {
		m := (a*fb - b*fa) / (fb - fa)
		f := t.critical(math.Exp(m)) - x
		switch {
		case math.Abs(f) < 1e-5*x: // p to four digits
			return math.Exp(m)
		case f > 0:
			if a, fa = m, f; side > 0 {
				fb /= 2
			}
			side = +1
		default:
			if b, fb = m, f; side < 0 {
				fa /= 2
			}
			side = -1
		}
	}
	return math.Exp(b)
}

func student(df float64) distuv.StudentsT { return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: df} }

// Half is half the width of the confidence interval of that level, 0.95 for one: the difference
// lies within Difference ± Half. It is for this difference alone, without Holm's correction.
func (t Test) Half(level float64) float64 {
	if t.SE == 0 {
		return 0
	}
	return t.SE * t.critical(1-level)
}

// Shown is the smallest true difference that a table of so many tests finds with probability Power,
// whatever the others are: Holm's first and strictest step, by the noncentral t distribution. 0 where SE
// is 0.
func (t Test) Shown(tests int) float64 {
	if t.SE == 0 || tests < 1 {
		return 0
	}
	critical := t.critical(Alpha / float64(tests))
	low, high := 0.0, critical
	for beyond(critical, t.DF, high) < Power {
		low, high = high, 2*high
	}
	for high-low > 1e-6*high {
		if middle := (low + high) / 2; beyond(critical, t.DF, middle) < Power {
			low = middle
		} else {
			high = middle
		}
	}
	return t.SE * high
}

// beyond is the probability that a t statistic with so many degrees of freedom is greater than critical
// where the true difference is shift standard errors: P((Z + shift)/S > critical), Z normal and S² a χ²
// over its degrees of freedom. It is certain for small S, and integrated over those S where it is open.
func beyond(critical, df, shift float64) (p float64) {
	const tail = 8 // standard deviations
	spread := tail / math.Sqrt(2*df)
	from := max(0, 1-2*spread, (shift-tail)/critical)
	to := max(from, min(1+spread, (shift+tail)/critical))
	gamma, _ := math.Lgamma(df / 2)
	scale := df/2*math.Log(df/2) - gamma + math.Ln2
	for i, x := range legendre.x {
		s := from + (to-from)*x
		p += legendre.weight[i] * distuv.UnitNormal.CDF(shift-critical*s) * math.Exp(scale+(df-1)*math.Log(s)-df*s*s/2)
	}
	return distuv.ChiSquared{K: df}.CDF(from*from*df) + (to-from)*p
}

// legendre is the rule that integrates over 0 to 1.
var legendre = func() (rule struct{ x, weight [100]float64 }) {
	quad.Legendre{}.FixedLocations(rule.x[:], rule.weight[:], 0, 1)
	return rule
}()

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
