package results

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"march/results/plots"
	"march/results/record"
)

// Picture is a drawing of runs.
type Picture struct {
	Name    string // of a file, without its ending
	Title   string
	Caption string // what is drawn, and how it was made
	*plots.Picture
}

// Pictures draws what there is to draw, for each budget with two variants: training and validation losses
// and scores over tokens, the main scores against parameters, FLOPs and seconds with the Pareto front, and a map of a
// suite's paradigms. Seeds are averaged. problems say what could not be read.
func Pictures(runs []record.Run) (pictures []Picture, problems []string, err error) {
	all, budgets, _ := gather(runs)
	d := &drawer{several: len(budgets) > 1}
	for group := range budgets {
		d.group, d.entries = group, doneOf(all, group)
		if len(d.entries) < 2 {
			continue
		}
		if err := d.budget(); err != nil {
			return nil, nil, err
		}
	}
	return d.pictures, d.warnings.sentences(), nil
}

type drawer struct {
	pictures []Picture
	entries  []*entry
	group    int
	several  bool
	warnings warnings
}

func (d *drawer) add(name, title, caption string, p *plots.Picture) {
	if d.several {
		name += "_" + strings.ToLower(letter(d.group))
		title += ", budget " + letter(d.group)
	}
	d.pictures = append(d.pictures, Picture{name, title, caption, p})
}

func (d *drawer) budget() error {
	var train, valid []plots.Series
	for _, e := range d.entries {
		var trains, valids []curve
		for _, r := range e.runs {
			v, t, err := curves(r)
			if err != nil {
				d.warnings.add("curves", fmt.Sprintf("%v.", err))
				continue
			}
			trains, valids = append(trains, t), append(valids, v)
		}
		train = append(train, meanCurve(e, trains))
		valid = append(valid, meanCurve(e, valids))
	}
	tokens := plots.Axis{Label: "tokens trained on"}
	for _, c := range []struct {
		name, title, caption, axis string
		series                     []plots.Series
	}{
		{"train_loss", "Training loss", "Each point is the mean over a twentieth of the run's steps, and over seeds; the first tenth of the run is left out, where all losses fall.", "training loss, nats a token", d.rest(train)},
		{"valid_loss", "Validation loss", "As measured on the way (--validate-every), the mean over seeds; the first tenth of the run is left out.", "validation loss, nats a token", d.rest(valid)},
	} {
		if !slices.ContainsFunc(c.series, func(s plots.Series) bool { return len(s.X) > 1 }) {
			continue
		}
		p, err := plots.Lines(tokens, plots.Axis{Label: c.axis}, c.series)
		if err != nil {
			return err
		}
		d.add(c.name, c.title, c.caption, p)
	}
	if err := d.learning(tokens); err != nil {
		return err
	}
	for _, key := range []string{"valid_loss", "blimp_accuracy", "lambada_accuracy", "grammar_accuracy"} {
		if err := d.scatter(measureOf(key)); err != nil {
			return err
		}
	}
	for _, suite := range []string{"blimp", "grammar"} {
		d.heat(suite)
	}
	return nil
}

// learning draws scores over tokens, where runs were scored on their way.
func (d *drawer) learning(tokens plots.Axis) error {
	for _, m := range measures {
		if m.suite == "" {
			continue
		}
		var list []plots.Series
		several := false
		for _, e := range d.entries {
			var scores []curve
			for _, r := range e.runs {
				if c, err := scoreCurve(r, m); err == nil && len(c) > 0 { // what could not be read was told of losses
					scores = append(scores, c)
				}
			}
			s := meanCurve(e, scores)
			for i := range s.Y {
				if m.kind == share {
					s.Y[i] *= 100
				}
			}
			list, several = append(list, s), several || len(s.X) > 1
		}
		if !several {
			continue
		}
		unit := map[bool]string{true: ", per cent", false: ""}[m.kind == share]
		p, err := plots.Lines(tokens, plots.Axis{Label: m.name() + unit, Log: m.kind == perplexity}, list)
		if err != nil {
			return err
		}
		d.add(m.Key+"_tokens", m.name()+" over tokens", "As scored on the way (--eval-every) and at the end, the mean over seeds.", p)
	}
	return nil
}

// rest is a curve without the first tenth.
func (d *drawer) rest(list []plots.Series) (out []plots.Series) {
	for _, s := range list {
		from := 0
		for from < len(s.X) && s.X[from] < s.X[len(s.X)-1]/10 {
			from++
		}
		out = append(out, plots.Series{Name: s.Name, X: s.X[from:], Y: s.Y[from:]})
	}
	return out
}

