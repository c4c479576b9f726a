// Package plan holds study plans: stages of variants, each under a budget, where later stages take what earlier ones
// found best. It reads them from YAML, says what they will run and cost, and runs them through a sweep's bench, so that a second
// call does only what is missing. It prints nothing and knows no flags. Start at [Read] and [Plan.Run].
package plan

import (
	"embed"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Plan is a study in stages, which run in their order.
type Plan struct {
	Name, About string
	Scale       string   // empty: the caller's
	By          string   // measure of promotions and conditions that name none
	Seeds       int      // of stages that say nothing of it
	Set         []string // changes of every model, axis=value
	Stages      []Stage

	Text []byte // as it was read
	line map[string]int
}

// Stage is some models under one budget. Its models are variants, or what a promotion takes from earlier stages, or
// both: with Promote.Axes, the variants with the promoted models' values of these axes.
type Stage struct {
	Name, About string
	Variants    []string // names and globs
	Arch        []string // none: each variant's first
	Set         []string
	Match       string // of variants.Matches; empty: nothing is matched
	Seeds       int
	Budget      Budget
	Promote     *Promotion
	When        *Condition
	Optional    bool

	key string // where it stands in the plan: "stages[2]"
}

// Budget is how long a stage trains each of its models. One kind is given: for all scales, or by scale.
type Budget struct {
	Kind    string // of BudgetKinds
	Amounts map[string]float64
}

// BudgetKinds are optimizer steps, tokens trained on, floating-point operations of training, and hours of training on the
// machine at hand.
func BudgetKinds() []string { return []string{"steps", "tokens", "flops", "hours"} }

// allScales is the key of an amount that holds for every scale.
const allScales = ""

// at is the budget at a scale; ok is false where the plan has none.
func (b Budget) at(scale string) (amount float64, ok bool) {
	if amount, ok = b.Amounts[scale]; !ok {
		amount, ok = b.Amounts[allScales]
	}
	return amount, ok
}

// Promotion takes the best models of earlier stages, in each architecture or over all. A study's baseline, with which they
// are compared, is never promoted.
type Promotion struct {
	From  []string // stages under one budget
	By    string   // measure; empty: the plan's
	Top   int      // how many
	After int      // places that are left out before them
	Per   string   // "arch" or "all"
	If    *Comparison
	Axes  []string
}

// ranks tells whether a measure orders the models; a condition alone takes all that meet it.
func (x *Promotion) ranks() bool { return x.Top > 0 || x.After > 0 || x.By != "" }

// Comparison is a condition that a promoted model meets: its figure against the baseline's of the same architecture and
// budget, or against a number.
type Comparison struct {
	Measure  string
	Op       string  // one of < <= > >=
	Baseline bool    // compared with the baseline
	Number   float64 // otherwise
}

// Condition has a stage run, in each architecture by itself, only where the best model of some earlier stages beats that
// of another.
type Condition struct {
	Best  []string
	Beats string
	By    string
}

func (c Comparison) String() string {
	if c.Baseline {
		return c.Measure + " " + c.Op + " baseline"
	}
	return fmt.Sprintf("%s %s %v", c.Measure, c.Op, c.Number)
}

// holds tells whether a figure meets the condition.
func (c Comparison) holds(figure, than float64) bool {
	switch c.Op {
	case "<":
		return figure < than
	case "<=":
		return figure <= than
	case ">":
		return figure > than
	}
	return figure >= than
}

//go:embed plans/*.yaml
var embedded embed.FS

// Names lists the plans that march brings along.
func Names() (names []string) {
	files, err := embedded.ReadDir("plans")
	if err != nil {
		panic(err) // embedded
	}
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".yaml"))
	}
	return names
}

// Embedded gives the text of a plan that march brings along; ok is false where it has none of the name.
func Embedded(name string) (text []byte, ok bool) {
	if !slices.Contains(Names(), name) {
		return nil, false
	}
	text, err := embedded.ReadFile(path.Join("plans", name+".yaml"))
	return text, err == nil
}

// stage finds a stage by its name.
func (p *Plan) stage(name string) *Stage {
	i := slices.IndexFunc(p.Stages, func(s Stage) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &p.Stages[i]
}

// lined is an error about a line of a plan.
type lined struct {
	line int
	err  error
}

func (l *lined) Error() string { return fmt.Sprintf("line %d: %v", l.line, l.err) }

func (l *lined) Unwrap() error { return l.err }

// errorf is an error about a place in the plan, with its line.
func (p *Plan) errorf(key, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	for at := key; at != ""; {
		if n := p.line[at]; n > 0 {
			return &lined{n, err}
		}
		at = at[:max(0, strings.LastIndexAny(at, ".["))]
	}
	return err
}

// about says more of an error, behind its line.
func about(err error, format string, args ...any) error {
	if l := (*lined)(nil); errors.As(err, &l) {
		return &lined{l.line, fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), l.err)}
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}
