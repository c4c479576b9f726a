package sweep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"march/evalsuite"
	"march/results"
	"march/results/record"
	"march/runtime"
	"march/trainloop"
	"march/trainloop/safetensors"
	"march/variants"
	"march/variants/manifest"
)

// Suite is an evaluation suite with what it needs to know of a run's data.
type Suite interface {
	Name() string
	// Items gives the suite's items for a model; it may be called for every cell.
	Items(l *Lab, c variants.Config) (evalsuite.Suite, error)
}

// ReadySuite is a suite that needs no data of the run.
type ReadySuite struct{ evalsuite.Suite }

// Items is the suite itself.
func (s ReadySuite) Items(*Lab, variants.Config) (evalsuite.Suite, error) { return s.Suite, nil }

// Perplexity scores the validation stream of the lab's data, or the test stream.
type Perplexity struct{ Test bool }

// Name is "ppl", or "ppl-test".
func (p Perplexity) Name() string {
	if p.Test {
		return "ppl-test"
	}
	return "ppl"
}

// Items is the perplexity of the stream.
func (p Perplexity) Items(l *Lab, c variants.Config) (evalsuite.Suite, error) {
	return l.perplexity(c, p.Test, 0)
}

// CheckSuites reports what is to be scored and has no text in the lab's data.
func (l *Lab) CheckSuites() error {
	const tokens = 2 // one to predict, behind another
	valid := l.Data.Valid().Len() < tokens
	switch {
	case l.Data.Test().Len() < tokens && slices.Contains(l.Suites, Suite(Perplexity{Test: true})):
		return fmt.Errorf("suite ppl-test: the data %s have no documents for a test; march data prepare keeps some with --test-fraction", l.DataName)
	case valid && slices.Contains(l.Suites, Suite(Perplexity{})):
		return fmt.Errorf("suite ppl: the data %s have no validation text; march data prepare keeps some with --valid-fraction or --valid, and --suite names other suites, or none", l.DataName)
	case valid && l.ValidateEvery > 0:
		return fmt.Errorf("--validate-every: the data %s have no validation text; march data prepare keeps some with --valid-fraction or --valid", l.DataName)
	}
	return nil
}

// limitOf is the limit that holds for a suite: perplexity has its own.
func (l *Lab) limitOf(s Suite) int {
	if _, ok := s.(Perplexity); ok {
		return 0
	}
	return l.Options.Limit
}

// LoadedModel is a program's scoring graph with parameters of its own.
type LoadedModel struct {
	*evalsuite.ONNXModel
	Manifest *manifest.Manifest
	Config   variants.Config
	buffer   *runtime.Buffer
}

// Close gives everything back.
func (m *LoadedModel) Close() error {
	err := m.ONNXModel.Close()
	if e := m.buffer.Free(); err == nil {
		err = e
	}
	return err
}

// LoadModel loads a program's scoring graph with the parameters in a safetensors file.
func LoadModel(rt *runtime.Runtime, programDir, params string) (*LoadedModel, error) {
	m, err := manifest.Read(programDir)
	if err != nil {
		return nil, err
	}
	if err := m.Verify(programDir); err != nil {
		return nil, err
	}
	config, err := configOf(m.Config)
	if err != nil {
		return nil, err
	}
	tensors, b, err := loadParameters(rt, m, params)
	if err != nil {
		return nil, err
	}
	x, err := scorer(rt, programDir, m, tensors)
	if err != nil {
		b.Free()
		return nil, err
	}
	return &LoadedModel{x, m, config, b}, nil
}

// scorer is a program's score.onnx with parameters, or its eval.onnx where it is an older one or was made without the other.
func scorer(rt *runtime.Runtime, programDir string, m *manifest.Manifest, params map[string]*runtime.Tensor) (*evalsuite.ONNXModel, error) {
	for _, name := range []string{"score", "eval"} {
		if g := m.Graphs[name]; g != nil {
			return evalsuite.NewONNXModel(rt, filepath.Join(programDir, g.File), ReadBy(m, name, params), m.MaxLength)
		}
	}
	return nil, fmt.Errorf("program %s has neither score.onnx nor eval.onnx", programDir)
}

