package results

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"march/results/record"
)

// figure is one measurement of one run. Basis says what it was measured on: figures of different
// bases do not compare.
type figure struct {
	value float64
	basis string
	ok    bool
	logs  bool    // value, which is averaged and compared, is the logarithm of what is printed,
	exp   float64 // this
}

// shown is the figure as it is printed.
func (f figure) shown() float64 {
	if f.logs {
		return f.exp
	}
	return f.value
}

// shownMean is the mean of figures as it is printed.
func shownMean(mean float64, logs bool) float64 {
	if logs {
		return math.Exp(mean)
	}
	return mean
}

// inLogs makes a perplexity its logarithm, the mean loss that it comes from: seeds scatter by additions to
// a loss, and averages and tests of a perplexity that said something else would be an artefact of its scale.
func inLogs(get func(*record.Run) figure) func(*record.Run) figure {
	return func(r *record.Run) figure {
		f := get(r)
		f.value, f.logs, f.exp = math.Log(f.value), true, f.value
		return f
	}
}

func known(value float64) figure             { return figure{value: value, ok: true} }
func positive[T int64 | float64](n T) figure { return figure{value: float64(n), ok: n > 0} }

// measure is one column of the comparison: how it is printed and where its figure stands in a record.
type measure struct {
	Column
	suite      string // whose notes and counts explain it
	ties       bool   // counts ties as wrong, which its suite counts
	timed      bool   // depends on the machine, which the footer names
	tokenizers bool   // says the same as the column before it unless tokenizers differ: in text only then
	constant   bool   // where all rows have the same, the footer says it and the column is left out of text
	get        func(*record.Run) figure
}

