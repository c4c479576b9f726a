package results

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"march/results/record"
	"march/results/studies"
)

// archTitles are the architectures as study sharing's tables call them.
var archTitles = map[string]string{"decoder": "Dec", "encoder": "Enc", "encoder-decoder": "EncDec"}

// LikeSharing gives the two tables of study sharing: a row for each variant in the study's order, a column
// for each architecture at each step budget, first minimal pairs, then passages as accuracy with the
// perplexity behind it. Runs without BLiMP or LAMBADA show march's own pairs and passages, by their
// names. The best of a column is marked as in [New]. With beside, the study's own figures stand behind,
// marked as in the study, and a last table says how far the two agree.
func LikeSharing(runs []record.Run, beside bool) []*Table {
	return likeSharingOf(runs, beside, predictionFiles{})
}

func likeSharingOf(runs []record.Run, beside bool, files predictionFiles) []*Table {
	if len(runs) == 0 {
		return []*Table{New(nil)}
	}
	entries, budgets, notes := gather(runs)
	l := &likeSharing{entries: entries, budgets: budgets, beside: beside, files: files}
	l.rows, l.columns = l.layOut()
	if len(l.rows) == 0 {
		return []*Table{{Empty: strings.Join(append([]string{"No run is finished."}, lostNote(entries)...), " ")}}
	}
	tables := []*Table{
		l.table(studies.Sharing()[0], "BLiMP", "blimp_accuracy", "", "grammar_accuracy", ""),
		l.table(studies.Sharing()[1], "LAMBADA", "lambada_accuracy", "lambada_perplexity", "cloze_accuracy", "cloze_perplexity"),
	}
	last := tables[len(tables)-1]
	last.Notes = slices.Concat(last.Notes, lostNote(entries), budgetNotes(entries, budgets), machineNotes(entries), seedNotes(entries), notes, l.warnings.sentences(), runNotes(entries))
	if beside {
		last.Notes = append(last.Notes, "Study: "+studies.SharingSource+"; bold there is the study's own, by the digits.")
		tables = append(tables, agreement(l.agree))
	}
	return tables
}

type likeSharing struct {
	entries  []*entry
	budgets  []budget
	beside   bool
	rows     []string
	columns  []int // budgets, in the columns' order
	files    predictionFiles
	warnings warnings
	agree    []compared
}

