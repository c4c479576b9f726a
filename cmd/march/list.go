package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"march/variants"
)

var listCommand = command{
	name: "list", operands: "[PATTERN…]", group: groupModels,
	short: "list the variants, with what each costs",
	long: "Lists the catalogue: each variant in each of its architectures, its parameters, how far they are from " +
		"its study's baseline, FLOPs per token, and what is different about it. PATTERN is a name or a glob.",
	examples: []example{
		{"march list --scale tiny", "all variants at the size that trains in a minute"},
		{"march list 'wide_*' 'very_wide_*'", "the wide ones"},
		{"march list --study sharing --json", "for a script"},
		{"march list --axes", "what --set can change"},
	},
	setup: func(f *pflag.FlagSet) action {
		study := f.String("study", "", "only `STUDY`: "+strings.Join(variants.Studies(), ", "))
		scale := f.String("scale", "paper", "`SIZE` of the models: "+strings.Join(variants.Scales(), ", "))
		axes := f.Bool("axes", false, "list the axes of a model in place of the variants")
		asJSON := jsonFlag(f)
		return func(ctx context.Context, e *env, patterns []string) error {
			if *axes {
				if len(patterns) > 0 || *study != "" {
					return usagef("--axes goes with no pattern and no --study: every model has the same axes")
				}
				return listAxes(e, *asJSON)
			}
			if *study != "" && !slices.Contains(variants.Studies(), *study) {
				return usagef("--study %s is not one of %s%s", *study, strings.Join(variants.Studies(), ", "), didYouMean(*study, variants.Studies(), ""))
			}
			if err := checkScale(*scale); err != nil {
				return err
			}
			names, err := listed(*study, patterns)
			if err != nil {
				return err
			}
			return list(ctx, e, names, *scale, *asJSON)
		}
	},
}

// listed are the full names that match one of the patterns, in the catalogue's order.
func listed(study string, patterns []string) ([]string, error) {
	all := variants.Names(study)
	if len(patterns) == 0 {
		return all, nil
	}
	wanted := map[string]bool{}
	for _, p := range patterns {
		names, err := variants.Match(p)
		if err != nil {
			return nil, usageError{err}
		}
		for _, name := range names {
			v, err := variants.Find(name, "tiny", "")
			if err != nil {
				return nil, usageError{err}
			}
			if len(v.Changes) > 0 {
				return nil, usagef("%s: the catalogue lists no changes; march show %[1]s shows them", name)
			}
			wanted[v.FullName()] = true
		}
	}
	names := slices.DeleteFunc(all, func(name string) bool { return !wanted[name] })
	if len(names) == 0 {
		return nil, usagef("study %s has no variant that matches %s", study, strings.Join(patterns, ", "))
	}
	return names, nil
}

func list(ctx context.Context, e *env, names []string, scale string, asJSON bool) error {
	type model struct{ name, arch string }
	var models []model
	for _, name := range names {
		for _, arch := range variants.Archs(name) {
			models = append(models, model{name, arch})
		}
	}
	found := costs(ctx, len(models), func(i int) (variants.Variant, error) {
		return variants.Find(models[i].name, scale, models[i].arch)
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for i := range found { // also of those that cannot exist at this scale
		found[i].name, found[i].arch = models[i].name, models[i].arch
	}
	if asJSON {
		entries := make([]entry, len(found))
		for i, c := range found {
			entries[i] = c.entry(scale)
		}
		return printJSON(e.stdout, entries)
	}
	for _, study := range variants.Studies() {
		if err := listStudy(e, study, found); err != nil {
			return err
		}
	}
	e.note("Scale %s. Distance: of the number of unique parameters from the baseline's. FLOPs: of matrix products, per token; "+
		"training is forward and backward; a shared layer counts at each use. march show VARIANT tells more.", scale)
	return nil
}

// listStudy prints the table of a study's variants, if there are any among those found.
func listStudy(e *env, study string, found []costed) error {
	var rows [][]string
	for _, c := range found {
		if !strings.HasPrefix(c.name, study+"/") {
			continue
		}
		row := []string{shortName(c.name), c.arch, "–", "–", "–", "–", ""}
		if c.err != nil {
			row[6] = "not at this scale: " + c.err.Error()
		} else {
			copy(row[2:], []string{grouped(c.budget.Total), c.distance(), short(float64(c.budget.ForwardFLOPs)), short(float64(c.budget.TrainingFLOPs)), c.variant.Doc})
			if n := c.budget.Effective; n > 0 {
				row[6] = grouped(n) + " effective; " + row[6]
			}
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintf(e.stdout, "Study %s\n", study)
	defer fmt.Fprintln(e.stdout)
	return printTable(e.stdout, e.width(), []column{
		{title: "variant"}, {title: "arch"}, {title: "parameters", right: true}, {title: "distance", right: true},
		{title: "forward\nFLOPs", right: true}, {title: "training\nFLOPs", right: true}, {title: "what it is", fit: clip},
	}, rows)
}

// shortName drops the study from a full name where the bare name means the same.
func shortName(full string) string {
	_, bare, _ := strings.Cut(full, "/")
	if v, err := variants.Find(bare, "tiny", ""); err == nil && v.FullName() == full {
		return bare
	}
	return full
}

// entry is a model in JSON.
type entry struct {
	Name        string           `json:"name"`
	Study       string           `json:"study"`
	Arch        string           `json:"arch"`
	Scale       string           `json:"scale"`
	Description string           `json:"description"`
	Source      string           `json:"source"`
	Budget      *variants.Budget `json:"budget"`
	Baseline    string           `json:"baseline"`
	Distance    *float64         `json:"distance_percent"` // of the parameters from the baseline's; null where there is none
	Error       string           `json:"error,omitempty"`  // why the model cannot exist
}

func (c costed) entry(scale string) entry {
	study, _, _ := strings.Cut(c.name, "/")
	x := entry{Name: c.name, Study: study, Arch: c.arch, Scale: scale, Description: c.variant.Doc, Source: c.variant.Source, Baseline: variants.Baseline(study)}
	if c.err != nil {
		x.Error = c.err.Error()
		return x
	}
	x.Budget = &c.budget
	if base := c.baseline.budget.Total; base > 0 {
		d := 100 * float64(c.budget.Total-base) / float64(base)
		x.Distance = &d
	}
	return x
}
