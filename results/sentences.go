package results

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// pageSentence is a sentence of a report, with the outcome that it tells of.
type pageSentence struct{ Outcome, Text string }

// sentences tell of all verdicts: one for each difference that is shown, one for all of a measure and budget where
// none is shown, and one for each reason why there is no verdict.
func sentences(list []Verdict) (out []pageSentence) {
	type group struct{ measure, budget string }
	var groups []group
	alike := map[group][]Verdict{}
	var reasons []string
	without := map[string]int{}
	for _, x := range list {
		switch x.Outcome {
		case NoVerdict:
			if without[x.Why]++; without[x.Why] == 1 {
				reasons = append(reasons, x.Why)
			}
		case NoDifference:
			g := group{x.Measure.Key, x.Budget}
			if alike[g] == nil {
				groups = append(groups, g)
			}
			alike[g] = append(alike[g], x)
		default:
			out = append(out, pageSentence{string(x.Outcome), x.Sentence()})
		}
	}
	for _, g := range groups {
		out = append(out, pageSentence{string(NoDifference), alikeSentence(alike[g])})
	}
	for _, why := range reasons {
		out = append(out, pageSentence{string(NoVerdict), fmt.Sprintf("No verdict on %s with the baseline: %s.", plural(without[why], "comparison", "comparisons"), why)})
	}
	return out
}

// alikeSentence tells of variants none of which is shown to differ from their baseline.
func alikeSentence(list []Verdict) string {
	first := list[0]
	if len(list) == 1 {
		return first.Sentence()
	}
	budget := ""
	if first.Budget != "" {
		budget = " [" + first.Budget + "]"
	}
	var names []string
	for _, x := range list {
		names = append(names, strings.TrimSuffix(x.Variant, budget))
	}
	least := slices.MinFunc(list, func(a, b Verdict) int { return cmp.Compare(a.P, b.P) })
	widest := slices.MaxFunc(list, func(a, b Verdict) int { return cmp.Compare(a.Shown, b.Shown) })
	return fmt.Sprintf("%s: no difference is shown between %s and each of %s (p at least %s); one of %s would have been found four times in five.",
		first.Measure.name(), first.Baseline, strings.Join(names, ", "), probability(least.P), widest.print(widest.Shown, widest.Test.Half(confidence), false))
}

// Sentence says a verdict in words, with what it rests on.
func (x Verdict) Sentence() string {
	k := x.Measure.kind
	half := x.Test.Half(confidence)
	print := func(y float64, signed bool) string { return x.print(y, half, signed) }
	figures := fmt.Sprintf("%s against %s", k.format(x.Mean), k.format(x.Of))
	if x.Outcome == NoVerdict {
		return fmt.Sprintf("%s: no verdict on %s against %s (%s): %s.", x.Measure.name(), x.Variant, x.Baseline, figures, x.Why)
	}
	over := plural(x.Seeds, "seed", "seeds")
	if x.Items > 0 {
		over += " and " + plural(x.Items, "item", "items")
	}
	what := "a difference"
	if x.Logs {
		what = "a difference of logarithms"
	}
	if x.Adjusted {
		over += ", of which not both have all, so that what each seed does to all variants is taken out"
	}
	interval := fmt.Sprintf("%s, %s of %s ± %s over %s, p %s", figures, what, print(x.Test.Difference, true), print(half, false), over, probability(x.P))
	switch x.Outcome {
	case NoDifference:
		return fmt.Sprintf("%s: no difference is shown between %s and %s (%s); one of %s would have been found four times in five.", x.Measure.name(), x.Variant, x.Baseline, interval, print(x.Shown, false))
	default:
		return fmt.Sprintf("%s: %s is %s than %s (%s).", x.Measure.name(), x.Variant, x.Outcome, x.Baseline, interval)
	}
}
