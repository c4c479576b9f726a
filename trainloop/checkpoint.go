package trainloop

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"march/graphgen/atomicfile"
	"march/trainloop/safetensors"
	"march/variants/manifest"
)

// A checkpoint is a folder checkpoints/step-N with the parameters, the optimizer's moments, and a
// state file with the digests of both, of every tensor and of itself. Where a model is pruned, masked
// weights are zeros among the parameters, which so are the model; a third file has those matrices
// whole, for training goes on with them, and their masks. The folder is written under another name,
// flushed and renamed, so that one with its final name is whole; the last ones are kept, and the one with the best
// validation loss.
const (
	checkpointsDir = "checkpoints"
	checkpointName = "step-%08d"
	paramsFile     = "params.safetensors"
	momentsFile    = "moments.safetensors"
	pruningFile    = "pruning.safetensors"
	stateFile      = "state.json"
	keepLast       = 2

	savingDir  = ".saving"  // being written
	leavingDir = ".leaving" // being removed
)

// maxStateFile bounds state.json, which has some 100 bytes a tensor.
const maxStateFile = 16 << 20

// State is where a run stands.
type State struct {
	Step    int64   `json:"step"`   // optimizer steps done
	Tokens  int64   `json:"tokens"` // of the budget so far: steps × tokens of a step
	Seconds float64 `json:"seconds"`
	// Valid is the validation loss after this step, where it was measured.
	Valid  *float64          `json:"valid_loss,omitempty"`
	SHA256 map[string]string `json:"sha256"` // of the checkpoint's files
	// Tensors are the digests of the tensors, by file and name; none in checkpoints of earlier versions.
	Tensors map[string]map[string]string `json:"tensors,omitempty"`
	// Check is the sha256 of the state file without this field.
	Check string `json:"check,omitempty"`
}

// Checkpoint is a saved state.
type Checkpoint struct {
	Dir string
	State
}

// Params is the file with the parameters.
func (c Checkpoint) Params() string { return filepath.Join(c.Dir, paramsFile) }

// ParamsSHA256 is that file's digest.
func (c Checkpoint) ParamsSHA256() string { return c.SHA256[paramsFile] }

// tensorFile is a file of a checkpoint that is to be written. Its tensors are asked for when its turn comes, so
// that those of one file are in memory.
type tensorFile struct {
	name    string
	tensors func() ([]safetensors.Tensor, error)
}

// save writes a checkpoint of the engine and drops the oldest ones.
func (e *Engine) save(run string, s State) error {
	var files []tensorFile
	for _, saved := range e.saved() {
		files = append(files, tensorFile{saved.file, func() (tensors []safetensors.Tensor, err error) {
			for _, p := range saved.of {
				for _, kind := range saved.kinds {
					read := e.tensor
					if kind == kindEffective {
						read = func(_ string, p manifest.Parameter) ([]float32, error) { return e.effective(p) }
					}
					v, err := read(kind, p)
					if err != nil {
						return nil, err
					}
					tensors = append(tensors, safetensors.New(viewName(kind, p.Name), p.Shape, v))
				}
			}
			return tensors, nil
		}})
	}
	return saveCheckpoint(run, s, files, keepLast)
}

// saveCheckpoint writes a checkpoint and drops all but the last ones and the best.
func saveCheckpoint(run string, s State, files []tensorFile, keep int) error {
	parent := filepath.Join(run, checkpointsDir)
	final := filepath.Join(parent, fmt.Sprintf(checkpointName, s.Step))
	temporary := filepath.Join(parent, savingDir)
	if err := os.RemoveAll(temporary); err != nil {
		return err
	}
	if _, err := os.Stat(parent); err != nil {
		if err := os.MkdirAll(parent, 0o777); err != nil {
			return err
		}
		if err := syncDir(run); err != nil {
			return err
		}
	}
	if err := os.Mkdir(temporary, 0o777); err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	s.SHA256, s.Tensors = map[string]string{}, map[string]map[string]string{}
	for _, file := range files {
		tensors, err := file.tensors()
		if err != nil {
			return err
		}
		path := filepath.Join(temporary, file.name)
		_, s.SHA256[file.name], err = safetensors.WriteFileDigest(path, tensors, map[string]string{"format": "pt", "step": strconv.FormatInt(s.Step, 10)})
		if err != nil {
			return err
		}
		digests := make(map[string]string, len(tensors))
		for _, t := range tensors {
			digests[t.Name] = safetensors.Digest(t.Data)
		}
		s.Tensors[file.name] = digests
	}
	b, err := s.encode()
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(filepath.Join(temporary, stateFile), b); err != nil {
		return err
	}
	if err := remove(final); err != nil { // a damaged one, that a resumed run passed over
		return err
	}
	if err := os.Rename(temporary, final); err != nil {
		return err
	}
	if err := syncDir(parent); err != nil {
		return err
	}
	return dropOld(parent, s.Step, keep)
}

