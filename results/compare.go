package results

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"march/results/record"
	"march/results/stats"
)

// New builds the comparison of runs: a row for each variant (its seeds averaged), a column for each
// cost and each score that at least one run has. Rows stand in the order of runs; rows of different
// budgets or data are kept apart. Among rows of one budget the best figure of a column is marked with
// all that are not shown to be worse, if their seeds, and the items of a score of items, show any to be (stats.Best). Failed
// and skipped cells are rows with their reason.
func New(runs []record.Run) *Table { return compareRuns(runs, predictionFiles{}) }

func compareRuns(runs []record.Run, files predictionFiles) *Table {
	if len(runs) == 0 {
		return &Table{Empty: "No runs: nothing has been trained yet, or the folder holds no " + record.FileName + "."}
	}
	entries, budgets, notes := gather(runs)
	c := &comparison{entries: entries, budgets: budgets, files: files}
	c.textColumns()
	for _, m := range measures {
		c.measure(m)
	}
	c.endColumns()
	c.dropAbsent()
	c.Notes = slices.Concat(c.bestSays(entries, len(budgets) > 1, "column"), budgetNotes(entries, budgets), machineNotes(entries), seedNotes(entries), notes, c.warnings.sentences(), runNotes(entries))
	return &c.Table
}

// comparison is a table while New builds it.
type comparison struct {
	Table
	entries  []*entry
	budgets  []budget
	files    predictionFiles
	warnings warnings
}

// add appends a column, whose cells it makes.
func (c *comparison) add(column Column, cell func(*entry) Cell) {
	if c.Rows == nil {
		c.Rows = make([]Row, len(c.entries))
	}
	c.Columns = append(c.Columns, column)
	for i, e := range c.entries {
		c.Rows[i] = append(c.Rows[i], cell(e))
	}
}

// textColumns says which run a row is: in text only as far as rows differ.
func (c *comparison) textColumns() {
	say := func(column Column, get func(*entry) string) {
		c.add(column, func(e *entry) Cell { return Cell{Text: clean(get(e))} })
	}
	say(Column{Key: "variant", Title: "variant"}, func(e *entry) string { return e.label })
	say(Column{Key: "budget", Title: "budget", detail: len(c.budgets) < 2}, func(e *entry) string { return letter(e.group) })
	for _, f := range []struct {
		key string
		get func(record.Cell) string
	}{
		{"study", func(c record.Cell) string { return c.Study }},
		{"set", func(c record.Cell) string { return c.Set }},
		{"arch", func(c record.Cell) string { return c.Arch }},
		{"scale", func(c record.Cell) string { return c.Scale }},
		{"objective", func(c record.Cell) string { return c.Objective }},
		{"target", func(c record.Cell) string { return c.Target }},
		{"precision", func(c record.Cell) string { return c.Precision }},
		{"device", func(c record.Cell) string { return c.Device }},
	} {
		values := map[string]bool{}
		for _, e := range c.entries {
			if v := f.get(e.cell); v != "" { // a cell skipped at once may not know
				values[v] = true
			}
		}
		told := f.key == "study" || f.key == "set" // by the label
		if f.key == "objective" {
			told = c.follows(f.get, func(c record.Cell) string { return c.Arch })
		}
		say(Column{Key: f.key, Title: f.key, detail: told || len(values) < 2, weight: 99}, func(e *entry) string { return f.get(e.cell) })
	}
	several := false
	for _, e := range c.entries {
		several = several || len(e.runs) > 1
	}
	c.add(Column{Key: "n", Title: "n", About: "seeds", kind: integer, detail: !several}, func(e *entry) Cell {
		return Cell{Mean: float64(len(e.runs)), N: 1}
	})
	say(Column{Key: "seeds", Title: "seeds", detail: true}, func(e *entry) string { return e.seeds() })
	for _, f := range []struct {
		key, about string
		get        func(*record.Run) string
	}{
		{"data_sha256", "of the token shards", func(r *record.Run) string { return r.Data.SHA256 }},
		{"tokenizer_sha256", "", func(r *record.Run) string { return r.Data.TokenizerSHA256 }},
		{"schedule", "of the learning rate", func(r *record.Run) string { return r.Budget.Schedule }},
		{"hardware", "that it ran on", hardware},
		{"march", "version", func(r *record.Run) string { return r.March }},
	} {
		say(Column{Key: f.key, About: f.about, detail: true}, func(e *entry) string {
			var list []string
			for _, r := range e.runs {
				if s := f.get(r); s != "" && !slices.Contains(list, s) {
					list = append(list, s)
				}
			}
			return strings.Join(list, " | ")
		})
	}
}

