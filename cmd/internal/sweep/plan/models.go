package plan

import (
	"fmt"
	"slices"
	"strings"

	"march/variants"
)

// Model is one that a stage trains. Its variant has no stage's budget yet.
type Model struct {
	variants.Variant
	Baseline bool // its study's, with the changes that all models of the stage have
}

func (m Model) same(o Model) bool {
	return m.FullName() == o.FullName() && m.Config.Arch == o.Config.Arch
}

// comparedWith tells whether b is the baseline against which a model is compared: that of its study, in its architecture.
func (m Model) comparedWith(b Model) bool {
	return b.Baseline && b.Study == m.Study && b.Config.Arch == m.Config.Arch
}

// addModel appends a model unless it is there.
func addModel(list []Model, m Model) []Model {
	if slices.ContainsFunc(list, m.same) {
		return list
	}
	return append(list, m)
}

// changed applies what is set for all models, then the promoted values, then the match.
func (s *Study) changed(stage *Stage, v variants.Variant, axes []string) (Model, error) {
	return s.with(stage, v, slices.Concat(s.Plan.Set, s.Set, stage.Set, axes))
}

// with applies changes to a model of a stage, then the match.
func (s *Study) with(stage *Stage, v variants.Variant, changes []string) (Model, error) {
	v, err := v.With(changes)
	if err != nil {
		return Model{}, s.Plan.errorf(stage.key+".set", "%w", err)
	}
	base, err := variants.Find(variants.Baseline(v.Study), v.Scale, v.Config.Arch)
	if err == nil {
		base, err = base.With(slices.Concat(s.Plan.Set, s.Set, stage.Set))
	}
	isBase := err == nil && base.FullName() == v.FullName()
	if stage.Match != "" && !isBase {
		if v, err = v.Matched(stage.Match); err != nil {
			return Model{}, s.Plan.errorf(stage.key+".match", "%w", err)
		}
	}
	return Model{v, isBase}, nil
}

// fixed are the models of the stage's variants, with axes' values.
func (s *Study) fixed(stage *Stage, archs, axes []string) (list []Model, err error) {
	for i, pattern := range stage.Variants {
		key := fmt.Sprintf("%s.variants[%d]", stage.key, i)
		found, err := variants.Select(pattern, s.Scale, archs)
		if err != nil {
			return nil, s.Plan.errorf(key, "%w", err)
		}
		for _, v := range found {
			m, err := s.changed(stage, v, axes)
			if err != nil {
				return nil, err
			}
			list = addModel(list, m)
		}
	}
	return list, nil
}

// models are those of a stage with what was promoted to it.
func (s *Study) models(stage *Stage, archs []string, promoted []Model) (list []Model, err error) {
	if stage.Promote == nil || len(stage.Promote.Axes) == 0 {
		if len(stage.Variants) > 0 {
			if list, err = s.fixed(stage, archs, nil); err != nil {
				return nil, err
			}
		}
		for _, m := range promoted {
			if len(stage.Set) > 0 || stage.Match != "" {
				// It has what is set for all, and what its own stages set over that.
				if m, err = s.with(stage, m.Variant, stage.Set); err != nil {
					return nil, err
				}
			}
			list = addModel(list, m)
		}
		return list, nil
	}
	for _, m := range promoted {
		var axes []string
		for _, axis := range stage.Promote.Axes {
			value, err := m.Config.Get(axis)
			if err != nil {
				return nil, err
			}
			axes = append(axes, axis+"="+value)
		}
		with, err := s.fixed(stage, []string{m.Config.Arch}, axes)
		if err != nil {
			return nil, about(err, "with %s of %s", strings.Join(axes, " "), m.FullName())
		}
		for _, x := range with {
			list = addModel(list, x)
		}
	}
	return list, nil
}

// candidates are the models that a promotion may take, of those that the stages have.
func (s *Study) candidates(stage *Stage, of map[string][]Model) (list []Model) {
	for _, name := range stage.Promote.From {
		for _, m := range of[name] {
			if !m.Baseline && (len(stage.Arch) == 0 || slices.Contains(stage.Arch, m.Config.Arch)) {
				list = addModel(list, m)
			}
		}
	}
	return list
}

