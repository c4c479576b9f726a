package results

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"march/results/record"
	"march/results/stats"
)

// noise says how far seeds scatter, and whose do so too differently.
func (j *judge) noise(m measure, rows []*entry, base int, figures [][]float64, floor float64, pool *stats.Pool, logs bool) {
	mean, _ := stats.MeanSD(present(figures[base]))
	print := func(sd float64) string { return m.kind.difference(sd, mean, sd, false) }
	if logs {
		print = func(sd float64) string { return loss.difference(sd, 1, sd, false) + " in logarithms" }
	}
	text := ""
	if !math.IsNaN(floor) {
		text = fmt.Sprintf("Noise floor of %s: %s, the standard deviation of %s over its seeds; ", m.name(), print(floor), rows[base].name)
	} else {
		text = fmt.Sprintf("Noise of %s: ", m.name())
	}
	j.notes = append(j.notes, text+fmt.Sprintf("%s pooled over all variants of the budget, what a seed does to all of them taken out (%s of freedom).",
		print(math.Sqrt(pool.Variance)), plural(pool.DF, "degree", "degrees")))
	var apart []string
	rest, several := slices.Clone(figures), 0
	for i, e := range rows {
		if pool.Apart[i] {
			apart, rest[i] = append(apart, e.name), nil
		}
		if len(present(figures[i])) > 1 {
			several++
		}
	}
	if len(apart) > 0 {
		j.warnings.add(m.name(), fmt.Sprintf("the seeds of %s scatter more than those of the others (Cochran's test at %g %%): left out of the pooled variance, and compared by paired differences of their own.",
			strings.Join(apart, ", "), 100*stats.Outlier))
	}
	if v, p := stats.LargestVariance(rest); p < stats.Alpha && several > 2 { // two variants are compared by their own paired differences anyway
		j.warnings.add(m.name(), fmt.Sprintf("the seeds of %s scatter more than those of the others (Cochran's test, p %s), which pooling does not suppose: trust its verdict less, and the others', whose noise it makes larger.", rows[v].name, probability(p)))
	}
}

// items are what two variants' runs said of each item, paired by the seeds that both have. All are nil
// where the predictions are not there or not of the same items, which is said. of reports whether the measure
// is of items at all.
func (j *judge) items(m measure, variant, base map[uint64]*record.Run) (a, b stats.Items, strata stats.Strata, of bool) {
	read := j.files.of(m)
	if read == nil {
		return nil, nil, nil, false
	}
	digest := ""
	said := func(runs map[uint64]*record.Run) map[uint64]*scored {
		list := map[uint64]*scored{}
		for _, seed := range slices.Sorted(maps.Keys(runs)) {
			s, err := read(runs[seed])
			if err == nil && digest != "" && s.items != digest {
				err = errOtherItems
			}
			if err != nil {
				j.warnings.add(m.name(), fmt.Sprintf("no verdict where the items' predictions are not to be had: %v.", err))
				return nil
			}
			list[seed], digest = s, s.items
		}
		return list
	}
	if x, y := said(variant), said(base); len(x) > 0 && len(y) > 0 {
		a, b, strata = common(x, y)
	}
	return a, b, strata, true
}
