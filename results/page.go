package results

import (
	"bytes"
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
)

var (
	//go:embed page.html
	pageHTML string
	page     = template.Must(template.New("page").Parse(pageHTML))
)

// PageOptions say what is known of a page besides its runs.
type PageOptions struct {
	March   string // version that makes the page
	Command string // that made it
	Made    time.Time
	FLOPs   func(variant string) int64 // as for LikeHeads
}

// Page writes a report of runs as one HTML file that needs nothing else: verdicts in sentences, tables
// that can be sorted, pictures, and for each run what it was and the commands that make it again. problems
// say what is missing from it.
func Page(w io.Writer, runs []record.Run, o PageOptions) (problems []string, err error) {
	if len(runs) == 0 {
		return nil, errors.New("no runs to report")
	}
	if o.FLOPs == nil {
		o.FLOPs = func(string) int64 { return 0 }
	}
	d := pageData{March: o.March, Command: o.Command, Made: o.Made.Format("2006-01-02 15:04 MST"), Runs: len(runs)}
	section := func(title, about string, tables ...*Table) {
		s := pageSection{ID: fmt.Sprintf("s%d", len(d.Sections)+1), Title: title, About: about}
		for _, t := range tables {
			s.Tables = append(s.Tables, template.HTML(t.html()))
		}
		d.Sections = append(d.Sections, s)
	}
	section("Comparison", "A row is a variant, its seeds averaged. A click on a column's title sorts by it.", New(runs))
	verdicts, judged := Judge(runs, VerdictOptions{})
	if judged == nil {
		d.Sentences = sentences(verdicts.List)
		slices.SortStableFunc(d.Sentences, func(a, b pageSentence) int { return rank(a.Outcome) - rank(b.Outcome) })
		section("Verdicts", "Each variant against the baseline of its budget.", verdicts.Table())
		if like, err := LikeHeads(runs, false, o.FLOPs); err == nil {
			section("At equal data, FLOPs and seconds", "The same runs, read where both had spent the same.", like...)
		}
	} else {
		d.NoVerdicts = judged.Error()
	}
	if slices.ContainsFunc(runs, func(r record.Run) bool { return r.Cell.Study == "sharing" }) {
		section("As study sharing prints it", "The study's own figures stand beside; how far they agree is the last table.", LikeSharing(runs, true)...)
	}
	for _, suite := range []string{"blimp", "grammar"} {
		if t, err := Breakdown(runs, suite, record.PhenomenonLevel); err == nil && len(t.Rows) > 0 {
			section(suiteTitles[suite]+" by phenomenon", "", t)
		}
	}
	pictures, problems, err := Pictures(runs)
	if err != nil {
		return nil, err
	}
	for _, p := range pictures {
		var svg bytes.Buffer
		if err := p.SVG(&svg); err != nil {
			return nil, fmt.Errorf("picture %s: %w", p.Name, err)
		}
		text := svg.String()
		text = text[strings.Index(text, "<svg"):] // without the XML declaration, which HTML does not know
		d.Pictures = append(d.Pictures, pagePicture{p.Name, p.Title, p.Caption, template.HTML(text)})
	}
	seen := map[string]string{}
	for i := range runs {
		r, missing := describe(&runs[i], seen)
		problems = append(problems, missing...)
		d.All = append(d.All, r)
	}
	d.Problems = distinct(problems)
	if len(problems) == 0 {
		d.Problems = nil
	}
	return d.Problems, page.Execute(w, d)
}

var suiteTitles = map[string]string{"blimp": "BLiMP", "grammar": "March's own minimal pairs"}

type pageData struct {
	March, Command, Made string
	Runs                 int
	Sentences            []pageSentence
	NoVerdicts           string
	Sections             []pageSection
	Pictures             []pagePicture
	All                  []pageRun
	Problems             []string
}

type pageSentence struct{ Outcome, Text string }

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
	SameAs                     string // the run whose program has the same manifest but for the seed
}

