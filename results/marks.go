package results

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"march/results/record"
	"march/results/stats"
)

// candidate is one figure in a contest for the best.
type candidate struct {
	cell   *Cell
	basis  string                 // what the figure was measured on
	values map[uint64]float64     // what it is the mean of, by seed
	runs   map[uint64]*record.Run // that the values are of
	row    *entry                 // whose figure it is; the column's of a Breakdown
}

// contest is a column of one budget whose best are to be marked, or a row of a [Breakdown].
type contest struct {
	of      string // its name
	better  Better
	figures []candidate
	// items gives what a run said of each item that its figure is the mean of; nil: it is no such mean.
	items func(*record.Run) (*scored, error)
}

// markBest marks the best figures of each contest and all that are not shown to be worse, if at least
// one is (stats.Best, which corrects for all contests together). None is marked where the figures were not
// measured on the same thing, which differ says, nor where the items behind them are not known. What has no
// part in a contest that the others are held in is named in warnings.
func markBest(warnings *warnings, differ func([]candidate) string, contests ...contest) {
	var held []contest
	var list []stats.Contest
	for _, c := range contests {
		switch {
		case c.better == Neither || len(c.figures) < 2:
		case slices.ContainsFunc(c.figures, func(f candidate) bool { return f.basis != c.figures[0].basis }):
			warnings.add(c.of, differ(c.figures))
		default:
			x, err := c.open()
			if err != nil {
				warnings.add(c.of, fmt.Sprintf("no best is marked, since the choice of items is noise as well: %v.", err))
				continue
			}
			held, list = append(held, c), append(list, x)
		}
	}
	for i, marks := range stats.Best(list...) {
		held[i].close(marks, warnings)
	}
}

// open makes values by variant and seed of the figures. Items are read only where two rows have the seeds
// for a contest.
func (c contest) open() (stats.Contest, error) {
	x := stats.Contest{Sign: int(c.better)}
	seeds := c.seeds()
	several := 0
	for _, f := range c.figures {
		row := make([]float64, len(seeds))
		for i, seed := range seeds {
			value, ok := f.values[seed]
			if row[i] = value; !ok {
				row[i] = math.NaN()
			}
		}
		x.Values = append(x.Values, row)
		if len(f.values) > 1 {
			several++
		}
	}
	if c.items == nil || several < 2 {
		return x, nil
	}
	said, digest := make([]map[uint64]*scored, len(c.figures)), ""
	for i, f := range c.figures {
		said[i] = map[uint64]*scored{}
		for seed, r := range f.runs {
			s, err := c.items(r)
			if err != nil {
				return x, err
			}
			if digest == "" {
				digest = s.items
			}
			if s.items != digest {
				return x, errOtherItems
			}
			said[i][seed] = s
		}
	}
	x.Items = func(a, b int) stats.Noise { return stats.ItemNoise(common(said[a], said[b])) }
	return x, nil
}

// seeds are those of all figures.
func (c contest) seeds() (seeds []uint64) {
	for _, f := range c.figures {
		for seed := range f.values {
			if !slices.Contains(seeds, seed) {
				seeds = append(seeds, seed)
			}
		}
	}
	slices.Sort(seeds)
	return seeds
}

// close marks the best, and says who took no part and where seeds differ.
func (c contest) close(marks stats.Marks, warnings *warnings) {
	part, unequal := 0, false
	seeds := len(c.seeds())
	for i, f := range c.figures {
		if marks.Standing[i] == stats.TookPart {
			part++
			unequal = unequal || len(f.values) < seeds
		}
		if marks.Best != nil {
			f.cell.Best = marks.Best[i]
		}
	}
	if part < 2 {
		return
	}
	for _, x := range []struct {
		standing stats.Standing
		text     string
	}{
		{stats.OneSeed, "one seed says nothing of its noise"},
		{stats.NotFinite, "not every seed is finite"},
		{stats.Scattered, fmt.Sprintf("seeds that scatter more than those of the others, Cochran's test at %g %%", 100*stats.Outlier)},
	} {
		var names []string
		for i, f := range c.figures {
			if marks.Standing[i] == x.standing {
				names = append(names, f.row.name)
			}
		}
		if len(names) > 0 {
			warnings.add(c.of, fmt.Sprintf("left out of marking the best: %s (%s).", strings.Join(names, ", "), x.text))
		}
	}
	if marks.Best != nil && unequal {
		warnings.add(c.of, "not all have the same seeds; what each seed does to all is taken out before they are compared, so that one with a better mean may be left unmarked.")
	}
}

// bestSays explains the marks that are there, or why there are none.
func (t *Table) bestSays(entries []*entry, withinBudget bool, of string) (notes []string) {
	within := ""
	if withinBudget {
		within = " within a budget"
	}
	for _, row := range t.Rows {
		for i, cell := range row {
			if cell.Best && !t.Columns[i].detail {
				t.Best = fmt.Sprintf("best of its %s%s, with all that are not shown to be worse (%s)", of, within, marksTest(of))
				return nil
			}
		}
	}
	done, several := 0, 0
	for _, e := range entries {
		if e.status == record.Done {
			done++
			if len(e.runs) > 1 {
				several++
			}
		}
	}
	switch {
	case done < 2:
		return nil
	case several < 2:
		return []string{"Nothing is marked as best: one seed cannot tell a variant from its noise; several can (march bench --seeds 3)."}
	}
	return []string{fmt.Sprintf("Nothing is marked as best: no difference within a %s that could be tested is more than the noise between seeds, and between items where a score is of items (%s).", of, marksTest(of))}
}

// marksTest says what marks rest on: of "row" are those of a Breakdown, which is one family.
func marksTest(of string) string {
	family := "the pairs of a column: equal ones are marked in at most 5 % of columns"
	if of == "row" {
		family = "all pairs of the table: equal variants are marked in at most 5 % of tables"
	}
	return "t-tests paired by seed, variance pooled, a score of items tested over its items too, Holm over " + family
}
