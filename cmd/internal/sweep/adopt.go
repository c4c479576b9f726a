package sweep

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"march/graphgen"
	"march/results/record"
	"march/trainloop"
	"march/variants/export"
	"march/variants/manifest"
	"march/variants/program"
)

// A run that goes on keeps its program, tokenizer and record until it is known that training can go on with others.

// Beside a run's program: the next one, and the last one while it is removed.
const (
	nextProgram = ".program-next"
	lastProgram = ".program-last"
)

// program begins to write the run's program unless the folder has it, and says where it is. Where the folder holds a run that
// was started, another program than the run's is written beside it, for [Lab.adopt].
func (l *Lab) program(c Cell, s trainloop.Settings, from *export.Imported, started bool) (dir string, p *program.Writing, err error) {
	dir = ProgramDir(c.Dir)
	o := program.Options{
		Target: l.Target, Precision: GraphPrecision(s.Precision), Deterministic: s.Deterministic, GPU: l.Runtime.GPU() != "", Recompute: l.Recompute, LossChunks: l.LossChunks,
		Batch: s.MicroBatch, Length: s.Length, Seed: s.Seed, Init: s.Init, Graphs: []string{"grad", "update", "eval", "score"}}
	if from != nil {
		o.Start = from.Values
	}
	if m, err := manifest.Read(dir); err == nil {
		config, err := compact(m.Config)
		if err != nil {
			return "", nil, err
		}
		same := config == string(s.Config) && m.Precision == o.Precision && m.Batch == s.MicroBatch && m.Length == s.Length && m.Seed == s.Seed && m.Init == s.Init
		// A run that goes on elsewhere gets the operators of that place.
		if same && m.Target == s.Target && program.SameMemory(m, o) && hasKernels(m, o.GPU) && m.Verify(dir) == nil {
			return dir, program.Written(m), nil
		}
	}
	if started {
		dir = filepath.Join(c.Dir, nextProgram)
		if err := os.RemoveAll(dir); err != nil { // a killed process left it
			return "", nil, err
		}
	}
	p, err = program.Begin(dir, c.Variant, o)
	return dir, p, err
}

// hasKernels reports whether all of a program's kernels are there; manifests of older versions do not say what they are for.
func hasKernels(m *manifest.Manifest, gpu bool) bool {
	for _, g := range m.Graphs {
		for op := range g.Operators {
			if !graphgen.HasKernel(op, gpu) {
				return false
			}
		}
	}
	return true
}

// noteMasks tells of a run that goes on on a CPU with another program than an older version of march wrote, which counted
// dropout's masks through each micro-batch; of another device, trainloop tells. The old program itself keeps them.
func (l *Lab) noteMasks(c Cell, was, s trainloop.Settings) {
	if was.Device != "cpu" || s.Device != "cpu" || was.MicroBatches() == 1 || l.Progress.Note == nil {
		return
	}
	m, err := manifest.Read(ProgramDir(c.Dir))
	if err != nil {
		return // its program is lost, and nothing tells
	}
	if parts, err := trainloop.DropoutParts(ProgramDir(c.Dir), m); err == nil && !parts {
		l.Progress.Note(c, fmt.Sprintf("dropout takes other masks from here on: the run's program is of an older version, which counts through each of a step's %d micro-batches, the new one through the step's batch", was.MicroBatches()))
	}
}

// adopt makes the program in dir the run's, and the data's tokenizer. other says that the folder's run was started with
// other settings, so that its record is no longer true. Stopped at any place, --resume with the settings in the folder
// goes on.
func (l *Lab) adopt(c Cell, dir string, other bool) error {
	if other {
		if err := os.Remove(filepath.Join(c.Dir, record.FileName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := adoptProgram(c.Dir, dir); err != nil {
		return err
	}
	return l.saveTokenizer(c.Dir)
}

func adoptProgram(run, dir string) error {
	to, last := ProgramDir(run), filepath.Join(run, lastProgram)
	if dir == to {
		return nil
	}
	if err := os.RemoveAll(last); err != nil {
		return err
	}
	if err := os.Rename(to, last); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(dir, to); err != nil {
		return err
	}
	return os.RemoveAll(last)
}