// encode returns the state file, with its own digest in it.
func (s State) encode() ([]byte, error) {
	s.Check = ""
	b, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	s.Check = safetensors.Digest(b)
	b, err = json.MarshalIndent(s, "", " ")
	return append(b, '\n'), err
}

// decodeState reads what encode made; every byte of it counts.
func decodeState(b []byte) (State, error) {
	var s State
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, err
	}
	if s.Check == "" && s.Tensors == nil { // of an earlier version
		return s, nil
	}
	again, err := s.encode()
	if err != nil || !bytes.Equal(again, b) {
		return s, errors.New("damaged: it is not what was saved")
	}
	return s, nil
}

// remove takes a checkpoint away in one go, so that a crash leaves no half of one under its name.
func remove(dir string) error {
	leaving := filepath.Join(filepath.Dir(dir), leavingDir)
	if err := os.RemoveAll(leaving); err != nil {
		return err
	}
	if err := os.Rename(dir, leaving); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return os.RemoveAll(leaving)
}

// dropOld removes, of the checkpoints up to a step that was just saved, all but the last ones and the one with the
// lowest validation loss, of equal ones the oldest. What it was is read from the state; one that cannot be read is no
// good. Checkpoints of later steps are damaged, for the run went on behind them: it writes them anew when it gets there.
func dropOld(parent string, step int64, keep int) error {
	steps, err := savedSteps(parent)
	if err != nil {
		return err
	}
	steps = slices.DeleteFunc(steps, func(name string) bool { n, _ := stepOf(name); return n > step })
	best, lowest := "", math.Inf(1)
	first := len(steps) // of the last ones
	for i, name := range slices.Backward(steps) {
		s, err := readState(filepath.Join(parent, name))
		if err != nil {
			continue
		}
		if keep > 0 {
			keep, first = keep-1, i
		}
		if s.Valid != nil && *s.Valid <= lowest {
			best, lowest = name, *s.Valid
		}
	}
	for i, name := range steps {
		if i >= first || name == best {
			continue
		}
		if err := remove(filepath.Join(parent, name)); err != nil {
			return err
		}
	}
	return nil
}

// lowestSaved is the lowest validation loss of a run's checkpoints up to a step; infinite where none has one.
func lowestSaved(run string, step int64) (float64, error) {
	parent := filepath.Join(run, checkpointsDir)
	steps, err := savedSteps(parent)
	lowest := math.Inf(1)
	for _, name := range steps {
		if n, _ := stepOf(name); n > step { // damaged: the run goes on behind it
			continue
		}
		if s, err := readState(filepath.Join(parent, name)); err == nil && s.Valid != nil {
			lowest = min(lowest, *s.Valid)
		}
	}
	return lowest, err
}

// savedSteps lists the checkpoints' folders, oldest first.
func savedSteps(parent string) ([]string, error) {
	entries, err := os.ReadDir(parent)
	if os.IsNotExist(err) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if _, ok := stepOf(e.Name()); ok && e.IsDir() {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		x, _ := stepOf(a)
		y, _ := stepOf(b)
		return cmp.Compare(x, y)
	})
	return names, err
}

func stepOf(name string) (int64, bool) {
	digits, ok := strings.CutPrefix(name, "step-")
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, ok && err == nil
}

// Latest gives the newest checkpoint of a run that is whole. Damaged ones are passed over
// with a warning; nil without an error means that the run has none.
func Latest(run string, warn func(string)) (*Checkpoint, error) {
	parent := filepath.Join(run, checkpointsDir)
	names, err := savedSteps(parent)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Backward(names) {
		c, err := readCheckpoint(filepath.Join(parent, name))
		if err == nil {
			return c, nil
		}
		warn(fmt.Sprintf("checkpoint passed over: %v", err))
	}
	if len(names) > 0 {
		return nil, fmt.Errorf("none of the %d checkpoints in %s is whole", len(names), parent)
	}
	return nil, nil
}

