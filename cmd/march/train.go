package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"march/cmd/internal/sweep"
	"march/results/record"
	"march/trainloop"
	"march/variants"
)

var trainCommand = command{
	name: "train", group: groupTrain,
	short: "train one variant",
	long: "Trains one variant on ONNX Runtime and scores it. The run's folder holds its settings, the program (ONNX files), a line for every step in metrics.jsonl, " +
		"the last checkpoints, predictions and the record run.json.\n\n" +
		"A run that was interrupted goes on with --resume, from its last checkpoint and exactly as if nothing had happened; on an empty folder --resume starts, on a finished run it does nothing.",
	examples: []example{
		{"march train --variant deep_cycle_rev --out runs/deep", "train at scale tiny on the embedded corpus"},
		{"march train --variant deep_cycle_rev --out runs/deep --resume", "go on after Ctrl-C"},
		{"march train --variant distill --teacher runs/sharing/baseline/decoder/seed-1", "learn from the baseline's run"},
		{"march train --variant deep_cycle_rev --init exported/hf --out runs/on", "go on from a model of march export --hf, with a new optimizer"},
		{"march train --variant baseline --set heads=12 --set qkv_dim=8 --data data/stories --steps 2000 --out runs/heads", "another number of heads, text of your own"},
	},
	setup: func(f *pflag.FlagSet) action {
		model := selectFlags(f, "tiny")
		lab := addLabFlags(f, "ppl")
		seed := f.Uint64("seed", 1, "of start values and of the order of the data")
		out := f.String("out", "", "the run's `FOLDER` (default: runs/STUDY/VARIANT/ARCH/seed-SEED)")
		teacher := f.String("teacher", "", "`FOLDER` of the finished run that the variant learns from (distill)")
		start := f.String("init", "", "Hugging Face `FOLDER` whose model training starts from (config.json, model.safetensors), such as march export --hf writes; it must be the variant's")
		batches := f.String("save-batches", "", "write the run's batches, in their order, to a safetensors `FILE`, and its program with the start values to --out (a folder without a run, or with this one), and do not train: for a comparison with another framework")
		resume := f.Bool("resume", false, "go on with the run in the folder")
		override := f.Bool("resume-anyway", false, "go on also where config, data or tokenizer are no longer those that the run was started with; the differences are named")
		diverged := f.String("diverged", "stop", "`POLICY` at a step whose loss or gradient is no number (no such gradient reaches the parameters): stop, or skip it; its batch is saved either way")
		asJSON := jsonFlag(f)
		device := addDeviceFlags(f)
		return func(ctx context.Context, e *env, _ []string) error {
			if err := lab.check(); err != nil {
				return err
			}
			policy, err := trainloop.ParsePolicy(*diverged)
			if err != nil {
				return usagef("--diverged: %w", err)
			}
			v, err := model.one()
			if err != nil {
				return err
			}
			if v, err = lab.budget(f, v); err != nil {
				return err
			}
			if err := checkTeacher(v, *teacher); err != nil {
				return err
			}
			c := sweep.Cell{Variant: v, Seed: *seed, Batch: lab.batch, Dir: *out, Teacher: *teacher, Init: *start}
			if c.Dir == "" {
				c.Dir = sweep.CellDir("runs", v, *seed)
			}
			options, err := device.options()
			if err != nil {
				return err
			}
			p := newProgress(e)
			defer p.clear()
			data := openData(ctx, lab.data, v.Config.Vocab, p.note)
			defer data.close()
			rt, err := lab.open(p.note, options)
			if err != nil {
				return err
			}
			defer rt.Close()
			if *batches != "" {
				lab.names, lab.validate, lab.score = "none", 0, 0 // they need no text but what they are of
			}
			l, err := lab.lab(rt, data, p)
			if err != nil {
				return err
			}
			if *batches != "" {
				n, err := l.SaveBatches(c, *batches)
				if err != nil {
					return fmt.Errorf("--save-batches: %w", err)
				}
				e.logf("%s: %s micro-batches; the program is in %s", *batches, grouped(int64(n)), sweep.ProgramDir(c.Dir))
				return nil
			}
			watch(l, p, func(sweep.Cell) string { return "" })
			var ready time.Duration
			show, before := l.Progress.Step, secondsBefore(c.Dir, *resume || *override)
			l.Progress.Step = func(c sweep.Cell, m trainloop.Metric) {
				// The least of all: a GPU's results come some steps late.
				if at := time.Since(processStart) - time.Duration((m.Seconds-before)*float64(time.Second)); ready == 0 || at < ready {
					ready = at
				}
				show(c, m)
			}
			l.Override, l.Diverged = *override, policy
			r, err := l.TrainAndRecord(ctx, c, *resume || *override)
			if err != nil {
				return stopped(ctx, c.Dir, err)
			}
			p.clear()
			if *asJSON {
				return printJSON(e.stdout, r)
			}
			printRun(e, c.Dir, r, ready)
			return nil
		}
	},
}