// follows reports whether one property of the rows is known from another.
func (c *comparison) follows(get, from func(record.Cell) string) bool {
	known := map[string]string{}
	for _, e := range c.entries {
		value, seen := known[from(e.cell)]
		if seen && value != get(e.cell) {
			return false
		}
		known[from(e.cell)] = get(e.cell)
	}
	return true
}

// measure appends one column of figures and marks its best.
func (c *comparison) measure(m measure) {
	candidates := make([]candidate, len(c.entries))
	at := 0
	c.add(m.Column, func(e *entry) Cell {
		cell, f, left := average(e, m.get)
		if left != "" {
			c.warnings.add(m.name(), left)
		}
		candidates[at] = f
		at++
		return cell
	})
	column := len(c.Columns) - 1
	for group := range c.budgets {
		x := contest{of: m.name(), better: m.Better, items: c.files.of(m)}
		for i, e := range c.entries {
			if cell := &c.Rows[i][column]; e.group == group && e.status == record.Done && cell.N > 0 {
				candidates[i].cell = cell
				x.figures = append(x.figures, candidates[i])
			}
		}
		warnings := &c.warnings
		if m.tokenizers && !c.severalTokenizers() {
			warnings = nil // of a column that text leaves out
		}
		markBest(warnings, func(list []candidate) string { return differs("rows", list) }, x)
	}
	values := map[string]bool{}
	for i := range c.Rows {
		if cell := c.Rows[i][column]; cell.N > 0 {
			values[m.Format(cell)] = true
		}
	}
	if len(values) == 0 {
		return
	}
	if m.tokenizers && !c.severalTokenizers() {
		c.Columns[column].detail = true
	}
	if m.constant && len(values) == 1 {
		c.Columns[column].detail = true // the budget's note says it
	}
	c.Columns[column].On = c.on(m)
}

// severalTokenizers reports whether rows were trained with different ones.
func (c *comparison) severalTokenizers() bool {
	return slices.ContainsFunc(c.budgets, func(b budget) bool { return b.tokenSHA256 != c.budgets[0].tokenSHA256 })
}

// average takes the mean over an entry's seeds, in logarithms where the figures are: then the deviation
// is theirs times the mean, as for small ones. Seeds measured on something else than the first, or
// not at all, are left out, and left says so.
func average(e *entry, get func(*record.Run) figure) (cell Cell, of candidate, left string) {
	var values []float64
	of.values, of.runs, of.row = map[uint64]float64{}, map[uint64]*record.Run{}, e
	var last figure
	var others, absent []string
	for _, r := range e.runs {
		f := get(r)
		switch {
		case !f.ok:
			absent = append(absent, fmt.Sprintf("seed %d", r.Cell.Seed))
		case len(values) > 0 && f.basis != of.basis:
			others = append(others, fmt.Sprintf("seed %d", r.Cell.Seed))
		default:
			of.basis, of.values[r.Cell.Seed], of.runs[r.Cell.Seed], last = f.basis, f.value, r, f
			values = append(values, f.value)
		}
	}
	if len(values) == 0 {
		return Cell{}, of, ""
	}
	if len(others) > 0 {
		left = fmt.Sprintf("%s of %s left out: measured on something else than the other seeds.", strings.Join(others, ", "), e.name)
	}
	if len(absent) > 0 {
		left = join(" ", left, fmt.Sprintf("%s of %s has no figure.", strings.Join(absent, ", "), e.name))
	}
	mean, sd := stats.MeanSD(values)
	switch {
	case len(values) == 1:
		mean = last.shown()
	case last.logs:
		mean = shownMean(mean, true)
		sd *= mean
	}
	return Cell{Mean: mean, SD: sd, N: len(values)}, of, left
}

