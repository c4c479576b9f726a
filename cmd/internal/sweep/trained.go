package sweep

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"march/evalsuite/generate"
	"march/runtime"
	"march/trainloop"
	"march/trainloop/safetensors"
	"march/trainloop/tokenizer"
	"march/variants"
	"march/variants/manifest"
	"march/variants/program"
)

// TokenizerFile is a copy of the data's tokenizer in a run's folder, so that what the run learned can be used without the
// data.
const TokenizerFile = "tokenizer.json"

// saveTokenizer puts the data's tokenizer into a run's folder, unless it lies there.
func (l *Lab) saveTokenizer(run string) error {
	path := filepath.Join(run, TokenizerFile)
	if _, err := os.Stat(path); err == nil && !l.Override {
		return nil // settings say whether it is the same
	}
	return l.Data.Tokenizer().Save(path)
}

// Trained is what a run came to: a model's parameters, and all that is needed to use them.
type Trained struct {
	Dir        string
	Settings   trainloop.Settings
	Config     variants.Config
	Checkpoint trainloop.Checkpoint
	Params     string               // safetensors file with the parameters
	Tokenizer  *tokenizer.Tokenizer // nil of a program without a run
}

// Name is the variant's full name.
func (t *Trained) Name() string { return t.Settings.Study + "/" + t.Settings.Variant }

// OpenTrained opens a run at its last or best checkpoint, or at that of a step ("last", "best", "900"). best is the one
// with the lowest validation loss. The tokenizer is the run's own; for runs that have none, as of earlier versions, it is
// that of the prepared folder data, or of the embedded corpus with data "". warn hears of damaged checkpoints.
func OpenTrained(dir, checkpoint, data string, warn func(string)) (*Trained, error) {
	s, err := trainloop.ReadSettings(dir)
	if err != nil {
		return nil, err
	}
	t := &Trained{Dir: dir, Settings: s}
	if t.Config, err = configOf(s.Config); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, trainloop.SettingsFile), err)
	}
	cp, err := chosen(dir, checkpoint, warn)
	if err != nil {
		return nil, err
	}
	t.Checkpoint, t.Params = *cp, cp.Params()
	if cp.Step < s.Steps && checkpoint == "last" {
		warn(fmt.Sprintf("%s stands at step %d of %d", dir, cp.Step, s.Steps))
	}
	t.Tokenizer, err = t.findTokenizer(data)
	return t, err
}

// OpenProgram opens a program's model with the parameters of a safetensors file, or with its start values where that is "".
func OpenProgram(dir, params string) (*Trained, error) {
	m, err := manifest.Read(dir)
	if err != nil {
		return nil, err
	}
	c, err := configOf(m.Config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, manifest.File), err)
	}
	s := trainloop.Settings{Study: m.Study, Variant: m.Variant, Arch: m.Arch, Scale: m.Scale, Config: m.Config, Objective: c.Training.Objective, Seed: m.Seed}
	if params == "" {
		params = filepath.Join(dir, program.InitFile)
	}
	return &Trained{Dir: dir, Settings: s, Config: c, Params: params}, nil
}

// CheckCheckpoint refuses what names no checkpoint.
func CheckCheckpoint(name string) error {
	if step, err := strconv.ParseInt(name, 10, 64); name != "last" && name != "best" && (err != nil || step < 1) {
		return fmt.Errorf("%q: wanted last, best or the number of a step", name)
	}
	return nil
}

func chosen(dir, checkpoint string, warn func(string)) (cp *trainloop.Checkpoint, err error) {
	switch checkpoint {
	case "last":
		if cp, err = trainloop.Latest(dir, warn); cp == nil && err == nil {
			err = fmt.Errorf("%s has no checkpoint yet", dir)
		}
	case "best":
		if cp, err = trainloop.Best(dir, warn); cp == nil && err == nil {
			err = fmt.Errorf("%s has no checkpoint with a validation loss, of which one could be the best: march train --validate-every makes them; wanted last", dir)
		}
	default:
		if err := CheckCheckpoint(checkpoint); err != nil {
			return nil, err
		}
		step, _ := strconv.ParseInt(checkpoint, 10, 64)
		cp, err = trainloop.At(dir, step)
	}
	return cp, err
}

// findTokenizer looks where a run's tokenizer can be.
func (t *Trained) findTokenizer(data string) (*tokenizer.Tokenizer, error) {
	own := filepath.Join(t.Dir, TokenizerFile)
	places := []string{own}
	if data != "" {
		places = []string{filepath.Join(data, TokenizerFile)}
	} else if cache, err := CacheDir(t.Config.Vocab); err == nil {
		places = append(places, filepath.Join(cache, TokenizerFile))
	}
	for _, path := range places {
		tok, err := tokenizer.Load(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && data == "":
			continue
		case err != nil:
			return nil, err
		case tok.SHA256() == t.Settings.Tokenizer:
			return tok, nil
		case path == own || data != "":
			return nil, fmt.Errorf("%s is not the tokenizer that %s was trained with (sha256 %.12s…, wanted %.12s…)", path, t.Dir, tok.SHA256(), t.Settings.Tokenizer)
		}
	}
	return nil, fmt.Errorf("%s has no %s, and the embedded corpus another one: wanted --data FOLDER, the data that it was trained on (%s)", t.Dir, TokenizerFile, t.Settings.DataSource)
}

// Generator loads the model for generating text. The caller closes it; the runtime goes on.
func (t *Trained) Generator(rt *runtime.Runtime) (*Generator, error) {
	m, err := manifest.Read(ProgramDir(t.Dir))
	if err != nil {
		return nil, err
	}
	params, b, err := loadParameters(rt, m, t.Params)
	if err != nil {
		return nil, err
	}
	model, err := generate.New(rt, t.Config, params)
	if err != nil {
		return nil, errors.Join(err, b.Free())
	}
	return &Generator{model, b}, nil
}

// Generator is a model that generates, with its parameters.
type Generator struct {
	*generate.Model
	buffer *runtime.Buffer
}

// Close gives everything back.
func (g *Generator) Close() error { return errors.Join(g.Model.Close(), g.buffer.Free()) }

// Values reads the model's parameters from the checkpoint, each when asked for, until close is called.
func (t *Trained) Values() (values func(variants.Parameter) ([]float32, error), close func() error, err error) {
	f, err := safetensors.Open(t.Params)
	if err != nil {
		return nil, nil, err
	}
	return func(p variants.Parameter) ([]float32, error) {
		if x, ok := f.Lookup(p.Name); ok && !slices.Equal(x.Shape, p.Shape) {
			return nil, fmt.Errorf("%s: tensor %q has the shape %v, the model's is %v", t.Params, p.Name, x.Shape, p.Shape)
		}
		v := make([]float32, p.Elements())
		return v, safetensors.Read(f, p.Name, v)
	}, f.Close, nil
}
