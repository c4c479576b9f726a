package results

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"march/results/record"
)

// Sentences below tables: what was trained, on what, with what, over which seeds.

// budgetNotes says what was trained, on what and for how long.
func budgetNotes(entries []*entry, budgets []budget) (notes []string) {
	precisions := map[string]bool{}
	for _, b := range budgets {
		precisions[b.precision] = true
	}
	for i, b := range budgets {
		name := "Budget"
		if len(budgets) > 1 {
			name += " " + letter(i)
		}
		about := b.String()
		if len(precisions) > 1 {
			about = join("; ", about, "in "+cmp.Or(clean(b.precision), "unknown precision"))
		}
		notes = append(notes, name+": "+about+".")
		schedules := map[string]bool{}
		for _, e := range entries {
			if e.group == i && e.status == record.Done {
				schedules[clean(e.runs[0].Budget.Schedule)] = true
			}
		}
		delete(schedules, "")
		switch list := slices.Sorted(maps.Keys(schedules)); {
		case len(list) == 1:
			notes[len(notes)-1] = strings.TrimSuffix(notes[len(notes)-1], ".") + "; rate " + list[0] + "."
		case len(list) > 1:
			who := "The rows"
			if len(budgets) > 1 {
				who += " of budget " + letter(i)
			}
			notes = append(notes, fmt.Sprintf("%s had different learning rates: %s.", who, strings.Join(list, "; ")))
		}
	}
	if len(budgets) > 1 {
		notes = append(notes, fmt.Sprintf("Figures of different budgets (%s to %s) do not compare with each other.", letter(0), letter(len(budgets)-1)))
	}
	return notes
}

// machineNotes says where and with what the rows were run.
func machineNotes(entries []*entry) (notes []string) {
	var order []string
	by := map[string][]*entry{}
	for _, e := range entries {
		if e.status != record.Done {
			continue
		}
		for _, r := range e.runs {
			what := join("; ", hardware(r), join(", ", prefixed("target ", r.Cell.Target), r.Cell.Precision), prefixed("march ", clean(r.March)))
			if what == "" {
				continue
			}
			if by[what] == nil {
				order = append(order, what)
			}
			if !slices.Contains(by[what], e) {
				by[what] = append(by[what], e)
			}
		}
	}
	for _, what := range order {
		who := ""
		if len(order) > 1 {
			who = " (" + labels(by[what]) + ")"
		}
		notes = append(notes, fmt.Sprintf("Ran on%s: %s.", who, what))
	}
	return notes
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// seedNotes says over which seeds figures are averaged.
func seedNotes(entries []*entry) []string {
	var order []string
	by := map[string][]*entry{}
	several := false
	for _, e := range entries {
		if e.status != record.Done {
			continue
		}
		several = several || len(e.runs) > 1
		if by[e.seeds()] == nil {
			order = append(order, e.seeds())
		}
		by[e.seeds()] = append(by[e.seeds()], e)
	}
	var parts []string
	for _, seeds := range order {
		part := strings.ReplaceAll(seeds, " ", ", ")
		if len(order) > 1 {
			part += " (" + labels(by[seeds]) + ")"
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return nil
	}
	note := "Seed " + strings.Join(parts, "; ") + "."
	if several {
		note = "Seeds " + strings.Join(parts, "; ") + ". Scores of several seeds are mean ± standard deviation (divisor n − 1), costs their mean."
	}
	return []string{note}
}

// runNotes gathers what runs and suites say of themselves, each sentence once.
func runNotes(entries []*entry) (notes []string) {
	suites := map[string]bool{}
	for _, e := range entries {
		for _, r := range e.runs {
			for _, note := range r.Notes {
				notes = append(notes, e.name+": "+clean(note))
			}
			for suite := range r.Suites {
				suites[suite] = true
			}
		}
	}
	for _, suite := range slices.Sorted(maps.Keys(suites)) {
		notes = append(notes, suiteNotes(entries, suite)...)
	}
	return distinct(notes)
}

func suiteNotes(entries []*entry, suite string) (notes []string) {
	for _, e := range entries {
		for _, r := range e.runs {
			for _, note := range r.Suites[suite].Notes {
				notes = append(notes, clean(suite+": "+note))
			}
		}
	}
	return distinct(notes)
}

// distinct keeps the first of equal sentences, and ends each with a full stop.
func distinct(notes []string) (out []string) {
	for _, note := range notes {
		note = strings.TrimSuffix(note, ".") + "."
		if !slices.Contains(out, note) {
			out = append(out, note)
		}
	}
	return out
}
