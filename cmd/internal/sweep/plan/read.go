package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"march/cmd/internal/sweep"
	"march/results"
	"march/variants"
)

// Read reads a plan and checks what can be checked without a scale: keys, names of stages, measures, numbers. Errors
// carry the line.
func Read(text []byte) (*Plan, error) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			return nil, fmt.Errorf("line %d: not YAML: %s", syntax.GetToken().Position.Line, syntax.GetMessage())
		}
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	p := &Plan{Seeds: 1, Text: text, line: map[string]int{}}
	r := &reader{plan: p}
	switch {
	case len(file.Docs) == 0 || file.Docs[0].Body == nil:
		return nil, errors.New("an empty plan: wanted stages, as march bench --plan sharing --print shows them")
	case len(file.Docs) > 1:
		return nil, fmt.Errorf("line %d: a second document: wanted one plan in a file", lineOf(file.Docs[1].Body))
	}
	r.mapping("", file.Docs[0].Body, fields{
		"plan": r.text(&p.Name), "about": r.text(&p.About), "scale": r.text(&p.Scale), "by": r.text(&p.By),
		"seeds": r.seeds(&p.Seeds), "set": r.texts(&p.Set), "stages": r.stages,
	})
	if r.err == nil {
		r.err = p.check()
	}
	if r.err != nil {
		return nil, r.err
	}
	return p, nil
}

// reader fills a plan from YAML's nodes. The first error stays.
type reader struct {
	plan *Plan
	err  error
}

// field reads one value, which stands at key.
type field func(key string, n ast.Node)

type fields map[string]field

func lineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 0
	}
	return n.GetToken().Position.Line
}

func (r *reader) fail(n ast.Node, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("line %d: %w", lineOf(n), fmt.Errorf(format, args...))
	}
}

// mapping reads a mapping whose keys are known.
func (r *reader) mapping(key string, n ast.Node, known fields) {
	m, ok := n.(ast.MapNode)
	if !ok {
		r.fail(n, "%swanted a mapping with %s", prefixed(key), strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		return
	}
	for i := m.MapRange(); i.Next(); {
		name := i.Key().GetToken().Value
		at := strings.TrimPrefix(key+"."+name, ".")
		read := known[name]
		switch {
		case read == nil:
			r.fail(i.Key(), "%sunknown key %q: wanted one of %s", prefixed(key), name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
			return
		case r.plan.line[at] > 0:
			r.fail(i.Key(), "%s is set twice", at)
			return
		}
		r.plan.line[at] = lineOf(i.Key())
		if _, null := i.Value().(*ast.NullNode); null {
			r.fail(i.Key(), "%s has no value", at)
			return
		}
		read(at, i.Value())
	}
}

func prefixed(key string) string {
	if key == "" {
		return ""
	}
	return key + ": "
}

// scalar is the text of a plain value.
func (r *reader) scalar(key string, n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value
	}
	r.fail(n, "%s: wanted one value", key)
	return ""
}

func (r *reader) text(to *string) field {
	return func(key string, n ast.Node) { *to = strings.TrimSpace(r.scalar(key, n)) }
}

// texts reads a list of values, or one.
func (r *reader) texts(to *[]string) field {
	return func(key string, n ast.Node) {
		list, ok := n.(*ast.SequenceNode)
		if !ok {
			*to = []string{r.scalar(key, n)}
			return
		}
		if len(list.Values) == 0 {
			r.fail(n, "%s: an empty list", key)
		}
		for i, v := range list.Values {
			r.plan.line[fmt.Sprintf("%s[%d]", key, i)] = lineOf(v)
			*to = append(*to, r.scalar(key, v))
		}
	}
}

func (r *reader) yes(to *bool) field {
	return func(key string, n ast.Node) {
		b, ok := n.(*ast.BoolNode)
		if !ok {
			r.fail(n, "%s: wanted true or false", key)
			return
		}
		*to = b.Value
	}
}

// positive reads a whole number from 1 on.
func (r *reader) positive(to *int) field {
	return func(key string, n ast.Node) {
		text := r.scalar(key, n)
		v, err := strconv.Atoi(strings.ReplaceAll(text, "_", ""))
		if err != nil || v < 1 {
			r.fail(n, "%s: found %s, wanted a whole number from 1 on", key, text)
			return
		}
		*to = v
	}
}

// seeds reads a number of seeds.
func (r *reader) seeds(to *int) field {
	return func(key string, n ast.Node) {
		r.positive(to)(key, n)
		if *to > sweep.MaxSeeds {
			r.fail(n, "%s: found %d, wanted %d at most", key, *to, sweep.MaxSeeds)
		}
	}
}

func (r *reader) number(key string, n ast.Node) float64 {
	text := r.scalar(key, n)
	v, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	if err != nil || !(v > 0) || v > 1e30 {
		r.fail(n, "%s: found %s, wanted a number above 0", key, text)
	}
	return v
}

func (r *reader) stages(key string, n ast.Node) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		r.fail(n, "%s: wanted a list of stages, each behind a dash", key)
		return
	}
	for i, v := range list.Values {
		s := Stage{key: fmt.Sprintf("%s[%d]", key, i)}
		r.plan.line[s.key] = lineOf(v)
		r.mapping(s.key, v, fields{
			"name": r.text(&s.Name), "about": r.text(&s.About), "variants": r.texts(&s.Variants), "arch": r.texts(&s.Arch), "set": r.texts(&s.Set),
			"match": r.text(&s.Match), "seeds": r.seeds(&s.Seeds), "optional": r.yes(&s.Optional),
			"budget": func(key string, n ast.Node) { r.budget(key, n, &s.Budget) },
			"promote": func(key string, n ast.Node) {
				s.Promote = &Promotion{Per: "arch"}
				r.promotion(key, n, s.Promote)
			},
			"when": func(key string, n ast.Node) {
				s.When = &Condition{}
				r.mapping(key, n, fields{"best": r.texts(&s.When.Best), "beats": r.text(&s.When.Beats), "by": r.text(&s.When.By)})
			},
		})
		r.plan.Stages = append(r.plan.Stages, s)
	}
}