// sentences are those of all verdicts; of comparisons without one there is one for each reason.
func sentences(list []Verdict) (out []pageSentence) {
	var reasons []string
	without := map[string]int{}
	for _, x := range list {
		if x.Outcome != NoVerdict {
			out = append(out, pageSentence{string(x.Outcome), x.Sentence()})
			continue
		}
		if without[x.Why]++; without[x.Why] == 1 {
			reasons = append(reasons, x.Why)
		}
	}
	for _, why := range reasons {
		out = append(out, pageSentence{string(NoVerdict), fmt.Sprintf("No verdict on %s with the baseline: %s.", plural(without[why], "comparison", "comparisons"), why)})
	}
	return out
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

// describe is a run's record, its program's manifest, and the commands that make it again. seen holds
// the manifests that are on the page already, by their text without the seed.
func describe(r *record.Run, seen map[string]string) (p pageRun, problems []string) {
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
	dir := filepath.Dir(r.Path)
	manifest, err := condensed(filepath.Join(dir, "program", "manifest.json"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		problems = append(problems, fmt.Sprintf("%s: no manifest in its folder", p.Name))
	case err != nil:
		problems = append(problems, fmt.Sprintf("%s: %v", p.Name, err))
	default:
		key := r.ConfigSHA256 + fmt.Sprint(r.Budget, r.Cell.Target)
		if p.SameAs = seen[key]; p.SameAs == "" || r.ConfigSHA256 == "" {
			seen[key] = p.Name
			p.Manifest, p.SameAs = manifest, ""
		} else {
			p.Manifest = filesOf(manifest)
		}
	}
	if p.Commands, err = commands(r, dir); err != nil {
		problems = append(problems, fmt.Sprintf("%s: how to make it again is not known: %v", p.Name, err))
	}
	return p, problems
}

// condensed is a manifest without the lists of tensors, which are in the file and in the graphs.
func condensed(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
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
	text, err := json.MarshalIndent(m, "", " ")
	return string(text), err
}

// filesOf keeps what differs between seeds: the files' digests.
func filesOf(manifest string) string {
	var m struct {
		Seed  json.RawMessage `json:"seed"`
		Files json.RawMessage `json:"files"`
	}
	if json.Unmarshal([]byte(manifest), &m) != nil {
		return manifest
	}
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return manifest
	}
	return string(text)
}

// commands make a run and its scores again.
func commands(r *record.Run, dir string) ([]string, error) {
	var s struct {
		Variant    string `json:"variant"`
		MicroBatch int    `json:"micro_batch"`
		Threads    int    `json:"threads"`
		Teacher    string `json:"teacher_sha256"`
		Config     struct {
			Training struct {
				Rate float64 `json:"rate"`
			} `json:"training"`
		} `json:"config"`
	}
	data, err := os.ReadFile(filepath.Join(dir, "settings.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "settings.json"), err)
	}
	line := fmt.Sprintf("march train --variant %s --arch %s --scale %s --seed %d --steps %d --tokens-per-step %d --rate %v --batch %d --target %s --device %s --precision %s --threads %d",
		quoted(r.Cell.Study+"/"+s.Variant), r.Cell.Arch, r.Cell.Scale, r.Cell.Seed, r.Budget.Steps, r.Budget.TokensPerStep, s.Config.Training.Rate, s.MicroBatch, r.Cell.Target, r.Cell.Device, r.Cell.Precision, s.Threads)
	var where []string // what the capital words stand for
	if r.Data.Name != embeddedData {
		line += " --data DATA"
		where = append(where, fmt.Sprintf("# DATA: the prepared folder %s (sha256 %s)", clean(r.Data.Name), r.Data.SHA256))
	}
	if s.Teacher != "" {
		line += " --teacher TEACHER"
		where = append(where, "# TEACHER: the run whose parameters have the sha256 "+s.Teacher)
	}
	var suites []string
	var limit int64
	more := ""
	for _, name := range []string{"ppl", "grammar", "blimp", "lambada"} {
		x, ok := r.Suites[name]
		if !ok {
			continue
		}
		suites = append(suites, name)
		limit = max(limit, x.Limit)
		switch name {
		case "blimp":
			more += " --blimp BLIMP"
			where = append(where, "# BLIMP: its folder of jsonl files")
		case "lambada":
			more += " --lambada LAMBADA"
			where = append(where, fmt.Sprintf("# LAMBADA: its file, in the %s form", x.Settings["form"]))
		}
		if x.Settings["quotes"] == "plain" {
			more += " --plain-quotes"
		}
		if x.Settings["sentence length"] != "" && !strings.Contains(more, "--per-token") {
			more += " --per-token"
		}
	}
	if limit > 0 {
		more += fmt.Sprintf(" --limit %d", limit)
	}
	if len(suites) == 0 {
		suites = []string{"none"}
	}
	return append(where, line+" --suite "+strings.Join(suites, ",")+more+" --out again"), nil
}

// embeddedData is the name of the corpus that commands use without --data.
const embeddedData = "grammar"

// quoted makes a word safe for a shell.
func quoted(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./,:@") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
