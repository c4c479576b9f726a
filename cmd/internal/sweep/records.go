package sweep

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"time"

	"march/evalsuite"
	"march/results"
	"march/results/record"
	"march/trainloop"
	"march/variants"
)

// From a cell to its record.

// Run trains and evaluates the cell and writes its record; a cell that breaks leaves a record with the reason, but for
// one that was done before and of which further scores are asked: its record stays. An error is returned only for what
// concerns the whole comparison: an interruption, a folder that holds another run, or one in which another process trains.
func (l *Lab) Run(ctx context.Context, c Cell) (*record.Run, error) {
	if old := l.Finished(c); old != nil {
		return old, nil
	}
	r, done, release, err := l.begin(c)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := l.run(ctx, c, r, true); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var other *trainloop.SettingsError
		if errors.As(err, &other) {
			return nil, err
		}
		r.Status, r.Reason = record.Failed, oneLine(err.Error())
		if done {
			return r, nil
		}
	}
	return r, finish(c, r)
}

// begin holds a cell's folder until release is called, and gives the record to go on with: that of a cell which was done
// before, or a new one.
func (l *Lab) begin(c Cell) (r *record.Run, done bool, release func(), err error) {
	if r, err = l.describe(c); err != nil {
		return nil, false, nil, err
	}
	if release, err = hold(c.Dir); err != nil {
		return nil, false, nil, err
	}
	if old := l.done(c); old != nil {
		return old, true, release, nil
	}
	return r, false, release, nil
}

// TrainAndRecord is Run for a cell by itself: without resume the folder must hold no run,
// and whatever breaks is an error, not a row of a table.
func (l *Lab) TrainAndRecord(ctx context.Context, c Cell, resume bool) (*record.Run, error) {
	if resume {
		if old := l.Finished(c); old != nil {
			return old, nil
		}
	}
	r, _, release, err := l.begin(c) // without resume, what was done is refused by run
	if err != nil {
		return nil, err
	}
	defer release()
	if err := l.run(ctx, c, r, resume); err != nil {
		return nil, err
	}
	return r, finish(c, r)
}

// finish writes a cell's record.
func finish(c Cell, r *record.Run) error {
	r.Finished = time.Now().UTC().Round(time.Millisecond)
	r.Path = filepath.Join(c.Dir, record.FileName)
	return record.WriteFile(r.Path, r)
}

// run trains a cell, or goes on with it, and adds to its record what that has not yet.
func (l *Lab) run(ctx context.Context, c Cell, r *record.Run, resume bool) error {
	t, err := l.Train(ctx, c, resume)
	if err != nil {
		return err
	}
	if err := l.trained(r, t); err != nil {
		return err
	}
	if t.Resumed < t.Checkpoint.Step { // scores of an earlier call are of parameters that are gone
		r.Suites, r.Validation = nil, nil
	}
	rest := *l
	if rest.Suites = l.missing(r); len(rest.Suites) > 0 {
		suites, err := rest.Evaluate(ctx, c.Dir, c)
		if err != nil {
			return err
		}
		addSuites(r, suites)
	}
	r.Status = record.Done
	return nil
}

// Finished gives the record of a cell that has all that is asked for; nil where it is to be run.
func (l *Lab) Finished(c Cell) *record.Run {
	if r := l.done(c); r != nil && len(l.missing(r)) == 0 {
		return r
	}
	return nil
}

// missing are the lab's suites of which a record has no scores, or others than the lab's are.
func (l *Lab) missing(r *record.Run) (list []Suite) {
	for _, want := range l.Suites {
		if have, ok := r.Suites[want.Name()]; !ok || !l.same(want, have) {
			list = append(list, want)
		}
	}
	return list
}

// same says whether scores are those that a suite would give.
func (l *Lab) same(want Suite, have record.Suite) bool {
	if have.Limit != int64(l.limitOf(want)) {
		return false
	}
	ready, ok := want.(ReadySuite)
	if !ok {
		return true
	}
	for key, value := range evalsuite.Fixed(ready.Suite, l.Options) {
		if have.Settings[key] != value {
			return false
		}
	}
	return l.Options.WithinWord || !evalsuite.WithinWord(have.Settings)
}