func (r *reader) budget(key string, n ast.Node, b *Budget) {
	b.Amounts = map[string]float64{}
	amounts := fields{}
	for _, kind := range BudgetKinds() {
		amounts[kind] = func(key string, n ast.Node) {
			if b.Kind != "" {
				r.fail(n, "%s beside %s: wanted one kind of budget", key, b.Kind)
				return
			}
			b.Kind = kind
			if _, byScale := n.(ast.MapNode); !byScale {
				b.Amounts[allScales] = r.number(key, n)
				return
			}
			scales := fields{}
			for _, scale := range variants.Scales() {
				scales[scale] = func(key string, n ast.Node) { b.Amounts[scale] = r.number(key, n) }
			}
			r.mapping(key, n, scales)
		}
	}
	r.mapping(key, n, amounts)
}

func (r *reader) promotion(key string, n ast.Node, p *Promotion) {
	r.mapping(key, n, fields{
		"from": r.texts(&p.From), "by": r.text(&p.By), "top": r.positive(&p.Top), "after": r.positive(&p.After), "per": r.text(&p.Per), "axes": r.texts(&p.Axes),
		"if": func(key string, n ast.Node) {
			words := strings.Fields(r.scalar(key, n))
			c := &Comparison{}
			if len(words) == 3 && slices.Contains([]string{"<", "<=", ">", ">="}, words[1]) {
				c.Measure, c.Op, c.Baseline = words[0], words[1], words[2] == "baseline"
				var err error
				if !c.Baseline {
					c.Number, err = strconv.ParseFloat(words[2], 64)
				}
				if err == nil {
					p.If = c
					return
				}
			}
			r.fail(n, "%s: found %q, wanted a measure, one of < <= > >=, and baseline or a number, such as valid_loss < baseline", key, strings.Join(words, " "))
		},
	})
}

// check finds what no scale and no machine would mend.
func (p *Plan) check() error {
	if p.Name != "" && !isFolder(p.Name) {
		return p.errorf("plan", "plan %q: a plan's name is a folder's, of small letters, digits and -_.", p.Name)
	}
	if p.Scale != "" && !slices.Contains(variants.Scales(), p.Scale) {
		return p.errorf("scale", "scale %s is not one of %s", p.Scale, strings.Join(variants.Scales(), ", "))
	}
	if err := p.checkMeasure("by", p.By); p.By != "" && err != nil {
		return err
	}
	if len(p.Stages) == 0 {
		return p.errorf("stages", "no stages: wanted a list of them, each with name, variants or promote, and budget")
	}
	for i := range p.Stages {
		if err := p.checkStage(&p.Stages[i], p.Stages[:i]); err != nil {
			return err
		}
	}
	return nil
}

// isFolder tells whether a name can be a folder's, inside the one that it is put into.
func isFolder(name string) bool {
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == "" && !strings.HasPrefix(name, ".")
}

func (p *Plan) checkMeasure(key, by string) error {
	if _, err := results.Ranking(by); err != nil {
		return p.errorf(key, "%w", err)
	}
	return nil
}

