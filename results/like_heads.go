package results

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"march/results/record"
	"march/results/stats"
	"march/results/studies"
)

// LikeHeads sets every experiment against the baseline of its budget, as study heads does in words: its
// costs, its loss and how far that is from the baseline's at equal data, at equal FLOPs and at equal
// seconds, both measures of stability, and the verdict on the loss at equal data: that of [Judge] on all its
// measures, so that the same records have the same verdict in both tables. Readings at equal FLOPs
// and seconds are taken from the curves beside the records, where the dearer of the two runs had spent what
// the cheaper one spent in all. A table for each budget that has a baseline; it is an error if none has.
// With beside, the study's own runs follow, and how far the two agree; flops gives a variant's training
// FLOPs a token at the study's size, 0 where it is not known.
func LikeHeads(runs []record.Run, beside bool, flops func(variant string) int64) ([]*Table, error) {
	verdicts, err := Judge(runs, VerdictOptions{})
	if err != nil {
		return nil, err
	}
	seen := map[string]int64{} // each takes a graph at the study's size
	return likeHeads(runs, verdicts, beside, func(variant string) int64 {
		n, ok := seen[variant]
		if !ok {
			n = flops(variant)
			seen[variant] = n
		}
		return n
	})
}

// likeHeads is LikeHeads with verdicts that were made already, on other measures too.
func likeHeads(runs []record.Run, verdicts *Verdicts, beside bool, flops func(variant string) int64) ([]*Table, error) {
	entries, budgets, notes := gather(runs)
	var tables []*Table
	var agree []compared
	for group := range budgets {
		rows := doneOf(entries, group)
		base, err := baselineOf(rows, "")
		if err != nil {
			return nil, err
		}
		if base < 0 {
			continue
		}
		h := &headsTable{base: rows[base], family: verdicts.family(), curves: map[*record.Run]*runCurves{}}
		budget := ""
		if len(budgets) > 1 {
			budget = letter(group)
		}
		for _, v := range verdicts.List {
			if v.Measure.Key == "valid_loss" && v.Budget == budget {
				h.verdicts = append(h.verdicts, v)
			}
		}
		h.rows = append([]*entry{h.base}, slices.Delete(rows, base, base+1)...)
		t := h.table()
		if budget != "" {
			t.Title = "Budget " + budget
		}
		t.Notes = slices.Concat(t.Notes, lostNote(entriesOf(entries, group)), budgetNotes(entries, budgets)[group:group+1], machineNotes(h.rows), seedNotes(h.rows), h.warnings.sentences())
		tables = append(tables, t)
		if beside {
			agree = append(agree, h.agreement(t.Title, flops)...)
		}
	}
	last := tables[len(tables)-1]
	last.Notes = append(last.Notes, notes...)
	if beside {
		tables = append(tables, studyHeads(flops), agreement(agree))
	}
	return tables, nil
}

type headsTable struct {
	base     *entry
	rows     []*entry  // the baseline first
	verdicts []Verdict // on the budget's validation losses
	family   string    // that their correction is over; empty: there were no tests
	curves   map[*record.Run]*runCurves
	warnings warnings
	flops    []float64 // of each row: the difference at equal FLOPs; NaN where there is none
	seconds  []float64
	data     []float64
}

type runCurves struct{ valid, train curve }

// columnsLikeHeads are those of both tables, march's and the study's.
func columnsLikeHeads() []Column {
	return []Column{
		{Key: "variant", Title: "experiment"},
		{Key: "n", Title: "n", About: "seeds", kind: integer, weight: 20},
		{Key: "parameters", Title: "params", kind: count, weight: 80},
		{Key: "parameters_difference", Title: "Δ\nparams", About: "distance from the baseline's, in per cent", kind: printed, weight: 30},
		{Key: "flops_training", Title: "FLOPs/\ntoken", About: "forward and backward pass", kind: count, weight: 40},
		{Key: "seconds", Title: "train\nsec", kind: seconds, weight: 50},
		{Key: "valid_loss", Title: "valid.\nloss", About: "after all steps", kind: loss, weight: 95},
		{Key: "at_equal_data", Title: "Δ equal\ndata", About: "valid. loss less the baseline's, after the same tokens", kind: printed, weight: 94},
		{Key: "at_equal_flops", Title: "Δ equal\nFLOPs", About: "loss less the baseline's, where the dearer of the two had spent what the cheaper one spent in all", kind: printed, weight: 93},
		{Key: "at_equal_seconds", Title: "Δ equal\nseconds", About: "the same of seconds in training steps", kind: printed, weight: 92},
		{Key: "train_stability", Title: "sd in\na run", About: "stability: standard deviation of the detrended training loss over the second half of the steps", kind: spread, weight: 70},
		{Key: "seed_stability", Title: "sd over\nseeds", About: "stability: standard deviation of valid. loss over seeds", kind: spread, weight: 60},
		{Key: "verdict", Title: "verdict"},
	}
}