// checkTeacher wants --teacher for variants that learn from another, and for no other.
func checkTeacher(v variants.Variant, run string) error {
	t, ok, err := v.Teacher()
	switch {
	case err != nil:
		return usageError{err}
	case ok && run == "":
		return usagef("variant %s learns from %s: wanted --teacher FOLDER, a finished run of that (march train --variant %[2]s --arch %s makes one)", v.FullName(), t.FullName(), t.Config.Arch)
	case !ok && run != "":
		return usagef("--teacher %s: variant %s learns from none (training.distill.teacher is empty)", run, v.FullName())
	}
	return nil
}

// stopped says how an interrupted run goes on.
func stopped(ctx context.Context, dir string, err error) error {
	if ctx.Err() == nil {
		return err
	}
	cause := context.Cause(ctx)
	if !errors.Is(err, cause) && !errors.Is(err, context.Canceled) { // stopping failed, too
		cause = fmt.Errorf("%w; %s", cause, strings.Join(strings.Fields(err.Error()), " "))
	}
	c, e := trainloop.Latest(dir, func(string) {})
	if e != nil || c == nil {
		return fmt.Errorf("stopped before the first checkpoint: %w", cause)
	}
	return fmt.Errorf("stopped; step %d is saved in %s, --resume goes on: %w", c.Step, dir, cause)
}

// secondsBefore is how long a run that goes on was trained before, up to its last checkpoint.
func secondsBefore(dir string, resume bool) float64 {
	if !resume {
		return 0
	}
	c, err := trainloop.Latest(dir, func(string) {})
	if err != nil || c == nil {
		return 0 // training says what is wrong
	}
	steps, err := trainloop.ReadMetrics(dir)
	if err != nil || int64(len(steps)) < c.Step || c.Step == 0 {
		return 0
	}
	return steps[c.Step-1].Seconds
}

// processStart is when this process began, near enough.
var processStart = time.Now()

// printRun shows what a run came to. ready is how long it took from the process's start to the first step; 0 where no step was taken.
func printRun(e *env, dir string, r *record.Run, ready time.Duration) {
	t := r.Training
	fmt.Fprintf(e.stdout, "%s %s at scale %s, seed %d: %s parameters\n", r.Cell.Study+"/"+r.Cell.Name(), r.Cell.Arch, r.Cell.Scale, r.Cell.Seed, short(float64(r.Parameters.Total)))
	fmt.Fprintf(e.stdout, "  training     %s steps, %s tokens in %s (%s tok/s); last loss %.4f\n", grouped(t.Steps), short(float64(t.Tokens)), seconds(t.Seconds), short(t.TokensPerSecond), t.Loss)
	if v := r.Validation; v != nil {
		fmt.Fprintf(e.stdout, "  validation   loss %.4f, perplexity %.2f over %s tokens\n", v.Loss, math.Exp(v.Loss), short(float64(v.Tokens)))
	}
	printScores(e, r)
	fmt.Fprintf(e.stdout, "  folder       %s\n", dir)
	took := "done in " + seconds(time.Since(processStart).Seconds())
	if ready > 0 {
		took += ", " + seconds(ready.Seconds()) + " of it before the first step"
	}
	e.logf("%s", took)
}

// printScores shows the suites' figures, but for perplexity.
func printScores(e *env, r *record.Run) {
	for _, name := range []string{"grammar", "blimp", "lambada"} {
		s, ok := r.Suites[name]
		if !ok {
			continue
		}
		line := ""
		for _, x := range s.Scores {
			if line != "" {
				line += ", "
			}
			if x.Unit == record.ShareUnit {
				line += fmt.Sprintf("%s %.2f %%", x.Name, 100*x.Value)
			} else {
				line += fmt.Sprintf("%s %.4g", x.Name, x.Value)
			}
		}
		fmt.Fprintf(e.stdout, "  %-12s %s (%s items, %d ties)\n", name, line, grouped(s.Items), s.Ties)
	}
}
