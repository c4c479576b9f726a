package main

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// column is one column of a listing.
type column struct {
	title string
	right bool // figures
	// What becomes of a text that a terminal has no room for; the last column only.
	fit fit
}

type fit int

const (
	keep fit = iota
	clip     // cut, with an ellipsis
	fold     // broken into lines
)

// leastText is the width that the last column keeps on the narrowest terminal.
const leastText = 16

// printTable prints a listing, at most width characters wide; 0 is no bound. An empty
// one prints nothing: the caller has something to say instead.
func printTable(w io.Writer, width int, columns []column, rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	titles, align := make([]string, len(columns)), make([]tw.Align, len(columns))
	used := 0
	for i, c := range columns {
		titles[i], align[i] = c.title, tw.AlignLeft
		if c.right {
			align[i] = tw.AlignRight
		}
		if i < len(columns)-1 {
			used += columnWidth(i, titles, rows) + 2 // a space on either side
		}
	}
	room := max(width-used-2, leastText)
	if width <= 0 {
		room = math.MaxInt
	}
	rows = fitted(rows, columns[len(columns)-1].fit, room)
	section := tw.CellConfig{
		Formatting: tw.CellFormatting{AutoFormat: tw.Off, AutoWrap: tw.WrapNone},
		Alignment:  tw.CellAlignment{PerColumn: align},
	}
	var b strings.Builder
	table := tablewriter.NewTable(&b,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders: tw.BorderNone,
			Symbols: tw.NewSymbols(tw.StyleLight),
			Settings: tw.Settings{
				Separators: tw.Separators{ShowHeader: tw.On, ShowFooter: tw.Off, BetweenRows: tw.Off, BetweenColumns: tw.Off},
				Lines:      tw.Lines{ShowTop: tw.On, ShowBottom: tw.On, ShowHeaderLine: tw.On, ShowFooterLine: tw.Off},
			},
		})),
		tablewriter.WithConfig(tablewriter.Config{Header: section, Row: section, Behavior: tw.Behavior{TrimSpace: tw.Off}}),
		tablewriter.WithEastAsian(tw.Off), // the same table in every locale
	)
	table.Header(titles)
	if err := table.Bulk(rows); err != nil {
		return err
	}
	if err := table.Render(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
	return nil
}

// columnWidth is the widest line of column i.
func columnWidth(i int, titles []string, rows [][]string) int {
	most := 0
	for line := range strings.SplitSeq(titles[i], "\n") {
		most = max(most, twwidth.Width(line))
	}
	for _, row := range rows {
		for line := range strings.SplitSeq(row[i], "\n") {
			most = max(most, twwidth.Width(line))
		}
	}
	return most
}

// fitted brings the last column's texts down to room characters, and gives each line of
// a cell a row.
func fitted(rows [][]string, how fit, room int) [][]string {
	list := make([][]string, 0, len(rows))
	for _, row := range rows {
		cells, most := make([][]string, len(row)), 0
		for i, text := range row {
			cells[i] = strings.Split(text, "\n")
			if i == len(row)-1 {
				switch how {
				case clip:
					cells[i] = []string{clipped(text, room)}
				case fold:
					cells[i] = wrap(text, room)
				}
			}
			most = max(most, len(cells[i]))
		}
		for at := range most {
			line := make([]string, len(row))
			for i, c := range cells {
				if at < len(c) {
					line[i] = c[at]
				}
			}
			list = append(list, line)
		}
	}
	return list
}

func clipped(text string, room int) string {
	if twwidth.Width(text) <= room {
		return text
	}
	return strings.TrimRight(twwidth.Truncate(text, room-1), " ") + "…"
}

// note prints a sentence below a table, wrapped.
func (e *env) note(format string, args ...any) {
	width := e.width()
	if width <= 0 {
		width = helpWidth
	}
	for i, line := range wrap(fmt.Sprintf(format, args...), width-2) {
		if i > 0 {
			line = "  " + line
		}
		fmt.Fprintln(e.stdout, line)
	}
}
