package plan

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"march/cmd/internal/sweep"
	"march/graphgen/atomicfile"
	"march/results"
	"march/results/record"
	"march/variants"
)

// FileName is what a study keeps of its decisions, in its folder.
const FileName = "plan.json"

// Study is a plan at a scale, with what the caller changes of it.
type Study struct {
	Plan     *Plan
	Scale    string
	Out      string   // the folder of all stages, each below its name
	Set      []string // changes of every model, behind the plan's
	By       string   // measure in place of the plan's, where a stage names none; empty: the plan's
	Seeds    int      // of every stage, in place of the plan's; 0: the plan's
	Batch    int      // of cells
	Optional bool     // run optional stages, too
	// Change is the last change of a model's training; nil: none.
	Change func(variants.Variant) (variants.Variant, error)
	// Speed measures how many tokens a second a model trains on, for budgets of hours.
	Speed func(context.Context, variants.Variant) (float64, error)

	dirs map[string]string // folders of cells, by what they train
	kept Kept
}

// Kept is the file plan.json: what was measured for budgets of hours, so that a resumed study trains for as many steps, and
// what every stage decided.
type Kept struct {
	Plan   string  `json:"plan"`
	Scale  string  `json:"scale"`
	Hours  []Hours `json:"hours,omitempty"`
	Stages []Step  `json:"stages"`
}

