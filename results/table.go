package results

// Table is a comparison, ready to be printed. New, Breakdown, Verdicts.Table and the Like functions build it; every format prints the
// same one.
type Table struct {
	Title    string // above it, where there are several
	Columns  []Column
	Rows     []Row
	Failures []string // "[1] …": the reasons of the rows with that footnote
	Best     string   // what a mark says: "the best of its column …"; empty where none is marked
	Notes    []string // the footer, one sentence or more each
	Empty    string   // stands in for a table without rows
}

// Column is one column.
type Column struct {
	Key    string // in CSV and JSON: "valid_loss"
	Title  string // as a reader sees it; a line break where a narrow table may break it
	About  string // what the figure is, for the footer
	On     string // what it was measured on, where that is the same in all rows
	Better Better

	kind   kind
	join   string // the key of the column before, behind whose figure this one is printed in parentheses
	detail bool   // in CSV and JSON alone
	weight int    // columns of less weight give way first where a terminal is narrow; 0 never does
}

// Numeric tells columns of figures from columns of text.
func (c Column) Numeric() bool { return c.kind != text }

// Format prints a figure of this column, with its standard deviation where n > 1.
func (c Column) Format(x Cell) string {
	switch {
	case c.kind == text && x.Text == "":
		return absent
	case c.kind == text:
		return x.Text
	case x.N == 0:
		return absent
	case c.kind == printed:
		return x.Text
	case x.N == 1:
		return c.kind.format(x.Mean)
	default:
		return c.kind.formatSD(x.Mean, x.SD)
	}
}

// Better says which of two figures wins.
type Better int

const (
	Neither Better = 0
	Lower   Better = -1
	Higher  Better = +1
)

func (b Better) String() string {
	switch b {
	case Lower:
		return "lower"
	case Higher:
		return "higher"
	}
	return ""
}

// Row has one Cell for each column.
type Row []Cell

// Cell is a text, or the mean of N figures; N is 0 where nothing was measured.
type Cell struct {
	Text     string
	Footnote string // printed behind the text: "[1]"
	Mean     float64
	SD       float64 // sample standard deviation; NaN where N < 2
	N        int
	Best     bool
}

// dropAbsent removes the columns in which no row has anything.
func (t *Table) dropAbsent() {
	keep := make([]bool, len(t.Columns))
	for i, c := range t.Columns {
		for _, row := range t.Rows {
			if c.Numeric() && row[i].N > 0 || !c.Numeric() && row[i].Text != "" {
				keep[i] = true
			}
		}
	}
	filter := func(n int, move func(from, to int)) int {
		to := 0
		for from := range n {
			if keep[from] {
				move(from, to)
				to++
			}
		}
		return to
	}
	for r, row := range t.Rows {
		t.Rows[r] = row[:filter(len(row), func(from, to int) { row[to] = row[from] })]
	}
	t.Columns = t.Columns[:filter(len(t.Columns), func(from, to int) { t.Columns[to] = t.Columns[from] })]
}
