package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"march/results"
	"march/results/record"
	"march/variants"
)

var tableCommand = command{
	name: "table", operands: "RUN…", group: groupResults,
	short: "compare saved runs in a table",
	long: "Prints the comparison of saved runs: a row for each variant, its seeds averaged, its costs beside its scores. RUN is a folder " +
		"with run.json files at any depth, one such file, or a glob of either. --by breaks one suite's accuracy down in place of that.\n\n" +
		"--like prints the tables as a study did: sharing has a row for each variant and a column for each architecture and step budget, " +
		"heads sets each experiment against the baseline at equal data, FLOPs and seconds.\n\n" +
		"--verdicts says of each variant whether it is better or worse than the baseline or no difference is shown: tests paired by seed, with a variance pooled over all variants, over the suites' items too, corrected for being many. " +
		"Nothing is marked as best, and nothing has a verdict, without several seeds (march bench --seeds), nor a score of items without the predictions beside its runs' records.",
	examples: []example{
		{"march table runs", "everything below runs"},
		{"march table 'runs/sharing/*' --format markdown > table.md", "for a page"},
		{"march table runs --by phenomenon --suite grammar", "where a suite's accuracy comes from"},
		{"march table runs --verdicts", "which differences from the baseline are more than noise"},
		{"march table runs --like sharing --beside-study", "the two tables of study sharing, its own figures beside ours"},
		{"march table runs --like heads --format latex", "each experiment at equal data, FLOPs and seconds"},
		{"march table runs --against deep_cycle_rev --metric valid_loss,seconds", "the same against another variant, by other measures"},
	},
	setup: func(f *pflag.FlagSet) action {
		formatName := f.String("format", "text", "`FORMAT`: "+joined(results.Formats))
		by := f.String("by", "", "break a suite's accuracy down to `LEVEL`: "+joined(results.Levels))
		suite := f.String("suite", "", "the `SUITE` to break down (default: the only one with such parts)")
		verdicts := f.Bool("verdicts", false, "judge each variant against the baseline")
		against := f.String("against", "", "judge against `VARIANT`, as the table names it (default: baseline)")
		metrics := f.StringSlice("metric", nil, "judge by `MEASURES`, joined by commas (default: "+strings.Join(results.DefaultVerdicts, ", ")+")")
		like := f.String("like", "", "print the tables as a `STUDY` did: "+joined(likeStudies))
		beside := f.Bool("beside-study", false, "with --like, the study's own figures too, and how far they agree")
		asJSON := jsonFlag(f)
		return func(_ context.Context, e *env, paths []string) error {
			format, err := results.ParseFormat(*formatName)
			switch {
			case err != nil:
				return usagef("--format: %w", err)
			case *asJSON && f.Changed("format") && format != results.JSON:
				return usagef("--json and --format %s exclude each other", format)
			case *asJSON:
				format = results.JSON
			case *by != "" && !slices.Contains(results.Levels, *by):
				return notOneOf("by", *by, results.Levels)
			case *like != "" && !slices.Contains(likeStudies, *like):
				return notOneOf("like", *like, likeStudies)
			case *like != "" && (*by != "" || *verdicts || *against != "" || *metrics != nil):
				return usagef("--like %s has its own columns: --by, --verdicts, --against and --metric do not go with it", *like)
			case *beside && *like == "":
				return usagef("--beside-study goes with --like STUDY: %s", joined(likeStudies))
			case *by != "" && (*verdicts || *against != "" || *metrics != nil):
				return usagef("--by %s and verdicts exclude each other", *by)
			case *by == "" && *suite != "":
				return usagef("--suite %s goes with --by LEVEL: %s", *suite, joined(results.Levels))
			}
			for _, m := range *metrics {
				if known := results.VerdictMeasures(); !slices.Contains(known, m) {
					return notOneOf("metric", m, known)
				}
			}
			runs, err := loadRuns(paths)
			if err != nil {
				return err
			}
			switch *like {
			case "sharing":
				return results.WriteAll(e.stdout, results.LikeSharing(runs, *beside), format, e.width())
			case "heads":
				tables, err := results.LikeHeads(runs, *beside, headsFLOPs)
				if err != nil {
					return err
				}
				return results.WriteAll(e.stdout, tables, format, e.width())
			}
			if *verdicts || *against != "" || *metrics != nil {
				v, err := results.Judge(runs, results.VerdictOptions{Against: *against, Measures: *metrics})
				if err != nil {
					return err
				}
				return v.Table().Write(e.stdout, format, e.width())
			}
			table := results.New(runs)
			if *by != "" {
				if *suite, err = brokenDown(runs, *suite, *by); err != nil {
					return err
				}
				if table, err = results.Breakdown(runs, *suite, *by); err != nil {
					return err
				}
			}
			return table.Write(e.stdout, format, e.width())
		}
	},
}

// loadRuns reads the records below some paths, of which there must be one.
func loadRuns(paths []string) ([]record.Run, error) {
	runs, err := results.Load(paths...)
	if err == nil && len(runs) == 0 {
		err = fmt.Errorf("no run found in %s: wanted folders with files %s, as march train and march bench leave them", strings.Join(paths, ", "), record.FileName)
	}
	return runs, err
}

// likeStudies are the studies whose tables can be printed.
var likeStudies = []string{"sharing", "heads"}

// headsFLOPs are the training FLOPs a token of an experiment of study heads at the study's size; 0 where
// the catalogue does not have it.
func headsFLOPs(variant string) int64 {
	v, err := variants.Find("heads/"+variant, "paper", variants.EncoderDecoder)
	if err != nil {
		return 0
	}
	b, err := v.Config.Budget()
	if err != nil {
		return 0
	}
	return b.TrainingFLOPs
}

// brokenDown is the suite to break down to a level.
func brokenDown(runs []record.Run, suite, level string) (string, error) {
	found, parts := map[string]bool{}, map[string]bool{}
	for _, r := range runs {
		for name, s := range r.Suites {
			found[name] = true
			if slices.ContainsFunc(s.Groups, func(g record.Group) bool { return g.Level == level }) {
				parts[name] = true
			}
		}
	}
	names := slices.Sorted(maps.Keys(parts))
	switch {
	case suite != "" && !found[suite]:
		all := slices.Sorted(maps.Keys(found))
		return "", fmt.Errorf("--suite %s: no run was scored on it; found %s%s", suite, orNone(all), didYouMean(suite, all, ""))
	case suite != "" && !parts[suite]:
		return "", fmt.Errorf("--suite %s has no figures by %s; %s has", suite, level, orNone(names))
	case suite != "":
		return suite, nil
	case len(names) == 0:
		return "", errors.New("no run was scored on a suite with figures by " + level)
	case len(names) > 1:
		return "", usagef("more than one suite has figures by %s: wanted --suite with one of %s", level, strings.Join(names, ", "))
	}
	return names[0], nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// joined lists names of any string type.
func joined[S ~string](names []S) string {
	words := make([]string, len(names))
	for i, n := range names {
		words[i] = string(n)
	}
	return strings.Join(words, ", ")
}
