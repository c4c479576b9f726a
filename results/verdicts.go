package results

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"march/results/record"
	"march/results/stats"
)

// Outcome is what the evidence says of a variant against the baseline.
type Outcome string

const (
	IsBetter     Outcome = "better"
	IsWorse      Outcome = "worse"
	NoDifference Outcome = "no difference shown"
	NoVerdict    Outcome = "no verdict" // nothing to measure the noise with: Verdict.Why says why
)

// Verdict is one variant against the baseline by one measure.
type Verdict struct {
	Measure           Column
	Variant, Baseline string // rows, as the comparison names them
	Budget            string // its letter, where there are several
	Seeds             int    // figures of the variant that the test is over
	Mean, Of          float64
	Logs              bool       // a perplexity: Test, Shown, Low and High are of logarithms, in nats
	Adjusted          bool       // the two have not the same seeds: what a seed does to all is taken out of Test.Difference, which is not Mean less Of
	Test              stats.Test // SE 0: not tested
	P                 float64    // after Holm's correction over all tests of the table; NaN where not tested
	Shown             float64    // the smallest difference that this table could have shown: stats.Test.Shown
	Items             int        // that the test is over as well; 0: the measure is not of items, or no predictions were found
	Low, High         float64    // of the difference, over items alone: 95 %; NaN where the two have not the same seeds, or no items
	Outcome           Outcome
	Why               string
}

// oneSeed is why there is no verdict where more seeds would make one.
const oneSeed = "one seed says nothing of the noise between seeds"

// Verdicts are all of a table.
type Verdicts struct {
	List  []Verdict
	Tests int // that Holm's correction is over
	notes []string
	// budgets say what each budget's letter stands for, where there are several.
	budgets []string
	lost    []string // runs that are in no figure, with the reasons
}

// measureNotes says of each measure that is judged what it is and what it was measured on.
func measureNotes(list []Verdict, entries []*entry) (notes []string) {
	for _, m := range measures {
		if slices.ContainsFunc(list, func(v Verdict) bool { return v.Measure.Key == m.Key }) {
			notes = append(notes, m.name()+": "+join("; ", m.About, measuredOn(m, entries))+".")
		}
	}
	return notes
}

// VerdictOptions say what is compared. The zero value is ready to use.
type VerdictOptions struct {
	Against  string   // the row that the others are compared with, by its name; empty: the study's baseline
	Measures []string // keys of columns; empty: [DefaultVerdicts], those of them that the runs have
}

// DefaultVerdicts are the measures that are tested unless others are asked for. Perplexities say
// what losses say, and every further test makes all others stricter.
var DefaultVerdicts = []string{"valid_loss", "grammar_accuracy", "cloze_accuracy", "blimp_accuracy", "lambada_accuracy"}

// VerdictMeasures are all that can be tested.
func VerdictMeasures() (keys []string) {
	for _, m := range measures {
		if m.Better != Neither {
			keys = append(keys, m.Key)
		}
	}
	return keys
}

const (
	confidence = 0.95
	draws      = 1000 // of the bootstrap
)

// Judge compares every variant with the baseline of its budget, by paired tests over seeds with a
// pooled variance, without those that scatter far more than the others, which are tested by themselves; Holm's
// correction is over the whole table (package stats has the model). Scores of items are tested over items
// too, by the predictions beside the records, and not without them. Perplexities are compared in logarithms.
// Variants with one seed get their differences and no verdict. It is an error if no budget has the baseline,
// or a measure is unknown.
func Judge(runs []record.Run, o VerdictOptions) (*Verdicts, error) {
	return judgeRuns(runs, o, predictionFiles{})
}

