package results

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"march/results/record"
)

// budget is what must be the same for two rows to compare: what was trained, on what, for how long, and how
// exactly.
type budget struct {
	scale, arch, objective        string
	precision, schedule           string // of the arithmetic, of the learning rate
	steps, tokensPerStep, length  int64
	vocab                         int64
	data, dataSHA256, tokenSHA256 string
}

func budgetOf(r *record.Run) budget {
	b := budget{
		scale: r.Cell.Scale, arch: r.Cell.Arch, objective: r.Cell.Objective,
		precision: r.Cell.Precision, schedule: clean(r.Budget.Schedule),
		steps: r.Budget.Steps, tokensPerStep: r.Budget.TokensPerStep, length: r.Budget.SequenceLength,
		vocab: r.Data.Vocab, data: r.Data.Name, dataSHA256: r.Data.SHA256, tokenSHA256: r.Data.TokenizerSHA256,
	}
	if t := r.Training; t != nil && b.steps == 0 {
		b.steps = t.Steps
	}
	return b
}

// budgetsOf gives each run's budget. A run whose name tells its learning rate (baseline+training.rate=0.01)
// is a variant like others, so it takes the schedule of the first run that it is like otherwise.
func budgetsOf(runs []record.Run) []budget {
	list := make([]budget, len(runs))
	first := map[budget]string{}
	for _, own := range []bool{false, true} {
		for i := range runs {
			if namesSchedule(runs[i].Cell) != own {
				continue
			}
			list[i] = budgetOf(&runs[i])
			like := list[i]
			like.schedule = ""
			if schedule, ok := first[like]; !ok {
				first[like] = list[i].schedule
			} else if own {
				list[i].schedule = schedule
			}
		}
	}
	return list
}

func namesSchedule(c record.Cell) bool {
	for change := range strings.FieldsSeq(c.Set) {
		axis, _, _ := strings.Cut(change, "=")
		switch axis {
		case "training.rate", "training.schedule", "training.warmup", "training.final_rate", "training.cooldown":
			return true
		}
	}
	return false
}

func (b budget) String() string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if what := join(" ", b.arch, b.objective); what != "" {
		add("%s at scale %s", what, b.scale)
	}
	switch {
	case b.steps > 0 && b.tokensPerStep > 0:
		add("%s steps × %s tokens = %s", grouped(b.steps), grouped(b.tokensPerStep), metric(float64(b.steps*b.tokensPerStep)))
	case b.steps > 0:
		add("%s steps", grouped(b.steps))
	}
	if b.length > 0 {
		add("sequences of %s", grouped(b.length))
	}
	if b.data != "" || b.dataSHA256 != "" {
		data := "data " + join(" ", b.data, shaNote(b.dataSHA256))
		if b.tokenSHA256 != "" || b.vocab > 0 {
			vocab := ""
			if b.vocab > 0 {
				vocab = "vocabulary " + grouped(b.vocab)
			}
			data += ", " + join(" ", vocab, shaNote(b.tokenSHA256))
		}
		parts = append(parts, data)
	}
	return clean(strings.Join(parts, "; "))
}

func shaNote(sha256 string) string {
	if sha256 == "" {
		return ""
	}
	return "(sha256 " + short(sha256) + ")"
}

// join joins what is not empty.
func join(separator string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), separator)
}

// entry is one row to be: the seeds of one cell under one budget, or the cells that ended alike.
type entry struct {
	entryKey
	own   budget        // the first run's, also of rows that are not done
	runs  []*record.Run // by seed
	label string        // in a table's row
	name  string        // in a sentence: the label, and the budget where there are several
	group int           // of the budget, from 0; −1 where nothing was trained and no budget is the row's own
}

type entryKey struct {
	cell   record.Cell // seed 0
	status record.Status
	reason string // not of rows that are done
	config string // of rows that are done, as the budget
	budget budget
}

