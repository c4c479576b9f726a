// Package sweep drives several floors at once: it turns a cell of a comparison (a variant
// at a scale with a seed) into a program, a training run, scores and a record, and runs
// the cells of a bench so that a second call does only what is missing. It prints
// nothing and knows no flags. Start at [Cell.Run] and [Bench].
package sweep

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"march/evalsuite"
	"march/graphgen"
	"march/runtime"
	"march/trainloop"
	"march/trainloop/corpus"
	"march/variants"
	"march/variants/program"
)

// Lab is what all cells of a comparison share.
type Lab struct {
	Runtime  *runtime.Runtime
	Hardware string // the processor's or the GPU's name
	March    string // version
	Target   graphgen.Target
	// Precision is one of Precisions; "": fp32. The runtime must be opened for it.
	Precision string
	// Recompute and LossChunks trade a GPU's time for its memory: see program.Options. A folder's program is
	// written anew where they differ: that changes rounding only.
	Recompute  string
	LossChunks int
	CUDAGraph  string // of trainloop.EngineOptions
	Data       *corpus.Dataset
	DataName   string
	Suites     []Suite
	Options    evalsuite.Options // Predictions is set per suite
	// SaveEvery, ValidateEvery and ScoreEvery are trainloop's; scores are those of the suites but ppl and ppl-test.
	SaveEvery, ValidateEvery, ScoreEvery int64
	Override                             bool
	Diverged                             trainloop.Policy
	AtOnce                               int // cells that run at the same time, for their records
	Progress                             Progress
}

// Precisions lists how a run can compute: those of programs, and tf32, graphs of fp32 whose matrix
// products a GPU takes with factors rounded to 10 bits.
func Precisions() []string { return []string{"fp32", "tf32", "bf16"} }

// GraphPrecision is that of the program for a run's.
func GraphPrecision(run string) string {
	if run == "tf32" {
		return "fp32"
	}
	return run
}

// Progress hears what a cell does. Nil functions are not called.
type Progress struct {
	Step func(c Cell, m trainloop.Metric)
	Eval func(c Cell, suite string, done, total int)
	Note func(c Cell, text string)
}

// Cell is one run of a comparison.
type Cell struct {
	Variant variants.Variant
	Seed    uint64
	Batch   int    // sequences of a micro-batch; 0: as [Lab.DefaultBatch] says
	Dir     string // the run's folder
	Teacher string // the folder of the run that the variant learns from; "": it has no teacher
	Init    string // a Hugging Face folder that the start values are from; "": they are the seed's

	tried int // a micro-batch that is smaller than Batch 0 stands for; 0: none
}

// String names the cell.
func (c Cell) String() string {
	return fmt.Sprintf("%s %s seed %d", c.Variant.FullName(), c.Variant.Config.Arch, c.Seed)
}

// CellDir is the folder of a cell below a bench's.
func CellDir(out string, v variants.Variant, seed uint64) string {
	return filepath.Join(out, v.Study, v.Name(), v.Config.Arch, fmt.Sprintf("seed-%d", seed))
}

// ProgramDir is the program's folder in a run's.
func ProgramDir(run string) string { return filepath.Join(run, "program") }

// DefaultBatch is the micro-batch of a model that nobody asked for one: a step's sequences, as far as program.DefaultBatch
// goes, on a CPU in parts that run at once, unless a step has a micro-batch for each thread anyway. whole is without the parts.
func (l *Lab) DefaultBatch(c variants.Config) (batch, whole int) {
	whole = program.DefaultBatch(c, c.Length)
	if n := c.Training.TokensPerStep / (whole * c.Length); trainloop.ReplicasOn(l.Runtime, int64(n)) == l.Runtime.Threads() {
		return whole, whole // there are enough of them
	}
	return whole / trainloop.PartsOn(l.Runtime, whole, c.Length), whole
}