func judgeRuns(runs []record.Run, o VerdictOptions, files predictionFiles) (*Verdicts, error) {
	keys := o.Measures
	if len(keys) == 0 {
		keys = DefaultVerdicts
	}
	entries, budgets, notes := gather(runs)
	v := &Verdicts{}
	j := &judge{Verdicts: v, files: files}
	with := make([]bool, len(budgets))
	for _, key := range keys {
		i := slices.IndexFunc(measures, func(m measure) bool { return m.Key == key && m.Better != Neither })
		if i < 0 {
			return nil, fmt.Errorf("measure %q cannot be tested: want one of %s", key, strings.Join(VerdictMeasures(), ", "))
		}
		for group := range budgets {
			rows := doneOf(entries, group)
			base, err := baselineOf(rows, o.Against)
			if err != nil {
				return nil, err
			}
			if base >= 0 {
				with[group] = true
				letterOf := ""
				if len(budgets) > 1 {
					letterOf = letter(group)
				}
				j.measure(measures[i], rows, base, letterOf)
			}
		}
	}
	if !slices.Contains(with, true) {
		return nil, fmt.Errorf("no finished run is called %s, which the others could be compared with", cmp.Or(o.Against, baselineName))
	}
	for group, ok := range with {
		if !ok {
			v.notes = append(v.notes, fmt.Sprintf("Budget %s has no finished run called %s: nothing is compared.", letter(group), cmp.Or(o.Against, baselineName)))
		}
	}
	v.correct()
	v.lost = unfinished(entries)
	said := budgetNotes(entries, budgets)
	if len(budgets) > 1 {
		v.budgets = said
	}
	v.notes = slices.Concat(v.notes, lostNote(entries), measureNotes(v.List, entries), said, machineNotes(entries), seedNotes(entries), notes, j.warnings.sentences(), runNotes(entries))
	return v, nil
}

type judge struct {
	*Verdicts
	files    predictionFiles
	warnings warnings
}

// measure tests the rows of one budget against one of them.
func (j *judge) measure(m measure, rows []*entry, base int, budget string) {
	figures, used, logs := j.figures(m, rows, base)
	if figures[base] == nil {
		return // not a measure of these runs
	}
	baseMean, baseSD := stats.MeanSD(present(figures[base]))
	pool, err := stats.NewPool(figures)
	if err == nil {
		j.noise(m, rows, base, figures, baseSD, pool, logs)
	}
	for i, e := range rows {
		list := present(figures[i])
		if i == base || len(list) == 0 {
			continue
		}
		mean, _ := stats.MeanSD(list)
		x := Verdict{Measure: m.Column, Variant: e.name, Baseline: rows[base].name, Budget: budget, Seeds: len(list), Logs: logs,
			Mean: shownMean(mean, logs), Of: shownMean(baseMean, logs), P: math.NaN(), Low: math.NaN(), High: math.NaN()}
		d, _, common := stats.Paired(figures[i], figures[base])
		x.Adjusted = common < len(list) || common < len(used[base])
		var noise stats.Noise
		tied := false
		if err == nil {
			if y, n, ok := pool.Difference(i, base); ok {
				d, noise, tied = y, n, true
			}
		}
		if common == 0 && !tied {
			d, x.Adjusted = mean-baseMean, false
		}
		parts := []stats.Noise{noise}
		a, b, strata, of := j.items(m, used[i], used[base])
		if a != nil {
			x.Items = len(a[0])
			parts = append(parts, stats.ItemNoise(a, b, strata))
			if !x.Adjusted && common > 0 {
				x.Low, x.High = stats.Bootstrap(a, b, strata, confidence, draws, 1)
			}
		}
		switch {
		case len(list) == 1 || len(used[base]) == 1:
			x.Why = oneSeed
		case !tied && common == 0:
			x.Why = "no seed is common to both"
		case !tied:
			x.Why = "too few seeds are common to both"
		case of && a == nil:
			x.Why = "it is a score of items, whose choice is noise as well, and their predictions are not to be had"
		case noise.Variance == 0:
			x.Why = "the seeds have no spread to test against"
		}
		if x.Why != "" {
			x.Outcome, parts = NoVerdict, nil
		}
		x.Test = stats.NewTest(d, parts...)
		j.List = append(j.List, x)
	}
}

// figures are the rows' figures by seed that were measured on what the baseline's first was, the runs that
// they are of, and whether they are logarithms.
func (j *judge) figures(m measure, rows []*entry, base int) (figures [][]float64, used []map[uint64]*record.Run, logs bool) {
	var seeds []uint64
	basis, have := "", false
	for _, r := range rows[base].runs {
		if f := m.get(r); f.ok && !have {
			basis, have, logs = f.basis, true, f.logs
		}
	}
	for _, e := range rows {
		for _, r := range e.runs {
			if !slices.Contains(seeds, r.Cell.Seed) {
				seeds = append(seeds, r.Cell.Seed)
			}
		}
	}
	slices.Sort(seeds)
	figures, used = make([][]float64, len(rows)), make([]map[uint64]*record.Run, len(rows))
	if !have {
		return figures, used, logs
	}
	for i, e := range rows {
		figures[i], used[i] = make([]float64, len(seeds)), map[uint64]*record.Run{}
		for s := range seeds {
			figures[i][s] = math.NaN()
		}
		for _, r := range e.runs {
			switch f := m.get(r); {
			case !f.ok:
			case f.basis != basis:
				j.warnings.add(m.name(), fmt.Sprintf("%s, seed %d, left out: measured on something else (%s) than %s (%s).", e.name, r.Cell.Seed, f.basis, rows[base].name, basis))
			case math.IsInf(f.value, 0) || math.IsNaN(f.value):
				j.warnings.add(m.name(), fmt.Sprintf("%s, seed %d, left out: not finite.", e.name, r.Cell.Seed))
			default:
				figures[i][slices.Index(seeds, r.Cell.Seed)] = f.value
				used[i][r.Cell.Seed] = r
			}
		}
	}
	return figures, used, logs
}