// gather makes entries of runs, in the order of the budgets' and then of the entries' first runs.
// notes name the runs that were left out because a later one repeats them.
func gather(runs []record.Run) (entries []*entry, budgets []budget, notes []string) {
	index := map[entryKey]*entry{}
	own := budgetsOf(runs)
	for i := range runs {
		r := &runs[i]
		key := entryKey{cell: r.Cell, status: r.Status}
		key.cell.Seed = 0
		if r.Status == record.Done {
			key.config, key.budget = r.ConfigSHA256, own[i]
		} else {
			key.reason = clean(r.Reason)
		}
		e := index[key]
		if e == nil {
			e = &entry{entryKey: key, own: own[i]}
			index[key] = e
			entries = append(entries, e)
		}
		e.runs = append(e.runs, r)
	}
	for _, e := range entries {
		notes = append(notes, e.oneRunASeed()...)
		if e.status == record.Done && !slices.Contains(budgets, e.budget) {
			budgets = append(budgets, e.budget)
		}
	}
	rank := map[*entry]int{}
	for i, e := range entries {
		rank[e] = i
		e.group = slices.Index(budgets, e.own)
	}
	slices.SortStableFunc(entries, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.place(budgets), b.place(budgets)), cmp.Compare(rank[a], rank[b]))
	})
	label(entries)
	for _, e := range entries {
		e.name = e.label
		if len(budgets) > 1 && e.group >= 0 {
			e.name += " [" + letter(e.group) + "]"
		}
	}
	return entries, budgets, notes
}

// place puts a failed row without a budget of its own beside the first of its kind.
func (e *entry) place(budgets []budget) int {
	if e.group >= 0 {
		return e.group
	}
	at := slices.IndexFunc(budgets, func(b budget) bool { return b.scale == e.cell.Scale && b.arch == e.cell.Arch })
	if at < 0 {
		return len(budgets)
	}
	return at
}

// doneOf are the finished rows of a budget.
func doneOf(entries []*entry, group int) (rows []*entry) {
	for _, e := range entries {
		if e.group == group && e.status == record.Done {
			rows = append(rows, e)
		}
	}
	return rows
}

// entriesOf are a budget's rows, finished or not.
func entriesOf(entries []*entry, group int) (rows []*entry) {
	for _, e := range entries {
		if e.group == group {
			rows = append(rows, e)
		}
	}
	return rows
}

const baselineName = "baseline"

// baselineOf finds the row of a name among those of a budget; −1 where there is none, an error where
// there are several. Without a name it is the study's baseline, with such changes alone as all rows have:
// settings that were given to every variant make no other variant of it.
func baselineOf(rows []*entry, name string) (int, error) {
	found := -1
	for i, e := range rows {
		if name != "" && e.label == name {
			return i, nil // nothing else is called so
		}
		is := e.cell.Name() == name || e.cell.Study+"/"+e.cell.Name() == name
		if name == "" {
			is = e.cell.Variant == baselineName
			for change := range strings.FieldsSeq(e.cell.Set) {
				is = is && !slices.ContainsFunc(rows, func(r *entry) bool { return !slices.Contains(strings.Fields(r.cell.Set), change) })
			}
		}
		if is && found >= 0 {
			return -1, fmt.Errorf("more than one row is called %s: %s and %s; name one of them to compare with (--against)", cmp.Or(name, baselineName), rows[found].name, e.name)
		}
		if is {
			found = i
		}
	}
	return found, nil
}

// oneRunASeed keeps the last finished run of each seed: two runs of one seed are no two samples.
func (e *entry) oneRunASeed() (notes []string) {
	slices.SortStableFunc(e.runs, func(a, b *record.Run) int {
		return cmp.Or(cmp.Compare(a.Cell.Seed, b.Cell.Seed), b.Finished.Compare(a.Finished))
	})
	repeats := map[uint64]int{}
	for _, r := range e.runs {
		repeats[r.Cell.Seed]++
	}
	e.runs = slices.CompactFunc(e.runs, func(a, b *record.Run) bool { return a.Cell.Seed == b.Cell.Seed })
	for _, r := range e.runs {
		if n := repeats[r.Cell.Seed]; n > 1 && e.status == record.Done {
			notes = append(notes, fmt.Sprintf("%s, seed %d: %d records of the same run; the one finished last is shown%s.", e.cell.Name(), r.Cell.Seed, n, atPath(r)))
		}
	}
	return notes
}

