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
	"march/results"
	"march/results/record"
	"march/runtime"
	"march/variants"
)

var benchCommand = command{
	name: "bench", group: groupTrain,
	short: "train and compare variants",
	long: "The main job: generates, trains and evaluates every chosen variant under one budget and prints the comparison. Without flags it compares six variants at scale tiny on the embedded corpus, for fewer steps than the scale has, which takes a few minutes on two cores.\n\n" +
		"Every cell (variant and seed) has a folder of its own below --out. A second call does only what is missing or failed, so an interrupted bench goes on where it stopped. A variant that learns from another (distill) does so from that one's cell of the same seed, which is added where it was not asked for.",
	examples: []example{
		{"march bench", "six variants, in minutes"},
		{"march bench --study sharing --out runs/sharing", "all variants of a study, each in its first architecture"},
		{"march bench --at-once 1", "one cell after the other, with all threads"},
		{"march bench --variant 'deep_*' --variant baseline --seeds 3 --out runs/deep", "three seeds of four variants, and which differences are more than noise"},
		{"march bench --variant baseline --variant baseline+heads=12+qkv_dim=8 --blimp blimp/data --out runs/heads", "with BLiMP from a local folder"},
	},
	setup: func(f *pflag.FlagSet) action {
		model := selectFlags(f, "tiny")
		study := f.String("study", "", "all variants of a `STUDY`")
		seeds := f.Int("seeds", 1, "`NUMBER` of seeds of every variant, from 1 on")
		lab := addLabFlags(f, "ppl,grammar")
		atOnce := f.Int("at-once", 0, "`CELLS` that run at once, each on its share of the threads (default: one; at scale tiny on a CPU one for each thread)")
		out := f.String("out", filepath.Join("runs", "bench"), "`FOLDER` of all cells")
		format := f.String("format", "text", "`FORMAT` of the table: "+joined(results.Formats))
		device := addDeviceFlags(f)
		return func(ctx context.Context, e *env, _ []string) error {
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
			if *seeds < 1 {
				return usagef("--seeds %d: wanted 1 or more", *seeds)
			}
			list, err := benchVariants(e, f, model, lab, *study)
			if err != nil {
				return err
			}
			options, err := device.options()
			if err != nil {
				return err
			}
			cells := sweep.Cells(*out, list, *seeds, lab.batch)
			rt, err := lab.open(e, options)
			if err != nil {
				return err
			}
			defer func() { rt.Close() }()
			if rt.GPU() != "" {
				*atOnce = min(max(1, *atOnce), len(cells))
			} else if *atOnce, options.Threads = shares(*atOnce, options.Threads, len(cells), model.scale); options.Threads != rt.Threads() {
				rt.Close()
				options.Device = rt.Device() // known to be the CPU
				again, err := lab.open(e, options)
				if err != nil {
					return err
				}
				rt = again
			}
			p := newProgress(e)
			defer p.clear()
			l, err := lab.lab(ctx, rt, list[0].Config.Vocab, p)
			if err != nil {
				return err
			}
			defer l.Data.Close()
			at := map[string]int{}
			for i, c := range cells {
				at[c.Dir] = i + 1
			}
			if rt.GPU() != "" && *atOnce > 1 {
				l.CUDAGraph = "off" // recording takes the stream that all cells share
			}
			watch(l, p, func(c sweep.Cell) string { return fmt.Sprintf("[%d/%d] ", at[c.Dir], len(cells)) })
			began := time.Now()
			runs, err := l.Bench(ctx, cells, *atOnce, func(i int, c sweep.Cell, r *record.Run) {
				p.ended(c.Dir)
				p.note("[%d/%d] %s: %s", i+1, len(cells), c, outcome(r))
			})
			if err != nil {
				if ctx.Err() != nil {
					return fmt.Errorf("stopped after %d of %d cells; the same command goes on: %w", len(runs), len(cells), context.Cause(ctx))
				}
				return err
			}
			p.clear()
			e.logf("%d cells in %s; records in %s", len(cells), seconds(time.Since(began).Seconds()), *out)
			if err := results.New(runs).Write(e.stdout, form, e.width()); err != nil {
				return err
			}
			if err := judge(e, runs, *seeds, form); err != nil {
				return err
			}
			return failures(runs)
		}
	},
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
// tiny gain little from a second thread, so there each cell has one.
func shares(atOnce, threads, cells int, scale string) (int, int) {
	if threads == 0 {
		threads = runtime.DefaultThreads()
	}
	if atOnce == 0 {
		atOnce = 1
		if scale == "tiny" {
			atOnce = threads
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
