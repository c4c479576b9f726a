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
)

// A checkpoint is a folder checkpoints/step-N with the parameters, the optimizer's
// moments, and a state file with the digests of both. It is written under another name
// and renamed, so that a folder with its final name is whole.
const (
	checkpointsDir = "checkpoints"
	checkpointName = "step-%08d"
	paramsFile     = "params.safetensors"
	momentsFile    = "moments.safetensors"
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
	for file, kinds := range map[string][]string{paramsFile: {kindParams}, momentsFile: {kindM, kindV}} {
		var tensors []safetensors.Tensor
		for _, p := range e.Manifest.Parameters {
			for _, kind := range kinds {
				v, err := e.tensor(kind, p)
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
	for _, file := range []string{paramsFile, momentsFile} {
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

// restore loads parameters and moments.
func (e *Engine) restore(c *Checkpoint) error {
	for file, kinds := range map[string][]string{paramsFile: {kindParams}, momentsFile: {kindM, kindV}} {
		f, err := safetensors.Open(filepath.Join(c.Dir, file))
		if err != nil {
			return err
		}
		for _, kind := range kinds {
			if err := e.load(kind, f); err != nil {
				f.Close()
				return err
			}
		}
		f.Close()
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
