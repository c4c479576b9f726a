package results

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// Format is a way to print a table.
type Format string

const (
	Text     Format = "text"
	Markdown Format = "markdown"
	CSV      Format = "csv"
	JSON     Format = "json"
	LaTeX    Format = "latex"
)

// Formats lists the formats, the default first.
var Formats = []Format{Text, Markdown, CSV, JSON, LaTeX}

// ParseFormat finds a format by its name.
func ParseFormat(name string) (Format, error) {
	var names []string
	for _, f := range Formats {
		if string(f) == name {
			return f, nil
		}
		names = append(names, string(f))
	}
	return "", fmt.Errorf("unknown format %q, want one of %s", name, strings.Join(names, ", "))
}

// Write prints the table. Text, Markdown and LaTeX print figures rounded, the best ones marked (a
// star, bold face), with the footer; CSV and JSON print every column in full precision, CSV without the
// footer. LaTeX needs the package booktabs.
// A table without rows is one sentence, in CSV its header alone. In Text, columns are left out, and
// named, until lines fit into width characters; 0 is no bound.
func (t *Table) Write(w io.Writer, f Format, width int) error {
	var b bytes.Buffer // so that an error prints no half table
	var err error
	if t.Title != "" {
		t.heading(&b, f)
	}
	switch f {
	case LaTeX:
		t.latex(&b)
	case Text:
		err = t.text(&b, width)
	case Markdown:
		err = t.markdown(&b)
	case CSV:
		err = t.csv(&b)
	case JSON:
		err = t.json(&b)
	default:
		_, err = ParseFormat(string(f))
	}
	if err != nil {
		return fmt.Errorf("table: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
}

// heading prints the title, in formats for readers.
func (t *Table) heading(b *bytes.Buffer, f Format) {
	switch f {
	case Text:
		b.WriteString(t.Title + "\n")
	case Markdown:
		b.WriteString("### " + escape(t.Title) + "\n\n")
	case LaTeX:
		b.WriteString("\\paragraph{" + tex(t.Title) + "}\n\n")
	}
}

// WriteAll prints several tables: with an empty line between them, in JSON as a list.
func WriteAll(w io.Writer, tables []*Table, f Format, width int) error {
	var b bytes.Buffer
	for i, t := range tables {
		switch {
		case f == JSON && i == 0:
			b.WriteString("[\n")
		case f == JSON:
			b.WriteString(",\n")
		case i > 0:
			b.WriteString("\n")
		}
		if err := t.Write(&b, f, width); err != nil {
			return err
		}
	}
	if f == JSON {
		b.WriteString("]\n")
	}
	_, err := w.Write(b.Bytes())
	return err
}

const noteWidth = 100 // of a footer where the terminal's width is not known

func (t *Table) text(b *bytes.Buffer, width int) error {
	if len(t.Rows) == 0 {
		wrap(b, t.Empty, width)
		return nil
	}
	l := t.layout(style{
		lines: true,
		best:  func(s string) string { return "*" + s },
		plain: func(s string) string { return s },
	})
	hidden := l.narrow(width)
	err := l.draw(b, renderer.NewBlueprint(tw.Rendition{
		Borders: tw.BorderNone,
		Symbols: tw.NewSymbols(tw.StyleLight),
		Settings: tw.Settings{
			Separators: tw.Separators{ShowHeader: tw.On, ShowFooter: tw.Off, BetweenRows: tw.Off, BetweenColumns: tw.Off},
			Lines:      tw.Lines{ShowTop: tw.On, ShowBottom: tw.On, ShowHeaderLine: tw.On, ShowFooterLine: tw.Off},
		},
	}))
	if err != nil {
		return err
	}
	if len(hidden) > 0 {
		wrap(b, "Not shown for want of width: "+strings.Join(hidden, ", ")+". A wider terminal, or --format markdown or csv, shows them.", width)
	}
	for _, note := range t.footer("*", l) {
		wrap(b, note, width)
	}
	return nil
}

func (t *Table) markdown(b *bytes.Buffer) error {
	if len(t.Rows) == 0 {
		b.WriteString(escape(t.Empty) + "\n")
		return nil
	}
	l := t.layout(style{
		best:  func(s string) string { return "**" + escape(s) + "**" },
		plain: escape,
	})
	if err := l.draw(b, renderer.NewMarkdown()); err != nil {
		return err
	}
	b.WriteByte('\n')
	for _, note := range t.footer("Bold:", l) {
		b.WriteString("- " + escape(note) + "\n")
	}
	return nil
}

// escape keeps Markdown and its tables from reading a meaning into a text.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `|`, `\|`, `*`, `\*`, "`", "\\`", `<`, `\<`).Replace(s)
}

// footer is everything below the table: reasons of failures, the format's own mark, the notes, and
// what the columns that are shown mean. Its sentences are plain: the format escapes them.
func (t *Table) footer(mark string, l *layout) []string {
	var legend []string
	if t.Best != "" {
		legend = append(legend, mark+" "+t.Best)
	}
	if slices.ContainsFunc(l.rows, func(row []string) bool { return slices.Contains(row, absent) }) {
		legend = append(legend, absent+" not run or not known")
	}
	notes := append([]string{}, t.Failures...)
	if len(legend) > 0 {
		notes = append(notes, strings.Join(legend, "; ")+".")
	}
	notes = append(notes, t.Notes...)
	for _, c := range l.columns {
		if c.about != "" {
			notes = append(notes, c.name+": "+c.about+".")
		}
	}
	return notes
}

// style is what text and Markdown do differently.
type style struct {
	lines       bool                // titles may have several lines, and figures are padded to align
	best, plain func(string) string // print a figure
}

// layout is a table as strings.
type layout struct {
	columns []shown
	rows    [][]string
}

// shown is a column that is printed.
type shown struct {
	title  string // as the format prints it
	name   string // the same in one line, nothing escaped
	about  string
	align  tw.Align
	weight int
	of     int // the table's column; of two joined ones the first
}

// layout prints every cell and puts joined columns into one.
func (t *Table) layout(s style) *layout {
	l := &layout{rows: make([][]string, len(t.Rows))}
	for i := 0; i < len(t.Columns); i++ {
		c := t.Columns[i]
		if c.detail {
			continue
		}
		x := shown{title: c.Title, align: tw.AlignRight, weight: c.weight, of: i}
		if !c.Numeric() {
			x.align = tw.AlignLeft
		}
		about, on := c.About, c.On
		cells := make([]string, len(t.Rows))
		for r, row := range t.Rows {
			cells[r] = s.print(c, row[i])
		}
		if i+1 < len(t.Columns) && t.Columns[i+1].join == c.Key {
			i++
			unit := lastWord(t.Columns[i].Title)
			x.title += " (" + unit + ")"
			about = join("; ", about, prefixed(unit+": ", t.Columns[i].About))
			if t.Columns[i].On != on {
				on = join("; ", on, prefixed(unit+" on ", t.Columns[i].On))
			}
			s.parenthesise(cells, t, i)
		}
		x.name, x.about = oneLine(x.title), join("; ", about, on)
		if !s.lines {
			x.title = s.plain(x.name)
		}
		l.columns = append(l.columns, x)
		for r := range l.rows {
			l.rows[r] = append(l.rows[r], cells[r])
		}
	}
	return l
}

func (s style) print(c Column, x Cell) string {
	if x.Best {
		return s.best(c.Format(x))
	}
	return join(" ", s.plain(c.Format(x)), s.plain(x.Footnote))
}

// parenthesise puts the figures of column i behind those of the column before it.
func (s style) parenthesise(cells []string, t *Table, i int) {
	second := make([]string, len(cells))
	most := 0
	for r, row := range t.Rows {
		if row[i].N > 0 {
			second[r] = " (" + s.print(t.Columns[i], row[i]) + ")"
		}
		most = max(most, twwidth.Width(second[r]))
	}
	for r := range cells {
		pad := ""
		if s.lines && (second[r] != "" || t.Rows[r][i-1].N > 0) {
			pad = strings.Repeat(" ", most-twwidth.Width(second[r]))
		}
		cells[r] += pad + second[r]
	}
}

func lastWord(title string) string {
	words := strings.Fields(title)
	return words[len(words)-1]
}

func (l *layout) titles() (list []string) {
	for _, c := range l.columns {
		list = append(list, c.title)
	}
	return list
}

func (l *layout) draw(b *bytes.Buffer, r tw.Renderer) error {
	var align []tw.Align
	for _, c := range l.columns {
		align = append(align, c.align)
	}
	section := tw.CellConfig{
		Formatting: tw.CellFormatting{AutoFormat: tw.Off, AutoWrap: tw.WrapNone},
		Alignment:  tw.CellAlignment{PerColumn: align},
	}
	var out bytes.Buffer
	table := tablewriter.NewTable(&out,
		tablewriter.WithRenderer(r),
		tablewriter.WithConfig(tablewriter.Config{Header: section, Row: section, Behavior: tw.Behavior{TrimSpace: tw.Off}}),
		tablewriter.WithEastAsian(tw.Off), // the same table in every locale
	)
	table.Header(l.titles())
	if err := table.Bulk(l.rows); err != nil {
		return err
	}
	if err := table.Render(); err != nil {
		return err
	}
	for line := range strings.Lines(out.String()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return nil
}

// wrap prints a note, its further lines indented.
func wrap(b *bytes.Buffer, note string, width int) {
	if width <= 0 {
		width = noteWidth
	}
	width = max(width, 40)
	at := 0
	for _, word := range strings.Fields(note) {
		n := twwidth.Width(word)
		switch {
		case at == 0:
			b.WriteString(word)
			at = n
		case at+1+n > width:
			b.WriteString("\n  " + word)
			at = 2 + n
		default:
			b.WriteString(" " + word)
			at += 1 + n
		}
	}
	b.WriteByte('\n')
}

// csv prints one line a row. A column of averages has one for the deviation behind it.
func (t *Table) csv(b *bytes.Buffer) error {
	w := csv.NewWriter(b)
	var header []string
	deviation := make([]bool, len(t.Columns))
	for i, c := range t.Columns {
		header = append(header, c.Key)
		for _, row := range t.Rows {
			deviation[i] = deviation[i] || row[i].N > 1 && c.kind != integer && c.kind != count // those are the variant's own
		}
		if deviation[i] {
			header = append(header, c.Key+"_sd")
		}
	}
	if len(header) == 0 {
		header = []string{"variant", "status", "reason"}
	}
	w.Write(header) // errors stick and come from Error
	for _, row := range t.Rows {
		var line []string
		for i, c := range t.Columns {
			line = append(line, exact(c, row[i]))
			if deviation[i] && row[i].N > 1 {
				line = append(line, number(row[i].SD))
			} else if deviation[i] {
				line = append(line, "")
			}
		}
		w.Write(line)
	}
	w.Flush()
	return w.Error()
}

func exact(c Column, x Cell) string {
	switch {
	case !c.Numeric():
		return x.Text
	case x.N == 0:
		return ""
	}
	return number(x.Mean)
}

func number(x float64) string {
	if x == math.Trunc(x) && math.Abs(x) < 1e15 {
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'g', -1, 64)
}

// json prints the columns, the rows by their columns' keys, and the footer.
func (t *Table) json(b *bytes.Buffer) error {
	type column struct {
		Key    string `json:"key"`
		Title  string `json:"title,omitempty"`
		About  string `json:"about,omitempty"`
		On     string `json:"on,omitempty"`
		Better string `json:"better,omitempty"`
	}
	type value struct {
		Mean any      `json:"mean"`
		SD   *float64 `json:"sd,omitempty"`
		N    int      `json:"n"`
		Best bool     `json:"best,omitempty"`
	}
	out := struct {
		Title   string           `json:"title,omitempty"`
		Columns []column         `json:"columns"`
		Rows    []map[string]any `json:"rows"`
		Notes   []string         `json:"notes"`
	}{t.Title, []column{}, []map[string]any{}, append([]string{}, t.Notes...)}
	if len(t.Rows) == 0 {
		out.Notes = append(out.Notes, t.Empty)
	}
	if t.Best != "" {
		out.Notes = append([]string{"\"best\" marks: " + t.Best + "."}, out.Notes...)
	}
	for _, c := range t.Columns {
		out.Columns = append(out.Columns, column{c.Key, oneLine(c.Title), c.About, c.On, c.Better.String()})
	}
	for _, row := range t.Rows {
		cells := map[string]any{}
		for i, c := range t.Columns {
			x := row[i]
			switch {
			case !c.Numeric() && x.Text != "":
				cells[c.Key] = x.Text
			case c.Numeric() && x.N > 0:
				v := value{Mean: x.Mean, N: x.N, Best: x.Best}
				if math.IsInf(x.Mean, 0) || math.IsNaN(x.Mean) {
					v.Mean = c.kind.format(x.Mean) // JSON has no such number
				}
				if x.N > 1 && !math.IsNaN(x.SD) && !math.IsInf(x.SD, 0) {
					v.SD = &x.SD
				}
				cells[c.Key] = v
			}
		}
		out.Rows = append(out.Rows, cells)
	}
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}