// meanCurve averages curves of the same steps; steps that not all have are left out.
func meanCurve(e *entry, list []curve) plots.Series {
	s := plots.Series{Name: e.label}
	if len(list) == 0 {
		return s
	}
	perStep := float64(e.budget.tokensPerStep)
	for _, p := range list[0] {
		sum := 0.0
		for _, c := range list {
			loss, ok := c.at(bySteps, p.step)
			if !ok {
				loss = math.NaN()
			}
			sum += loss
		}
		if !math.IsNaN(sum) {
			s.X, s.Y = append(s.X, p.step*perStep), append(s.Y, sum/float64(len(list)))
		}
	}
	return s
}

// scatter draws a score against what it cost.
func (d *drawer) scatter(score measure) error {
	for _, cost := range []struct {
		name, label string
		log         bool
		get         func(*record.Run) figure
	}{
		{"parameters", "parameters", false, measureOf("parameters").get},
		{"flops", "FLOPs of all training", true, func(r *record.Run) figure {
			if r.Training == nil {
				return figure{}
			}
			return positive(float64(r.FLOPs.Training) * float64(r.Training.Tokens))
		}},
		{"seconds", "seconds in training steps", true, measureOf("seconds").get},
	} {
		var series []plots.Series
		basis, measured, same := map[string]bool{}, map[string]bool{}, 0
		for _, e := range d.entries {
			s := plots.Series{Name: e.label}
			x, of, _ := average(e, cost.get)
			y, scored, _ := average(e, score.get)
			if x.N > 0 && y.N > 0 {
				basis[of.basis], measured[scored.basis] = true, true
				same++
				s.X, s.Y = []float64{x.Mean}, []float64{y.Mean}
				if score.kind == share {
					s.Y[0] *= 100
				}
			}
			series = append(series, s)
		}
		if same < 2 {
			return nil
		}
		if len(measured) > 1 {
			d.warnings.add(score.name()+" against costs", "not drawn: not all rows were measured on the same items.")
			return nil
		}
		if len(basis) > 1 {
			d.warnings.add(score.name()+" against "+cost.name, "not drawn: not all rows were timed on the same machine.")
			continue
		}
		unit := map[bool]string{true: ", per cent", false: ""}[score.kind == share]
		p, err := plots.Points(plots.Axis{Label: cost.label, Log: cost.log}, plots.Axis{Label: score.name() + unit}, score.Better == Higher, series)
		if err != nil {
			return err
		}
		d.add(score.Key+"_"+cost.name, fmt.Sprintf("%s against %s", score.name(), cost.label),
			"Means over seeds. The line goes through the variants that no other beats in both; it makes no claim beyond these means.", p)
	}
	return nil
}

// heat draws the shares of a suite's paradigms, of all variants that have them.
func (d *drawer) heat(suite string) {
	b := &breakdown{suite: suite, level: record.ParadigmLevel}
	for _, e := range d.entries {
		if slices.ContainsFunc(e.runs, func(r *record.Run) bool { return hasLevel(r, suite, b.level) }) {
			b.entries = append(b.entries, e)
		}
	}
	groups := b.groups()
	if len(groups) == 0 {
		return
	}
	measured := map[string]bool{}
	for _, e := range b.entries {
		for _, r := range e.runs {
			measured[suiteBasis(r.Suites[suite], 0)] = true
		}
	}
	if len(measured) > 1 {
		d.warnings.add(suiteTitles[suite]+" by paradigm", "not drawn: not all rows were measured on the same items.")
		return
	}
	var rows, columns []string
	for _, g := range groups {
		rows = append(rows, titleOf(g))
	}
	for _, e := range b.entries {
		columns = append(columns, e.label)
	}
	p := plots.Map(rows, columns, func(row, column int) float64 {
		cell, _, _ := average(b.entries[column], func(r *record.Run) figure {
			for _, g := range r.Suites[suite].Groups {
				if g.Level == b.level && g.Name == groups[row].Name && g.Items > 0 {
					return known(g.Accuracy)
				}
			}
			return figure{}
		})
		if cell.N == 0 {
			return math.NaN()
		}
		return cell.Mean
	})
	d.add(suite+"_paradigms", fmt.Sprintf("%s by paradigm, per cent", suiteTitles[suite]),
		"Share of pairs whose good sentence is more probable, the mean over seeds; darker is lower, 50 is a guess.", p)
}