// measures is the comparison's columns, in their order.
var measures = []measure{
	{Column: Column{Key: "parameters", Title: "params", kind: count, weight: 90,
		About: "unique ones; a parameter used in several places counts once"},
		get: func(r *record.Run) figure { return positive(r.Parameters.Total) }},
	{Column: Column{Key: "parameters_effective", Title: "effective", kind: count, weight: 90, join: "parameters",
		About: "those that pruning has left"},
		get: func(r *record.Run) figure { return positive(r.Parameters.Effective) }},
	{Column: Column{Key: "parameters_embedding", About: "embeddings of tokens and positions", kind: count, detail: true},
		get: func(r *record.Run) figure { return part(r, r.Parameters.Embedding) }},
	{Column: Column{Key: "parameters_norm", About: "weights and biases of norms", kind: count, detail: true},
		get: func(r *record.Run) figure { return part(r, r.Parameters.Norm) }},
	{Column: Column{Key: "parameters_other", About: "all other parameters", kind: count, detail: true},
		get: func(r *record.Run) figure { return part(r, r.Parameters.Other) }},
	{Column: Column{Key: "flops_forward", About: "forward pass of one token, counted as flops_training", kind: count, detail: true},
		get: func(r *record.Run) figure { return positive(r.FLOPs.Forward) }},
	{Column: Column{Key: "flops_training", Title: "FLOPs/\ntoken", kind: count, weight: 70,
		About: "forward and backward pass, counted on the graph: a multiply-add is two, a shared layer counts at each use"},
		get: func(r *record.Run) figure { return positive(r.FLOPs.Training) }},
	{Column: Column{Key: "steps", Title: "steps", kind: integer, weight: 30, About: "optimizer steps"}, constant: true,
		get: func(r *record.Run) figure {
			return trained(r, func(t *record.Training) float64 { return float64(t.Steps) })
		}},
	{Column: Column{Key: "tokens", Title: "tokens", kind: count, weight: 35, About: "tokens trained on: steps times tokens a step"}, constant: true,
		get: func(r *record.Run) figure {
			return trained(r, func(t *record.Training) float64 { return float64(t.Tokens) })
		}},
	{Column: Column{Key: "seconds", Title: "train\nsec", kind: seconds, weight: 40, Better: Lower,
		About: "wall-clock seconds in training steps, without validation and checkpoints"},
		timed: true,
		get: func(r *record.Run) figure {
			return on(r, trained(r, func(t *record.Training) float64 { return t.Seconds }))
		}},
	{Column: Column{Key: "tokens_per_second", Title: "tok/s", kind: rate, weight: 60, Better: Higher,
		About: "tokens trained on in one of those seconds"},
		timed: true,
		get: func(r *record.Run) figure {
			return on(r, trained(r, func(t *record.Training) float64 { return t.TokensPerSecond }))
		}},
	{Column: Column{Key: "train_loss", About: "training loss of the last step, nats a token", kind: loss, detail: true},
		get: func(r *record.Run) figure { return trained(r, func(t *record.Training) float64 { return t.Loss }) }},
	{Column: Column{Key: "train_stability", Title: "loss\nsd", kind: spread, weight: 20, Better: Lower,
		About: "stability: standard deviation of the detrended training loss, second half of the steps"},
		get: func(r *record.Run) figure {
			if r.Training == nil || r.Training.LossSD == nil {
				return figure{}
			}
			return known(*r.Training.LossSD)
		}},
	{Column: Column{Key: "valid_loss", Title: "valid.\nloss", kind: loss, weight: 50, Better: Lower,
		About: "mean cross-entropy of the final parameters on held-out text, nats a token"},
		get: validation},
	{Column: Column{Key: "valid_perplexity", Title: "valid.\nppl", kind: perplexity, weight: 100, Better: Lower,
		About: "perplexity, exp(loss), on held-out text; seeds are averaged in logarithms"},
		get: func(r *record.Run) figure {
			f := validation(r)
			f.logs, f.exp = true, math.Exp(f.value)
			return f
		}},
	{Column: Column{Key: "test_loss", Title: "test\nloss", kind: loss, weight: 50, Better: Lower,
		About: "the same on the documents kept for a test"},
		get: score("ppl-test", "loss")},
	{Column: Column{Key: "test_perplexity", Title: "test\nppl", kind: perplexity, weight: 100, Better: Lower,
		About: "perplexity on the documents kept for a test; seeds are averaged in logarithms"},
		get: inLogs(score("ppl-test", "perplexity"))},
	{Column: Column{Key: "word_perplexity", Title: "word\nppl", kind: perplexity, weight: 25, Better: Lower,
		About: "the held-out text's perplexity a word, whatever the tokenizer; seeds are averaged in logarithms"},
		tokenizers: true, get: inLogs(score("ppl", "word_perplexity"))},
	{Column: Column{Key: "byte_perplexity", Title: "byte\nppl", kind: loss, weight: 24, Better: Lower,
		About: "the same a byte"},
		tokenizers: true, get: inLogs(score("ppl", "byte_perplexity"))},
	{Column: Column{Key: "grammar_accuracy", Title: "grammar\nacc", kind: share, weight: 85, Better: Higher,
		About: "minimal pairs of march's own grammar (not BLiMP) whose good sentence is more probable; a tie is wrong"},
		suite: "grammar", ties: true, get: score("grammar", "accuracy")},
	{Column: Column{Key: "cloze_accuracy", Title: "cloze\nacc", kind: share, weight: 80, Better: Higher,
		About: "passages of march's own grammar (not LAMBADA) whose last word is the most probable in every token"},
		suite: "grammar", get: score("grammar", "cloze_accuracy")},
	{Column: Column{Key: "cloze_perplexity", Title: "cloze\nppl", kind: perplexity, weight: 80, Better: Lower, join: "cloze_accuracy",
		About: "exp(mean over passages of −log p(last word)); seeds are averaged in logarithms"},
		suite: "grammar", get: inLogs(score("grammar", "cloze_perplexity"))},
	{Column: Column{Key: "blimp_accuracy", Title: "BLiMP\nacc", kind: share, weight: 96, Better: Higher,
		About: "BLiMP's minimal pairs whose good sentence is more probable; a tie is wrong"},
		suite: "blimp", ties: true, get: score("blimp", "accuracy")},
	{Column: Column{Key: "lambada_accuracy", Title: "LAMBADA\nacc", kind: share, weight: 95, Better: Higher,
		About: "LAMBADA's passages whose last word is the most probable in every token"},
		suite: "lambada", get: score("lambada", "accuracy")},
	{Column: Column{Key: "lambada_perplexity", Title: "LAMBADA\nppl", kind: perplexity, weight: 95, Better: Lower, join: "lambada_accuracy",
		About: "exp(mean over passages of −log p(last word)); seeds are averaged in logarithms"},
		suite: "lambada", get: inLogs(score("lambada", "perplexity"))},
}

// Measure is one figure of runs by which they can be ranked.
type Measure struct {
	Key    string // as in tables of JSON and CSV
	Higher bool   // better when higher
	Suite  string // that gives it; empty: training does
	get    func(*record.Run) figure
}

