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
	Test              stats.Test // SE 0: not tested
	P                 float64    // after Holm's correction over all tests of the table; NaN where not tested
	Shown             float64    // the smallest difference that this table could have shown: stats.Test.Shown
	Items             int        // that the test and the interval are over as well; 0: no predictions were found
	Low, High         float64    // of the difference, over items alone: 95 %
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
	lost  []string // runs that are in no figure, with the reasons
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
// pooled variance, and over items too where the runs' predictions lie beside their records; Holm's
// correction is over the whole table (package stats has the model). Variants with one seed get their
// differences and no verdict. It is an error if no budget has the baseline, or a measure is unknown.
func Judge(runs []record.Run, o VerdictOptions) (*Verdicts, error) {
	keys := o.Measures
	if len(keys) == 0 {
		keys = DefaultVerdicts
	}
	entries, budgets, notes := gather(runs)
	v := &Verdicts{}
	j := &judge{Verdicts: v, files: map[string]*scored{}}
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
	v.notes = slices.Concat(v.notes, lostNote(entries), measureNotes(v.List, entries), budgetNotes(entries, budgets), machineNotes(entries), seedNotes(entries), notes, j.warnings.sentences(), runNotes(entries))
	return v, nil
}

type judge struct {
	*Verdicts
	files    map[string]*scored // predictions by record and measure; nil: none to be had
	warnings warnings
}

// measure tests the rows of one budget against one of them.
func (j *judge) measure(m measure, rows []*entry, base int, budget string) {
	figures, used := j.figures(m, rows, base)
	if len(figures[base]) == 0 {
		return // not a measure of these runs
	}
	of := rows[base]
	baseMean, baseSD := stats.MeanSD(present(figures[base]))
	model, err := stats.Fit(figures)
	if err == nil {
		j.noise(m, rows, base, figures, baseSD, model)
	}
	for i, e := range rows {
		list := present(figures[i])
		if i == base || len(list) == 0 {
			continue
		}
		mean, _ := stats.MeanSD(list)
		x := Verdict{Measure: m.Column, Variant: e.name, Baseline: of.name, Budget: budget, Seeds: len(list), Mean: mean, Of: baseMean,
			Test: stats.Test{Difference: mean - baseMean, P: math.NaN()}, P: math.NaN()}
		a, b, strata := j.items(m, used[i], used[base])
		if a != nil {
			x.Items = len(a[0])
			x.Low, x.High = stats.Bootstrap(a, b, strata, confidence, draws, 1)
		}
		var d, factor float64
		tied := false
		if err == nil {
			d, factor, tied = model.Difference(i, base)
		}
		switch {
		case len(list) == 1 || len(present(figures[base])) == 1:
			x.Outcome, x.Why = NoVerdict, oneSeed
		case err != nil || !tied:
			x.Outcome, x.Why = NoVerdict, "no seed is common to both"
		case model.Variance == 0:
			x.Outcome, x.Why = NoVerdict, "the seeds have no spread to test against"
		default:
			noise := []stats.Noise{{Variance: model.Variance * factor, DF: float64(model.DF)}}
			if a != nil {
				noise = append(noise, stats.ItemNoise(a, b, strata))
			}
			x.Test = stats.NewTest(d, noise...)
		}
		j.List = append(j.List, x)
	}
}

