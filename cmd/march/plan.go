package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"march/cmd/internal/sweep"
	"march/cmd/internal/sweep/plan"
	"march/results/record"
	"march/variants"
)

// planFlags are the flags of a study in stages.
type planFlags struct {
	name     string
	by       string
	optional bool
	print    bool
}

func addPlanFlags(f *pflag.FlagSet) *planFlags {
	x := &planFlags{}
	f.StringVar(&x.name, "plan", "", "run a study in stages: a YAML `FILE`, or one that march brings along: "+strings.Join(plan.Names(), ", "))
	f.StringVar(&x.by, "by", "", "`MEASURE` that promotes where a stage names none, in place of the one at the plan's head, such as valid_loss or grammar_accuracy")
	f.BoolVar(&x.optional, "optional", false, "run the plan's optional stages, too")
	f.BoolVar(&x.print, "print", false, "print the plan's YAML and run nothing")
	return x
}

// alone refuses flags that mean nothing without a plan.
func (x *planFlags) alone(f *pflag.FlagSet) error {
	for _, name := range []string{"by", "optional"} {
		if f.Changed(name) {
			return usagef("--%s needs --plan", name)
		}
	}
	return nil
}

// read reads the plan of --plan; its name is the file's where it has none.
func (x *planFlags) read() (*plan.Plan, error) {
	text, ok := plan.Embedded(x.name)
	if !ok {
		var err error
		if text, err = readYAML("plan", x.name); err != nil {
			return nil, fmt.Errorf("%w (plans that march brings along: %s)", err, strings.Join(plan.Names(), ", "))
		}
	}
	p, err := plan.Read(text)
	if err != nil {
		return nil, fmt.Errorf("--plan %s: %w", x.name, err)
	}
	p.Name = cmp.Or(p.Name, strings.TrimSuffix(filepath.Base(x.name), filepath.Ext(x.name)))
	return p, nil
}

// show prints the plan as it is written.
func (x *planFlags) show(e *env) error {
	if x.name == "" {
		return usagef("--print needs --plan")
	}
	p, err := x.read()
	if err != nil {
		return err
	}
	_, err = e.stdout.Write(p.Text)
	return err
}

// choosePlan makes a study of the flags.
func (b *bench) choosePlan(f *pflag.FlagSet, model *selection, lab *labFlags, plans *planFlags) error {
	for _, name := range []string{"variant", "config", "study", "arch", "match", "steps"} {
		if f.Changed(name) {
			return usagef("--%s beside --plan: the plan says that", name)
		}
	}
	p, err := plans.read()
	if err != nil {
		return err
	}
	if !f.Changed("scale") {
		model.scale = cmp.Or(p.Scale, model.scale)
	}
	if err := checkScale(model.scale); err != nil {
		return err
	}
	if !f.Changed("out") {
		b.out = filepath.Join("runs", p.Name)
	}
	s := &plan.Study{Plan: p, Scale: model.scale, Out: b.out, Set: model.set, By: plans.by, Batch: lab.batch, Optional: plans.optional}
	if f.Changed("seeds") {
		s.Seeds = b.seeds
	}
	s.Change = func(v variants.Variant) (variants.Variant, error) { return lab.budget(f, v) }
	suites, err := lab.suites()
	if err != nil {
		return err
	}
	var names []string
	for _, x := range suites {
		names = append(names, x.Name())
	}
	if err := s.Check(names); err != nil {
		return fmt.Errorf("--plan %s: %w", plans.name, err)
	}
	first, err := s.First()
	if err != nil {
		return fmt.Errorf("--plan %s: %w", plans.name, err)
	}
	b.study, b.vocab, b.seeds = s, first.Config.Vocab, s.MostSeeds()
	b.widest, err = s.Widest()
	return err
}

// runPlan runs the stages and says of each what it takes.
func (b *bench) runPlan(ctx context.Context, l *sweep.Lab, atOnce int, p *progress) ([]record.Run, error) {
	var hear func(int, sweep.Cell, *record.Run)
	return b.study.Run(ctx, l, atOnce, func(step *plan.Step) {
		if step.Why != "" {
			p.note("stage %s does not run: %s", step.Name, step.Why)
			return
		}
		for _, line := range ranked(step) {
			p.note("stage %s: %s", step.Name, line)
		}
		p.note("stage %s: %s", step.Name, counted(len(step.Cells), "cell"))
		hear = listen(l, p, step.Name+" ", step.Cells)
	}, func(_ *plan.Step, i int, c sweep.Cell, r *record.Run) { hear(i, c, r) })
}

// ranked are a step's promoted models with their figures, a line for each.
func ranked(step *plan.Step) (lines []string) {
	for _, x := range step.Ranking {
		switch {
		case x.Promoted:
			lines = append(lines, fmt.Sprintf("%s (%s) is promoted with %.4g", x.Variant, x.Arch, *x.Figure))
		case x.Figure == nil:
			lines = append(lines, fmt.Sprintf("%s (%s) has no figure", x.Variant, x.Arch))
		}
	}
	return lines
}