// loadParameters puts the parameters in a safetensors file on the device, in a buffer of their own.
func loadParameters(rt *runtime.Runtime, m *manifest.Manifest, params string) (tensors map[string]*runtime.Tensor, b *runtime.Buffer, err error) {
	f, err := safetensors.Open(params)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if b, err = rt.Alloc(m.BufferBytes()); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			b.Free()
		}
	}()
	tensors = map[string]*runtime.Tensor{}
	for _, p := range m.Parameters {
		shape := make([]int64, len(p.Shape))
		for i, d := range p.Shape {
			shape[i] = int64(d)
		}
		t, err := b.Tensor(p.Offset, runtime.Float32, shape...)
		if err != nil {
			return nil, b, err
		}
		v := make([]float32, p.Elements())
		if err := safetensors.Read(f, p.Name, v); err != nil {
			return nil, b, fmt.Errorf("%w (are these the parameters of %s/%s?)", err, m.Study, m.Variant)
		}
		if err := runtime.Upload(t, v); err != nil {
			return nil, b, err
		}
		tensors[p.Name] = t
	}
	return tensors, b, nil
}

// ReadBy are those of a model's parameters that one of its graphs reads. Some may have no
// effect on it, and then it has no inputs for them.
func ReadBy(m *manifest.Manifest, graph string, params map[string]*runtime.Tensor) map[string]*runtime.Tensor {
	read := map[string]*runtime.Tensor{}
	for _, p := range m.Graphs[graph].Inputs {
		if t := params[p.Name]; t != nil {
			read[p.Name] = t
		}
	}
	return read
}

// Evaluate scores the newest checkpoint in a run's folder on the lab's suites; predictions go to its folder
// predictions, but those on the text of other data than the run's.
func (l *Lab) Evaluate(ctx context.Context, run string, c Cell) (map[string]*evalsuite.Result, error) {
	cp, err := trainloop.Latest(run, func(text string) {
		if l.Progress.Note != nil {
			l.Progress.Note(c, text)
		}
	})
	if err != nil {
		return nil, err
	}
	if cp == nil {
		return nil, fmt.Errorf("%s has no checkpoint to evaluate", run)
	}
	m, err := LoadModel(l.Runtime, ProgramDir(run), cp.Params())
	if err != nil {
		return nil, err
	}
	defer m.Close()
	return l.EvaluateModel(ctx, m, filepath.Join(run, results.PredictionsFolder), c, l.Foreign(run)...)
}

// Foreign are the lab's suites that score text of other data than a run was trained with: no figures of that run's
// record, whose validation loss is of its own data's text.
func (l *Lab) Foreign(run string) (names []string) {
	s, err := trainloop.ReadSettings(run)
	if err != nil || s.DataSHA256 == l.Data.Info().SHA256 {
		return nil
	}
	for _, x := range l.Suites {
		if _, ok := x.(Perplexity); ok {
			names = append(names, x.Name())
		}
	}
	return names
}

