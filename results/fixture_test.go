package results

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"march/results/record"
)

// The runs of these tests are made up; figures are near what scale tiny gives on two cores.

var started = time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC)

// run is one cell that is done. quality moves every score.
func run(variant, set string, seed uint64, quality float64) record.Run {
	return record.Run{
		Version:  record.Version,
		Cell:     record.Cell{Study: "sharing", Variant: variant, Set: set, Arch: "decoder", Scale: "tiny", Seed: seed, Objective: "causal-lm", Target: "ort", Precision: "fp32", Device: "cpu"},
		Status:   record.Done,
		Started:  started,
		Finished: started.Add(time.Minute),
		March:    "v0.1.0",

		ConfigSHA256: fmt.Sprintf("%064x", len(variant)*1000+len(set)),
		Parameters:   record.Parameters{Total: 877_056 + int64(100*len(variant)), Embedding: 208_896, Norm: 2_496, Other: 665_664 + int64(100*len(variant))},
		FLOPs:        record.FLOPs{Forward: 1_812_000 * int64(len(variant)) / 8, Training: 5_481_000 * int64(len(variant)) / 8},
		Budget:       record.Budget{Steps: 900, TokensPerStep: 512, SequenceLength: 128, Schedule: "warm-up 10 %, cosine to 10 % of 3e-3"},
		Data:         record.Data{Name: "grammar", SHA256: strings.Repeat("c0ffee11", 8), TokenizerSHA256: strings.Repeat("0ddba11f", 8), Vocab: 2048, Tokens: 1_000_000},
		Machine:      record.Machine{Hardware: "Some CPU @ 2.80GHz", Threads: 2, OS: "linux/amd64", ONNXRuntime: "1.31.1"},
		Training:     &record.Training{Steps: 900, Tokens: 460_800, Seconds: 35.5 + 10*quality, TokensPerSecond: 460_800 / (35.5 + 10*quality), Loss: 2.1 - quality, LossSD: new(0.0312 + quality/10)},
		Validation:   &record.Validation{Loss: 2.05 - quality, Tokens: 50_176},
		Suites: map[string]record.Suite{
			"grammar": grammarSuite(quality),
		},
	}
}

func grammarSuite(quality float64) record.Suite {
	s := record.Suite{
		Items:    4500,
		Ties:     3,
		Settings: map[string]string{"sentence score": "sum"},
		Seconds:  4,
	}
	var correct int64
	for i, p := range []struct{ field, phenomenon, title string }{
		{"morphology", "subject_verb_agreement", "Subject-verb agreement"}, {"morphology", "distractor_agreement", "Agreement across a distractor"},
		{"syntax_semantics", "anaphor_agreement", "Reflexives"}, {"syntax", "island_effects", "Islands"},
	} {
		right := int64(1000 * (0.9 - 0.07*float64(i) + quality/2))
		var ties int64
		if i == 3 {
			ties = 3
		}
		correct += right
		s.Groups = append(s.Groups,
			record.Group{Level: record.PhenomenonLevel, Name: p.phenomenon, Title: p.title, Field: p.field, Items: 1000, Correct: right, Ties: ties, Accuracy: float64(right) / 1000},
			record.Group{Level: record.ParadigmLevel, Name: p.phenomenon + "_1", Field: p.field, Phenomenon: p.phenomenon, Items: 1000, Correct: right, Ties: ties, Accuracy: float64(right) / 1000})
	}
	s.Scores = []record.Score{
		{Name: "accuracy", Value: float64(correct) / 4000, Unit: record.ShareUnit, Count: 4000},
		{Name: "cloze_accuracy", Value: 0.41 + quality, Unit: record.ShareUnit, Count: 500},
		{Name: "cloze_perplexity", Value: 38.1 - 100*quality, Count: 500, Lower: true},
	}
	return s
}

func withReal(r record.Run, quality float64) record.Run {
	r.Suites["blimp"] = record.Suite{
		Scores: []record.Score{{Name: "accuracy", Value: 0.6 + quality, Unit: record.ShareUnit, Count: 67_000}}, Items: 67_000, Ties: 12,
		Settings: map[string]string{"paradigms": "67"},
	}
	r.Suites["lambada"] = record.Suite{
		Scores: []record.Score{{Name: "accuracy", Value: 0.012 + quality/10, Unit: record.ShareUnit, Count: 5153}, {Name: "perplexity", Value: 1374.2 - 3000*quality, Count: 5153, Lower: true}},
		Items:  5153, Truncated: 7, Settings: map[string]string{"form": "openai"}, Notes: []string{"7 of 5153 items are longer than the model and keep their last 129 tokens"},
	}
	return r
}

