package plan

import (
	"fmt"
	"slices"
	"strings"

	"march/results"
	"march/results/record"
)

// decide finds a step's models, as far as the stages that it stands on are finished.
func (s *Study) decide(step *Step, finished map[string]*Step) error {
	stage := step.Stage
	archs := stage.Arch
	if w := stage.When; w != nil {
		beats := finished[w.Beats]
		var best []*Step
		for _, name := range w.Best {
			best = append(best, finished[name])
		}
		if beats == nil || slices.Contains(best, nil) {
			return nil
		}
		held, why, err := s.beaten(w, best, beats)
		if err != nil {
			return err
		}
		if len(archs) > 0 {
			held = slices.DeleteFunc(held, func(a string) bool { return !slices.Contains(archs, a) })
		}
		if len(held) == 0 {
			step.Known, step.Why = true, why
			return nil
		}
		archs = held
	}
	var promoted []Model
	if x := stage.Promote; x != nil {
		var from []*Step
		for _, name := range x.From {
			if finished[name] == nil {
				return nil
			}
			from = append(from, finished[name])
		}
		var err error
		if step.Ranking, err = s.rank(stage, archs, from); err != nil {
			return err
		}
		for _, p := range step.Ranking {
			if p.Promoted {
				promoted = append(promoted, p.model)
			}
		}
		if len(promoted) == 0 {
			step.Known, step.Why = true, fmt.Sprintf("nothing of %s is promoted: %s", strings.Join(x.From, ", "), whyNone(x, step.Ranking))
			return nil
		}
	}
	models, err := s.models(stage, archs, promoted)
	step.Known, step.Models = true, models
	return err
}

func whyNone(x *Promotion, ranking []Place) string {
	if !slices.ContainsFunc(ranking, func(p Place) bool { return p.Figure != nil }) {
		return "none has a figure"
	}
	if x.If != nil {
		return "none meets " + x.If.String()
	}
	return "too few have a figure"
}

// runsOf are a model's records of all seeds in a finished step; nil where one failed.
func (step *Step) runsOf(m Model) (list []record.Run) {
	for i, c := range step.Cells {
		if (Model{Variant: c.Variant}).same(m) {
			if i >= len(step.runs) || step.runs[i].Status != record.Done {
				return nil
			}
			list = append(list, step.runs[i])
		}
	}
	return list
}

// rank orders a promotion's candidates, group by group, best first; those without a figure stand last.
func (s *Study) rank(stage *Stage, archs []string, from []*Step) (all []Place, err error) {
	x := stage.Promote
	m, err := s.measure(x.By)
	if !x.ranks() { // ranked by what is asked for
		m, err = results.Ranking(x.If.Measure)
	}
	if err != nil {
		return nil, err
	}
	of := map[string][]Model{}
	for _, step := range from {
		of[step.Name] = step.Models
	}
	list := slices.DeleteFunc(s.candidates(stage, of), func(c Model) bool { return len(archs) > 0 && !slices.Contains(archs, c.Config.Arch) })
	for _, group := range x.groups(list) {
		var places []Place
		for _, c := range within(list, group) {
			p := Place{Variant: c.FullName(), Arch: c.Config.Arch, model: c}
			for _, step := range from {
				if figure, ok := m.Mean(step.runsOf(c)); ok && p.Figure == nil {
					p.Figure = &figure
				}
			}
			places = append(places, p)
		}
		slices.SortStableFunc(places, func(a, b Place) int {
			switch {
			case a.Figure == nil || b.Figure == nil:
				return map[bool]int{true: 1}[a.Figure == nil] - map[bool]int{true: 1}[b.Figure == nil]
			case m.Better(*a.Figure, *b.Figure):
				return -1
			case m.Better(*b.Figure, *a.Figure):
				return 1
			}
			return 0
		})
		place := 0
		for i := range places {
			p := &places[i]
			if p.Figure == nil {
				continue
			}
			meets, err := s.meets(x.If, p.model, from)
			if err != nil {
				return nil, err
			}
			if meets {
				place++
				p.Promoted = place > x.After && (x.Top == 0 || place <= x.After+x.Top)
			}
		}
		all = append(all, places...)
	}
	return all, nil
}

// meets tells whether a model meets a promotion's condition, in the stage that trained it.
func (s *Study) meets(c *Comparison, model Model, from []*Step) (bool, error) {
	if c == nil {
		return true, nil
	}
	m, err := results.Ranking(c.Measure)
	if err != nil {
		return false, err
	}
	figure, than, known := 0.0, c.Number, false
	based := !c.Baseline
	for _, step := range from {
		if f, ok := m.Mean(step.runsOf(model)); ok && !known {
			figure, known = f, true
		}
		for _, b := range step.Models {
			if model.comparedWith(b) && !based {
				than, based = m.Mean(step.runsOf(b))
			}
		}
	}
	return known && based && c.holds(figure, than), nil
}

// beaten lists the architectures in which the best model of some steps beats that of another, and says why not the others.
func (s *Study) beaten(w *Condition, best []*Step, beats *Step) (held []string, why string, err error) {
	m, err := s.measure(w.By)
	if err != nil {
		return nil, "", err
	}
	top := func(steps []*Step, arch string) (name string, figure float64) {
		for _, step := range steps {
			for _, x := range within(step.Models, arch) {
				if f, ok := m.Mean(step.runsOf(x)); ok && !x.Baseline && (name == "" || m.Better(f, figure)) {
					name, figure = x.FullName(), f
				}
			}
		}
		return name, figure
	}
	var models []Model
	for _, step := range best {
		models = append(models, step.Models...)
	}
	from := strings.Join(w.Best, ", ")
	var whys []string
	for _, arch := range archsOf(models) {
		a, x := top(best, arch)
		b, y := top([]*Step{beats}, arch)
		switch {
		case a == "" || b == "":
			whys = append(whys, fmt.Sprintf("%s: %s or %s has no %s", arch, from, w.Beats, m.Key))
		case m.Better(x, y):
			held = append(held, arch)
		default:
			whys = append(whys, fmt.Sprintf("%s: the best of %s (%s: %.4g) does not beat that of %s (%s: %.4g) by %s", arch, from, a, x, w.Beats, b, y, m.Key))
		}
	}
	if len(whys) == 0 {
		whys = []string{from + " did not run"}
	}
	return held, strings.Join(whys, "; "), nil
}
