package results

import (
	"slices"
	"strings"

	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/tw"
)

// narrow makes lines fit: names that would take more than a share of the width go on in further lines, then columns are
// removed, the least weighty first and of equals the last. It returns the titles of those.
func (l *layout) narrow(width int) (hidden []string) {
	if width <= 0 {
		return nil
	}
	if l.width() > width {
		l.fold(max(leastName, width*2/5))
	}
	for l.width() > width {
		least := -1
		for i, c := range l.columns {
			if c.weight > 0 && (least < 0 || c.weight <= l.columns[least].weight) {
				least = i
			}
		}
		if least < 0 {
			break
		}
		hidden = append([]string{l.columns[least].name}, hidden...)
		l.columns = slices.Delete(l.columns, least, least+1)
		for r, row := range l.rows {
			l.rows[r] = slices.Delete(row, least, least+1)
		}
	}
	return hidden
}

// leastName is the width that names keep in the narrowest terminal.
const leastName = 20

// fold breaks texts of columns that are never removed at spaces, into lines of at most room characters where words
// allow it.
func (l *layout) fold(room int) {
	for i, c := range l.columns {
		if c.weight > 0 || c.align != tw.AlignLeft {
			continue
		}
		for _, row := range l.rows {
			line, text := 0, ""
			for n, word := range strings.Fields(row[i]) {
				switch w := twwidth.Width(word); {
				case n == 0:
					text, line = word, w
				case line+1+w > room:
					text, line = text+"\n  "+word, 2+w
				default:
					text, line = text+" "+word, line+1+w
				}
			}
			row[i] = text
		}
	}
}

// width is that of a line: each column has a space on both sides.
func (l *layout) width() int {
	total := 0
	for i, c := range l.columns {
		most := widestLine(c.title)
		for _, row := range l.rows {
			most = max(most, widestLine(row[i]))
		}
		total += most + 2
	}
	return total
}

func widestLine(text string) (most int) {
	for line := range strings.SplitSeq(text, "\n") {
		most = max(most, twwidth.Width(line))
	}
	return most
}