// settings are what the cell's run is identified by, all but the teacher, which may be
// trained later.
func (l *Lab) settings(c Cell) (trainloop.Settings, error) {
	cfg := c.Variant.Config
	config, err := json.Marshal(cfg)
	if err != nil {
		return trainloop.Settings{}, err
	}
	batch := c.Batch
	if batch == 0 {
		batch = c.tried
	}
	if batch == 0 {
		whole := 0
		batch, whole = l.DefaultBatch(cfg)
		// A run that goes on keeps its micro-batch: it was begun with other threads, or found its own too large.
		if old, err := trainloop.ReadSettings(c.Dir); err == nil && old.MicroBatch > 0 && whole%old.MicroBatch == 0 {
			batch = old.MicroBatch
		}
	}
	info := l.Data.Info()
	if info.VocabSize > cfg.Vocab {
		return trainloop.Settings{}, fmt.Errorf("the data's tokenizer has %d tokens, the model's vocab is %d: prepare the data with --vocab %d, or --set vocab=%d", info.VocabSize, cfg.Vocab, cfg.Vocab, info.VocabSize)
	}
	return trainloop.Settings{
		Study: c.Variant.Study, Variant: c.Variant.Name(), Arch: cfg.Arch, Scale: c.Variant.Scale, Config: config, Objective: cfg.Training.Objective,
		Target: string(l.Target), Precision: cmp.Or(l.Precision, "fp32"), Seed: c.Seed, Steps: int64(cfg.Training.Steps), TokensPerStep: cfg.Training.TokensPerStep,
		MicroBatch: batch, Length: cfg.Length, DataSHA256: info.SHA256, Tokenizer: info.TokenizerSHA256, DataSource: l.DataName,
		Threads: l.Runtime.Threads(), Device: l.Runtime.Device().String(), Runtime: l.Runtime.Version(), Deterministic: l.Runtime.Deterministic(),
	}, nil
}

// Train trains the cell, going on where its folder's run stands if resume is set. Where the
// GPU's memory is too small for a micro-batch that nobody asked for, it begins again with a smaller one. The caller
// holds the folder.
func (l *Lab) Train(ctx context.Context, c Cell, resume bool) (*trainloop.Result, error) {
	for {
		r, err := l.train(ctx, c, resume)
		if !runtime.IsOutOfMemory(err) {
			return r, err
		}
		smaller, ok := l.smaller(c)
		if !ok {
			if saved, e := trainloop.Latest(c.Dir, func(string) {}); e == nil && saved == nil {
				_ = os.Remove(filepath.Join(c.Dir, trainloop.SettingsFile)) // nothing is lost, and other flags may begin anew
			}
			return nil, fmt.Errorf("%w; a smaller --batch, --recompute block or --loss-chunks 8 take less", err)
		}
		if l.Progress.Note != nil {
			l.Progress.Note(c, fmt.Sprintf("the GPU has not enough memory for the micro-batch: going on with %d sequences at a time (%s)", smaller, oneLine(err.Error())))
		}
		c.tried, resume = smaller, false
	}
}

// smaller is the next smaller micro-batch of a run that has no checkpoint yet, whose folder is cleared.
func (l *Lab) smaller(c Cell) (int, bool) {
	s, err := l.settings(c)
	if err != nil || c.Batch != 0 {
		return 0, false
	}
	if saved, err := trainloop.Latest(c.Dir, func(string) {}); err != nil || saved != nil {
		return 0, false
	}
	b, ok := SmallerBatch(cmp.Or(c.tried, s.MicroBatch))
	err = os.Remove(filepath.Join(c.Dir, trainloop.SettingsFile))
	return b, ok && (err == nil || errors.Is(err, fs.ErrNotExist)) // it is written when all fits into memory
}

// SmallerBatch is the micro-batch that is tried where a GPU's memory is too small for one: its largest divisor below it. ok is
// false for one sequence.
func SmallerBatch(batch int) (smaller int, ok bool) {
	for b := batch / 2; b >= 1; b-- {
		if batch%b == 0 {
			return b, true
		}
	}
	return 0, false
}