func (h *headsTable) table() *Table {
	t := &Table{Columns: columnsLikeHeads()}
	how, validated := h.reading()
	h.flops, h.seconds, h.data = make([]float64, len(h.rows)), make([]float64, len(h.rows)), make([]float64, len(h.rows))
	for i, e := range h.rows {
		cells := func(key string) Cell {
			cell, _, left := average(e, measureOf(key).get)
			if left != "" {
				h.warnings.add(measureOf(key).name(), left)
			}
			return cell
		}
		valid, parameters := cells("valid_loss"), cells("parameters")
		overSeeds := Cell{}
		if valid.N > 1 {
			overSeeds = Cell{Mean: valid.SD, N: 1}
		}
		h.flops[i], h.seconds[i], h.data[i] = math.NaN(), math.NaN(), math.NaN()
		row := Row{{Text: e.label}, {Mean: float64(len(e.runs)), N: 1}, parameters, {}, cells("flops_training"), cells("seconds"), {Mean: valid.Mean, N: min(valid.N, 1)},
			{}, {}, {}, cells("train_stability"), overSeeds, {Text: "baseline"}}
		if e != h.base {
			base, _, _ := average(h.base, measureOf("parameters").get)
			row[3] = percentFrom(parameters, base)
			h.flops[i] = h.mean(e, validated, byFLOPs)
			h.seconds[i] = h.mean(e, validated, bySeconds)
			row[8], row[9] = lossDifference(h.flops[i]), lossDifference(h.seconds[i])
			row[12] = Cell{Text: string(NoVerdict)}
			for _, v := range h.verdicts {
				if v.Variant == e.name {
					h.data[i] = v.Test.Difference
					row[7] = lossDifference(v.Test.Difference)
					if v.Test.SE > 0 {
						row[7].Text += " ± " + loss.difference(v.Test.Half(confidence), v.Of, 0, false)
					}
					row[12] = Cell{Text: string(v.Outcome), Best: v.Outcome == IsBetter || v.Outcome == IsWorse}
				}
			}
		}
		t.Rows = append(t.Rows, row)
	}
	t.Notes = append(t.Notes, h.explain(how)...)
	if slices.ContainsFunc(t.Rows, func(r Row) bool { return r[12].Best }) {
		t.Best = "a difference that the evidence shows"
	}
	t.dropAbsent()
	return t
}

// explain says how the table was read and judged.
func (h *headsTable) explain(how string) (notes []string) {
	if how != "" {
		notes = append(notes, fmt.Sprintf("At equal FLOPs and seconds: %s, of the mean over the seeds that both have; the dearer run is read before its end, where its learning rate had not come down as far, so that the reading favours the cheaper one.", how))
	}
	if h.family != "" {
		notes = append(notes, fmt.Sprintf("Verdicts: on valid. loss at equal data, with ± half the 95 %% interval; those of march table --verdicts: paired by seed, pooled variance, Holm's correction over the %s.", h.family))
	}
	var adjusted []string
	for _, v := range h.verdicts {
		if v.Adjusted {
			adjusted = append(adjusted, v.Variant)
		}
	}
	if len(adjusted) > 0 {
		notes = append(notes, fmt.Sprintf("Δ equal data of %s: not of the baseline's seeds; what each seed does to all experiments is taken out, so that it is not one mean less the other.", strings.Join(adjusted, ", ")))
	}
	if slices.ContainsFunc(h.verdicts, func(v Verdict) bool { return v.Why == oneSeed }) {
		notes = append(notes, "No verdict without several seeds: march bench --seeds 3.")
	}
	return notes
}

// leastValidations is how many a curve needs, so that a line between two of them is near the truth.
const leastValidations = 5

// reading decides whether curves of validation or of training losses are compared, the same for all rows,
// and says it in words; "" where there are none.
func (h *headsTable) reading() (how string, validated bool) {
	validated, any := true, false
	for _, e := range h.rows {
		for _, r := range e.runs {
			valid, train, err := curves(r)
			if err != nil {
				h.warnings.add("Δ equal FLOPs, Δ equal seconds", fmt.Sprintf("not to be had where the steps' metrics are not there: %v.", err))
				continue
			}
			any = any || len(train) > 0
			validated = validated && len(valid) >= leastValidations && valid.end(bySteps) == train.end(bySteps)
			h.curves[r] = &runCurves{valid, train}
		}
	}
	switch {
	case !any:
		return "", false
	case validated:
		return "the validation losses of the run, on a line between two of them", true
	}
	return "the training losses, each the mean over a twentieth of the run, since not every run was validated often enough on its way (--validate-every)", false
}

// mean is the difference from the baseline at an equal cost, over the seeds that both have.
func (h *headsTable) mean(e *entry, validated bool, by along) float64 {
	var list []float64
	for _, r := range e.runs {
		for _, b := range h.base.runs {
			if r.Cell.Seed != b.Cell.Seed || h.curves[r] == nil || h.curves[b] == nil {
				continue
			}
			if by == bySeconds && hardware(r) != hardware(b) {
				h.warnings.add("Δ equal seconds", fmt.Sprintf("%s left out: not timed on what %s was.", e.name, h.base.name))
				continue
			}
			x, y := h.curves[r].train, h.curves[b].train
			if validated {
				x, y = h.curves[r].valid, h.curves[b].valid
			}
			if d, ok := equal(x, y, by); ok {
				list = append(list, d)
			}
		}
	}
	if len(list) == 0 {
		return math.NaN()
	}
	mean, _ := stats.MeanSD(list)
	return mean
}

