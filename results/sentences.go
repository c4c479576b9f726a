package results

import "fmt"

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
