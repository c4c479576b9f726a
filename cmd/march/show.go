package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"march/variants"
)

var showCommand = command{
	name: "show", operands: "[VARIANT]", group: groupModels,
	short: "show one variant: its config, cost and difference from the baseline",
	long: "Prints a variant's whole config as YAML that --config reads, behind comments that say what it is, where it is from, " +
		"what it costs and in which axes it differs from its study's baseline.",
	examples: []example{
		{"march show very_wide_cycle", "a variant of study sharing"},
		{"march show baseline --scale tiny --set act=silu --set glu=true", "with changes"},
		{"march show baseline+heads=12+qkv_dim=32 > mine.yaml", "a start for a config of your own"},
	},
	setup: func(f *pflag.FlagSet) action {
		s := &selection{}
		f.StringArrayVar(&s.configs, "config", nil, "show the model of a YAML `FILE`")
		s.changeFlags(f, "paper")
		asJSON := jsonFlag(f)
		return func(ctx context.Context, e *env, args []string) error {
			s.patterns = args
			if s.empty() {
				return usagef("VARIANT or --config FILE is missing (march list shows the variants)")
			}
			v, err := s.one()
			if err != nil {
				return err
			}
			c := costs(ctx, 1, func(int) (variants.Variant, error) { return v, nil })[0]
			if c.err != nil {
				return c.err
			}
			if *asJSON {
				return printJSON(e.stdout, struct {
					entry
					Difference []change        `json:"difference"`
					Diagram    string          `json:"diagram"`
					Config     variants.Config `json:"config"`
				}{c.entry(v.Scale), c.changes(), v.Config.Diagram(), v.Config})
			}
			return c.show(e)
		}
	},
}

// show prints a model as YAML.
func (c costed) show(e *env) error {
	width := e.width()
	if width <= 0 || width > helpWidth {
		width = helpWidth
	}
	comment := func(indent, format string, args ...any) {
		for i, line := range wrap(fmt.Sprintf(format, args...), width-2-len(indent)) {
			if i > 0 {
				line = indent + line
			}
			fmt.Fprintln(e.stdout, "# "+line)
		}
	}
	v, b := c.variant, c.budget
	comment("", "%s, %s, scale %s", v.FullName(), v.Config.Arch, v.Scale)
	comment("", "%s", v.Doc)
	comment("  ", "source: %s", v.Source)
	beside := ""
	if c.baseline.name != "" && c.baseline.name != v.FullName() {
		beside = "; " + moreOrFewer(b.Total, c.baseline.budget.Total) + " " + c.baseline.name
	}
	comment("  ", "parameters: %s (embedding %s, norm %s, other %s)%s", grouped(b.Total), grouped(b.Embedding), grouped(b.Norm), grouped(b.Other), beside)
	if b.Effective > 0 {
		comment("  ", "effective: %s, those that pruning leaves in the end", grouped(b.Effective))
	}
	if t, ok, _ := v.Teacher(); ok {
		comment("  ", "learns from: %s, whose forward pass counts among the training FLOPs", t.FullName())
	}
	comment("  ", "FLOPs per token: %s forward, %s training (forward and backward)", short(float64(b.ForwardFLOPs)), short(float64(b.TrainingFLOPs)))
	switch changes := c.changes(); {
	case c.baseline.name == "":
	case c.baseline.name == v.FullName():
		comment("", "%s is its study's baseline", v.FullName())
	case len(changes) == 0:
		comment("", "does not differ from %s", c.baseline.name)
	default:
		comment("", "differs from %s in:", c.baseline.name)
		for _, x := range changes {
			fmt.Fprintf(e.stdout, "#   %s: %s → %s\n", x.Axis, x.Baseline, x.Value)
		}
	}
	fmt.Fprintln(e.stdout, "#")
	for line := range strings.Lines(v.Config.Diagram()) {
		fmt.Fprint(e.stdout, "# "+line)
	}
	fmt.Fprintf(e.stdout, "\nvariant: %s/%s\n%s", v.Study, v.Base, v.Config.YAML())
	return nil
}

// moreOrFewer compares a count with a baseline's, in words that end before its name.
func moreOrFewer(n, base int64) string {
	switch {
	case n > base:
		return strings.TrimPrefix(percent(n, base), "+") + " more than"
	case n < base:
		return strings.TrimPrefix(percent(n, base), "−") + " fewer than"
	}
	return "as many as"
}

// changes lists the axes in which a model differs from its baseline.
func (c costed) changes() []change {
	list := []change{}
	if c.baseline.name == "" {
		return list
	}
	theirs := c.baseline.config.Difference(c.variant.Config) // the same axes in the same order
	for i, s := range c.variant.Config.Difference(c.baseline.config) {
		axis, value, _ := strings.Cut(s, "=")
		_, base, _ := strings.Cut(theirs[i], "=")
		list = append(list, change{axis, value, base})
	}
	return list
}
