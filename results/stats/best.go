package stats

import (
	"math"
)

// Contest is a column whose best variants are asked for.
type Contest struct {
	Values [][]float64 // those of [Fit]; a figure that is infinite is one, NaN is none
	Sign   int         // +1: the highest is best; −1: the lowest
	// Items is the noise that the choice of items gives the difference of two variants ([ItemNoise]);
	// nil: the figures are no means over items.
	Items func(a, b int) Noise
}

// Standing says whether a variant took part in a contest, or why not.
type Standing int

const (
	Absent    Standing = iota // no figure
	OneSeed                   // which says nothing of its noise
	NotFinite                 // of a mean with such a figure nothing can be said
	Scattered                 // its seeds scatter so much more than the others' that they have no noise in common ([Pool])
	TookPart
)

// Marks are what a contest came to.
type Marks struct {
	Best     []bool // by variant; nil: none is shown to be worse
	Standing []Standing
}

// Best says which variants are the best of each contest: that with the highest mean (the lowest where
// Sign is −1), and all that are not shown to be worse. Best is nil where none is shown to be worse, so
// that nothing is called best without evidence. Since the best is chosen by looking, all pairs count
// as tests, and Holm's correction is over those of all contests together: where all variants are equal,
// any is marked with a probability of at most Alpha.
func Best(contests ...Contest) []Marks {
	all, marks := make([]contest, len(contests)), make([]Marks, len(contests))
	var p []float64
	for i, c := range contests {
		all[i] = c.open()
		all[i].from = len(p)
		p = append(p, all[i].p...)
	}
	p = Holm(p)
	for i, c := range all {
		marks[i] = Marks{c.best(p[c.from : c.from+len(c.p)]), c.standing}
	}
	return marks
}

// contest is a Contest whose pairs were tested.
type contest struct {
	standing []Standing
	top      int       // −1: nothing can be said
	p        []float64 // of every pair
	against  []int     // of each variant: its place in p of the pair with top
	from     int       // where p begins among those of all contests
}

func (c Contest) open() contest {
	x := contest{standing: make([]Standing, len(c.Values)), top: -1, against: make([]int, len(c.Values))}
	values := make([][]float64, len(c.Values))
	for v, row := range c.Values {
		if x.standing[v] = standing(row); x.standing[v] == TookPart {
			values[v] = row
		}
	}
	pool, err := NewPool(values)
	if err != nil || pool.Variance == 0 {
		return x
	}
	top := -1
	for v, effect := range pool.Effects {
		switch {
		case pool.Apart[v]:
			x.standing[v] = Scattered
		case math.IsNaN(effect):
		case top >= 0 && pool.component[v] != pool.component[top]:
			return x // no common scale to be best on
		case top < 0 || (effect-pool.Effects[top])*float64(c.Sign) > 0:
			top = v
		}
	}
	for a := range values {
		for b := range a {
			if x.standing[a] != TookPart || x.standing[b] != TookPart {
				continue
			}
			d, noise, _ := pool.Difference(a, b)
			all := []Noise{noise}
			if c.Items != nil {
				all = append(all, c.Items(a, b))
			}
			if a == top {
				x.against[b] = len(x.p)
			} else if b == top {
				x.against[a] = len(x.p)
			}
			x.p = append(x.p, NewTest(d, all...).P)
		}
	}
	x.top = top
	return x
}

// best are the marks, by p after the correction.
func (x contest) best(p []float64) []bool {
	best, worse := make([]bool, len(x.standing)), false
	for v, s := range x.standing {
		if x.top < 0 || s != TookPart {
			continue
		}
		best[v] = v == x.top || p[x.against[v]] > Alpha
		worse = worse || !best[v]
	}
	if !worse {
		return nil
	}
	return best
}

func standing(row []float64) Standing {
	n := 0
	for _, y := range row {
		switch {
		case math.IsInf(y, 0):
			return NotFinite
		case !math.IsNaN(y):
			n++
		}
	}
	return [...]Standing{Absent, OneSeed, TookPart}[min(n, 2)]
}