// archsOf lists the architectures of models.
func archsOf(list []Model) (archs []string) {
	for _, m := range list {
		if !slices.Contains(archs, m.Config.Arch) {
			archs = append(archs, m.Config.Arch)
		}
	}
	return archs
}

// groups are the architectures that a promotion ranks apart; one empty name is all at once.
func (x *Promotion) groups(list []Model) []string {
	if x.Per == "all" {
		return []string{""}
	}
	return archsOf(list)
}

// within leaves the models of an architecture; all of them for the empty name.
func within(list []Model, arch string) []Model {
	return slices.DeleteFunc(slices.Clone(list), func(m Model) bool { return arch != "" && m.Config.Arch != arch })
}

// reach finds what every stage may come to train, and promotions that cannot be: with more places than models, or against
// a baseline that is not there.
func (s *Study) reach() (map[string][]Model, map[string]int, error) {
	of, atMost := map[string][]Model{}, map[string]int{}
	idle := map[string]bool{} // stages that do not run: optional ones, and those that promote from such only
	for i := range s.Plan.Stages {
		stage := &s.Plan.Stages[i]
		if stage.Optional && !s.Optional {
			idle[stage.Name] = true
			continue
		}
		if _, ok := stage.Budget.at(s.Scale); !ok {
			return nil, nil, s.Plan.errorf(stage.key+".budget", "stage %s has no budget of %s at scale %s", stage.Name, stage.Budget.Kind, s.Scale)
		}
		var from []Model
		count := 0 // promoted models at most
		if x := stage.Promote; x != nil {
			if from = s.candidates(stage, of); len(from) == 0 {
				if !slices.ContainsFunc(x.From, func(name string) bool { return !idle[name] }) {
					idle[stage.Name] = true
					continue
				}
				return nil, nil, s.Plan.errorf(stage.key+".promote", "stage %s has nothing to promote: %s train baselines only, or another architecture", stage.Name, strings.Join(x.From, ", "))
			}
			for _, group := range x.groups(from) {
				n := len(within(from, group))
				if n < x.After+x.Top {
					return nil, nil, s.Plan.errorf(stage.key+".promote", "stage %s promotes %s, but %s only %d (the baseline is never promoted)", stage.Name, x.places(group), strings.Join(x.From, ", ")+map[bool]string{true: " have", false: " has"}[len(x.From) > 1], n)
				}
				if x.Top > 0 {
					n = x.Top
				}
				if len(x.Axes) > 0 {
					one, err := s.models(stage, stage.Arch, within(from, group)[:1])
					if err != nil {
						return nil, nil, about(err, "stage %s", stage.Name)
					}
					n *= len(one)
				}
				count += n
			}
			if c := x.If; c != nil && c.Baseline {
				for _, m := range from {
					if !slices.ContainsFunc(s.of(x.From, of), m.comparedWith) {
						return nil, nil, s.Plan.errorf(stage.key+".promote.if", "%s: %s train no baseline of study %s (%s), which %s is compared with", c, strings.Join(x.From, ", "), m.Study, m.Config.Arch, m.FullName())
					}
				}
			}
		}
		list, err := s.models(stage, stage.Arch, from)
		if err != nil {
			return nil, nil, about(err, "stage %s", stage.Name)
		}
		of[stage.Name] = list
		switch x := stage.Promote; {
		case x == nil:
			count = len(list)
		case len(x.Axes) > 0:
			count = min(len(list), count)
		default:
			count = min(len(list), count+len(list)-len(from))
		}
		atMost[stage.Name] = count * s.seeds(stage)
	}
	return of, atMost, nil
}

// of are the models of several stages.
func (s *Study) of(names []string, of map[string][]Model) (list []Model) {
	for _, name := range names {
		list = append(list, of[name]...)
	}
	return list
}

// places says what a promotion takes of a group.
func (x *Promotion) places(arch string) string {
	text := fmt.Sprintf("the best %d", x.Top)
	if x.Top == 0 {
		text = "all"
	}
	if x.After > 0 {
		text += fmt.Sprintf(" after the first %d", x.After)
	}
	if arch != "" {
		text += " of " + arch
	}
	return text
}
