package trainloop

import (
	"errors"
	"math"
	"slices"

	"march/runtime"
	"march/variants"
	"march/variants/manifest"
)

// pruning is what an engine holds for a model that is pruned: see package variants. The
// masks lie in a flat buffer of the parameters' layout, beside a buffer for the parameters
// under them. Masks are made here, on the host, from the parameters as they stand, and are
// part of a checkpoint: the parameters have moved on by then.
type pruning struct {
	matrices  []manifest.Parameter       // that the micro-batch graph takes masks of
	effective map[string]*runtime.Tensor // every parameter by name, the matrices masked
	masked    int                        // weights without effect
	weights   int                        // of all matrices
}

// allocatePruning makes the masks, all ones, where the graph takes any.
func (e *Engine) allocatePruning(g *manifest.Graph) error {
	for _, p := range e.Manifest.Parameters {
		if slices.ContainsFunc(g.Inputs, func(x manifest.Port) bool { return x.Name == variants.PruneMaskName(p.Name) }) {
			e.pruning.matrices = append(e.pruning.matrices, p)
			e.pruning.weights += p.Elements()
		}
	}
	if len(e.pruning.matrices) == 0 {
		return nil
	}
	copies := map[string]*runtime.Tensor{}
	for kind, views := range map[string]map[string]*runtime.Tensor{kindMask: e.views, kindEffective: copies} {
		b, err := e.rt.Alloc(e.Manifest.BufferBytes())
		if err != nil {
			return err
		}
		e.buffers[kind] = b
		if err := sliceViews(e.Manifest, b, kind, views); err != nil {
			return err
		}
	}
	e.pruning.effective = e.Parameters()
	for _, p := range e.pruning.matrices {
		e.pruning.effective[p.Name] = copies[p.Name]
	}
	return e.Prune(0)
}

// Prune makes new masks, which leave out a share of each matrix's weights: those of
// smallest magnitude, the first ones of equals.
func (e *Engine) Prune(share float64) error {
	if len(e.pruning.matrices) == 0 {
		return errors.New("the program's grad.onnx takes no masks to prune with")
	}
	e.pruning.masked = 0
	for _, p := range e.pruning.matrices {
		w, err := e.tensor(kindParams, p)
		if err != nil {
			return err
		}
		n := variants.Masked(len(w), share)
		if err := runtime.Upload(e.views[viewName(kindMask, p.Name)], smallestMasked(w, n)); err != nil {
			return err
		}
		e.pruning.masked += n
	}
	return nil
}

// Sparsity is the share of the pruned matrices' weights that is masked now.
func (e *Engine) Sparsity() float64 {
	if e.pruning.weights == 0 {
		return 0
	}
	return float64(e.pruning.masked) / float64(e.pruning.weights)
}

// Effective are the parameters that evaluation reads, by name: those of [Engine.Parameters],
// pruned matrices as copies with zeros where they are masked now.
func (e *Engine) Effective() (map[string]*runtime.Tensor, error) {
	if len(e.pruning.matrices) == 0 {
		return e.Parameters(), nil
	}
	for _, p := range e.pruning.matrices {
		w, err := e.effective(p)
		if err != nil {
			return nil, err
		}
		if err := runtime.Upload(e.pruning.effective[p.Name], w); err != nil {
			return nil, err
		}
	}
	return e.pruning.effective, nil
}

// effective reads one parameter with zeros where it is masked.
func (e *Engine) effective(p manifest.Parameter) ([]float32, error) {
	w, err := e.tensor(kindParams, p)
	if err != nil || !e.isPruned(p) {
		return w, err
	}
	mask, err := e.tensor(kindMask, p)
	for i := range mask {
		w[i] *= mask[i]
	}
	return w, err
}

func (e *Engine) isPruned(p manifest.Parameter) bool {
	return slices.ContainsFunc(e.pruning.matrices, func(q manifest.Parameter) bool { return q.Name == p.Name })
}

// countMasked counts the masks on the device, behind a checkpoint's loading.
func (e *Engine) countMasked() error {
	e.pruning.masked = 0
	for _, p := range e.pruning.matrices {
		mask, err := e.tensor(kindMask, p)
		if err != nil {
			return err
		}
		for _, x := range mask {
			if x == 0 {
				e.pruning.masked++
			}
		}
	}
	return nil
}

// smallestMasked is a mask of zeros for the n entries of w of smallest magnitude, the
// first ones of equals, and ones for the others.
func smallestMasked(w []float32, n int) []float32 {
	mask := make([]float32, len(w))
	bound, equals := smallest(w, n)
	for i, x := range w {
		switch m := magnitude(x); {
		case m < bound:
		case m == bound && equals > 0:
			equals--
		default:
			mask[i] = 1
		}
	}
	return mask
}

// magnitude orders floats by their absolute value.
func magnitude(x float32) uint32 { return math.Float32bits(x) &^ (1 << 31) }

// smallest finds the n-th smallest magnitude, and how many of the n smallest are equal to
// it: by counting the upper halves of all, then the lower halves of those that share the
// right upper one.
func smallest(w []float32, n int) (bound uint32, equals int) {
	if n == 0 {
		return 0, 0
	}
	pick := func(digit func(uint32) (int, bool)) uint32 {
		counts := make([]int, 1<<16)
		for _, x := range w {
			if d, ok := digit(magnitude(x)); ok {
				counts[d]++
			}
		}
		d := 0
		for ; counts[d] < n; d++ {
			n -= counts[d]
		}
		return uint32(d)
	}
	upper := pick(func(m uint32) (int, bool) { return int(m >> 16), true })
	lower := pick(func(m uint32) (int, bool) { return int(m & 0xffff), m>>16 == upper })
	return upper<<16 | lower, n
}
