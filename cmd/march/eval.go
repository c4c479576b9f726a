package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"march/cmd/internal/sweep"
	"march/evalsuite"
	"march/results/record"
	"march/trainloop"
	"march/trainloop/corpus"
)

var evalCommand = command{
	name: "eval", group: groupTrain,
	short: "score a trained run",
	long: "Scores a run's newest checkpoint, or a program with parameters from a safetensors file, on evaluation suites. Predictions go to the run's folder, and its record gets the scores, so that march table shows them.\n\n" +
		"ppl is the perplexity of the data's validation stream, ppl-test that of its test stream (march data prepare --test-fraction); grammar the embedded minimal pairs and cloze passages; blimp and lambada need local copies of their data. With --data of other text than the run was trained with, ppl and ppl-test are printed and not recorded: the record's are of its own.",
	examples: []example{
		{"march eval --run runs/deep --suite ppl,grammar", "the embedded suites"},
		{"march eval --run runs/deep --data data/stories --blimp blimp/data --lambada lambada_test.jsonl", "BLiMP and LAMBADA"},
		{"march eval --run runs/deep --data data/web --suite ppl,ppl-test", "held-out text of both kinds, once all choices are made"},
		{"march eval --program programs/p --params model.safetensors --suite ppl", "parameters from anywhere"},
	},
	setup: func(f *pflag.FlagSet) action {
		run := f.String("run", "", "`FOLDER` of a run of march train or march bench")
		programDir := f.String("program", "", "`FOLDER` of a program, with --params")
		params := f.String("params", "", "safetensors `FILE` with the program's parameters")
		data := f.String("data", "", "prepared `FOLDER` whose tokenizer and validation text are used (default: the embedded corpus)")
		suites := addSuiteFlags(f, "ppl")
		withinWord := f.Bool("within-word", false, "encoders: score a sentence's token with the later tokens of its word masked too, not alone")
		tokens := f.String("save-tokens", "", "write the token lists that the suites score to a `FILE`, a JSON list a line, and score nothing")
		tf32 := f.Bool("tf32", false, "on a GPU, take matrix products of factors rounded to 10 bits: faster, and scores differ in their fourth digit")
		asJSON := jsonFlag(f)
		device := addDeviceFlags(f)
		return func(ctx context.Context, e *env, _ []string) error {
			if (*run == "") == (*programDir == "") || (*programDir == "") != (*params == "") {
				return usagef("wanted --run FOLDER, or --program FOLDER with --params FILE")
			}
			list, err := suites.suites()
			if err != nil {
				return err
			}
			if len(list) == 0 {
				return usagef("--suite names no suite")
			}
			dir, vocab, settings, err := evalSource(*run, *programDir)
			if err != nil {
				return err
			}
			p := newProgress(e)
			defer p.clear()
			d, name, err := sweep.OpenData(ctx, *data, vocab, func(text string) { p.note("%s", text) })
			if err != nil {
				return fmt.Errorf("--data: %w", err)
			}
			defer d.Close()
			if err := sameTokenizer(settings, d, *data); err != nil {
				return err
			}
			l := &sweep.Lab{March: marchVersion(), Data: d, DataName: name, Suites: list, Options: evalsuite.Options{Limit: suites.limit, PerToken: suites.perToken, WithinWord: *withinWord}}
			if err := l.CheckSuites(); err != nil {
				return err
			}
			if *tokens != "" {
				return saveTokens(e, l, *tokens, dir)
			}
			options, err := device.options()
			if err != nil {
				return err
			}
			options.TF32 = *tf32
			rt, err := openRuntime(e.logf, options)
			if err != nil {
				return err
			}
			defer rt.Close()
			l.Runtime = rt
			watch(l, p, func(sweep.Cell) string { return "" })
			r := &record.Run{}
			if *run != "" {
				r, err = l.AddSuites(ctx, *run)
			} else {
				r, err = l.EvaluateParams(ctx, dir, *params)
			}
			if err != nil {
				return err
			}
			p.clear()
			if *run != "" {
				if names := l.Foreign(*run); len(names) > 0 {
					e.logf("the run was trained with other data (%s): its record keeps its own figures of %s", settings.DataSource, strings.Join(names, " and "))
				}
			}
			if *asJSON {
				return printJSON(e.stdout, r.Suites)
			}
			return printSuites(e, r)
		}
	},
}

// evalSource finds the program to evaluate and what its run was trained on.
func evalSource(run, programDir string) (dir string, vocab int, s *trainloop.Settings, err error) {
	if run == "" {
		vocab, err = sweep.Vocab(programDir)
		return programDir, vocab, nil, err
	}
	settings, err := trainloop.ReadSettings(run)
	if err != nil {
		return "", 0, nil, fmt.Errorf("--run: %w", err)
	}
	dir = sweep.ProgramDir(run)
	vocab, err = sweep.Vocab(dir)
	return dir, vocab, &settings, err
}

// sameTokenizer refuses data whose tokens are not those that the run was trained with.
func sameTokenizer(s *trainloop.Settings, d *corpus.Dataset, flag string) error {
	if s == nil || s.Tokenizer == d.Info().TokenizerSHA256 {
		return nil
	}
	hint := "name it with --data"
	if flag != "" {
		hint = "that is not the data in --data " + flag
	}
	return fmt.Errorf("the run was trained with another tokenizer, that of the data %q; %s", s.DataSource, hint)
}

func saveTokens(e *env, l *sweep.Lab, file, programDir string) error {
	n, err := l.SaveTokens(file, programDir)
	if err != nil {
		return fmt.Errorf("--save-tokens: %w", err)
	}
	e.logf("%s: %s token lists", file, grouped(int64(n)))
	return nil
}

// printSuites shows figures, groups and speed of each suite.
func printSuites(e *env, r *record.Run) error {
	for _, name := range suiteNames {
		s, ok := r.Suites[name]
		if !ok {
			continue
		}
		fmt.Fprintf(e.stdout, "%s: %s items, %d ties", name, grouped(s.Items), s.Ties)
		if s.Limit > 0 {
			fmt.Fprintf(e.stdout, ", the first %d of each paradigm only", s.Limit)
		}
		if s.Truncated > 0 {
			fmt.Fprintf(e.stdout, ", %s cut to the model's length", grouped(s.Truncated))
		}
		fmt.Fprintf(e.stdout, ", %s\n", seconds(s.Seconds))
		for _, x := range s.Scores {
			if x.Unit == record.ShareUnit {
				fmt.Fprintf(e.stdout, "  %-24s %7.2f %%\n", x.Name, 100*x.Value)
			} else {
				fmt.Fprintf(e.stdout, "  %-24s %9.4f %s\n", x.Name, x.Value, x.Unit)
			}
		}
		for _, level := range []string{record.FieldLevel, record.PhenomenonLevel} {
			for _, g := range s.Groups {
				if g.Level == level {
					fmt.Fprintf(e.stdout, "    %-10s %-34s %6.2f %%\n", level, groupTitle(g), 100*g.Accuracy)
				}
			}
		}
		for _, n := range s.Notes {
			fmt.Fprintf(e.stdout, "  %s\n", n)
		}
	}
	return nil
}

func groupTitle(g record.Group) string {
	if g.Title != "" {
		return g.Title
	}
	return g.Name
}
