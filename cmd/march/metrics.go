package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"march/graphgen/atomicfile"
	"march/results"
	"march/results/events"
	"march/results/record"
	"march/trainloop"
)

var metricsFormats = []string{"csv", "jsonl"}

var metricsCommand = command{
	name: "metrics", operands: "RUN…", group: groupResults,
	short: "every step of saved runs, for other tools",
	long: "Prints what every training step of runs showed: loss, learning rate, gradient norm, tokens and seconds so far, and validation losses and scores where there were any. RUN is a folder with runs at any depth, finished or not, or a glob of such. " +
		"--tensorboard writes event files in place of that, one folder a run, with the run's scores at its last step; a second call brings them up to date.",
	examples: []example{
		{"march metrics runs > steps.csv", "a line for each step of each run"},
		{"march metrics runs/deep --format jsonl", "as JSON objects"},
		{"march metrics runs --tensorboard logs", "for TensorBoard, which tensorboard --logdir logs shows"},
	},
	setup: func(f *pflag.FlagSet) action {
		format := f.String("format", "csv", "`FORMAT`: "+joined(metricsFormats))
		board := f.String("tensorboard", "", "`FOLDER` for TensorBoard's event files")
		return func(_ context.Context, e *env, paths []string) error {
			switch {
			case !slices.Contains(metricsFormats, *format):
				return notOneOf("format", *format, metricsFormats)
			case *board != "" && f.Changed("format"):
				return usagef("--tensorboard and --format %s exclude each other", *format)
			}
			runs, err := findSteps(paths)
			if err != nil {
				return err
			}
			switch {
			case *board != "":
				for _, r := range runs {
					if err := r.events(filepath.Join(*board, r.name)); err != nil {
						return fmt.Errorf("--tensorboard: %w", plain(err))
					}
				}
				e.logf("%s in %s", plural(len(runs), "run"), *board)
				return nil
			case *format == "jsonl":
				return stepsJSON(e.stdout, runs)
			}
			return stepsCSV(e.stdout, runs)
		}
	},
}

// steps are those of one run.
type steps struct {
	dir, name string // name: below what the user named
	list      []trainloop.Metric
}

// findSteps reads the steps of all runs that paths lead to, each once. Where several lead to runs, a run's
// name begins with its path's.
func findSteps(paths []string) (runs []steps, err error) {
	files, err := results.Files(trainloop.MetricsFile, paths...)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if filepath.Base(file.Path) != trainloop.MetricsFile {
			continue // another file, named or matched by a glob
		}
		dir := filepath.Dir(file.Path)
		list, err := trainloop.ReadMetrics(dir)
		if err != nil {
			return nil, err
		}
		name, err := filepath.Rel(file.Root, dir)
		switch several := len(paths) > 1 || file.Root != paths[0]; {
		case err != nil || name == "." || file.Path == file.Root:
			name = baseOf(dir)
		case several:
			name = filepath.Join(baseOf(file.Root), name)
		}
		for unique, n := name, 2; ; n++ {
			if !slices.ContainsFunc(runs, func(r steps) bool { return r.name == unique }) {
				name = unique
				break
			}
			unique = fmt.Sprintf("%s-%d", name, n)
		}
		runs = append(runs, steps{dir, name, list})
	}
	if len(runs) == 0 {
		return nil, fmt.Errorf("no run found: wanted folders with files %s, as march train and march bench leave them", trainloop.MetricsFile)
	}
	return runs, nil
}

// baseOf is a folder's own name, also of ".".
func baseOf(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return filepath.Base(dir)
}

