package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"march/cmd/internal/sweep"
	"march/cmd/internal/sweep/plan"
	"march/results"
	"march/results/record"
	"march/runtime"
	"march/variants"
)

var benchCommand = command{
	name: "bench", group: groupTrain,
	short: "train and compare variants",
	long: "The main job: generates, trains and evaluates every chosen variant under one budget and prints the comparison. Without flags it compares six variants at scale tiny on the embedded corpus, for fewer steps than the scale has, which takes a few minutes on two cores.\n\n" +
		"Every cell (variant and seed) has a folder of its own below --out. A second call does only what is missing or failed, so an interrupted bench goes on where it stopped; with further suites it scores those and keeps the other scores. A variant that learns from another (distill) does so from that one's cell of the same seed, which is added where it was not asked for.\n\n" +
		"--plan runs a study in stages: a YAML file says each stage's variants, architectures, seeds and budget (steps, tokens, FLOPs or hours), and what is promoted from earlier stages: the best by a measure, or those that meet a condition. --plan sharing is the procedure of study sharing; --print shows it, as an example to write one's own from. A plan's promotions follow from the records, so that a second call goes on where the first stopped.",
	examples: []example{
		{"march bench", "six variants, in minutes"},
		{"march bench --study sharing --out runs/sharing", "all variants of a study, each in its first architecture"},
		{"march bench --at-once 1", "one cell after the other, with all threads"},
		{"march bench --variant 'deep_*' --variant baseline --seeds 3 --out runs/deep", "three seeds of four variants, and which differences are more than noise"},
		{"march bench --plan sharing --scale tiny --by grammar_accuracy --dry-run", "what a plan will run, its FLOPs, and the time on this machine"},
		{"march bench --plan sharing --print", "the plan itself"},
		{"march bench --plan mine.yaml --out runs/mine", "a plan of one's own; again after an interruption"},
		{"march bench --variant baseline --variant baseline+heads=12+qkv_dim=8 --blimp blimp/data --out runs/heads", "with BLiMP from a local folder"},
	},
	setup: func(f *pflag.FlagSet) action {
		model := selectFlags(f, "tiny")
		study := f.String("study", "", "all variants of a `STUDY`")
		plans := addPlanFlags(f)
		dry := f.Bool("dry-run", false, "print what would run, its FLOPs and the time that it is expected to take on this machine, and run nothing but a few steps to measure that")
		seeds := f.Int("seeds", 1, fmt.Sprintf("`NUMBER` of seeds of every variant, 1 to %d", sweep.MaxSeeds))
		lab := addLabFlags(f, "ppl,grammar")
		atOnce := f.Int("at-once", 0, "`CELLS` that run at once, each on its share of the threads (default: one; at scale tiny on a CPU one for every two threads)")
		out := f.String("out", filepath.Join("runs", "bench"), "`FOLDER` of all cells (of a plan: runs/PLAN)")
		format := f.String("format", "text", "`FORMAT` of the table: "+joined(results.Formats))
		device := addDeviceFlags(f)
		return func(ctx context.Context, e *env, _ []string) error {
			if plans.print {
				return plans.show(e)
			}
			if err := lab.check(); err != nil {
				return err
			}
			form, err := results.ParseFormat(*format)
			if err != nil {
				return usagef("--format: %w", err)
			}
			if *atOnce < 0 {
				return usagef("--at-once %d: wanted 1 or more", *atOnce)
			}
			if *seeds < 1 || *seeds > sweep.MaxSeeds {
				return usagef("--seeds %d: wanted 1 to %d", *seeds, sweep.MaxSeeds)
			}
			b := &bench{env: e, dry: *dry, seeds: *seeds, batch: lab.batch, form: form, out: *out}
			if err := b.choose(f, model, lab, plans, *study); err != nil {
				return err
			}
			options, err := device.options()
			if err != nil {
				return err
			}
			p := newProgress(e)
			defer p.clear()
			data := openData(ctx, lab.data, b.vocab, p.note)
			defer data.close()
			rt, err := lab.open(p.note, options)
			if err != nil {
				return err
			}
			defer func() { rt.Close() }()
			if rt.GPU() != "" {
				*atOnce = min(max(1, *atOnce), b.widest)
			} else if *atOnce, options.Threads = shares(*atOnce, options.Threads, b.widest, model.scale); options.Threads != rt.Threads() {
				rt.Close()
				options.Device = rt.Device() // known to be the CPU
				again, err := lab.open(p.note, options)
				if err != nil {
					return err
				}
				rt = again
			}
			l, err := lab.lab(rt, data, p)
			if err != nil {
				return err
			}
			if rt.GPU() != "" && *atOnce > 1 {
				if l.CUDAGraph == "on" {
					return usagef("--cuda-graph on, --at-once %d: recording takes the stream that cells at once share; wanted --at-once 1, or auto", *atOnce)
				}
				l.CUDAGraph = "off" // recording takes the stream that all cells share
			}
			return b.run(ctx, l, *atOnce, p)
		}
	},
}

// bench is a comparison: cells, or a plan's study, which finds its cells as it goes.
type bench struct {
	*env
	dry    bool
	seeds  int // at most, of a variant
	form   results.Format
	out    string
	cells  []sweep.Cell
	study  *plan.Study // nil: cells
	widest int         // cells of one stage, at most
	batch  int         // sequences of a micro-batch; 0: each model's own
	vocab  int
}