// Best gives the whole checkpoint of a run with the lowest validation loss; nil where none has one.
func Best(run string, warn func(string)) (*Checkpoint, error) {
	parent := filepath.Join(run, checkpointsDir)
	names, err := savedSteps(parent)
	if err != nil {
		return nil, err
	}
	var best *Checkpoint
	for _, name := range names {
		c, err := readCheckpoint(filepath.Join(parent, name))
		switch {
		case err != nil:
			warn(fmt.Sprintf("checkpoint passed over: %v", err))
		case c.Valid != nil && (best == nil || *c.Valid < *best.Valid):
			best = c
		}
	}
	return best, nil
}

// At gives the checkpoint of a step. It is an error where it is damaged, or none is kept; that names those that are.
func At(run string, step int64) (*Checkpoint, error) {
	parent := filepath.Join(run, checkpointsDir)
	names, err := savedSteps(parent)
	if err != nil {
		return nil, err
	}
	var have []string
	for _, name := range names {
		n, _ := stepOf(name)
		if n == step {
			return readCheckpoint(filepath.Join(parent, name))
		}
		have = append(have, strconv.FormatInt(n, 10))
	}
	return nil, fmt.Errorf("%s has no checkpoint of step %d; it has those of %s", run, step, cmp.Or(strings.Join(have, ", "), "none"))
}

func readState(dir string) (State, error) {
	path := filepath.Join(dir, stateFile)
	b, err := readBounded(path, maxStateFile)
	if err != nil {
		return State{}, err
	}
	s, err := decodeState(b)
	if err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	if n, _ := stepOf(filepath.Base(dir)); n != s.Step {
		return s, fmt.Errorf("%s: its state is of step %d", dir, s.Step)
	}
	return s, nil
}

// readBounded reads a file of at most so many bytes.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s: larger than %d MiB", path, most>>20)
	}
	return b, err
}

func readCheckpoint(dir string) (*Checkpoint, error) {
	s, err := readState(dir)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Dir: dir, State: s}
	files := []string{paramsFile, momentsFile}
	if _, ok := c.SHA256[pruningFile]; ok {
		files = append(files, pruningFile)
	}
	for _, file := range files {
		path := filepath.Join(dir, file)
		got, err := atomicfile.SHA256(path)
		if err != nil {
			return nil, err
		}
		if got != c.SHA256[file] {
			return nil, fmt.Errorf("%s is damaged: its sha256 is not the one that %s holds%s", path, stateFile, c.damage(file))
		}
	}
	return c, nil
}

// damage says, for people, what of a file is no longer what was saved.
func (c *Checkpoint) damage(file string) string {
	f, err := safetensors.Open(filepath.Join(c.Dir, file))
	if err != nil {
		return fmt.Sprintf(" (%v)", err)
	}
	defer f.Close()
	if err := f.Expect(c.Tensors[file]); err != nil {
		return ""
	}
	for _, t := range f.Tensors() {
		if err := f.ReadInto(t.Name, make([]byte, t.Bytes)); err != nil {
			return fmt.Sprintf(" (tensor %s)", t.Name)
		}
	}
	return " (its header)"
}

// restore loads what save wrote.
func (e *Engine) restore(c *Checkpoint) error {
	for _, saved := range e.saved() {
		if _, ok := c.SHA256[saved.file]; !ok {
			return fmt.Errorf("%s has no %s: it is not of a model that is pruned", c.Dir, saved.file)
		}
		f, err := safetensors.Open(filepath.Join(c.Dir, saved.file))
		if err != nil {
			return err
		}
		if digests := c.Tensors[saved.file]; digests != nil {
			if err := f.Expect(digests); err != nil {
				f.Close()
				return err
			}
		}
		for _, kind := range saved.kinds {
			if kind == kindEffective {
				kind = kindParams
			}
			if err := e.load(kind, f, saved.of); err != nil {
				f.Close()
				return err
			}
		}
		f.Close()
	}
	return e.countMasked()
}

// saved is a file of a checkpoint.
type saved struct {
	file  string
	kinds []string
	of    []manifest.Parameter
}

// saved lists a checkpoint's files, in the order in which they are loaded: the pruned
// matrices come with zeros among the parameters, and whole, with their masks, after that.
func (e *Engine) saved() []saved {
	all := e.Manifest.Parameters
	list := []saved{{paramsFile, []string{kindEffective}, all}, {momentsFile, []string{kindM, kindV}, all}}
	if m := e.pruning.matrices; len(m) > 0 {
		list = append(list, saved{pruningFile, []string{kindParams, kindMask}, m})
	}
	return list
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
