package stats

import "math"

// Outlier is the level at which [NewPool] leaves a variant out of the pooled variance: that of an
// outlier in ISO 5725-2. Between it and Alpha a variant stays, and deserves a word.
const Outlier = 0.01

// Pool is the model of one measure, without the variants whose seeds scatter so much more than the
// others' that one variance for all would be wrong: a run that went astray would hide every difference of
// the table. Those are compared by their own paired differences.
type Pool struct {
	*Model
	Apart []bool // variants that are not in the Model

	values [][]float64
}

// NewPool fits the model to values (those of [Fit]) and leaves out, one after the other, the variants
// that Cochran's test calls outliers, as long as enough remain to fit it to.
func NewPool(values [][]float64) (*Pool, error) {
	m, err := Fit(values)
	if err != nil {
		return nil, err
	}
	p := &Pool{Model: m, Apart: make([]bool, len(values)), values: values}
	rest := append([][]float64(nil), values...)
	for {
		v, chance := LargestVariance(rest)
		if chance >= Outlier {
			return p, nil
		}
		rest[v] = nil
		if m, err = Fit(rest); err != nil {
			return p, nil
		}
		p.Model, p.Apart[v] = m, true
	}
}

// Difference estimates variant a less variant b, and its noise over seeds: by the model where both are in
// it, else by [Paired]. ok is false where no seed ties them together, or where the one seed that does
// leaves nothing to measure the noise with.
func (p *Pool) Difference(a, b int) (d float64, noise Noise, ok bool) {
	if p.Apart[a] || p.Apart[b] {
		d, noise, n := Paired(p.values[a], p.values[b])
		return d, noise, n > 1
	}
	d, factor, ok := p.Model.Difference(a, b)
	return d, Noise{p.Variance * factor, float64(p.DF)}, ok
}

// Paired is the mean difference of two variants over the n seeds that both have, as in Student's paired
// test, which supposes nothing of the spread of either. Its noise is known where n > 1.
func Paired(a, b []float64) (d float64, noise Noise, n int) {
	var list []float64
	for s := range min(len(a), len(b)) {
		if finite(a[s]) && finite(b[s]) {
			list = append(list, a[s]-b[s])
		}
	}
	n = len(list)
	d, sd := MeanSD(list)
	if n < 2 {
		return d, Noise{}, n
	}
	if sd < 1e-12*math.Abs(d) { // what rounding leaves of differences without any spread
		sd = 0
	}
	return d, Noise{sd * sd / float64(n), float64(n - 1)}, n
}
