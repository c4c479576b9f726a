package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"march/cmd/internal/sweep"
	"march/evalsuite"
	"march/graphgen"
	"march/runtime"
	"march/trainloop"
	"march/trainloop/corpus"
	"march/variants"
)

// labFlags are the flags of commands that train.
type labFlags struct {
	*suiteFlags
	*arithmeticFlags
	*memoryFlags
	cudaGraph *string
	data      string
	steps     int
	tokens    int
	rate      float64
	batch     int
	target    string
	validate  int64
	save      int64
	score     int64
}

func addLabFlags(f *pflag.FlagSet, suites string) *labFlags {
	l := &labFlags{}
	f.StringVar(&l.data, "data", "", "prepared `FOLDER` of march data prepare (default: the embedded corpus)")
	f.IntVar(&l.steps, "steps", 0, "optimizer `STEPS` (default: the scale's)")
	f.IntVar(&l.tokens, "tokens-per-step", 0, "`TOKENS` of an optimizer step (default: the scale's)")
	f.Float64Var(&l.rate, "rate", 0, "peak learning `RATE` (default: the scale's)")
	f.IntVar(&l.batch, "batch", 0, "`SEQUENCES` of a micro-batch (default: as many as a step has, up to 16,384 tokens; on a CPU cut into parts of 64 tokens or more that run at once, a thread or more each. A run that goes on keeps its own)")
	f.StringVar(&l.target, "target", autoTarget, "`OPERATORS` of the graphs: "+autoTarget+", "+joined(graphgen.Targets())+"; auto is fused, but ort on a GPU that march's kernels do not run on")
	f.Int64Var(&l.validate, "validate-every", 0, "`STEPS` between validations; the checkpoint with the lowest loss is kept, as --checkpoint best (default: none in training)")
	f.Int64Var(&l.score, "eval-every", 0, "`STEPS` between scores on the suites (but ppl, which --validate-every is for, and ppl-test), as learning curves show them (default: scores at the end only)")
	f.Int64Var(&l.save, "save-every", 0, "`STEPS` between checkpoints, of which the last two are kept (default: a tenth of the run, or more where that would take over a twentieth of the time)")
	l.arithmeticFlags = addArithmeticFlags(f)
	l.memoryFlags = addMemoryFlags(f)
	l.cudaGraph = addCUDAGraphFlag(f)
	l.suiteFlags = addSuiteFlags(f, suites)
	return l
}

// budget puts the flags' budget into a model's config. It is no part of a variant's name.
func (l *labFlags) budget(f *pflag.FlagSet, v variants.Variant) (variants.Variant, error) {
	for flag, axis := range map[string]string{"steps": "training.steps", "tokens-per-step": "training.tokens_per_step", "rate": "training.rate"} {
		if !f.Changed(flag) {
			continue
		}
		if err := v.Config.Set(axis, f.Lookup(flag).Value.String()); err != nil {
			return v, usagef("--%s: %w", flag, err)
		}
	}
	return v, nil
}

// check refuses values that no run can have.
func (l *labFlags) check() error {
	if l.target != autoTarget {
		if _, err := graphgen.ParseTarget(l.target); err != nil {
			return usagef("--target: %w, nor %s", err, autoTarget)
		}
	}
	if err := l.arithmeticFlags.check(); err != nil {
		return err
	}
	if err := l.memoryFlags.check(); err != nil {
		return err
	}
	if err := checkCUDAGraph(*l.cudaGraph); err != nil {
		return err
	}
	for name, v := range map[string]int64{"batch": int64(l.batch), "validate-every": l.validate, "save-every": l.save, "eval-every": l.score} {
		if v < 0 {
			return usagef("--%s %d: wanted 1 or more", name, v)
		}
	}
	return nil
}

// suites are those that the flags ask for. --eval-every is refused where none of them is scored in training.
func (l *labFlags) suites() ([]sweep.Suite, error) {
	list, err := l.suiteFlags.suites()
	if err == nil && l.score > 0 && !slices.ContainsFunc(list, func(s sweep.Suite) bool { _, ppl := s.(sweep.Perplexity); return !ppl }) {
		err = usagef("--eval-every %d: wanted a suite beside ppl and ppl-test, such as --suite ppl,grammar (--validate-every is for ppl)", l.score)
	}
	return list, err
}

// autoTarget leaves the choice of operators to the device.
const autoTarget = "auto"

// targetOn is the target of runs on a device. Where a GPU lacks what march's own kernels need, it says so.
func targetOn(rt *runtime.Runtime, target string, note notes) (graphgen.Target, error) {
	switch {
	case target == string(graphgen.Fused):
		if err := rt.Kernels(); err != nil {
			return "", fmt.Errorf("--target %s: %w", target, err)
		}
	case target != autoTarget:
	default:
		if err := rt.Kernels(); err != nil {
			note("stock operators only: %v", err)
			return graphgen.ORT, nil
		}
		return graphgen.Fused, nil
	}
	return graphgen.Target(target), nil
}

// notes takes messages on stderr.
type notes func(format string, args ...any)

// opening is a prepared folder that is being opened, and so read through, while ONNX Runtime and a GPU start.
type opening struct {
	stop context.CancelFunc
	done chan struct{}
	data *corpus.Dataset
	name string
	err  error
}

// openData begins to open a folder, or the embedded corpus. The caller closes it.
func openData(ctx context.Context, folder string, vocab int, note notes) *opening {
	ctx, stop := context.WithCancel(ctx)
	o := &opening{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		o.err = guarded(func() (err error) {
			o.data, o.name, err = sweep.OpenData(ctx, folder, vocab, func(text string) { note("%s", text) })
			return err
		})
	}()
	return o
}