func failed(variant string, seed uint64, status record.Status, reason string) record.Run {
	r := run(variant, "", seed, 0)
	r.Status, r.Reason = status, reason
	r.Training, r.Validation, r.Suites = nil, nil, nil
	if status == record.Skipped {
		r.Parameters, r.FLOPs, r.ConfigSHA256 = record.Parameters{}, record.FLOPs{}, ""
		r.Machine = record.Machine{}
	}
	return r
}

// bench is what the main job leaves: six variants, one seed.
func bench() []record.Run {
	return []record.Run{
		run("baseline", "", 1, 0),
		run("deep_cycle_rev", "", 1, 0.02),
		run("wide_cycle_rev", "", 1, -0.01),
		run("very_wide_cycle", "", 1, -0.04),
		run("baseline", "attn.heads=12", 1, 0.004),
		run("baseline", "ffn.glu=silu", 1, 0.031),
	}
}

// mixed has ten rows and every column, with failures.
func mixed() []record.Run {
	runs := bench()
	for i := range runs {
		runs[i] = withReal(runs[i], float64(i)/100)
	}
	delete(runs[2].Suites, "lambada")
	return append(runs,
		withReal(run("very_deep_seq", "", 1, 0.012), 0.02),
		failed("wide_deep_cycle", 1, record.Failed, "loss is not finite at step 127\n(last good checkpoint: step 100)"),
		failed("deep_seq", 1, record.Skipped, "heads 9 does not divide 128 | see scale tiny."),
		withReal(run("very_deep_cycle", "", 1, 0.011), -0.01),
	)
}

// seeds has several seeds of some cells, one of which failed.
func seeds() []record.Run {
	return []record.Run{
		run("baseline", "", 1, 0), run("baseline", "", 2, 0.01), run("baseline", "", 3, -0.008),
		run("deep_cycle_rev", "", 1, 0.02), run("deep_cycle_rev", "", 2, 0.024),
		failed("deep_cycle_rev", 3, record.Failed, "interrupted by a full disk"),
		run("very_wide_cycle", "", 1, -0.04),
	}
}

// budgets has what must not be mixed: two step budgets, an encoder, other data.
func budgets() []record.Run {
	runs := []record.Run{run("baseline", "", 1, 0), run("deep_cycle_rev", "", 1, 0.02), run("baseline", "", 1, 0.1), run("deep_cycle_rev", "", 1, 0.09), run("baseline", "", 1, -0.3)}
	for i := 2; i < 4; i++ {
		runs[i].Budget.Steps, runs[i].Training.Steps, runs[i].Training.Tokens = 2000, 2000, 1_024_000
		runs[i].Machine.Hardware = "Another CPU"
	}
	runs[3].Machine.Threads = 8
	runs[4].Cell.Arch, runs[4].Cell.Objective = "encoder", "masked-lm"
	runs[4].Data.Name, runs[4].Data.SHA256 = "stories", strings.Repeat("5707135a", 8)
	return runs
}

// trials makes three seeds of every run. Each figure scatters by a tenth of a thousandth of itself, so
// that the differences between the runs above are many times the noise.
func trials(runs []record.Run) (out []record.Run) {
	random := rand.New(rand.NewPCG(1, 1))
	near := func(x float64) float64 { return x * (1 + 1e-4*random.NormFloat64()) }
	for seed := range uint64(3) {
		for _, r := range runs {
			r.Cell.Seed = seed + 1
			if r.Training != nil {
				t := *r.Training
				t.Seconds, t.TokensPerSecond, t.Loss, t.LossSD = near(t.Seconds), near(t.TokensPerSecond), near(t.Loss), new(near(*t.LossSD))
				r.Training = &t
			}
			if r.Validation != nil {
				v := *r.Validation
				v.Loss = near(v.Loss)
				r.Validation = &v
			}
			r.Suites = maps.Clone(r.Suites)
			for _, name := range slices.Sorted(maps.Keys(r.Suites)) {
				s := r.Suites[name]
				s.Scores, s.Groups = slices.Clone(s.Scores), slices.Clone(s.Groups)
				for i := range s.Scores {
					s.Scores[i].Value = near(s.Scores[i].Value)
				}
				for i := range s.Groups {
					g := &s.Groups[i]
					g.Correct += random.Int64N(3) - 1
					g.Accuracy = float64(g.Correct) / float64(g.Items)
				}
				r.Suites[name] = s
			}
			out = append(out, r)
		}
	}
	return out
}
