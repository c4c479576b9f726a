package results

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/olekukonko/tablewriter/tw"
)

// latex prints a tabular with booktabs' rules, and the footer as small paragraphs below it.
func (t *Table) latex(b *bytes.Buffer) {
	if len(t.Rows) == 0 {
		b.WriteString(tex(t.Empty) + "\n")
		return
	}
	l := t.layout(style{
		best:  func(s string) string { return `\textbf{` + tex(s) + "}" },
		plain: tex,
	})
	b.WriteString("% needs \\usepackage{booktabs}\n\\begin{tabular}{")
	for _, c := range l.columns {
		if c.align == tw.AlignRight {
			b.WriteByte('r')
		} else {
			b.WriteByte('l')
		}
	}
	fmt.Fprintf(b, "}\n\\toprule\n%s \\\\\n\\midrule\n", strings.Join(l.titles(), " & "))
	for _, row := range l.rows {
		fmt.Fprintf(b, "%s \\\\\n", strings.Join(row, " & "))
	}
	b.WriteString("\\bottomrule\n\\end{tabular}\n")
	for _, note := range t.footer("Bold:", l) {
		b.WriteString("\n{\\footnotesize " + tex(note) + "\\par}\n")
	}
}

// tex makes a text safe for LaTeX, in ASCII where the letters of march's tables are concerned.
func tex(s string) string { return texReplacer.Replace(s) }

var texReplacer = strings.NewReplacer(
	`\`, `\textbackslash{}`, "{", `\{`, "}", `\}`, "%", `\%`, "&", `\&`, "$", `\$`, "#", `\#`, "_", `\_`,
	"~", `\textasciitilde{}`, "^", `\textasciicircum{}`, "*", `*`, "<", `$<$`, ">", `$>$`, "|", `$|$`, `"`, `''`, "[", "{[}", "]", "{]}",
	" ± ", `\,$\pm$\,`, "±", `$\pm$`, "−", `$-$`, "–", `--`, "×", `$\times$`, "·", `$\cdot$`, "²", `$^2$`, "√", `$\surd$`, "Δ", `$\Delta$`, "ρ", `$\rho$`, "σ", `$\sigma$`, "…", `\dots{}`,
)