// done gives the record of a cell that is trained and scored, on whatever suites; nil where there is none with the
// cell's settings.
func (l *Lab) done(c Cell) *record.Run {
	r, err := record.ReadFile(filepath.Join(c.Dir, record.FileName))
	if err != nil || r.Status != record.Done {
		return nil
	}
	s, err := l.settings(c)
	if err != nil {
		return nil
	}
	was, err := trainloop.ReadSettings(c.Dir)
	if err != nil {
		return nil
	}
	if _, err := l.imported(c, &s); err != nil {
		return nil
	}
	if s.Teacher = l.teacherOr(c, was.Teacher); len(s.Differences(was)) > 0 {
		return nil
	}
	return r
}

// describe fills in what is known of a cell before it runs.
func (l *Lab) describe(c Cell) (*record.Run, error) {
	s, err := l.settings(c)
	if err != nil {
		return nil, err
	}
	b, err := c.Variant.Config.Budget()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(s.Config)
	info := l.Data.Info()
	changes := slices.Clone(c.Variant.Changes)
	slices.Sort(changes)
	return &record.Run{
		Cell: record.Cell{
			Study: s.Study, Variant: c.Variant.Base, Set: strings.Join(changes, " "), Arch: s.Arch, Scale: s.Scale, Seed: s.Seed,
			Objective: s.Objective, Target: s.Target, Precision: s.Precision, Device: l.Runtime.Device().Kind,
		},
		Started: time.Now().UTC().Round(time.Millisecond), March: l.March, ConfigSHA256: hex.EncodeToString(sum[:]),
		Parameters: record.Parameters{Total: b.Total, Embedding: b.Embedding, Norm: b.Norm, Other: b.Other, Effective: b.Effective},
		FLOPs:      record.FLOPs{Forward: b.ForwardFLOPs, Training: b.TrainingFLOPs},
		Budget: record.Budget{Steps: s.Steps, TokensPerStep: int64(s.TokensPerStep), SequenceLength: int64(s.Length),
			Schedule: scheduleText(c.Variant.Config.Training)},
		Data: record.Data{Name: l.DataName, SHA256: s.DataSHA256, TokenizerSHA256: s.Tokenizer, Vocab: int64(c.Variant.Config.Vocab), Tokens: info.Tokens},
		Machine: record.Machine{Hardware: l.Hardware, Threads: l.Runtime.Threads(), OS: goruntime.GOOS + "/" + goruntime.GOARCH,
			ONNXRuntime: l.Runtime.Version(), AtOnce: l.AtOnce},
		Notes: taughtNote(c.Variant),
	}, nil
}

func scheduleText(t variants.Training) string {
	switch t.Schedule {
	case "cosine":
		return fmt.Sprintf("warm-up %g %%, cosine from %g to %g %% of it", 100*t.Warmup, t.Rate, 100*t.FinalRate)
	case "wsd":
		return fmt.Sprintf("warm-up %g %%, %g, falling to %g %% of it in the last %g %%", 100*t.Warmup, t.Rate, 100*t.FinalRate, 100*t.Cooldown)
	}
	return fmt.Sprintf("constant %g", t.Rate)
}

// trained adds what training came to.
func (l *Lab) trained(r *record.Run, t *trainloop.Result) error {
	last := t.Metrics[len(t.Metrics)-1]
	var losses []float64
	for _, m := range t.Metrics {
		if m.Skipped == "" {
			losses = append(losses, m.Loss)
		}
	}
	if len(losses) == 0 {
		return fmt.Errorf("%w: every step was skipped", trainloop.ErrDiverged)
	}
	r.Training = &record.Training{Steps: last.Step, Tokens: last.Tokens, Seconds: last.Seconds, Loss: losses[len(losses)-1]}
	if last.Seconds > 0 {
		r.Training.TokensPerSecond = float64(last.Tokens) / last.Seconds
	}
	if sd, ok := results.LossSD(losses); ok {
		r.Training.LossSD = &sd
	}
	return nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func compact(raw json.RawMessage) (string, error) {
	v, err := configOf(raw)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(v)
	return string(b), err
}

// configOf reads the config that settings or a manifest hold.
func configOf(raw json.RawMessage) (c variants.Config, err error) {
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, fmt.Errorf("the model's config: %w", err)
	}
	return c, nil
}