func (l *Lab) train(ctx context.Context, c Cell, resume bool) (*trainloop.Result, error) {
	s, err := l.settings(c)
	if err != nil {
		return nil, err
	}
	batches, err := l.batches(c, s)
	if err != nil {
		return nil, err
	}
	teacher, sum, err := l.teacher(c)
	if err != nil {
		return nil, err
	}
	s.Teacher = sum
	from, err := l.imported(c, &s)
	if err != nil {
		return nil, err
	}
	// Before anything is written: a folder that holds another run stays as it is.
	was, err := trainloop.ReadSettings(c.Dir)
	started := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if started && !resume {
		return nil, fmt.Errorf("%s holds a run already: --resume goes on with it, another --out starts a new one", c.Dir)
	}
	other := started && len(s.Differences(was)) > 0
	if other && !l.Override {
		return nil, fmt.Errorf("run %s: %w", c.Dir, &trainloop.SettingsError{Differences: s.Differences(was)})
	}
	dir, p, err := l.program(c, s, from, started)
	if err != nil {
		return nil, err
	}
	if dir != ProgramDir(c.Dir) {
		defer os.RemoveAll(dir) // where it came to nothing
		l.noteMasks(c, was, s)
	}
	defer p.Wait() // whatever happens: the folder may be written into again
	o := trainloop.Options{
		Dir: c.Dir, Program: dir, Writing: p, Begin: func() error { return l.adopt(c, dir, other) }, Settings: s, Training: c.Variant.Config.Training, Runtime: l.Runtime, Batches: batches,
		Teacher: teacher, CUDAGraph: l.CUDAGraph, Resume: resume, Override: l.Override, Diverged: l.Diverged, SaveEvery: l.SaveEvery, ValidateEvery: l.ValidateEvery,
		OnStep: func(m trainloop.Metric) {
			if l.Progress.Step != nil {
				l.Progress.Step(c, m)
			}
		},
		Warn: func(text string) {
			if l.Progress.Note != nil {
				l.Progress.Note(c, text)
			}
		},
	}
	if l.ScoreEvery > 0 {
		o.ScoreEvery = l.ScoreEvery
		o.Score = func(e *trainloop.Engine) (map[string]float64, error) { return l.scores(ctx, c, e) }
	}
	if l.ValidateEvery > 0 {
		o.Validate = func(e *trainloop.Engine) (float64, error) { return l.validate(ctx, c, e) }
	}
	return trainloop.Train(ctx, o)
}

func (l *Lab) batches(c Cell, s trainloop.Settings) (*corpus.Shuffled, error) {
	return corpus.NewShuffled(l.Data.Train(), corpus.Task{
		Objective: s.Objective, Batch: s.MicroBatch, Length: s.Length, Tokenizer: l.Data.Tokenizer(), Vocab: c.Variant.Config.Vocab,
		DocumentMask: c.Variant.Config.Training.DocumentMask}, c.Seed)
}

// inTraining is the model of the parameters in training.
func (l *Lab) inTraining(c Cell, e *trainloop.Engine) (*evalsuite.ONNXModel, error) {
	params, err := e.Effective()
	if err != nil {
		return nil, err
	}
	return scorer(l.Runtime, ProgramDir(c.Dir), e.Manifest, params)
}

// scores are those of the parameters in training on the lab's suites, but for perplexity: validation is for that of the
// validation text, and nobody may choose by that of the test text.
func (l *Lab) scores(ctx context.Context, c Cell, e *trainloop.Engine) (map[string]float64, error) {
	m, err := l.inTraining(c, e)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	scores := map[string]float64{}
	for _, s := range l.Suites {
		if _, ok := s.(Perplexity); ok {
			continue
		}
		items, err := s.Items(l, c.Variant.Config)
		if err != nil {
			return nil, fmt.Errorf("suite %s: %w", s.Name(), err)
		}
		o := l.Options
		o.Limit = l.limitOf(s)
		r, err := evalsuite.Run(ctx, m, l.Data.Tokenizer(), items, o)
		if err != nil {
			return nil, err
		}
		for _, x := range r.Scores {
			scores[s.Name()+"/"+x.Name] = x.Value
		}
	}
	return scores, nil
}

// validate is the validation loss of the parameters in training.
func (l *Lab) validate(ctx context.Context, c Cell, e *trainloop.Engine) (float64, error) {
	m, err := l.inTraining(c, e)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	p, err := l.perplexity(c.Variant.Config, false, 1)
	if err != nil {
		return 0, err
	}
	r, err := evalsuite.Run(ctx, m, l.Data.Tokenizer(), p, evalsuite.Options{BatchTokens: l.Options.BatchTokens})
	if err != nil {
		return 0, err
	}
	loss, _ := r.Score("loss")
	return loss, nil
}