// namesIn are the names of what some steps of some runs have beside what all have.
func namesIn(runs []steps, of func(trainloop.Metric) map[string]float64) []string {
	names := map[string]bool{}
	for _, r := range runs {
		for _, m := range r.list {
			for name := range of(m) {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func stepsCSV(w io.Writer, runs []steps) error {
	out := csv.NewWriter(w)
	sums := namesIn(runs, func(m trainloop.Metric) map[string]float64 { return m.PerLabel })
	scores := namesIn(runs, func(m trainloop.Metric) map[string]float64 { return m.Scores })
	out.Write(append([]string{"run", "step", "tokens", "seconds", "loss", "valid_loss", "lr", "grad_norm", "sparsity"}, slices.Concat(sums, scores)...)) // errors stick
	number := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
	for _, r := range runs {
		for _, m := range r.list {
			valid := ""
			if m.Valid != nil {
				valid = number(*m.Valid)
			}
			row := []string{filepath.ToSlash(r.name), strconv.FormatInt(m.Step, 10), strconv.FormatInt(m.Tokens, 10), number(m.Seconds), number(m.Loss), valid, number(m.Rate), number(m.GradNorm), number(m.Sparsity)}
			further := func(names []string, of map[string]float64) {
				for _, name := range names {
					text := ""
					if x, ok := of[name]; ok {
						text = number(x)
					}
					row = append(row, text)
				}
			}
			further(sums, m.PerLabel)
			further(scores, m.Scores)
			out.Write(row)
		}
	}
	out.Flush()
	return out.Error()
}

func stepsJSON(w io.Writer, runs []steps) error {
	for _, r := range runs {
		name, err := json.Marshal(filepath.ToSlash(r.name))
		if err != nil {
			return err
		}
		for _, m := range r.list {
			b, err := json.Marshal(m) // an object with at least a step
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "{\"run\":%s,%s\n", name, b[1:]); err != nil {
				return err
			}
		}
	}
	return nil
}

// events writes a run's steps and scores for TensorBoard. Times are those of the steps if the run went
// through without a break and ended when its file was written last.
func (r steps) events(dir string) error {
	info, err := os.Stat(filepath.Join(r.dir, trainloop.MetricsFile))
	if err != nil {
		return err
	}
	began := info.ModTime()
	if n := len(r.list); n > 0 {
		began = began.Add(-seconds64(r.list[n-1].Seconds))
	}
	var b bytes.Buffer
	w, err := events.NewWriter(&b, began)
	if err != nil {
		return err
	}
	last := int64(0)
	for _, m := range r.list {
		list := []events.Scalar{{Name: "loss/train", Value: m.Loss}, {Name: "learning_rate", Value: m.Rate}, {Name: "gradient_norm", Value: m.GradNorm}, {Name: "tokens", Value: float64(m.Tokens)}}
		if m.Valid != nil {
			list = append(list, events.Scalar{Name: "loss/validation", Value: *m.Valid})
		}
		if m.Sparsity > 0 {
			list = append(list, events.Scalar{Name: "sparsity", Value: m.Sparsity})
		}
		for _, name := range slices.Sorted(maps.Keys(m.PerLabel)) {
			list = append(list, events.Scalar{Name: "per_label/" + name, Value: m.PerLabel[name]})
		}
		for _, name := range slices.Sorted(maps.Keys(m.Scores)) {
			list = append(list, events.Scalar{Name: "score/" + name, Value: m.Scores[name]})
		}
		if err := w.Write(began.Add(seconds64(m.Seconds)), m.Step, list...); err != nil {
			return err
		}
		last = m.Step
	}
	scores, err := finalScores(r.dir)
	if err != nil {
		return err
	}
	if len(scores) > 0 {
		if err := w.Write(info.ModTime(), last, scores...); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, events.FileName), b.Bytes())
}

// finalScores are a finished run's scores; there are none of another.
func finalScores(dir string) (list []events.Scalar, err error) {
	r, err := record.ReadFile(filepath.Join(dir, record.FileName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for suite, s := range r.Suites {
		for _, x := range s.Scores {
			list = append(list, events.Scalar{Name: "score/" + suite + "/" + x.Name, Value: x.Value})
		}
	}
	slices.SortFunc(list, func(a, b events.Scalar) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

func seconds64(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