// figures are the rows' figures by seed that were measured on what the baseline's first was, and
// the runs that they are of.
func (j *judge) figures(m measure, rows []*entry, base int) (figures [][]float64, used []map[uint64]*record.Run) {
	var seeds []uint64
	basis, have := "", false
	for _, r := range rows[base].runs {
		if f := m.get(r); f.ok && !have {
			basis, have = f.basis, true
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
		return figures, used
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
	return figures, used
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

// noise says how far seeds scatter.
func (j *judge) noise(m measure, rows []*entry, base int, figures [][]float64, floor float64, model *stats.Model) {
	like, _ := stats.MeanSD(present(figures[base]))
	text := ""
	if !math.IsNaN(floor) {
		text = fmt.Sprintf("Noise floor of %s: %s, the standard deviation of %s over its seeds; ", m.name(), m.kind.difference(floor, like, floor, false), rows[base].name)
	} else {
		text = fmt.Sprintf("Noise of %s: ", m.name())
	}
	pooled := math.Sqrt(model.Variance)
	j.notes = append(j.notes, text+fmt.Sprintf("%s pooled over all variants of the budget, what a seed does to all of them taken out (%s of freedom).",
		m.kind.difference(pooled, like, pooled, false), plural(model.DF, "degree", "degrees")))
	if v, p := stats.LargestVariance(figures); p < stats.Alpha {
		j.warnings.add(m.name(), fmt.Sprintf("the seeds of %s scatter more than those of the others (Cochran's test, p %s), which pooling does not suppose: trust its verdict less.", rows[v].name, probability(p)))
	}
}

// items are what two variants' runs said of each item, by the seeds that both have. All are nil
// where the predictions are not there or not of the same items.
func (j *judge) items(m measure, of, base map[uint64]*record.Run) (a, b stats.Items, strata stats.Strata) {
	name, ok := shareOf[m.Key]
	if !ok {
		return nil, nil, nil
	}
	var seeds []uint64
	for seed := range of {
		if base[seed] != nil {
			seeds = append(seeds, seed)
		}
	}
	slices.Sort(seeds)
	var first *scored
	for _, seed := range seeds {
		x, y := j.read(m, of[seed], name), j.read(m, base[seed], name)
		if x == nil || y == nil {
			return nil, nil, nil
		}
		if first == nil {
			first = x
		}
		if x.items != first.items || y.items != first.items {
			j.warnings.add(m.name(), "tested over seeds alone where the predictions are not of the same items.")
			return nil, nil, nil
		}
		a, b = append(a, x.right), append(b, y.right)
	}
	if first == nil {
		return nil, nil, nil
	}
	return a, b, first.strata
}

// shareOf names the score behind each measure that is a share of items.
var shareOf = map[string]string{"grammar_accuracy": "accuracy", "cloze_accuracy": "cloze_accuracy", "blimp_accuracy": "accuracy", "lambada_accuracy": "accuracy"}

// read gives a run's predictions, read once; nil where there are none, which is said.
func (j *judge) read(m measure, r *record.Run, name string) *scored {
	key := r.Path + " " + m.Key
	s, seen := j.files[key]
	if !seen || r.Path == "" {
		var err error
		if s, err = predictions(r, m.suite, name); err != nil {
			j.warnings.add(m.name(), fmt.Sprintf("tested over seeds alone where predictions are not to be had: %v.", err))
		}
		j.files[key] = s
	}
	return s
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
	var reasons []string
	for _, x := range v.List {
		k := x.Measure.kind
		row := Row{{Text: x.Measure.name()}, {Text: x.plain(x.Variant)}, {Text: x.Budget}, {Mean: float64(x.Seeds), N: 1},
			say(x.Of, k.format(x.Of)), say(x.Mean, k.format(x.Mean))}
		tested, half := x.Test.SE > 0, x.Test.Half(confidence)
		print := func(y float64, signed bool) string { return k.difference(y, x.Of, half, signed) }
		difference := print(x.Test.Difference, true)
		if tested {
			row = append(row, say(x.Test.Difference, difference+" ± "+print(half, false)), Cell{Mean: half, N: 1})
		} else {
			row = append(row, say(x.Test.Difference, difference), Cell{})
		}
		if x.Items > 0 {
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
			at := slices.Index(reasons, x.Why)
			if at < 0 {
				at = len(reasons)
				reasons = append(reasons, x.Why)
			}
			verdict.Footnote = fmt.Sprintf("[%d]", at+1)
		}
		t.Rows = append(t.Rows, append(row, verdict, Cell{Text: x.Why}))
	}
	for i, why := range reasons {
		hint := ""
		if why == oneSeed {
			hint = "; march bench --seeds 3, or more, makes others"
		}
		t.Failures = append(t.Failures, fmt.Sprintf("[%d] no verdict: %s%s.", i+1, why, hint))
	}
	if v.Tests > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("Tests: paired by seed, variance pooled over the variants of a budget, two-sided, Holm's correction over the %s of this table: "+
			"with equal variants it shows any difference in at most %g %% of cases.", plural(v.Tests, "test", "tests"), 100*stats.Alpha))
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