// warnings are sentences about columns (or rows); those that say the same are printed once, and nil takes none.
type warnings []struct {
	of   []string
	text string
}

func (w *warnings) add(of, text string) {
	if w == nil {
		return
	}
	for i := range *w {
		if x := &(*w)[i]; x.text == text {
			if !slices.Contains(x.of, of) {
				x.of = append(x.of, of)
			}
			return
		}
	}
	*w = append(*w, struct {
		of   []string
		text string
	}{[]string{of}, text})
}

func (w warnings) sentences() (out []string) {
	for _, x := range w {
		out = append(out, strings.Join(x.of, ", ")+": "+x.text)
	}
	return out
}

// differs says which rows (or columns) were measured on what.
func differs(of string, figures []candidate) string {
	var order []string
	by := map[string][]*entry{}
	for _, f := range figures {
		basis := f.basis
		if basis == "" {
			basis = "unknown"
		}
		if by[basis] == nil {
			order = append(order, basis)
		}
		by[basis] = append(by[basis], f.row)
	}
	var parts []string
	for _, basis := range order {
		parts = append(parts, fmt.Sprintf("%s (%s)", labels(by[basis]), basis))
	}
	return fmt.Sprintf("not comparable between %s, so no best is marked: %s.", of, strings.Join(parts, "; "))
}

// name is a column's title on one line.
func (c Column) name() string {
	if c.Title == "" {
		return c.Key
	}
	return oneLine(c.Title)
}

func oneLine(title string) string {
	return strings.ReplaceAll(strings.ReplaceAll(title, "/\n", "/"), "\n", " ")
}

// endColumns appends how each cell ended, in text only where one did not end well.
func (c *comparison) endColumns() {
	failed := false
	c.add(Column{Key: "status", Title: "status"}, func(e *entry) Cell {
		cell := Cell{Text: string(e.status)}
		if e.status != record.Done {
			failed = true
			c.Failures = append(c.Failures, fmt.Sprintf("[%d] %s, %s %s: %s.", len(c.Failures)+1, e.name, oneOrMany(e.runs, "seed", "seeds"), e.seeds(), strings.TrimSuffix(e.reason, ".")))
			cell.Footnote = fmt.Sprintf("[%d]", len(c.Failures))
		}
		return cell
	})
	c.Columns[len(c.Columns)-1].detail = !failed
	c.add(Column{Key: "reason", Title: "reason", detail: true}, func(e *entry) Cell { return Cell{Text: e.reason} })
}

func oneOrMany[T any](list []T, one, many string) string {
	if len(list) == 1 {
		return one
	}
	return many
}

// on says what a measure was measured on, and how many ties there were at most.
func (c *comparison) on(m measure) string {
	on := measuredOn(m, c.entries)
	var ties int64
	for _, e := range c.entries {
		for _, r := range e.runs {
			ties = max(ties, r.Suites[m.suite].Ties)
		}
	}
	if ties > 0 && m.ties {
		on = join("; ", on, fmt.Sprintf("up to %s a row", plural(int(ties), "tie", "ties")))
	}
	return on
}

// measuredOn says what a figure was measured on, if that is the same in all rows, or in those of each budget.
func measuredOn(m measure, entries []*entry) string {
	if m.timed {
		return ""
	}
	all, by := map[string]bool{}, map[int]map[string]bool{}
	for _, e := range entries {
		for _, r := range e.runs {
			if f := m.get(r); f.ok {
				if by[e.group] == nil {
					by[e.group] = map[string]bool{}
				}
				all[f.basis], by[e.group][f.basis] = true, true
			}
		}
	}
	if len(all) == 1 {
		return slices.Collect(maps.Keys(all))[0]
	}
	var parts []string
	for _, group := range slices.Sorted(maps.Keys(by)) {
		if basis := slices.Collect(maps.Keys(by[group])); len(basis) == 1 && basis[0] != "" && len(by) > 1 {
			parts = append(parts, letter(group)+": "+basis[0])
		}
	}
	return strings.Join(parts, "; ")
}
