package results

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"march/results/record"
)

// Levels lists what Breakdown can break a suite down to, from coarse to fine.
var Levels = []string{record.FieldLevel, record.PhenomenonLevel, record.ParadigmLevel}

// Breakdown shows where a suite's accuracy comes from: a row for each field, phenomenon or paradigm
// in the suite's own order and one for all items, a column for each variant (its seeds averaged). The
// best figures of a row are marked as in New, among columns of one budget and the same items, with one correction
// for all rows: of many rows some differ by chance. level is one of Levels; any other is an error.
func Breakdown(runs []record.Run, suite, level string) (*Table, error) {
	return breakDown(runs, suite, level, predictionFiles{})
}

func breakDown(runs []record.Run, suite, level string, files predictionFiles) (*Table, error) {
	if !slices.Contains(Levels, level) {
		return nil, fmt.Errorf("breakdown by %q: want one of %s", level, strings.Join(Levels, ", "))
	}
	all, _, notes := gather(runs)
	var entries []*entry
	var missing []string
	for _, e := range all {
		switch {
		case e.status != record.Done:
			missing = append(missing, unfinished([]*entry{e})...)
		case !slices.ContainsFunc(e.runs, func(r *record.Run) bool { return hasLevel(r, suite, level) }):
			missing = append(missing, e.name+" (not run)")
		default:
			entries = append(entries, e)
		}
	}
	if len(entries) == 0 {
		return &Table{Empty: fmt.Sprintf("No run has figures of suite %s by %s.", clean(suite), level)}, nil
	}
	b := &breakdown{suite: suite, level: level, entries: entries, budgets: renumber(entries), files: files}
	b.build()
	t := &b.Table
	t.Notes = t.bestSays(entries, len(b.budgets) > 1, "row")
	if len(missing) > 0 {
		t.Notes = append(t.Notes, "Not shown: "+strings.Join(missing, "; ")+".")
	}
	t.Notes = slices.Concat(t.Notes, budgetNotes(entries, b.budgets), machineNotes(entries), seedNotes(entries), notes, b.warnings.sentences(), b.explanations())
	return t, nil
}

func hasLevel(r *record.Run, suite, level string) bool {
	return slices.ContainsFunc(r.Suites[suite].Groups, func(g record.Group) bool { return g.Level == level })
}

// renumber lists the budgets that are left and numbers the entries' groups anew.
func renumber(entries []*entry) (budgets []budget) {
	for _, e := range entries {
		if !slices.Contains(budgets, e.budget) {
			budgets = append(budgets, e.budget)
		}
		e.group = slices.Index(budgets, e.budget)
	}
	return budgets
}

type breakdown struct {
	Table
	suite, level string
	entries      []*entry
	budgets      []budget
	files        predictionFiles
	contests     []contest // a row's, within a budget
	warnings     warnings
	scattered    bool // a phenomenon's paradigms are of several fields
}

// overall names the last row.
const overall = "all"

func (b *breakdown) build() {
	b.Columns = []Column{
		{Key: b.level, Title: b.level},
		{Key: "field", Title: "field", weight: 1, detail: b.level == record.FieldLevel},
		{Key: "items", Title: "items", kind: integer, weight: 3},
		{Key: "ties", Title: "ties", kind: integer, weight: 2},
	}
	first := len(b.Columns)
	for _, e := range b.entries {
		name := e.label
		c := Column{Key: name, Title: strings.ReplaceAll(name, " ", "\n"), kind: share, Better: Higher, weight: 10}
		if len(b.budgets) > 1 {
			c.Key += " " + letter(e.group)
			c.Title += "\n[" + letter(e.group) + "]"
		}
		b.Columns = append(b.Columns, c)
	}
	groups := b.groups()
	for _, g := range groups {
		field := clean(g.Field)
		if field == "" && slices.ContainsFunc(groups, func(g record.Group) bool { return g.Field != "" }) {
			field, b.scattered = "several", true
		}
		row := Row{{Text: clean(titleOf(g))}, {Text: field}, {}, {}}
		b.Rows = append(b.Rows, b.fill(row, first, func(p record.Group) bool { return within(p, b.level) == g.Name }, func(s record.Suite) (items, correct, ties int64) {
			for _, x := range s.Groups {
				if x.Level == b.level && x.Name == g.Name {
					return x.Items, x.Correct, x.Ties
				}
			}
			return 0, 0, 0
		}))
	}
	b.Rows = append(b.Rows, b.fill(Row{{Text: overall}, {Text: overall}, {}, {}}, first, func(record.Group) bool { return true }, func(s record.Suite) (items, correct, ties int64) {
		for _, x := range s.Groups {
			if x.Level == b.level {
				items, correct, ties = items+x.Items, correct+x.Correct, ties+x.Ties
			}
		}
		return items, correct, ties
	}))
	markBest(&b.warnings, func(list []candidate) string { return differs("columns", list) }, b.contests...)
	b.Columns[first-1].detail = !slices.ContainsFunc(b.Rows, func(r Row) bool { return r[first-1].Mean > 0 })
	b.dropAbsent()
}

