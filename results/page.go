package results

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"march/results/record"
	"march/variants/manifest"
)

var (
	//go:embed page.html
	pageHTML string
	page     = template.Must(template.New("page").Parse(pageHTML))
)

// PageOptions say what is known of a page besides its runs.
type PageOptions struct {
	March    string // version that makes the page
	Command  string // that made it
	Made     time.Time
	Pictures []Picture
	Problems []string // what is missing from it already: what Pictures could not read
	// Commands gives the lines that make a run again; nil: none are shown.
	Commands func(*record.Run) ([]string, error)
}

// Page writes a report of runs as one HTML file that needs nothing else: verdicts in sentences, tables
// that can be sorted, pictures, and for each run what it was and the commands that make it again. problems
// say what is missing from it, those of the options first.
func Page(w io.Writer, runs []record.Run, o PageOptions) (problems []string, err error) {
	if len(runs) == 0 {
		return nil, errors.New("no runs to report")
	}
	d := pageData{March: o.March, Command: o.Command, Made: o.Made.Format("2006-01-02 15:04 MST"), Runs: len(runs)}
	section := func(title, about string, tables ...*Table) {
		s := pageSection{ID: fmt.Sprintf("s%d", len(d.Sections)+1), Title: title, About: about}
		for _, t := range tables {
			s.Tables = append(s.Tables, template.HTML(t.html()))
		}
		d.Sections = append(d.Sections, s)
	}
	files := predictionFiles{} // read once for all tables
	section("Comparison", "A row is a variant, its seeds averaged. A click on a column's title sorts by it.", compareRuns(runs, files))
	verdicts, judged := judgeRuns(runs, VerdictOptions{}, files)
	if judged == nil {
		d.Budgets = verdicts.budgets
		d.Sentences = sentences(verdicts.List)
		for _, text := range verdicts.lost {
			d.Sentences = append(d.Sentences, pageSentence{string(NoVerdict), "Not shown: " + text + "."})
		}
		slices.SortStableFunc(d.Sentences, func(a, b pageSentence) int { return rank(a.Outcome) - rank(b.Outcome) })
		section("Verdicts", "Each variant against the baseline of its budget.", verdicts.Table())
		if like, err := likeHeads(runs, verdicts, false, nil); err == nil {
			section("At equal data, FLOPs and seconds", "The same runs, read where both had spent the same.", like...)
		}
	} else {
		d.NoVerdicts = judged.Error()
	}
	if slices.ContainsFunc(runs, func(r record.Run) bool { return r.Cell.Study == "sharing" }) {
		section("As study sharing prints it", "The study's own figures stand beside; how far they agree is the last table.", likeSharingOf(runs, true, files)...)
	}
	for _, suite := range []string{"blimp", "grammar"} {
		if t, err := breakDown(runs, suite, record.PhenomenonLevel, files); err == nil && len(t.Rows) > 0 {
			section(suiteTitles[suite]+" by phenomenon", "", t)
		}
	}
	for _, p := range o.Pictures {
		var svg bytes.Buffer
		if err := p.SVG(&svg); err != nil {
			return nil, fmt.Errorf("picture %s: %w", p.Name, err)
		}
		text := svg.String()
		text = text[strings.Index(text, "<svg"):] // without the XML declaration, which HTML does not know
		d.Pictures = append(d.Pictures, pagePicture{p.Name, p.Title, p.Caption, template.HTML(text)})
	}
	problems = slices.Clone(o.Problems)
	seen := map[[sha256.Size]byte]string{}
	for i := range runs {
		r, missing := describe(&runs[i], o.Commands, seen)
		problems = append(problems, missing...)
		d.All = append(d.All, r)
	}
	if len(problems) > 0 {
		d.Problems = distinct(problems)
	}
	return d.Problems, page.Execute(w, d)
}

var suiteTitles = map[string]string{"blimp": "BLiMP", "grammar": "March's own minimal pairs"}

type pageData struct {
	March, Command, Made string
	Runs                 int
	Budgets              []string // what the letters in sentences stand for; none where there is one budget
	Sentences            []pageSentence
	NoVerdicts           string
	Sections             []pageSection
	Pictures             []pagePicture
	All                  []pageRun
	Problems             []string
}

type pageSection struct {
	ID, Title, About string
	Tables           []template.HTML
}

type pagePicture struct {
	Name, Title, Caption string
	SVG                  template.HTML
}

type pageRun struct {
	Name, Status, Reason, Path string
	Commands                   []string
	Record, Manifest           string
	SameAs                     string // the run whose manifest is the same but for the seed and the files
}

// rank orders outcomes: what the evidence shows comes first.
func rank(outcome string) int {
	return slices.Index([]string{string(IsBetter), string(IsWorse), string(NoDifference), string(NoVerdict)}, outcome)
}

