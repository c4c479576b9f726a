package results

import (
	"cmp"
	"fmt"
	"math"

	"march/results/stats"
)

// compared is one column of march's runs beside one of a study's: each variant's difference from its
// baseline, in both.
type compared struct {
	measure, ours, study string
	names                []string
	x, y                 []float64
}

func (c *compared) add(name string, x, y float64) {
	if !math.IsNaN(x) && !math.IsNaN(y) {
		c.names, c.x, c.y = append(c.names, name), append(c.x, x), append(c.y, y)
	}
}

// agreement says how far columns of march's runs and of a study agree on which variants are better
// than the baseline, and in what order.
func agreement(list []compared) *Table {
	t := &Table{
		Title: "Agreement with the study's own figures",
		Columns: []Column{
			{Key: "measure", Title: "measure"},
			{Key: "ours", Title: "march"},
			{Key: "study", Title: "study"},
			{Key: "n", Title: "n", About: "variants that both have, without the baseline", kind: integer},
			{Key: "same_sign", Title: "same sign", About: "variants on the same side of the baseline in both, of those that differ from it in both; without any test", kind: printed},
			{Key: "rank_correlation", Title: "rank\ncorr.", About: "Spearman's, of the differences from the baseline", kind: printed},
			{Key: "p", Title: "p", About: "two-sided, from 10,000 permutations; not corrected", kind: printed},
		},
		Empty: "No variant of these runs has a figure in the study.",
	}
	for _, c := range list {
		if len(c.x) == 0 {
			continue
		}
		same, differ := 0, 0
		for i := range c.x {
			if c.x[i] == 0 || c.y[i] == 0 {
				continue // on neither side: two floors agree on nothing
			}
			if differ++; cmp.Compare(c.x[i], 0) == cmp.Compare(c.y[i], 0) {
				same++
			}
		}
		row := Row{{Text: c.measure}, {Text: c.ours}, {Text: c.study}, {Mean: float64(len(c.x)), N: 1}, {}, {}, {}}
		if differ > 0 {
			row[4] = say(float64(same), fmt.Sprintf("%d of %d", same, differ))
		}
		if rho, p := stats.Spearman(c.x, c.y); !math.IsNaN(rho) {
			row[5], row[6] = say(rho, perplexity.difference(rho, 1, 0, true)), say(p, probability(p))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