// choose finds the cells, or the study, that the flags ask for.
func (b *bench) choose(f *pflag.FlagSet, model *selection, lab *labFlags, plans *planFlags, study string) error {
	if plans.name != "" {
		return b.choosePlan(f, model, lab, plans)
	}
	if err := plans.alone(f); err != nil {
		return err
	}
	list, err := benchVariants(b.env, f, model, lab, study)
	if err != nil {
		return err
	}
	b.cells = sweep.Cells(b.out, list, b.seeds, lab.batch)
	b.widest, b.vocab = len(b.cells), list[0].Config.Vocab
	return nil
}

// run runs what was chosen, or says what that would be, and prints the table.
func (b *bench) run(ctx context.Context, l *sweep.Lab, atOnce int, p *progress) error {
	if b.study != nil {
		b.study.Speed = func(ctx context.Context, v variants.Variant) (float64, error) {
			return measured(ctx, l, v, b.batch, atOnce)
		}
	}
	if b.dry {
		return b.foresee(ctx, l, atOnce, p)
	}
	began := time.Now()
	var runs []record.Run
	var err error
	if b.study != nil {
		runs, err = b.runPlan(ctx, l, atOnce, p)
	} else {
		hear := listen(l, p, "", b.cells)
		runs, err = l.Bench(ctx, b.cells, atOnce, hear)
	}
	if err != nil {
		if ctx.Err() != nil {
			of := ""
			if b.study == nil {
				of = fmt.Sprintf(" of %d", len(b.cells))
			}
			return fmt.Errorf("stopped after %d%s cells; the same command goes on: %w", len(runs), of, context.Cause(ctx))
		}
		return err
	}
	p.clear()
	b.logf("%s in %s; records in %s", counted(len(runs), "cell"), seconds(time.Since(began).Seconds()), b.out)
	if err := results.New(runs).Write(b.stdout, b.form, b.width()); err != nil {
		return err
	}
	if err := judge(b.env, runs, b.seeds, b.form); err != nil {
		return err
	}
	return failures(runs)
}

// listen has progress tell of cells, by their places among each other, and gives what is to hear of those that end.
func listen(l *sweep.Lab, p *progress, stage string, cells []sweep.Cell) func(int, sweep.Cell, *record.Run) {
	at := map[string]int{}
	for i, c := range cells {
		at[c.Dir] = i + 1
	}
	place := func(c sweep.Cell) string { return fmt.Sprintf("[%s%d/%d] ", stage, at[c.Dir], len(cells)) }
	watch(l, p, place)
	return func(_ int, c sweep.Cell, r *record.Run) {
		p.ended(c.Dir)
		p.note("%s%s: %s", place(c), c, outcome(r))
	}
}

// judge prints verdicts below the table of several seeds, where the format has room for a second
// table and the runs have a baseline.
func judge(e *env, runs []record.Run, seeds int, form results.Format) error {
	if seeds < 2 || form != results.Text && form != results.Markdown {
		return nil
	}
	v, err := results.Judge(runs, results.VerdictOptions{})
	if err != nil {
		e.logf("no verdicts: %v", err)
		return nil
	}
	fmt.Fprintln(e.stdout)
	return v.Table().Write(e.stdout, form, e.width())
}

// shares says how many cells run at once and how many threads each has. Models of scale
// tiny have two each: as a step of theirs has few parts, more threads gain little.
func shares(atOnce, threads, cells int, scale string) (int, int) {
	if threads == 0 {
		threads = runtime.DefaultThreads()
	}
	if atOnce == 0 {
		atOnce = 1
		if scale == "tiny" {
			atOnce = max(1, threads/2)
		}
	}
	atOnce = min(atOnce, cells)
	return atOnce, max(1, threads/atOnce)
}

// benchVariants are the variants that the flags choose, with the flags' budget.
func benchVariants(e *env, f *pflag.FlagSet, model *selection, lab *labFlags, study string) ([]variants.Variant, error) {
	if study != "" {
		if !slices.Contains(variants.Studies(), study) {
			return nil, usagef("--study %q is not one of %s%s", study, abridge(variants.Studies(), 9), didYouMean(study, variants.Studies(), ""))
		}
		model.patterns = append([]string{study + "/*"}, model.patterns...)
	}
	if model.empty() {
		model.patterns = sweep.DefaultBench()
		if model.scale == "tiny" && lab.data == "" && !f.Changed("steps") {
			if err := f.Set("steps", strconv.Itoa(sweep.DefaultSteps)); err != nil {
				return nil, err
			}
		}
	}
	list, err := model.models()
	if err != nil {
		return nil, err
	}
	list, added, err := sweep.WithTeachers(list)
	if err != nil {
		return nil, usageError{err}
	}
	for _, t := range added {
		e.logf("%s (%s) is added: another variant learns from it", t.FullName(), t.Config.Arch)
	}
	for i := range list {
		if list[i], err = lab.budget(f, list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// outcome is a cell's record in one line.
func outcome(r *record.Run) string {
	if r.Status != record.Done {
		return fmt.Sprintf("%s: %s", r.Status, r.Reason)
	}
	text := fmt.Sprintf("loss %.4f", r.Training.Loss)
	if r.Validation != nil {
		text = fmt.Sprintf("validation loss %.4f", r.Validation.Loss)
	}
	return fmt.Sprintf("%s, trained in %s", text, seconds(r.Training.Seconds))
}

// failures turns failed cells into an error, behind the table that shows them.
func failures(runs []record.Run) error {
	n := 0
	for _, r := range runs {
		if r.Status == record.Failed {
			n++
		}
	}
	if n > 0 {
		return fmt.Errorf("%d of %d cells failed; the table says why", n, len(runs))
	}
	return nil
}
