package stats

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Model is the two-way model of one measure, fitted.
type Model struct {
	Variance float64   // of a single figure, its variant's and its seed's effect taken out
	DF       int       // degrees of freedom of Variance
	Effects  []float64 // of each variant, up to a constant of its component; NaN where it has no figure

	component []int      // of each variant: those with different numbers share no seed, not even through others
	inverse   *mat.Dense // of XᵀX, variants first
	column    []int      // of each variant: its row in inverse; −1 where it has no figure
}

// Fit fits the model to values[variant][seed]. Figures that are not finite count as missing. It is an
// error if nothing is left over to measure the noise with, as with one seed a variant.
func Fit(values [][]float64) (*Model, error) {
	seeds := 0
	for _, row := range values {
		seeds = max(seeds, len(row))
	}
	type at struct{ variant, seed int }
	var seen []at
	for v, row := range values {
		for s, y := range row {
			if finite(y) {
				seen = append(seen, at{v, s})
			}
		}
	}
	// Variants and seeds that a figure ties together are one component, in which effects compare.
	group := newGroups(len(values) + seeds)
	for _, x := range seen {
		group.tie(x.variant, len(values)+x.seed)
	}
	m := &Model{Effects: make([]float64, len(values)), component: make([]int, len(values)), column: make([]int, len(values))}
	columns := 0
	for v := range values {
		m.Effects[v], m.column[v], m.component[v] = math.NaN(), -1, group.of(v)
	}
	for _, x := range seen {
		if m.column[x.variant] < 0 {
			m.column[x.variant] = columns
			columns++
		}
	}
	// The first seed of each component has the effect 0, which makes the others' definite.
	seedColumn, first := make([]int, seeds), map[int]bool{}
	for s := range seedColumn {
		seedColumn[s] = -1
	}
	for _, x := range seen {
		if c := group.of(x.variant); !first[c] {
			first[c], seedColumn[x.seed] = true, -2
		} else if seedColumn[x.seed] == -1 {
			seedColumn[x.seed] = columns
			columns++
		}
	}
	m.DF = len(seen) - columns
	if m.DF < 1 {
		return nil, fmt.Errorf("%d figures leave nothing to measure their noise with: want two variants with two seeds in common", len(seen))
	}
	x, y := mat.NewDense(len(seen), columns, nil), mat.NewVecDense(len(seen), nil)
	for i, p := range seen {
		x.Set(i, m.column[p.variant], 1)
		if c := seedColumn[p.seed]; c >= 0 {
			x.Set(i, c, 1)
		}
		y.SetVec(i, values[p.variant][p.seed])
	}
	var normal mat.Dense
	normal.Mul(x.T(), x)
	m.inverse = new(mat.Dense)
	if err := m.inverse.Inverse(&normal); err != nil {
		return nil, fmt.Errorf("figures by variant and seed: %w", err)
	}
	var right, effects, fitted mat.VecDense
	right.MulVec(x.T(), y)
	effects.MulVec(m.inverse, &right)
	fitted.MulVec(x, &effects)
	var square, size float64
	for i := range seen {
		rest := y.AtVec(i) - fitted.AtVec(i)
		square += rest * rest
		size = max(size, math.Abs(y.AtVec(i)))
	}
	m.Variance = square / float64(m.DF)
	if m.Variance < 1e-24*size*size { // what rounding leaves of figures without any spread
		m.Variance = 0
	}
	for v, c := range m.column {
		if c >= 0 {
			m.Effects[v] = effects.AtVec(c)
		}
	}
	return m, nil
}

// Difference estimates variant a less variant b, and the factor that turns Variance into the
// estimate's own variance (2/N with N seeds each). ok is false where no seed ties them together.
func (m *Model) Difference(a, b int) (d, factor float64, ok bool) {
	i, j := m.column[a], m.column[b]
	if i < 0 || j < 0 || m.component[a] != m.component[b] {
		return 0, 0, false
	}
	factor = m.inverse.At(i, i) + m.inverse.At(j, j) - m.inverse.At(i, j) - m.inverse.At(j, i)
	return m.Effects[a] - m.Effects[b], factor, true
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// groups is a union-find structure.
type groups []int

func newGroups(n int) groups {
	g := make(groups, n)
	for i := range g {
		g[i] = i
	}
	return g
}

func (g groups) of(i int) int {
	for g[i] != i {
		i = g[i]
	}
	return i
}

func (g groups) tie(i, j int) { g[g.of(i)] = g.of(j) }