// Ranking gives the measure of a key, one of [VerdictMeasures].
func Ranking(key string) (Measure, error) {
	i := slices.IndexFunc(measures, func(m measure) bool { return m.Key == key && m.Better != Neither })
	if i < 0 {
		return Measure{}, fmt.Errorf("measure %q cannot rank runs: want one of %s", key, strings.Join(VerdictMeasures(), ", "))
	}
	m := measures[i]
	suite := m.suite
	switch {
	case strings.HasPrefix(key, "valid_") || m.tokenizers:
		suite = "ppl"
	case strings.HasPrefix(key, "test_"):
		suite = "ppl-test"
	}
	return Measure{key, m.Better == Higher, suite, m.get}, nil
}

// Mean is the mean of runs, seeds of one cell, of perplexities that in logarithms; ok is false where one has no figure, or not all were measured on the same.
func (m Measure) Mean(runs []record.Run) (mean float64, ok bool) {
	basis, logs := "", false
	for i := range runs {
		f := m.get(&runs[i])
		if f.ok && len(runs) == 1 {
			return f.shown(), true
		}
		if !f.ok || i > 0 && f.basis != basis {
			return 0, false
		}
		basis = f.basis
		mean += f.value / float64(len(runs))
		logs = f.logs
	}
	return shownMean(mean, logs), len(runs) > 0
}

// Better tells whether figure a is better than b.
func (m Measure) Better(a, b float64) bool { return a != b && (a > b) == m.Higher }

// part is a count that may truly be 0, once the total is known.
func part(r *record.Run, n int64) figure {
	return figure{value: float64(n), ok: r.Parameters.Total > 0}
}

func trained(r *record.Run, get func(*record.Training) float64) figure {
	if r.Training == nil || r.Training.Steps == 0 {
		return figure{}
	}
	return known(get(r.Training))
}

// on ties a figure to the machine that it was timed on.
func on(r *record.Run, f figure) figure {
	f.basis = hardware(r)
	return f
}

// hardware is what decides a run's speed besides the variant, its target and its precision.
func hardware(r *record.Run) string {
	parts := []string{r.Cell.Device}
	if r.Machine.Hardware != "" {
		parts = append(parts, r.Machine.Hardware)
	}
	if r.Machine.Threads > 0 {
		parts = append(parts, plural(r.Machine.Threads, "thread", "threads"))
	}
	if r.Machine.AtOnce > 1 {
		parts = append(parts, plural(r.Machine.AtOnce, "run", "runs")+" at once")
	}
	if r.Machine.OS != "" {
		parts = append(parts, r.Machine.OS)
	}
	if r.Machine.ONNXRuntime != "" {
		parts = append(parts, "ONNX Runtime "+r.Machine.ONNXRuntime)
	}
	return clean(strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", "))
}

func validation(r *record.Run) figure {
	if r.Validation == nil {
		return figure{}
	}
	basis := ""
	if n := r.Validation.Tokens; n > 0 {
		basis = grouped(n) + " tokens"
	}
	if r.Validation.Source != "" {
		basis = strings.TrimSpace(basis + " of " + r.Validation.Source)
	}
	return figure{value: r.Validation.Loss, basis: join(", ", clean(basis), suiteSettings(r.Suites["ppl"], "bytes", "words")), ok: true}
}

func score(suite, name string) func(*record.Run) figure {
	return func(r *record.Run) figure {
		s, ok := r.Suites[suite]
		if !ok {
			return figure{}
		}
		x, ok := s.Score(name)
		if !ok {
			return figure{}
		}
		return figure{value: x.Value, basis: suiteBasis(s, x.Count), ok: true}
	}
}

// suiteBasis says what a suite's figure was measured on: the items and the settings.
func suiteBasis(s record.Suite, items int64) string {
	if items == 0 {
		items = s.Items
	}
	return join(", ", plural(int(items), "item", "items"), suiteSettings(s))
}

// suiteSettings are a suite's limit and settings, without those of some keys.
func suiteSettings(s record.Suite, without ...string) string {
	var parts []string
	if s.Limit > 0 {
		parts = append(parts, "limit "+grouped(s.Limit))
	}
	for _, key := range slices.Sorted(maps.Keys(s.Settings)) {
		if !slices.Contains(without, key) {
			parts = append(parts, key+": "+s.Settings[key])
		}
	}
	return clean(strings.Join(parts, ", "))
}
