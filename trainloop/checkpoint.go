package trainloop

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"march/graphgen/atomicfile"
	"march/trainloop/safetensors"
	"march/variants/manifest"
)

// A checkpoint is a folder checkpoints/step-N with the parameters, the optimizer's
// moments, and a state file with the digests of both. Where a model is pruned, masked
// weights are zeros among the parameters, which so are the model; a third file has those
// matrices whole, for training goes on with them, and their masks. The folder is written
// under another name and renamed, so that one with its final name is whole.
const (
	checkpointsDir = "checkpoints"
	checkpointName = "step-%08d"
	paramsFile     = "params.safetensors"
	momentsFile    = "moments.safetensors"
	pruningFile    = "pruning.safetensors"
	stateFile      = "state.json"
	keepLast       = 2
)

// State is where a run stands.
type State struct {
	Step    int64             `json:"step"`   // optimizer steps done
	Tokens  int64             `json:"tokens"` // of the budget so far: steps × tokens of a step
	Seconds float64           `json:"seconds"`
	SHA256  map[string]string `json:"sha256"` // of the checkpoint's files
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

// save writes a checkpoint of the engine and drops the oldest ones.
func (e *Engine) save(run string, s State) error {
	parent := filepath.Join(run, checkpointsDir)
	final := filepath.Join(parent, fmt.Sprintf(checkpointName, s.Step))
	temporary := filepath.Join(parent, ".saving")
	if err := os.RemoveAll(temporary); err != nil {
		return err
	}
	if err := os.MkdirAll(temporary, 0o777); err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	s.SHA256 = map[string]string{}
	for _, saved := range e.saved() {
		file := saved.file
		var tensors []safetensors.Tensor
		for _, p := range saved.of {
			for _, kind := range saved.kinds {
				read := e.tensor
				if kind == kindEffective {
					read = func(_ string, p manifest.Parameter) ([]float32, error) { return e.effective(p) }
				}
				v, err := read(kind, p)
				if err != nil {
					return err
				}
				tensors = append(tensors, safetensors.New(viewName(kind, p.Name), p.Shape, v))
			}
		}
		path := filepath.Join(temporary, file)
		if err := safetensors.WriteFile(path, tensors, map[string]string{"format": "pt", "step": strconv.FormatInt(s.Step, 10)}); err != nil {
			return err
		}
		var err error
		if s.SHA256[file], err = atomicfile.SHA256(path); err != nil {
			return err
		}
	}
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(filepath.Join(temporary, stateFile), append(b, '\n')); err != nil {
		return err
	}
	if err := os.RemoveAll(final); err != nil {
		return err
	}
	if err := os.Rename(temporary, final); err != nil {
		return err
	}
	if err := syncDir(parent); err != nil {
		return err
	}
	return dropOld(parent)
}

func dropOld(parent string) error {
	steps, err := savedSteps(parent)
	if err != nil {
		return err
	}
	for _, name := range steps[:max(0, len(steps)-keepLast)] {
		if err := os.RemoveAll(filepath.Join(parent, name)); err != nil {
			return err
		}
	}
	return nil
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

func readCheckpoint(dir string) (*Checkpoint, error) {
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Dir: dir}
	if err := json.Unmarshal(b, &c.State); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, stateFile), err)
	}
	if n, _ := stepOf(filepath.Base(dir)); n != c.Step {
		return nil, fmt.Errorf("%s: its state is of step %d", dir, c.Step)
	}
	files := []string{paramsFile, momentsFile}
	if _, ok := c.SHA256[pruningFile]; ok {
		files = append(files, pruningFile)
	}
	for _, file := range files {
		got, err := atomicfile.SHA256(filepath.Join(dir, file))
		if err != nil {
			return nil, err
		}
		if got != c.SHA256[file] {
			return nil, fmt.Errorf("%s is damaged: its sha256 is not the one that %s holds", filepath.Join(dir, file), stateFile)
		}
	}
	return c, nil
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