// groups is the union of the runs' groups at the level, in the order of their first appearance.
func (b *breakdown) groups() (out []record.Group) {
	seen := map[string]bool{}
	for _, e := range b.entries {
		for _, r := range e.runs {
			for _, g := range r.Suites[b.suite].Groups {
				if g.Level == b.level && !seen[g.Name] {
					seen[g.Name] = true
					out = append(out, g)
				}
			}
		}
	}
	return out
}

func titleOf(g record.Group) string {
	if g.Title != "" {
		return g.Title
	}
	return g.Name
}

// within is the group of a level that a paradigm belongs to.
func within(paradigm record.Group, level string) string {
	switch level {
	case record.FieldLevel:
		return paradigm.Field
	case record.PhenomenonLevel:
		return paradigm.Phenomenon
	}
	return paradigm.Name
}

// fill makes the figures of one row, behind its first columns, the last two of which are items and ties;
// has says which paradigms are in it.
func (b *breakdown) fill(row Row, first int, has func(paradigm record.Group) bool, get func(record.Suite) (items, correct, ties int64)) Row {
	name := row[0].Text
	candidates := make([]candidate, len(b.entries))
	var mostItems, mostTies int64
	for i, e := range b.entries {
		cell, of, left := average(e, func(r *record.Run) figure {
			s := r.Suites[b.suite]
			items, correct, ties := get(s)
			if items == 0 {
				return figure{}
			}
			mostItems, mostTies = max(mostItems, items), max(mostTies, ties)
			return figure{value: float64(correct) / float64(items), basis: suiteBasis(s, items), ok: true}
		})
		if left != "" {
			b.warnings.add(name, left)
		}
		candidates[i] = of
		row = append(row, cell)
	}
	row[first-2] = Cell{Mean: float64(mostItems), N: 1}
	row[first-1] = Cell{Mean: float64(mostTies), N: 1}
	for group := range b.budgets {
		x := contest{of: name, better: Higher, items: b.items(has, get)}
		for i, e := range b.entries {
			if cell := &row[first+i]; e.group == group && cell.N > 0 {
				candidates[i].cell = cell
				x.figures = append(x.figures, candidates[i])
			}
		}
		b.contests = append(b.contests, x)
	}
	return row
}

// items reads what a run said of each item of a row.
func (b *breakdown) items(has func(paradigm record.Group) bool, get func(record.Suite) (items, correct, ties int64)) func(*record.Run) (*scored, error) {
	return func(r *record.Run) (*scored, error) {
		all, err := b.files.read(r, b.suite, "accuracy")
		if err != nil {
			return nil, err
		}
		s := r.Suites[b.suite]
		in := map[string]bool{}
		for _, g := range s.Groups {
			in[g.Name] = in[g.Name] || g.Level == record.ParadigmLevel && has(g)
		}
		part := all.of(func(paradigm string) bool { return in[paradigm] })
		if items, correct, _ := get(s); int64(len(part.values)) != items || !part.makes(float64(correct)/float64(items)) {
			return nil, fmt.Errorf("the predictions' paradigms do not make the record's figures by %s", b.level)
		}
		return part, nil
	}
}

// explanations says what the figures are.
func (b *breakdown) explanations() []string {
	notes := []string{fmt.Sprintf("Figures: accuracy of suite %s, the share of minimal pairs in which the good sentence is more probable; a tie is wrong. "+
		"\"%s\" pools all items. items: pairs of the row; ties: the most that a run has there.", clean(b.suite), overall)}
	if b.scattered || b.level == record.FieldLevel {
		notes = append(notes, "A paradigm's field is what the suite's files say; those of one phenomenon can be of several.")
	}
	bases := map[string]bool{}
	for _, e := range b.entries {
		for _, r := range e.runs {
			if s := r.Suites[b.suite]; len(s.Settings) > 0 || s.Limit > 0 {
				bases[suiteSettings(s)] = true
			}
		}
	}
	for _, basis := range slices.Sorted(maps.Keys(bases)) {
		notes = append(notes, fmt.Sprintf("Suite %s: %s.", clean(b.suite), basis))
	}
	return append(notes, suiteNotes(b.entries, b.suite)...)
}