// present are the figures that are there.
func present(figures []float64) (list []float64) {
	for _, y := range figures {
		if !math.IsNaN(y) {
			list = append(list, y)
		}
	}
	return list
}

// correct makes verdicts of all tests together.
func (v *Verdicts) correct() {
	p := make([]float64, len(v.List))
	for i, x := range v.List {
		if p[i] = x.Test.P; x.Test.SE > 0 {
			v.Tests++
		}
	}
	p = stats.Holm(p)
	for i := range v.List {
		x := &v.List[i]
		if x.P = p[i]; x.Test.SE == 0 {
			continue
		}
		x.Shown = x.Test.Shown(v.Tests)
		switch {
		case x.P > stats.Alpha:
			x.Outcome = NoDifference
		case x.Test.Difference*float64(x.Measure.Better) > 0:
			x.Outcome = IsBetter
		default:
			x.Outcome = IsWorse
		}
	}
}

// family names the tests that Holm's correction is over; empty where there are none.
func (v *Verdicts) family() string {
	var names []string
	for _, x := range v.List {
		if name := x.Measure.name(); x.Test.SE > 0 && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("%s of %s", plural(v.Tests, "test", "tests"), strings.Join(names, ", "))
}

// Table prints the verdicts, a row each.
func (v *Verdicts) Table() *Table {
	if len(v.List) == 0 {
		return &Table{Empty: "Nothing to compare: no variant but the baseline has a figure."}
	}
	several := slices.ContainsFunc(v.List, func(x Verdict) bool { return x.Budget != "" })
	t := &Table{Columns: []Column{
		{Key: "measure", Title: "measure"},
		{Key: "variant", Title: "variant"},
		{Key: "budget", Title: "budget", detail: !several},
		{Key: "n", Title: "n", About: "seeds", kind: integer, weight: 50},
		{Key: "baseline", Title: v.baseline(), About: "the mean of what the variant is compared with", kind: printed, weight: 40},
		{Key: "mean", Title: "mean", kind: printed, weight: 60},
		{Key: "difference", Title: "difference", kind: printed, weight: 90,
			About: "the variant less the baseline, ± half the 95 % interval over seeds, and over items where the next column has an interval; of this comparison alone"},
		{Key: "half_interval", About: "half the 95 % interval", kind: spread, detail: true},
		{Key: "items_low", Title: "items 95 %", kind: printed, weight: 30,
			About: "the difference's interval over items alone, seeds averaged: paired bootstrap within paradigms, " + grouped(draws) + " draws"},
		{Key: "items_high", About: "upper end of items_low", kind: spread, detail: true},
		{Key: "p_alone", About: "p of this comparison alone", kind: spread, detail: true},
		{Key: "p", Title: "p", kind: printed, weight: 70, About: "two-sided, after Holm's correction"},
		{Key: "shown", Title: "could\nshow", kind: printed, weight: 80,
			About: "the smallest true difference that this table would have found four times in five"},
		{Key: "verdict", Title: "verdict"},
		{Key: "why", Title: "why", detail: true},
	}}
	footnote := func(text string) string {
		at := slices.IndexFunc(t.Failures, func(s string) bool { return strings.HasSuffix(s, "] "+text) })
		if at < 0 {
			at = len(t.Failures)
			t.Failures = append(t.Failures, fmt.Sprintf("[%d] %s", at+1, text))
		}
		return fmt.Sprintf("[%d]", at+1)
	}
	for _, x := range v.List {
		k := x.Measure.kind
		row := Row{{Text: x.Measure.name()}, {Text: x.plain(x.Variant)}, {Text: x.Budget}, {Mean: float64(x.Seeds), N: 1},
			say(x.Of, k.format(x.Of)), say(x.Mean, k.format(x.Mean))}
		tested, half := x.Test.SE > 0, x.Test.Half(confidence)
		print := func(y float64, signed bool) string { return x.print(y, half, signed) }
		difference := print(x.Test.Difference, true)
		if tested {
			row = append(row, say(x.Test.Difference, difference+" ± "+print(half, false)), Cell{Mean: half, N: 1})
		} else {
			row = append(row, say(x.Test.Difference, difference), Cell{})
		}
		if x.Adjusted {
			row[len(row)-2].Footnote = footnote("difference: the two do not have the same seeds; what each seed does to all variants is taken out, so that it is not one mean less the other, and there is no interval over items.")
		}
		if !math.IsNaN(x.Low) {
			row = append(row, say(x.Low, print(x.Low, true)+" to "+print(x.High, true)), Cell{Mean: x.High, N: 1})
		} else {
			row = append(row, Cell{}, Cell{})
		}
		verdict := Cell{Text: string(x.Outcome)}
		if tested {
			row = append(row, Cell{Mean: x.Test.P, N: 1}, say(x.P, probability(x.P)), say(x.Shown, print(x.Shown, false)))
			verdict.Best = x.Outcome == IsBetter || x.Outcome == IsWorse
		} else {
			row = append(row, Cell{}, Cell{}, Cell{})
			hint := ""
			if x.Why == oneSeed {
				hint = "; march bench --seeds 3, or more, makes others"
			}
			verdict.Footnote = footnote("no verdict: " + x.Why + hint + ".")
		}
		t.Rows = append(t.Rows, append(row, verdict, Cell{Text: x.Why}))
	}
	if v.Tests > 0 {
		items := ""
		if slices.ContainsFunc(v.List, func(x Verdict) bool { return x.Test.SE > 0 && x.Items > 0 }) {
			items = "scores of items over other items too (critical values of Cochran and Cox), "
		}
		t.Notes = append(t.Notes, fmt.Sprintf("Tests: paired by seed, variance pooled over the variants of a budget, %stwo-sided, Holm's correction over the %s: "+
			"with equal variants this table shows any difference in at most %g %% of cases.", items, v.family(), 100*stats.Alpha))
	}
	if slices.ContainsFunc(v.List, func(x Verdict) bool { return x.Logs }) {
		t.Notes = append(t.Notes, "Perplexities are compared in logarithms: their differences, intervals and what could be shown are in nats, +0.1 is 1.105 times the baseline's.")
	}
	if slices.ContainsFunc(t.Rows, func(r Row) bool { return r[len(r)-2].Best }) {
		t.Best = "a difference that the evidence shows"
	}
	t.dropAbsent()
	t.Notes = append(t.Notes, v.notes...)
	return t
}

// baseline is what all rows are compared with, without a budget.
func (v *Verdicts) baseline() string {
	name := v.List[0].plain(v.List[0].Baseline)
	for _, x := range v.List {
		if x.plain(x.Baseline) != name {
			return "baseline"
		}
	}
	return strings.ReplaceAll(name, " ", "\n")
}

// plain is a row's name without its budget, which has a column.
func (x Verdict) plain(name string) string { return strings.TrimSuffix(name, " ["+x.Budget+"]") }

// print prints a difference of the verdict's measure.
func (x Verdict) print(y, fine float64, signed bool) string {
	if x.Logs {
		return loss.difference(y, 1, fine, signed)
	}
	return x.Measure.kind.difference(y, x.Of, fine, signed)
}

// say is a figure with its own print.
func say(x float64, text string) Cell { return Cell{Mean: x, N: 1, Text: text} }

// difference prints a difference of two figures, with the decimals that a figure like one of them
// would get, and as many more as fine needs for two digits.
func (k kind) difference(x, like, fine float64, signed bool) string {
	var s string
	switch {
	case k == rate || k == count || math.Abs(x) >= 1e6:
		s = metric(math.Abs(x))
	case k == share:
		s = strconv.FormatFloat(100*math.Abs(x), 'f', max(k.digits(like), twoDigits(100*fine)), 64) + " %"
	default:
		s = thousands(strconv.FormatFloat(math.Abs(x), 'f', max(k.digits(like), twoDigits(fine)), 64))
	}
	switch {
	case !signed || strings.Trim(s, "0.% ") == "":
		return s
	case x < 0:
		return "−" + s
	}
	return "+" + s
}

// twoDigits is how many decimals show two digits of x, and at most 6.
func twoDigits(x float64) int {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return min(max(1-int(math.Floor(math.Log10(math.Abs(x)))), 0), 6)
}

// probability prints a p-value.
func probability(p float64) string {
	if p < 0.001 {
		return "<0.001"
	}
	if p < 0.1 {
		return fmt.Sprintf("%.3f", p)
	}
	return fmt.Sprintf("%.2f", p)
}