// layOut gives the rows in the study's order, others behind them, and the budgets in the order of the
// study's columns.
func (l *likeSharing) layOut() (rows []string, columns []int) {
	order := studies.Sharing()[0].Variants
	for _, e := range l.entries {
		if e.status == record.Done && !slices.Contains(rows, e.label) {
			rows = append(rows, e.label)
		}
	}
	place := func(name string) int {
		if i := slices.Index(order, inStudy(name)); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortStableFunc(rows, func(a, b string) int { return cmp.Compare(place(a), place(b)) })
	archs := []string{"decoder", "encoder", "encoder-decoder"}
	for i := range l.budgets {
		columns = append(columns, i)
	}
	slices.SortStableFunc(columns, func(a, b int) int {
		x, y := l.budgets[a], l.budgets[b]
		return cmp.Or(cmp.Compare(x.steps, y.steps), cmp.Compare(slices.Index(archs, x.arch), slices.Index(archs, y.arch)))
	})
	return rows, columns
}

// title names a budget's column: "Dec 10k", with its letter where two would have one name.
func (l *likeSharing) title(group int) string {
	name := columnTitle(l.budgets[group].arch, l.budgets[group].steps)
	for i, b := range l.budgets {
		if i != group && columnTitle(b.arch, b.steps) == name {
			return name + " [" + letter(group) + "]"
		}
	}
	return name
}

func columnTitle(arch string, steps int64) string {
	n := fmt.Sprint(steps)
	if steps >= 1000 && steps%1000 == 0 {
		n = fmt.Sprintf("%dk", steps/1000)
	}
	return cmp.Or(archTitles[arch], arch) + " " + n
}

// inStudy is a row's name in the study.
func inStudy(name string) string { return strings.TrimPrefix(name, "sharing/") }

// measureOf finds a measure by its key.
func measureOf(key string) measure {
	return measures[slices.IndexFunc(measures, func(m measure) bool { return m.Key == key })]
}

// table makes one of the tables, by the first two measures or, where no run has the first, the others.
func (l *likeSharing) table(study studies.SharingTable, title, first, second, otherFirst, otherSecond string) *Table {
	has := func(key string) bool {
		return slices.ContainsFunc(l.entries, func(e *entry) bool {
			return slices.ContainsFunc(e.runs, func(r *record.Run) bool { return measureOf(key).get(r).ok })
		})
	}
	if !has(first) && has(otherFirst) {
		title = "march's own " + map[bool]string{true: "passages, not ", false: "minimal pairs, not "}[second != ""] + title
		first, second = otherFirst, otherSecond
	}
	t := &Table{Title: title, Columns: []Column{{Key: "config", Title: "Config"}}}
	t.Rows = make([]Row, len(l.rows))
	for i, name := range l.rows {
		t.Rows[i] = Row{{Text: name}}
	}
	differences := map[int][]float64{}
	for at, group := range l.columns {
		m := measureOf(first)
		m.Column.kind = percent
		differences[group] = l.column(t, m, group, at, "")
		if second != "" {
			m := measureOf(second)
			l.column(t, m, group, at, t.Columns[len(t.Columns)-1].Key)
		}
	}
	if l.beside {
		l.study(t, study, second != "")
		l.compare(study, title, differences)
	}
	about := measureOf(first).About
	if second != "" {
		about += "; in parentheses " + measureOf(second).About
	}
	t.Notes = append(t.Notes, fmt.Sprintf("%s, in per cent: %s.", title, about))
	t.Notes = append(t.bestSays(l.entries, false, "column"), t.Notes...)
	return t
}

// column appends one measure of one budget and gives each row's difference from the baseline.
func (l *likeSharing) column(t *Table, m measure, group, at int, join string) (differences []float64) {
	b := l.budgets[group]
	c := m.Column
	c.Key = fmt.Sprintf("%s_%d_%s", b.arch, b.steps, m.Key)
	c.Title, c.weight, c.join = strings.ReplaceAll(l.title(group), " ", "\n"), 90-at, join
	c.About, c.On = "", ""
	if join != "" {
		c.Title = "ppl"
	} else if len(l.budgets) > 1 {
		c.About = "budget " + letter(group)
	}
	t.Columns = append(t.Columns, c)
	var list []candidate
	differences = make([]float64, len(l.rows))
	base := math.NaN()
	for i, name := range l.rows {
		cell, of, left := Cell{}, candidate{}, ""
		for _, e := range l.entries {
			if e.group == group && e.status == record.Done && e.label == name {
				if cell.N > 0 {
					l.warnings.add(l.title(group), fmt.Sprintf("%s is there more than once; the first is shown.", name))
					continue
				}
				cell, of, left = average(e, m.get)
			}
		}
		if left != "" {
			l.warnings.add(m.name(), left)
		}
		t.Rows[i] = append(t.Rows[i], cell)
		differences[i] = math.NaN()
		if cell.N > 0 {
			of.cell = &t.Rows[i][len(t.Rows[i])-1]
			list = append(list, of)
			differences[i] = cell.Mean
			if inStudy(name) == "baseline" {
				base = cell.Mean
			}
		}
	}
	markBest(&l.warnings, func([]candidate) string { return "rows were not scored on the same items, so no best is marked." },
		contest{of: l.title(group), better: m.Better, figures: list, items: l.files.of(m)})
	for i := range differences {
		differences[i] -= base
	}
	return differences
}

// study appends the study's own columns.
func (l *likeSharing) study(t *Table, study studies.SharingTable, perplexities bool) {
	for at, c := range study.Columns {
		key := fmt.Sprintf("study_%s_%d", c.Arch, c.Steps)
		t.Columns = append(t.Columns, Column{Key: key, Title: "study\n" + columnTitle(c.Arch, c.Steps), kind: printed, weight: 50 - at})
		if perplexities {
			t.Columns = append(t.Columns, Column{Key: key + "_perplexity", Title: "ppl", kind: printed, join: key})
		}
		for i, name := range l.rows {
			accuracy, perplexity := Cell{}, Cell{}
			if row := study.Figures[inStudy(name)]; row != nil && row[at] != nil {
				f := row[at]
				accuracy = Cell{Mean: f.Accuracy, N: 1, Text: f.Text, Best: f.Bold}
				if !math.IsNaN(f.Perplexity) {
					perplexity = Cell{Mean: f.Perplexity, N: 1, Text: fmt.Sprint(f.Perplexity), Best: f.Bold}
				}
			}
			t.Rows[i] = append(t.Rows[i], accuracy)
			if perplexities {
				t.Rows[i] = append(t.Rows[i], perplexity)
			}
		}
	}
}

// compare sets the columns of each architecture beside the study's of the same one.
func (l *likeSharing) compare(study studies.SharingTable, title string, differences map[int][]float64) {
	for _, group := range l.columns {
		for at, c := range study.Columns {
			if c.Arch != l.budgets[group].arch {
				continue
			}
			x := compared{measure: title, ours: l.title(group), study: measureOf(study.Suite+"_accuracy").name() + " " + columnTitle(c.Arch, c.Steps)}
			base := study.Figures["baseline"][at]
			for i, name := range l.rows {
				if row := study.Figures[inStudy(name)]; row != nil && row[at] != nil && inStudy(name) != "baseline" {
					x.add(name, differences[group][i], row[at].Accuracy-base.Accuracy)
				}
			}
			l.agree = append(l.agree, x)
		}
	}
}