// Hours is a budget of hours in steps. The speed is what was measured; the steps follow from it.
type Hours struct {
	Stage           string  `json:"stage"`
	Variant         string  `json:"variant"`
	Arch            string  `json:"arch"`
	Hours           float64 `json:"hours"`
	TokensPerStep   int     `json:"tokens_per_step"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	Steps           int     `json:"steps"`
}

// steps is how many optimizer steps the hours are at the speed.
func (h Hours) steps() int {
	return int(min(h.Hours*3600*h.TokensPerSecond/float64(h.TokensPerStep), maxSteps+1))
}

// Step is a stage as it is run.
type Step struct {
	Stage   *Stage  `json:"-"`
	Name    string  `json:"stage"`
	Known   bool    `json:"known"`             // its models are decided
	Models  []Model `json:"-"`                 // those that it trains; not yet known: those that it may
	AtMost  int     `json:"cells"`             // how many cells it has, at most where it is not known
	Why     string  `json:"not_run,omitempty"` // it has none
	Ranking []Place `json:"ranking,omitempty"` // of the candidates of its promotion

	Cells      []sweep.Cell `json:"-"` // of a known one
	Unmeasured bool         `json:"-"` // its hours are not steps yet, so its cells have none
	runs       []record.Run // of its cells, once all are finished
}

// Place is a candidate of a promotion.
type Place struct {
	Variant  string   `json:"variant"`
	Arch     string   `json:"arch"`
	Figure   *float64 `json:"figure"` // mean over seeds; null: none, as of a cell that failed
	Promoted bool     `json:"promoted"`

	model Model
}

// measure is what ranks.
func (s *Study) measure(by string) (results.Measure, error) {
	return results.Ranking(cmp.Or(by, s.By, s.Plan.By))
}

func (s *Study) seeds(stage *Stage) int { return cmp.Or(s.Seeds, stage.Seeds, s.Plan.Seeds) }

// Check finds what would stop the study before it starts: variants that there are not, promotions that cannot be, measures
// of suites that are not scored.
func (s *Study) Check(suites []string) error {
	if s.By != "" {
		if _, err := results.Ranking(s.By); err != nil {
			return fmt.Errorf("--by: %w", err)
		}
	}
	for i := range s.Plan.Stages {
		stage := &s.Plan.Stages[i]
		if stage.Optional && !s.Optional {
			continue
		}
		var asked []string
		if x := stage.Promote; x != nil {
			if x.ranks() {
				asked = append(asked, x.By)
			}
			if x.If != nil {
				asked = append(asked, x.If.Measure)
			}
		}
		if stage.When != nil {
			asked = append(asked, stage.When.By)
		}
		for _, by := range asked {
			m, err := s.measure(by)
			if err != nil {
				return err
			}
			if m.Suite != "" && !slices.Contains(suites, m.Suite) {
				return s.Plan.errorf(stage.key, "stage %s ranks by %s, which suite %s gives; scored are %s (--suite, --blimp and --lambada choose suites, --by another measure)", stage.Name, m.Key, m.Suite, cmp.Or(strings.Join(suites, ", "), "none"))
			}
		}
	}
	_, _, err := s.reach()
	return err
}

// First is one of the models, for what all have in common.
func (s *Study) First() (variants.Variant, error) {
	of, _, err := s.reach()
	if err != nil {
		return variants.Variant{}, err
	}
	for i := range s.Plan.Stages {
		if list := of[s.Plan.Stages[i].Name]; len(list) > 0 {
			return s.budgeted(context.Background(), &s.Plan.Stages[i], list[0].Variant, false)
		}
	}
	return variants.Variant{}, errors.New("the plan has no stage to run: all are optional")
}

// Widest is the largest number of cells that a stage may have.
func (s *Study) Widest() (n int, err error) {
	_, atMost, err := s.reach()
	for _, x := range atMost {
		n = max(n, x)
	}
	return n, err
}

// MostSeeds is the largest number of seeds of a stage.
func (s *Study) MostSeeds() (n int) {
	for i := range s.Plan.Stages {
		n = max(n, s.seeds(&s.Plan.Stages[i]))
	}
	return n
}

// Steps says what each stage runs as far as that is decided: finished tells of a cell that has its record.
func (s *Study) Steps(ctx context.Context, finished func(sweep.Cell) *record.Run) ([]*Step, error) {
	if err := s.recall(); err != nil {
		return nil, err
	}
	return s.walk(ctx, false, func(step *Step) (bool, error) {
		for _, c := range step.Cells {
			r := finished(c)
			if r == nil {
				return false, nil
			}
			step.runs = append(step.runs, *r)
		}
		return true, nil
	})
}

// Run runs the stages in their order. It returns the records of all, each once, also beside an error. begin hears of
// each stage before it runs, and of each that does not.
func (s *Study) Run(ctx context.Context, l *sweep.Lab, atOnce int, begin func(*Step), each func(*Step, int, sweep.Cell, *record.Run)) ([]record.Run, error) {
	if err := s.recall(); err != nil {
		return nil, err
	}
	var all []record.Run
	seen := map[string]bool{}
	_, err := s.walk(ctx, true, func(step *Step) (bool, error) {
		s.kept.Stages = append(s.kept.Stages, *step)
		if err := s.keep(); err != nil {
			return false, err
		}
		begin(step)
		if len(step.Cells) == 0 {
			return true, nil
		}
		runs, err := l.Bench(ctx, step.Cells, atOnce, func(i int, c sweep.Cell, r *record.Run) { each(step, i, c, r) })
		for _, r := range runs {
			if !seen[r.Path] {
				seen[r.Path] = true
				all = append(all, r)
			}
		}
		step.runs = runs
		return true, err
	})
	return all, err
}

// walk decides the stages one after the other. Of one that is decided and has cells, done says whether they are finished, and
// fills in their records.
func (s *Study) walk(ctx context.Context, measure bool, done func(*Step) (bool, error)) ([]*Step, error) {
	of, atMost, err := s.reach()
	if err != nil {
		return nil, err
	}
	s.dirs = map[string]string{}
	steps, finished := []*Step{}, map[string]*Step{}
	for i := range s.Plan.Stages {
		stage := &s.Plan.Stages[i]
		step := &Step{Stage: stage, Name: stage.Name, Models: of[stage.Name], AtMost: atMost[stage.Name]}
		steps = append(steps, step)
		if stage.Optional && !s.Optional {
			step.Known, step.Why = true, "optional; --optional runs it"
		} else if err := s.decide(step, finished); err != nil {
			return steps, about(err, "stage %s", stage.Name)
		}
		if !step.Known {
			continue
		}
		if step.Why != "" {
			step.Models, step.AtMost = nil, 0
		} else if err := s.cells(ctx, step, measure); err != nil {
			return steps, about(err, "stage %s", stage.Name)
		}
		if step.Unmeasured {
			continue
		}
		whole, err := done(step)
		if err != nil {
			return steps, err
		}
		if whole {
			finished[stage.Name] = step
		}
	}
	return steps, nil
}

// cells makes the cells of a decided step. One that an earlier stage has already is that one.
func (s *Study) cells(ctx context.Context, step *Step, measure bool) error {
	stage := step.Stage
	var list []variants.Variant
	for _, m := range step.Models {
		list = append(list, m.Variant)
	}
	// Teachers that the plan does not name have cells, but are none of the stage's models: nothing promotes them.
	list, _, err := sweep.WithTeachers(list)
	if err != nil {
		return err
	}
	for i, v := range list {
		if list[i], err = s.budgeted(ctx, stage, v, measure); err != nil {
			return err
		}
		if stage.Budget.Kind == "hours" && !measure {
			amount, _ := stage.Budget.at(s.Scale)
			n, err := s.hours(ctx, stage, v, amount, false)
			if err != nil {
				return err
			}
			step.Unmeasured = step.Unmeasured || n < 0
		}
	}
	step.Cells = sweep.Cells(filepath.Join(s.Out, stage.Name), list, s.seeds(stage), s.Batch)
	step.AtMost = len(step.Cells)
	if step.Unmeasured {
		return nil
	}
	moved := map[string]string{}
	for i := range step.Cells {
		c := &step.Cells[i]
		what, err := json.Marshal(c.Variant.Config)
		if err != nil {
			return err
		}
		key := fmt.Sprintf("%s %s %d %s", c.Variant.FullName(), c.Variant.Scale, c.Seed, what)
		if dir, ok := s.dirs[key]; ok {
			moved[c.Dir], c.Dir = dir, dir
		} else {
			s.dirs[key] = c.Dir
		}
	}
	for i := range step.Cells {
		if dir, ok := moved[step.Cells[i].Teacher]; ok {
			step.Cells[i].Teacher = dir
		}
	}
	return nil
}

// Budgeted is a model with a stage's budget; hours that were not measured yet leave its steps as they are.
func (s *Study) Budgeted(stage *Stage, v variants.Variant) (variants.Variant, error) {
	return s.budgeted(context.Background(), stage, v, false)
}

// Amount is a stage's budget, of its kind, at the study's scale.
func (s *Study) Amount(stage *Stage) float64 {
	amount, _ := stage.Budget.at(s.Scale)
	return amount
}

// Takes says what a stage's promotion takes, and under what condition it runs; empty where its models are given.
func (s *Study) Takes(stage *Stage) string {
	var parts []string
	if x := stage.Promote; x != nil {
		by := cmp.Or(x.By, s.By, s.Plan.By)
		text := fmt.Sprintf("%s of %s by %s", x.places(""), strings.Join(x.From, ", "), by)
		if x.Top == 0 && by == "" {
			text = "all of " + strings.Join(x.From, ", ")
		}
		if x.Per == "arch" {
			text += ", in each architecture"
		}
		if x.If != nil {
			text += ", with " + x.If.String()
		}
		if len(x.Axes) > 0 {
			text = fmt.Sprintf("%s with %s of %s", strings.Join(stage.Variants, ", "), strings.Join(x.Axes, ", "), text)
		} else if len(stage.Variants) > 0 {
			text = strings.Join(stage.Variants, ", ") + ", and " + text
		}
		parts = append(parts, text)
	}
	if w := stage.When; w != nil {
		parts = append(parts, fmt.Sprintf("only where the best of %s beats the best of %s by %s", strings.Join(w.Best, ", "), w.Beats, cmp.Or(w.By, s.By, s.Plan.By)))
	}
	return strings.Join(parts, "; ")
}

// budgeted puts a stage's budget into a model's config. It is no part of a variant's name.
func (s *Study) budgeted(ctx context.Context, stage *Stage, v variants.Variant, measure bool) (variants.Variant, error) {
	var err error
	if s.Change != nil {
		if v, err = s.Change(v); err != nil {
			return v, err
		}
	}
	amount, _ := stage.Budget.at(s.Scale)
	steps, perStep := amount, float64(v.Config.Training.TokensPerStep)
	switch stage.Budget.Kind {
	case "tokens":
		steps = amount / perStep
	case "flops":
		b, err := v.Config.Budget()
		if err != nil {
			return v, err
		}
		steps = amount / perStep / float64(b.TrainingFLOPs)
	case "hours":
		n, err := s.hours(ctx, stage, v, amount, measure)
		if err != nil || n < 0 {
			return v, err
		}
		steps = float64(n)
	}
	if steps < 1 || steps > maxSteps {
		return v, s.Plan.errorf(stage.key+".budget", "%g %s are %.3g steps of %s: wanted 1 to %g", amount, stage.Budget.Kind, steps, v.FullName(), float64(maxSteps))
	}
	if err := v.Config.Set("training.steps", strconv.Itoa(int(steps))); err != nil {
		return v, s.Plan.errorf(stage.key+".budget", "%w", err)
	}
	return v, v.Config.Validate()
}

// maxSteps is what no run has.
const maxSteps = 1e9

// hours is a budget of hours in steps of a model on this machine, whose speed is measured once for a study; −1 before that,
// unless measure has it done.
func (s *Study) hours(ctx context.Context, stage *Stage, v variants.Variant, hours float64, measure bool) (int, error) {
	h := Hours{Stage: stage.Name, Variant: v.FullName(), Arch: v.Config.Arch, Hours: hours, TokensPerStep: v.Config.Training.TokensPerStep}
	i := slices.IndexFunc(s.kept.Hours, func(k Hours) bool {
		return k.Stage == h.Stage && k.Variant == h.Variant && k.Arch == h.Arch && k.Steps > 0
	})
	switch {
	case i >= 0:
		h.TokensPerSecond = s.kept.Hours[i].TokensPerSecond
	case !measure:
		return -1, nil
	default:
		var err error
		if h.TokensPerSecond, err = s.Speed(ctx, v); err != nil {
			return 0, err
		}
	}
	h.Steps = h.steps()
	if !measure || h.Steps < 1 || i >= 0 && s.kept.Hours[i] == h {
		return h.Steps, nil
	}
	if i < 0 {
		s.kept.Hours = append(s.kept.Hours, h)
	} else {
		s.kept.Hours[i] = h
	}
	return h.Steps, s.keep()
}

// recall reads what an earlier call of the same study kept.
func (s *Study) recall() error {
	path := filepath.Join(s.Out, FileName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s.kept)
	}
	if err != nil {
		return fmt.Errorf("%s: %w (a file that march bench --plan writes; without it, budgets of hours are measured anew)", path, err)
	}
	if s.kept.Plan != s.Plan.Name || s.kept.Scale != s.Scale {
		return fmt.Errorf("%s: the folder holds plan %q at scale %s: --out another folder for plan %q at scale %s", s.Out, s.kept.Plan, s.kept.Scale, s.Plan.Name, s.Scale)
	}
	s.kept.Stages = nil
	return nil
}

func (s *Study) keep() error {
	s.kept.Plan, s.kept.Scale = s.Plan.Name, s.Scale
	text, err := json.MarshalIndent(s.kept, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.Out, 0o777); err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(s.Out, FileName), append(text, '\n'))
}