func atPath(r *record.Run) string {
	if r.Path == "" {
		return ""
	}
	return " (" + clean(r.Path) + ")"
}

// label names the entries: by variant alone where that says enough.
func label(entries []*entry) {
	studies := map[string]bool{}
	for _, e := range entries {
		studies[e.cell.Study] = true
	}
	type seen struct {
		cell   record.Cell
		budget budget
	}
	configs := map[seen]map[string]bool{}
	for _, e := range entries {
		e.label = clean(e.cell.Name())
		if len(studies) > 1 {
			e.label = clean(e.cell.Study + "/" + e.cell.Name())
		}
		if e.status == record.Done {
			key := seen{e.cell, e.budget}
			if configs[key] == nil {
				configs[key] = map[string]bool{}
			}
			configs[key][e.config] = true
		}
	}
	for _, e := range entries {
		if len(configs[seen{e.cell, e.budget}]) > 1 && e.status == record.Done {
			e.label += " (config " + cmp.Or(short(e.config), "unknown") + ")"
		}
	}
	tellTwins(entries)
}

// tellTwins tells rows of one name and budget apart by what they ran with.
func tellTwins(entries []*entry) {
	type seen struct {
		label  string
		budget budget
	}
	twins := map[seen][]*entry{}
	for _, e := range entries {
		if e.status == record.Done {
			key := seen{e.label, e.budget}
			twins[key] = append(twins[key], e)
		}
	}
	for _, list := range twins {
		for _, of := range []func(record.Cell) string{
			func(c record.Cell) string { return c.Target },
			func(c record.Cell) string { return c.Device },
		} {
			first := of(list[0].cell)
			if !slices.ContainsFunc(list, func(e *entry) bool { return of(e.cell) != first }) {
				continue
			}
			for _, e := range list {
				e.label += " (" + cmp.Or(clean(of(e.cell)), "unknown") + ")"
			}
		}
	}
}

// unfinished names the runs that are in none of the figures, with the reasons.
func unfinished(entries []*entry) (list []string) {
	for _, e := range entries {
		if e.status != record.Done {
			list = append(list, fmt.Sprintf("%s, %s %s (%s: %s)", e.name, oneOrMany(e.runs, "seed", "seeds"), strings.ReplaceAll(e.seeds(), " ", ", "), e.status, strings.TrimSuffix(e.reason, ".")))
		}
	}
	return list
}

// lostNote says which runs are in none of the figures; nil where all are.
func lostNote(entries []*entry) []string {
	list := unfinished(entries)
	if len(list) == 0 {
		return nil
	}
	return []string{"Not shown: " + strings.Join(list, "; ") + "."}
}

func (e *entry) seeds() string {
	var out []string
	for _, r := range e.runs {
		out = append(out, fmt.Sprint(r.Cell.Seed))
	}
	return strings.Join(out, " ")
}

// letter names a budget: A … Z, AA …
func letter(group int) string {
	if group < 0 {
		return ""
	}
	s := ""
	for n := group; n >= 0; n = n/26 - 1 {
		s = string(rune('A'+n%26)) + s
	}
	return s
}

// labels lists a few rows by name.
func labels(entries []*entry) string {
	const most = 4
	var names []string
	for _, e := range entries {
		if !slices.Contains(names, e.name) {
			names = append(names, e.name)
		}
	}
	if n := len(names); n > most {
		names = append(names[:most-1], fmt.Sprintf("%d more", n-most+1))
	}
	return strings.Join(names, ", ")
}