func (p *Plan) checkStage(s *Stage, before []Stage) error {
	switch {
	case s.Name == "":
		return p.errorf(s.key, "a stage without a name")
	case !isFolder(s.Name):
		return p.errorf(s.key+".name", "stage %q: a stage's name is a folder's, of small letters, digits and -_.", s.Name)
	case slices.ContainsFunc(before, func(b Stage) bool { return b.Name == s.Name }):
		return p.errorf(s.key+".name", "a second stage %s", s.Name)
	case len(s.Variants) == 0 && s.Promote == nil:
		return p.errorf(s.key, "stage %s has neither variants nor promote", s.Name)
	case s.Budget.Kind == "":
		return p.errorf(s.key+".budget", "stage %s has no budget: wanted one of %s", s.Name, strings.Join(BudgetKinds(), ", "))
	case s.Match != "" && !slices.Contains(variants.Matches(), s.Match):
		return p.errorf(s.key+".match", "match %s is not one of %s", s.Match, strings.Join(variants.Matches(), ", "))
	}
	if w := s.When; w != nil {
		if len(w.Best) == 0 || w.Beats == "" {
			return p.errorf(s.key+".when", "when wants best and beats, earlier stages")
		}
		stages := append(slices.Clone(w.Best), w.Beats)
		for _, name := range stages {
			if err := p.earlier(s, before, "when", name); err != nil {
				return err
			}
		}
		if err := p.ranked(s, "when", &w.By); err != nil {
			return err
		}
		if err := p.alike(s, "when", stages); err != nil {
			return err
		}
	}
	if s.Promote != nil {
		return p.checkPromotion(s, before)
	}
	return nil
}

// earlier wants a stage that runs before s.
func (p *Plan) earlier(s *Stage, before []Stage, key, name string) error {
	if slices.ContainsFunc(before, func(b Stage) bool { return b.Name == name }) {
		return nil
	}
	var names []string
	for _, b := range before {
		names = append(names, b.Name)
	}
	if len(names) == 0 {
		return p.errorf(s.key+"."+key, "%s: stage %s has no stage before it", name, s.Name)
	}
	return p.errorf(s.key+"."+key, "%s is no stage before %s: wanted one of %s", name, s.Name, strings.Join(names, ", "))
}

// ranked checks what ranks, which the plan may say for all.
func (p *Plan) ranked(s *Stage, key string, by *string) error {
	if *by == "" {
		if p.By == "" {
			return p.errorf(s.key+"."+key, "%s of stage %s says by which measure neither itself nor at the plan's head: wanted by: one of %s", key, s.Name, strings.Join(results.VerdictMeasures(), ", "))
		}
		return nil
	}
	return p.checkMeasure(s.key+"."+key+".by", *by)
}

// alike wants stages under one budget: figures of different ones do not compare.
func (p *Plan) alike(s *Stage, key string, names []string) error {
	first := p.stage(names[0])
	for _, name := range names[1:] {
		if b := p.stage(name); b.Budget.Kind != first.Budget.Kind || !maps.Equal(b.Budget.Amounts, first.Budget.Amounts) {
			return p.errorf(s.key+"."+key, "stages %s and %s have different budgets, whose figures do not compare", first.Name, name)
		}
	}
	return nil
}

func (p *Plan) checkPromotion(s *Stage, before []Stage) error {
	x := s.Promote
	switch {
	case len(x.From) == 0:
		return p.errorf(s.key+".promote", "promote of stage %s wants from, an earlier stage or a list of them", s.Name)
	case x.Top == 0 && x.If == nil:
		return p.errorf(s.key+".promote", "promote of stage %s wants top, a number, or if, a condition", s.Name)
	case x.Per != "arch" && x.Per != "all":
		return p.errorf(s.key+".promote.per", "per %s is not one of arch, all", x.Per)
	case len(x.Axes) > 0 && len(s.Variants) == 0:
		return p.errorf(s.key+".promote.axes", "axes of promoted models want variants that take them")
	}
	for i, name := range x.From {
		key := "promote.from"
		if p.line[fmt.Sprintf("%s.%s[%d]", s.key, key, i)] > 0 {
			key = fmt.Sprintf("%s[%d]", key, i)
		}
		if err := p.earlier(s, before, key, name); err != nil {
			return err
		}
	}
	if err := p.alike(s, "promote.from", x.From); err != nil {
		return err
	}
	if x.ranks() {
		if err := p.ranked(s, "promote", &x.By); err != nil {
			return err
		}
	}
	if x.If != nil {
		if err := p.checkMeasure(s.key+".promote.if", x.If.Measure); err != nil {
			return err
		}
	}
	var axes []string
	for _, a := range variants.Axes() {
		axes = append(axes, a.Name)
	}
	for i, axis := range x.Axes {
		if !slices.Contains(axes, axis) {
			return p.errorf(fmt.Sprintf("%s.promote.axes[%d]", s.key, i), "unknown axis %q (march list --axes names them all)", axis)
		}
	}
	return nil
}