// EvaluateModel scores a model on the lab's suites. Predictions go to a folder, unless that is empty, but those of the
// suites that are named without.
func (l *Lab) EvaluateModel(ctx context.Context, m *LoadedModel, predictions string, c Cell, without ...string) (map[string]*evalsuite.Result, error) {
	if len(l.Suites) > 0 && predictions != "" {
		if err := os.MkdirAll(predictions, 0o777); err != nil {
			return nil, err
		}
	}
	out := map[string]*evalsuite.Result{}
	for _, s := range l.Suites {
		items, err := s.Items(l, m.Config)
		if err != nil {
			return nil, fmt.Errorf("suite %s: %w", s.Name(), err)
		}
		o := l.Options
		if predictions != "" && !slices.Contains(without, s.Name()) {
			o.Predictions = filepath.Join(predictions, s.Name()+".jsonl")
		}
		o.Limit = l.limitOf(s)
		if l.Runtime.TF32() {
			o.Arithmetic = "TF32"
		}
		o.Progress = func(done, total int) {
			if l.Progress.Eval != nil {
				l.Progress.Eval(c, s.Name(), done, total)
			}
		}
		if out[s.Name()], err = evalsuite.Run(ctx, m, l.Data.Tokenizer(), items, o); err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, fmt.Errorf("suite %s: %w", s.Name(), err)
		}
	}
	return out, nil
}

// addSuites puts results into a record, beside those of other suites.
func addSuites(r *record.Run, suites map[string]*evalsuite.Result) {
	if r.Suites == nil {
		r.Suites = map[string]record.Suite{}
	}
	for name, s := range suites {
		x := record.Suite{Items: s.Items, Ties: s.Ties, Identical: s.Identical, Truncated: s.Truncated, Limit: s.Limit,
			Settings: s.Settings, Notes: s.Notes, Tokens: s.Tokens, Seconds: s.Seconds}
		for _, v := range s.Scores {
			x.Scores = append(x.Scores, record.Score(v))
		}
		for _, g := range s.Groups {
			x.Groups = append(x.Groups, record.Group(g))
		}
		r.Suites[name] = x
	}
	if ppl, ok := suites["ppl"]; ok {
		if loss, ok := ppl.Score("loss"); ok {
			r.Validation = &record.Validation{Loss: loss, Tokens: ppl.Tokens}
		}
	}
}

// AddSuites evaluates a finished run on the lab's suites and updates its record, if the
// folder has one, with those that are not [Lab.Foreign]. The record that it returns has the lab's suites only.
func (l *Lab) AddSuites(ctx context.Context, run string) (*record.Run, error) {
	suites, err := l.Evaluate(ctx, run, Cell{Dir: run})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(run, record.FileName)
	if _, err := os.Stat(path); err == nil { // a run in training has none yet, and is not to be waited for
		release, err := l.await(ctx, run)
		if err != nil {
			return nil, err
		}
		defer release()
	}
	r, err := record.ReadFile(path)
	switch {
	case err == nil:
		own := maps.Clone(suites)
		for _, name := range l.Foreign(run) {
			delete(own, name)
		}
		addSuites(r, own)
		if err := record.WriteFile(path, r); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	r = &record.Run{}
	addSuites(r, suites)
	return r, nil
}

// EvaluateParams scores a program with the parameters in a safetensors file.
func (l *Lab) EvaluateParams(ctx context.Context, programDir, params string) (*record.Run, error) {
	m, err := LoadModel(l.Runtime, programDir, params)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	suites, err := l.EvaluateModel(ctx, m, "", Cell{})
	if err != nil {
		return nil, err
	}
	r := &record.Run{}
	addSuites(r, suites)
	return r, nil
}

// Vocab is the vocabulary of a program.
func Vocab(programDir string) (int, error) {
	m, err := manifest.Read(programDir)
	if err != nil {
		return 0, err
	}
	return m.Vocab, nil
}

// SaveTokens writes the token lists that the lab's suites would score with a program.
func (l *Lab) SaveTokens(file, programDir string) (int, error) {
	m, err := manifest.Read(programDir)
	if err != nil {
		return 0, err
	}
	c, err := configOf(m.Config)
	if err != nil {
		return 0, err
	}
	var list []evalsuite.Suite
	for _, s := range l.Suites {
		items, err := s.Items(l, c)
		if err != nil {
			return 0, err
		}
		list = append(list, items)
	}
	return evalsuite.SaveTokens(file, l.Data.Tokenizer(), m.MaxLength, l.Options.Limit, list...)
}