// close also ends what is not done yet.
func (o *opening) close() {
	o.stop()
	if <-o.done; o.err == nil {
		o.data.Close()
	}
}

// lab puts together what a comparison needs.
func (l *labFlags) lab(rt *runtime.Runtime, data *opening, p *progress) (*sweep.Lab, error) {
	suites, err := l.suites()
	if err != nil {
		return nil, err
	}
	if err := checkRecorded(rt, *l.cudaGraph); err != nil {
		return nil, err
	}
	target, err := targetOn(rt, l.target, p.note)
	if err != nil {
		return nil, err
	}
	if <-data.done; data.err != nil {
		return nil, fmt.Errorf("--data: %w", data.err)
	}
	x := &sweep.Lab{
		Runtime: rt, Hardware: rt.Hardware(), March: marchVersion(), Target: target, Precision: l.precision, Recompute: l.recompute, LossChunks: l.lossChunks, CUDAGraph: *l.cudaGraph, Data: data.data, DataName: data.name,
		Suites: suites, Options: evalsuite.Options{Limit: l.limit, PerToken: l.perToken}, SaveEvery: l.save, ValidateEvery: l.validate, ScoreEvery: l.score,
	}
	if err := x.CheckSuites(); err != nil {
		return nil, err
	}
	return x, nil
}

// suiteNames are the suites, in the order in which they are printed.
var suiteNames = []string{"ppl", "ppl-test", "grammar", "blimp", "lambada"}

// suiteFlags say what a model is scored on.
type suiteFlags struct {
	names       string
	blimp       string
	lambada     string
	plainQuotes bool
	limit       int
	perToken    bool
}

func addSuiteFlags(f *pflag.FlagSet, suites string) *suiteFlags {
	s := &suiteFlags{}
	f.StringVar(&s.names, "suite", suites, "`SUITES` to score on, joined by commas: "+strings.Join(suiteNames, ", ")+", or none")
	f.StringVar(&s.blimp, "blimp", "", "BLiMP's `FOLDER` of jsonl files; adds the suite")
	f.StringVar(&s.lambada, "lambada", "", "LAMBADA's `FILE`, jsonl or plain text; adds the suite")
	f.BoolVar(&s.plainQuotes, "plain-quotes", false, "turn LAMBADA's typographic quotes and dashes into ASCII first, for models that never saw others")
	f.IntVar(&s.limit, "limit", 0, "`ITEMS` of each paradigm (default: all)")
	f.BoolVar(&s.perToken, "per-token", false, "divide the score of each sentence of a minimal pair by its number of tokens")
	return s
}

// suites makes the suites that the flags ask for.
func (s *suiteFlags) suites() ([]sweep.Suite, error) {
	if s.limit < 0 {
		return nil, usagef("--limit %d: wanted 1 or more", s.limit)
	}
	var list []sweep.Suite
	names := strings.Split(s.names, ",")
	if s.names == "none" || s.names == "" {
		names = nil
	}
	if s.blimp != "" && !slices.Contains(names, "blimp") {
		names = append(names, "blimp")
	}
	if s.lambada != "" && !slices.Contains(names, "lambada") {
		names = append(names, "lambada")
	}
	for _, name := range names {
		switch name {
		case "ppl":
			list = append(list, sweep.Perplexity{})
		case "ppl-test":
			list = append(list, sweep.Perplexity{Test: true})
		case "grammar":
			g, err := evalsuite.NewGrammar()
			if err != nil {
				return nil, err
			}
			list = append(list, sweep.ReadySuite{Suite: g})
		case "blimp":
			if s.blimp == "" {
				return nil, usagef("--suite blimp needs --blimp FOLDER")
			}
			b, err := evalsuite.NewBLiMP(s.blimp)
			if err != nil {
				return nil, fmt.Errorf("--blimp: %w", err)
			}
			list = append(list, sweep.ReadySuite{Suite: b})
		case "lambada":
			if s.lambada == "" {
				return nil, usagef("--suite lambada needs --lambada FILE")
			}
			x, err := evalsuite.NewLAMBADA(s.lambada, evalsuite.LAMBADAOptions{PlainQuotes: s.plainQuotes})
			if err != nil {
				return nil, fmt.Errorf("--lambada: %w", err)
			}
			list = append(list, sweep.ReadySuite{Suite: x})
		default:
			return nil, notOneOf("suite", name, suiteNames)
		}
	}
	return list, nil
}

// watch tells progress what a lab does.
func watch(l *sweep.Lab, p *progress, position func(sweep.Cell) string) {
	l.Progress = sweep.Progress{
		Step: func(c sweep.Cell, m trainloop.Metric) {
			if m.Valid != nil {
				p.note("%s%s  step %d: validation loss %.4f", position(c), c.Variant.Name(), m.Step, *m.Valid)
			}
			p.show(c.Dir, func() string {
				left := float64(int64(c.Variant.Config.Training.Steps)-m.Step) * m.Seconds / float64(m.Step)
				return fmt.Sprintf("%s%s %d/%d  loss %.4f  %s left", position(c), c.Variant.Name(), m.Step,
					c.Variant.Config.Training.Steps, m.Loss, seconds(left))
			})
		},
		Eval: func(c sweep.Cell, suite string, done, total int) {
			p.show(c.Dir, func() string {
				return fmt.Sprintf("%s%s  %s %s of %s sequences", position(c), c.Variant.Name(), suite, grouped(int64(done)), grouped(int64(total)))
			})
		},
		Note: func(c sweep.Cell, text string) { p.note("%s%s: %s", position(c), c.Variant.Name(), text) },
	}
}
