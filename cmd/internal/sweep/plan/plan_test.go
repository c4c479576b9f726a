package plan

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"march/cmd/internal/sweep"
	"march/results/record"
	"march/variants"
)

// Every mistake is found, with its line and what would be right.
func TestMistakes(t *testing.T) {
	t.Parallel()
	good := "plan: x\nby: valid_loss\nset: [d=24, heads=3, qkv_dim=8, ff=48, vocab=400, length=32]\nstages:\n- name: a\n  variants: [baseline, deep_seq]\n  budget: {steps: 10}\n"
	second := "- name: b\n  budget: {steps: 20}\n"
	for text, want := range map[string]string{
		"":                                 "an empty plan",
		"[1, 2]":                           "line 1: wanted a mapping with about, by, plan",
		"a: [":                             "line 1: not YAML",
		"plan: x\nstgaes: []\n":            `line 2: unknown key "stgaes": wanted one of about, by, plan, scale, seeds, set, stages`,
		"plan: x\nplan: y\n":               "line 2: ",
		"plan: x\nseeds: 0\n":              "line 2: seeds: found 0, wanted a whole number from 1 on",
		"plan: x\nstages: 3\n":             "line 2: stages: wanted a list",
		"plan: ../../x\nstages: []\n":      `line 1: plan "../../x": a plan's name is a folder's`,
		"plan: ..\nstages: []\n":           `line 1: plan "..": a plan's name is a folder's`,
		"plan: x\nseeds: 1000000000\n":     "line 2: seeds: found 1000000000, wanted 1000 at most",
		"plan: x\nscale: huge\nstages: []": "line 2: scale huge is not one of paper, small, tiny",
		"plan: x\nby: loss\nstages: []":    `line 2: measure "loss" cannot rank runs: want one of `,
		"plan: x\n":                        "no stages",
		"plan: x\nstages:\n- variants: [baseline]\n":                                                                         "line 3: a stage without a name",
		"stages:\n- name: a\n  seeds: 1_001\n":                                                                               "line 3: stages[0].seeds: found 1001, wanted 1000 at most",
		"stages:\n- name: A B\n":                                                                                             `line 2: stage "A B": a stage's name is a folder's`,
		"stages:\n- name: a\n":                                                                                               "line 2: stage a has neither variants nor promote",
		"stages:\n- name: a\n  variants: baseline\n":                                                                         "line 2: stage a has no budget: wanted one of steps, tokens, flops, hours",
		"stages:\n- name: a\n  variants: baseline\n  budget: {steps: 5, hours: 1}":                                           "line 4: stages[0].budget.hours beside steps: wanted one kind of budget",
		"stages:\n- name: a\n  variants: baseline\n  budget: {steps: -5}":                                                    "line 4: stages[0].budget.steps: found -5, wanted a number above 0",
		"stages:\n- name: a\n  variants: baseline\n  budget: {steps: {big: 5}}":                                              `line 4: stages[0].budget.steps: unknown key "big": wanted one of paper, small, tiny`,
		"stages:\n- name: a\n  variants: baseline\n  budget: {steps: {paper: 5}}":                                            "line 4: stage a has no budget of steps at scale tiny",
		"stages:\n- name: a\n  variants: baseline\n  budget: {tokens: 5}":                                                    "line 4: stage a: 5 tokens are 0.0",
		"stages:\n- name: a\n  variants:\n  - baseline\n  - baselin\n  budget: {steps: 5}":                                   `line 5: stage a: unknown variant "baselin"; did you mean baseline`,
		"stages:\n- name: a\n  variants: [baseline, gpt5_*]\n  budget: {steps: 5}":                                           `line 3: stage a: variant pattern "gpt5_*" matches nothing`,
		"stages:\n- name: a\n  arch: encoder\n  variants: gqa\n  budget: {steps: 5}":                                         `line 4: stage a: variant gqa: architecture "encoder" is not one of decoder`,
		"stages:\n- name: a\n  variants: baseline\n  match: size\n  budget: {steps: 5}":                                      "line 4: match size is not one of params, flops",
		"stages:\n- name: a\n  variants: baseline\n  set: [hed=3]\n  budget: {steps: 5}":                                     "line 4: stage a: variant baseline: unknown axis",
		good + "- name: a\n  variants: baseline\n  budget: {steps: 5}":                                                       "line 8: a second stage a",
		good + second + "  promote: {from: c, top: 1}":                                                                       "line 10: c is no stage before b: wanted one of a",
		good + second + "  promote: {from: b, top: 1}":                                                                       "line 10: b is no stage before b: wanted one of a",
		good + second + "  promote: {top: 1}":                                                                                "line 10: promote of stage b wants from",
		good + second + "  promote: {from: a}":                                                                               "line 10: promote of stage b wants top, a number, or if, a condition",
		good + second + "  promote: {from: a, top: 1, per: variant}":                                                         "line 10: per variant is not one of arch, all",
		good + second + "  promote: {from: a, top: 1, axes: [heads]}":                                                        "line 10: axes of promoted models want variants that take them",
		good + second + "  variants: [deep_seq]\n  promote: {from: a, top: 1, axes: [size]}":                                 `line 11: unknown axis "size"`,
		good + second + "  promote: {from: a, if: valid_loss is low}":                                                        `line 10: stages[1].promote.if: found "valid_loss is low", wanted a measure, one of < <= > >=`,
		good + second + "  promote: {from: a, if: loss < 3}":                                                                 `line 10: measure "loss" cannot rank runs`,
		good + second + "  promote: {from: a, top: 2}":                                                                       "line 10: stage b promotes the best 2 of decoder, but a has only 1 (the baseline is never promoted)",
		good + second + "  promote: {from: a, top: 1, after: 1}":                                                             "line 10: stage b promotes the best 1 after the first 1 of decoder, but a has only 1",
		good + second + "  promote: {from: a, top: 1, by: blimp_accuracy}":                                                   "line 8: stage b ranks by blimp_accuracy, which suite blimp gives; scored are ppl",
		good + second + "  promote: {from: a, if: valid_loss < 9, by: blimp_accuracy}":                                       "line 8: stage b ranks by blimp_accuracy, which suite blimp gives",
		good + second + "  when: {best: a}\n  variants: baseline":                                                            "line 10: when wants best and beats, earlier stages",
		good + second + "  variants: baseline\n- name: c\n  budget: {steps: 3}\n  promote: {from: [a, b], top: 1}":           "line 13: stages a and b have different budgets, whose figures do not compare",
		strings.Replace(good, "baseline, ", "", 1) + second + "  promote: {from: a, if: valid_loss < baseline}":              "line 10: valid_loss < baseline: a train no baseline of study sharing (decoder)",
		strings.Replace(good, "deep_seq]", "gpt2+act=relu]", 1) + second + "  promote: {from: a, if: valid_loss < baseline}": "line 10: valid_loss < baseline: a train no baseline of study plain (decoder), which plain/gpt2+",
		good + second + "  promote: {from: a, top: 1, by: test_loss}":                                                        "line 8: stage b ranks by test_loss, which suite ppl-test gives; scored are ppl",
		strings.Replace(good, ", deep_seq", "", 1) + second + "  promote: {from: a, top: 1}":                                 "line 10: stage b has nothing to promote",
		strings.Replace(good, "by: valid_loss\n", "", 1) + second + "  promote: {from: a, top: 1}":                           "line 9: promote of stage b says by which measure neither itself nor at the plan's head",
		strings.Replace(good, "by: valid_loss\n", "", 1) + second + "  variants: baseline\n  when: {best: a, beats: a}\n":    "line 10: when of stage b says by which measure",
		good + "  about:\n": "line 8: stages[0].about has no value",
	} {
		p, err := Read([]byte(text))
		if err == nil {
			s := Study{Plan: p, Scale: "tiny", Out: t.TempDir()}
			if err = s.Check([]string{"ppl"}); err == nil {
				_, err = s.Steps(t.Context(), func(sweep.Cell) *record.Run { return nil })
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q:\n found  %v\n wanted %s", text, err, want)
		}
	}
}

// figures makes finished records of made-up validation losses, by variant and architecture; a cell without one failed.
func figures(of map[string]float64) func(sweep.Cell) *record.Run {
	return func(c sweep.Cell) *record.Run {
		r := &record.Run{Path: filepath.Join(c.Dir, record.FileName), Status: record.Failed}
		if x, ok := of[fmt.Sprintf("%s %s %d", c.Variant.Base, c.Variant.Config.Arch, c.Seed)]; ok {
			r.Status, r.Validation = record.Done, &record.Validation{Loss: x}
		}
		return r
	}
}

func names(step *Step) (list []string) {
	for _, c := range step.Cells {
		list = append(list, fmt.Sprintf("%s %s %d %d", c.Variant.FullName(), c.Variant.Config.Arch, c.Seed, c.Variant.Config.Training.Steps))
	}
	return list
}

func study(t *testing.T, text string) *Study {
	t.Helper()
	p, err := Read([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return &Study{Plan: p, Scale: "tiny", Out: t.TempDir()}
}

// Promotions are as computed by hand: by the mean over seeds, in each architecture, without the baseline and without what
// failed; a tie keeps the plan's order; the axes that are asked for go over; a stage that has a cell already uses it.
func TestPromotions(t *testing.T) {
	t.Parallel()
	s := study(t, `
by: valid_loss
seeds: 2
stages:
- name: first
  arch: [decoder, encoder]
  variants: [baseline, deep_seq, deep_cycle, wide_seq, wide_cycle]
  budget: {steps: 100}
- {name: top, promote: {from: first, top: 2}, budget: {steps: 200}}
- {name: next, promote: {from: first, after: 1, top: 1, per: all}, budget: {tokens: 153_600}}
- {name: beat, promote: {from: first, if: valid_loss < baseline}, variants: baseline, arch: decoder, budget: {steps: 100}}
- {name: none, promote: {from: first, if: valid_loss < 1}, budget: {steps: 9}}
- name: axes
  variants: [very_deep_seq]
  promote: {from: first, top: 1, axes: [share.assignment]}
  budget: {steps: 100}
- {name: held, when: {best: axes, beats: first}, variants: [baseline], arch: [decoder, encoder], budget: {steps: 5}}
- {name: maybe, optional: true, variants: [baseline], budget: {steps: 5}}
`)
	loss := map[string]float64{
		"baseline decoder 1": 3.0, "baseline decoder 2": 3.2, // 3.1
		"deep_seq decoder 1": 2.0, "deep_seq decoder 2": 4.0, // 3.0: better in one seed only
		"deep_cycle decoder 1": 2.9, "deep_cycle decoder 2": 2.9, // 2.9: best
		"wide_seq decoder 1": 3.3, "wide_seq decoder 2": 3.3, // 3.3
		"wide_cycle decoder 1": 1.0,                                                                          // a seed failed
		"baseline encoder 1":   5, "baseline encoder 2": 5, "deep_seq encoder 1": 6, "deep_seq encoder 2": 6, // a tie
		"deep_cycle encoder 1": 6, "deep_cycle encoder 2": 6, "wide_seq encoder 1": 7, "wide_seq encoder 2": 7, "wide_cycle encoder 1": 8, "wide_cycle encoder 2": 8,
		"very_deep_seq decoder 1": 2.8, "very_deep_seq decoder 2": 2.8, "very_deep_seq encoder 1": 9, "very_deep_seq encoder 2": 9,
	}
	if err := s.Check([]string{"ppl"}); err != nil {
		t.Fatal(err)
	}
	steps, err := s.Steps(t.Context(), figures(loss))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"top": {"sharing/deep_cycle decoder 1 200", "sharing/deep_seq decoder 1 200", "sharing/deep_seq encoder 1 200", "sharing/deep_cycle encoder 1 200",
			"sharing/deep_cycle decoder 2 200", "sharing/deep_seq decoder 2 200", "sharing/deep_seq encoder 2 200", "sharing/deep_cycle encoder 2 200"},
		"next": {"sharing/deep_seq decoder 1 300", "sharing/deep_seq decoder 2 300"},
		"beat": {"sharing/baseline decoder 1 100", "sharing/deep_cycle decoder 1 100", "sharing/deep_seq decoder 1 100",
			"sharing/baseline decoder 2 100", "sharing/deep_cycle decoder 2 100", "sharing/deep_seq decoder 2 100"},
		"none": nil,
		"axes": {"sharing/very_deep_seq+share.assignment=cycle decoder 1 100", "sharing/very_deep_seq encoder 1 100",
			"sharing/very_deep_seq+share.assignment=cycle decoder 2 100", "sharing/very_deep_seq encoder 2 100"},
		"held":  {"sharing/baseline decoder 1 5", "sharing/baseline decoder 2 5"},
		"maybe": nil,
	}
	why := map[string]string{"none": "nothing of first is promoted: none meets valid_loss < 1", "maybe": "optional; --optional runs it"}
	for _, step := range steps {
		if step.Name != "first" && (!step.Known || !slices.Equal(names(step), want[step.Name]) || step.Why != why[step.Name]) {
			t.Errorf("%s: known %v, %q (%s), wanted %q", step.Name, step.Known, names(step), step.Why, want[step.Name])
		}
		if step.Name == "beat" {
			for _, c := range step.Cells {
				if !strings.HasPrefix(c.Dir, filepath.Join(s.Out, "first")) {
					t.Errorf("%s runs again in %s", c, c.Dir)
				}
			}
		}
	}
	// Where the first stage is not finished, nothing behind it is decided, and the numbers of cells are bounds.
	steps, err = s.Steps(t.Context(), func(c sweep.Cell) *record.Run {
		if c.Variant.Base == "wide_seq" {
			return nil
		}
		return figures(loss)(c)
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, most := range []int{20, 8, 2, 10, 16, 4, 4, 0} {
		if steps[i].AtMost != most || steps[i].Known != (i == 0 || i == 7) {
			t.Errorf("%s: known %v, at most %d cells, wanted %d", steps[i].Name, steps[i].Known, steps[i].AtMost, most)
		}
	}
}

// A promoted model keeps what its own stage set over the plan's changes.
func TestPromotedSet(t *testing.T) {
	t.Parallel()
	s := study(t, `
by: valid_loss
set: [ff=48]
stages:
- {name: first, set: [ff=96], variants: [baseline, deep_seq], budget: {steps: 10}}
- {name: then, set: [act=silu], promote: {from: first, top: 1}, budget: {steps: 20}}
`)
	steps, err := s.Steps(t.Context(), figures(map[string]float64{"baseline decoder 1": 2, "deep_seq decoder 1": 1}))
	if err != nil {
		t.Fatal(err)
	}
	if got := names(steps[1]); len(got) != 1 || !strings.Contains(got[0], "+ff=96") || !strings.Contains(got[0], "+act=silu") || strings.Contains(got[0], "ff=48") {
		t.Errorf("the promoted model is %q, wanted ff=96 and act=silu", got)
	}
}

// A teacher that no one asked for is trained beside its student, and never promoted.
func TestAddedTeacher(t *testing.T) {
	t.Parallel()
	s := study(t, `
by: valid_loss
stages:
- {name: first, variants: [distill], budget: {steps: 10}}
- {name: then, promote: {from: first, top: 1}, budget: {steps: 20}}
`)
	steps, err := s.Steps(t.Context(), figures(map[string]float64{"baseline decoder 1": 1, "distill decoder 1": 2}))
	if err != nil {
		t.Fatal(err)
	}
	if len(steps[0].Cells) != 2 {
		t.Fatalf("cells %q, wanted a teacher's and its student's", names(steps[0]))
	}
	if r := steps[1].Ranking; len(r) == 0 {
		t.Error("nothing is ranked")
	} else if len(r) > 1 || !strings.HasSuffix(r[0].Variant, "/distill") || !r[0].Promoted {
		t.Errorf("%d models are ranked, the first is %s: wanted the student alone", len(r), r[0].Variant)
	}
}

// Stages behind an optional one wait for it to be asked for, however far behind it they stand.
func TestBehindOptional(t *testing.T) {
	t.Parallel()
	s := study(t, `
by: valid_loss
stages:
- {name: maybe, optional: true, variants: [baseline, deep_seq, wide_seq], budget: {steps: 10}}
- {name: first, variants: [very_deep_seq], promote: {from: maybe, per: all, top: 2}, budget: {steps: 20}}
- {name: then, promote: {from: first, top: 1}, budget: {steps: 30}}
`)
	for _, c := range []struct {
		optional bool
		want     []int
	}{{false, []int{0, 0, 0}}, {true, []int{3, 3, 1}}} {
		s.Optional = c.optional
		if err := s.Check([]string{"ppl"}); err != nil {
			t.Fatal(err)
		}
		steps, err := s.Steps(t.Context(), figures(map[string]float64{"baseline decoder 1": 3, "deep_seq decoder 1": 2, "wide_seq decoder 1": 1, "very_deep_seq decoder 1": 4}))
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range c.want {
			if !steps[i].Known || steps[i].AtMost != n || (n == 0) != (steps[i].Why != "") {
				t.Errorf("optional stages %v, stage %s: known %v, %d cells (%s), wanted %d", c.optional, steps[i].Name, steps[i].Known, steps[i].AtMost, steps[i].Why, n)
			}
		}
	}
}

// A condition alone promotes all that meet it, and needs no measure beside its own.
func TestConditionAlone(t *testing.T) {
	t.Parallel()
	s := study(t, `
stages:
- {name: first, variants: [baseline, deep_seq, wide_seq], budget: {steps: 10}}
- {name: then, promote: {from: first, if: valid_loss < baseline}, budget: {steps: 20}}
`)
	if err := s.Check([]string{"ppl"}); err != nil {
		t.Fatal(err)
	}
	steps, err := s.Steps(t.Context(), figures(map[string]float64{"baseline decoder 1": 2, "deep_seq decoder 1": 3, "wide_seq decoder 1": 1}))
	if err != nil {
		t.Fatal(err)
	}
	if got := names(steps[1]); !slices.Equal(got, []string{"sharing/wide_seq decoder 1 20"}) {
		t.Errorf("promoted are %q", got)
	}
}

// The study's procedure has the study's numbers of runs, beside its baselines, at every scale.
func TestSharing(t *testing.T) {
	t.Parallel()
	text, ok := Embedded("sharing")
	if !ok {
		t.Fatal("no plan sharing")
	}
	for _, scale := range variants.Scales() {
		s := study(t, string(text))
		s.Scale, s.Optional = scale, true
		if err := s.Check([]string{"blimp"}); err != nil {
			t.Fatal(err)
		}
		steps, err := s.Steps(t.Context(), func(sweep.Cell) *record.Run { return nil })
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range []int{18 + 2, 2, 2, 2 * 2, 6 + 2, 2 + 2, 6 + 2} {
			if steps[i].AtMost != n {
				t.Errorf("%s, stage %s: at most %d cells, wanted %d", scale, steps[i].Name, steps[i].AtMost, n)
			}
		}
		if scale != "tiny" {
			continue
		}
		of, _, err := s.reach()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range append(of["wide"], of["deep"]...) { // all parameters are near the baseline's
			b, err := m.Config.Budget()
			if err != nil {
				t.Fatal(err)
			}
			if base := 878_000.0; float64(b.Total) < 0.98*base || float64(b.Total) > 1.06*base {
				t.Errorf("%s (%s) has %d parameters", m.FullName(), m.Config.Arch, b.Total)
			}
		}
	}
}

// Hours become steps by the measured speed, once for a study; FLOPs by each model's own count.
func TestBudgets(t *testing.T) {
	t.Parallel()
	s := study(t, "stages:\n- {name: long, variants: [baseline, wide_seq], budget: {hours: 2}}\n- {name: even, variants: [baseline, deep_seq], budget: {flops: 1e12}}\n")
	asked := 0
	s.Speed = func(context.Context, variants.Variant) (float64, error) { asked++; return 512, nil } // a step a second
	for range 2 {
		steps, err := s.walk(t.Context(), true, func(*Step) (bool, error) { return false, nil })
		if err != nil {
			t.Fatal(err)
		}
		if got := steps[0].Cells[1].Variant.Config.Training.Steps; got != 7200 {
			t.Errorf("2 hours of a step a second are %d steps", got)
		}
		for _, c := range steps[1].Cells {
			b, err := c.Variant.Config.Budget()
			if err != nil {
				t.Fatal(err)
			}
			if got := float64(b.TrainingFLOPs) * 512 * float64(c.Variant.Config.Training.Steps); got > 1e12 || got < 0.99e12 {
				t.Errorf("%s: %g FLOPs, wanted 1e12", c, got)
			}
		}
		again := *s
		again.kept = Kept{}
		if err := again.recall(); err != nil {
			t.Fatal(err)
		}
		s = &again
	}
	if asked != 2 {
		t.Errorf("measured %d times, wanted once for each model", asked)
	}
	s.Plan.Name = "other"
	if err := s.recall(); err == nil || !strings.Contains(err.Error(), `holds plan "" at scale tiny`) {
		t.Errorf("another plan in the folder: %v", err)
	}
	if err := os.WriteFile(filepath.Join(s.Out, FileName), []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := s.recall(); err == nil || !strings.Contains(err.Error(), FileName) {
		t.Errorf("a broken file: %v", err)
	}
}

// Other hours, and other tokens a step, are other steps at the speed that was measured; hours that are too few are not kept.
func TestOtherHours(t *testing.T) {
	t.Parallel()
	out, speed := t.TempDir(), 0.01
	steps := func(hours, tokens string, measure bool) (int, error) {
		s := study(t, "plan: x\nstages:\n- {name: long, variants: [baseline], budget: {hours: "+hours+"}}\n")
		s.Out = out
		s.Change = func(v variants.Variant) (variants.Variant, error) {
			return v, v.Config.Set("training.tokens_per_step", tokens)
		}
		s.Speed = func(context.Context, variants.Variant) (float64, error) { return speed, nil }
		if err := s.recall(); err != nil {
			t.Fatal(err)
		}
		list, err := s.walk(t.Context(), measure, func(*Step) (bool, error) { return false, nil })
		if err != nil {
			return 0, err
		}
		return list[0].Cells[0].Variant.Config.Training.Steps, nil
	}
	if _, err := steps("1", "512", true); err == nil || !strings.Contains(err.Error(), "line 3: stage long: 1 hours are 0 steps of ") {
		t.Errorf("an hour of a slow machine: %v", err)
	}
	speed = 512
	for _, c := range []struct {
		hours, tokens string
		measure       bool
		want          int
	}{{"1", "512", true, 3600}, {"5", "512", false, 18000}, {"5", "512", true, 18000}, {"5", "1024", true, 9000}, {"1", "512", false, 3600}} {
		n, err := steps(c.hours, c.tokens, c.measure)
		if err != nil || n != c.want {
			t.Errorf("%s hours of %s tokens a step: %d steps, %v, wanted %d", c.hours, c.tokens, n, err, c.want)
		}
		speed = 1 // not asked again
	}
	if _, err := steps("1e20", "512", true); err == nil || !strings.Contains(err.Error(), "wanted 1 to 1e+09") {
		t.Errorf("hours without end: %v", err)
	}
}
