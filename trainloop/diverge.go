package trainloop

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"march/trainloop/corpus"
	"march/trainloop/safetensors"
)

// Policy says what becomes of a run at a step whose loss or gradient is no number. A gradient whose norm is none
// never reaches the parameters: update.onnx gates it.
type Policy string

const (
	StopDiverged Policy = "stop" // the run ends with an error; also ""
	SkipDiverged Policy = "skip" // the step is logged as skipped and the next one is taken
)

// ParsePolicy reads a policy's name.
func ParsePolicy(name string) (Policy, error) {
	switch p := Policy(name); p {
	case StopDiverged, SkipDiverged:
		return p, nil
	}
	return "", fmt.Errorf("policy %q: wanted %s or %s", name, StopDiverged, SkipDiverged)
}

// maxSkipped is how many steps in a row are skipped: after so many the model is broken, not a batch.
const maxSkipped = 10

// Divergence is a step whose loss or gradient was no number. As an error it wraps [ErrDiverged].
type Divergence struct {
	Step        int64
	First, Last int64 // its micro-batches
	What        string
	Taken       bool   // its gradient was finite, so that it changed the parameters all the same
	Batch       string // the file that holds them, "" where it could not be written
}

func (d *Divergence) Error() string {
	text := fmt.Sprintf("%v at step %d (micro-batches %d to %d): %s", ErrDiverged, d.Step, d.First, d.Last, d.What)
	if d.Taken {
		text += "; its gradient was finite, so it was taken"
	} else {
		text += "; that step changed no parameter. A lower training.rate or a longer training.warmup may help"
	}
	if d.Batch != "" {
		text += "; the batch is in " + d.Batch
	}
	return text
}

func (d *Divergence) Unwrap() error { return ErrDiverged }

// divergence looks at what a step of n micro-batches gave; nil where all of it are numbers.
func divergence(r StepResult, n int64) *Divergence {
	d := &Divergence{Step: r.Step, First: (r.Step - 1) * n, Last: r.Step*n - 1, Taken: finite(r.Norm)}
	loss, means := r.Sums.Loss/float64(r.Sums.Count), r.Sums.perLabel()
	if !finite(loss) || !finite(r.Norm) {
		d.What = fmt.Sprintf("loss %v, gradient norm %v", loss, r.Norm)
		return d
	}
	for _, name := range slices.Sorted(maps.Keys(means)) {
		if !finite(means[name]) {
			d.What = fmt.Sprintf("%s is %v a label", name, means[name])
			return d
		}
	}
	return nil
}

// guard carries out a policy over a run.
type guard struct {
	policy Policy
	inRow  int // steps that were skipped one after the other
}

// passed notes a step that gave numbers.
func (g *guard) passed() { g.inRow = 0 }

// failed says what becomes of one that gave none: nil, it is skipped, or the error that ends the run.
// The batch is written into the run's folder either way, so that the step can be taken again elsewhere.
func (g *guard) failed(d *Divergence, run string, from Batches, warn func(string)) error {
	path := filepath.Join(run, "diverged", fmt.Sprintf("step-%08d.safetensors", d.Step))
	err := os.MkdirAll(filepath.Dir(path), 0o777)
	if err == nil {
		err = WriteBatches(path, from, d.First, d.Last-d.First+1, map[string]string{"producer": "march", "first_micro_batch": strconv.FormatInt(d.First, 10)})
	}
	if err != nil {
		warn(fmt.Sprintf("the batch of step %d could not be saved: %v", d.Step, err))
	} else {
		d.Batch = path
	}
	if g.policy != SkipDiverged {
		return d
	}
	if g.inRow++; g.inRow > maxSkipped {
		return fmt.Errorf("%d steps in a row were skipped: %w", maxSkipped, d)
	}
	warn("going on: " + d.Error())
	return nil
}

// WriteBatches writes n micro-batches as they are fed, from number first on: each array int32
// [micro-batches, …], with the metadata.
func WriteBatches(path string, from Batches, first, n int64, metadata map[string]string) error {
	shapes := from.Shapes()
	b := shapes.New()
	data := map[string][]byte{}
	for micro := first; micro < first+n; micro++ {
		from.Fill(micro, b)
		for _, name := range corpus.Arrays() {
			for _, x := range b.Array(name) {
				data[name] = binary.LittleEndian.AppendUint32(data[name], uint32(int32(x)))
			}
		}
	}
	var tensors []safetensors.Tensor
	for name, d := range data {
		tensors = append(tensors, safetensors.Tensor{Name: name, DType: "I32", Shape: append([]int{int(n)}, shapes.Of(name)...), Data: d})
	}
	return safetensors.WriteFile(path, tensors, metadata)
}