// html prints a table that a script can sort: each cell has its exact figure.
func (t *Table) html() string {
	var b strings.Builder
	esc := template.HTMLEscapeString
	if t.Title != "" {
		b.WriteString("<h3>" + esc(t.Title) + "</h3>\n")
	}
	if len(t.Rows) == 0 {
		return b.String() + "<p>" + esc(t.Empty) + "</p>\n"
	}
	l := t.layout(style{best: func(s string) string { return "<b>" + esc(s) + "</b>" }, plain: esc})
	b.WriteString("<div class=\"wide\"><table>\n<thead><tr>")
	for _, c := range l.columns {
		class := ""
		if t.Columns[c.of].Numeric() {
			class = ` class="n"`
		}
		fmt.Fprintf(&b, "<th%s title=\"%s\"><button>%s</button></th>", class, esc(c.about), c.title)
	}
	b.WriteString("</tr></thead>\n<tbody>\n")
	for r, row := range l.rows {
		b.WriteString("<tr>")
		for i, text := range row {
			of := l.columns[i].of
			c, x := t.Columns[of], t.Rows[r][of]
			switch {
			case c.Numeric() && x.N > 0 && !math.IsNaN(x.Mean) && !math.IsInf(x.Mean, 0):
				fmt.Fprintf(&b, `<td class="n" data-v="%s">%s</td>`, number(x.Mean), text)
			case c.Numeric():
				fmt.Fprintf(&b, `<td class="n">%s</td>`, text)
			default:
				fmt.Fprintf(&b, "<td>%s</td>", text)
			}
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("</tbody></table></div>\n<details class=\"notes\"><summary>What the columns say, and on what</summary><ul>\n")
	for _, note := range t.footer("Bold:", l) {
		b.WriteString("<li>" + esc(note) + "</li>\n")
	}
	b.WriteString("</ul></details>\n")
	return b.String()
}

// describe is a run's record, its program's manifest, and the commands that make it again. seen names the
// run whose manifest is on the page already, by a digest of all that seeds have in common.
func describe(r *record.Run, commands func(*record.Run) ([]string, error), seen map[[sha256.Size]byte]string) (p pageRun, problems []string) {
	p = pageRun{Name: r.Cell.String(), Status: string(r.Status), Reason: r.Reason, Path: r.Path}
	short := *r
	short.Suites = map[string]record.Suite{}
	for name, s := range r.Suites {
		s.Groups = nil // the tables have them
		short.Suites[name] = s
	}
	if text, err := json.MarshalIndent(short, "", " "); err == nil {
		p.Record = string(text)
	}
	if r.Path == "" {
		return p, nil
	}
	m, err := readManifest(filepath.Join(filepath.Dir(r.Path), "program", manifest.File))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		problems = append(problems, fmt.Sprintf("%s: no manifest in its folder", p.Name))
	case err != nil:
		problems = append(problems, fmt.Sprintf("%s: %v", p.Name, err))
	default:
		p.SameAs = seen[m.common]
		if p.Manifest = m.own; p.SameAs == "" {
			seen[m.common] = p.Name
			p.Manifest = m.condensed
		}
	}
	if commands == nil {
		return p, problems
	}
	if p.Commands, err = commands(r); err != nil {
		problems = append(problems, fmt.Sprintf("%s: how to make it again is not known: %v", p.Name, err))
	}
	return p, problems
}

// manifestText is a manifest as the page shows it.
type manifestText struct {
	condensed string            // without the lists of tensors, which are in the file and in the graphs
	own       string            // what may differ between seeds: the seed, and the files' digests
	common    [sha256.Size]byte // of all the rest, the lists included
}

func readManifest(path string) (x manifestText, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return x, err
	}
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // a seed may have more digits than a float64
	if err := d.Decode(&m); err != nil {
		return x, fmt.Errorf("%s: %w", path, err)
	}
	own, rest := map[string]any{}, map[string]any{}
	for key, value := range m {
		if key == "seed" || key == "files" {
			own[key] = value
		} else {
			rest[key] = value
		}
	}
	text, err := json.Marshal(rest)
	if err != nil {
		return x, err
	}
	x.common = sha256.Sum256(text)
	if text, err = json.MarshalIndent(own, "", " "); err != nil {
		return x, err
	}
	x.own = string(text)
	if list, ok := m["parameters"].([]any); ok {
		m["parameters"] = fmt.Sprintf("%d tensors, listed in the file", len(list))
	}
	delete(m, "teacher")
	if graphs, ok := m["graphs"].(map[string]any); ok {
		for _, g := range graphs {
			if g, ok := g.(map[string]any); ok {
				for _, side := range []string{"inputs", "outputs"} {
					if list, ok := g[side].([]any); ok {
						g[side] = fmt.Sprintf("%d, listed in the file", len(list))
					}
				}
			}
		}
	}
	text, err = json.MarshalIndent(m, "", " ")
	x.condensed = string(text)
	return x, err
}