func lossDifference(x float64) Cell {
	if math.IsNaN(x) {
		return Cell{}
	}
	return say(x, loss.difference(x, 1, 0, true))
}

// percentFrom is the distance of one mean from another's, in per cent.
func percentFrom(x, base Cell) Cell {
	if x.N == 0 || base.N == 0 || base.Mean == 0 {
		return Cell{}
	}
	p := 100 * (x.Mean/base.Mean - 1)
	return say(p, perplexity.difference(p, 1, 0, true)+" %")
}

// studyCurve is a recorded run as a curve of validation losses; FLOPs are 0 where they are not known.
func studyCurve(r studies.HeadsRun, flopsPerToken int64) (c curve) {
	last := float64(r.Steps[len(r.Steps)-1])
	for i, s := range r.Steps {
		c = append(c, point{float64(s), float64(s) * studies.HeadsTokensPerStep * float64(flopsPerToken), r.Seconds * float64(s) / last, r.Valid[i]})
	}
	return c
}

// studyDifference is a recorded run's difference from what it is to be compared with.
func studyDifference(r studies.HeadsRun, flops func(string) int64, by along) float64 {
	all := studies.Heads()
	base := all[slices.IndexFunc(all, func(x studies.HeadsRun) bool { return x.Variant == r.Against })]
	a, b := studyCurve(r, flops(inHeads(r.Variant))), studyCurve(base, flops(inHeads(base.Variant)))
	if a.end(by) == 0 || b.end(by) == 0 {
		return math.NaN()
	}
	d, ok := equal(a, b, by)
	if !ok {
		return math.NaN()
	}
	return d
}

// inHeads is a recorded run's variant: the baseline ran twice.
func inHeads(name string) string { return strings.TrimSuffix(name, " (fp32)") }

// studyHeads is the study's own runs in the same columns.
func studyHeads(flops func(string) int64) *Table {
	t := &Table{Title: "The study's own runs", Columns: columnsLikeHeads()}
	all := studies.Heads()
	base := Cell{Mean: float64(all[0].Parameters), N: 1}
	var apart []string
	for i, r := range all {
		parameters := Cell{Mean: float64(r.Parameters), N: 1}
		row := Row{{Text: r.Variant}, {Mean: 1, N: 1}, parameters, {}, {}, {Mean: r.Seconds, N: 1}, {Mean: r.Loss, N: 1}, {}, {}, {},
			{Mean: r.LossSD, N: 1}, {}, {Text: "baseline"}}
		if f := flops(inHeads(r.Variant)); f > 0 {
			row[4] = Cell{Mean: float64(f), N: 1}
		}
		if i > 0 {
			row[3] = percentFrom(parameters, base)
			row[7], row[8], row[9] = lossDifference(studyDifference(r, flops, bySteps)), lossDifference(studyDifference(r, flops, byFLOPs)), lossDifference(studyDifference(r, flops, bySeconds))
			row[12] = Cell{Text: string(NoVerdict)}
		}
		if r.Caveat != "" {
			t.Failures = append(t.Failures, fmt.Sprintf("[1] %s: %s; it counts for nothing.", r.Variant, r.Caveat))
			row[12].Footnote = "[1]"
		}
		if r.Against != "baseline" {
			apart = append(apart, r.Variant)
		}
		t.Rows = append(t.Rows, row)
	}
	t.dropAbsent()
	t.Notes = []string{
		"Study: " + studies.HeadsSource + "; so there is no verdict. Its baseline's second run, in fp32, is the only word on its noise.",
		fmt.Sprintf("%s had the positions of ape_unit_variance beside their own change: they are compared with that run, all others with the baseline.", strings.Join(apart, ", ")),
		"FLOPs are march's count of its own form of each experiment; steps are taken to be equally long.",
	}
	return t
}

// agreement sets march's differences beside the study's, at equal data, FLOPs and seconds.
func (h *headsTable) agreement(title string, flops func(string) int64) (list []compared) {
	for _, x := range []struct {
		measure string
		ours    []float64
		by      along
	}{{"Δ equal data", h.data, bySteps}, {"Δ equal FLOPs", h.flops, byFLOPs}, {"Δ equal seconds", h.seconds, bySeconds}} {
		c := compared{measure: x.measure, ours: join(", ", h.base.cell.Scale, strings.ToLower(title)), study: "1,000 steps"}
		for i, e := range h.rows {
			name := strings.TrimPrefix(e.label, "heads/")
			for _, r := range studies.Heads()[1:] {
				if r.Variant == name && r.Caveat == "" && e.cell.Study == "heads" {
					c.add(name, x.ours[i], studyDifference(r, flops, x.by))
				}
			}
		}
		list = append(list, c)
	}
	return list
}
