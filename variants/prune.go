package variants

import (
	"math"
	"strings"
)

// Pruning (Zhu and Gupta, To Prune, or Not to Prune, 2017): from each matrix the weights of
// smallest magnitude are masked, more and more of them as training goes on. Graphs that
// train multiply with the masks, which are inputs; so a masked weight has no gradient, and
// no effect, though the optimizer may move it and a later mask bring it back. eval.onnx and
// infer.onnx know no masks: they are given the weights that are left, and zeros.

// Prunable tells which parameters are masked: all that decay, but the embeddings.
func (p Parameter) Prunable() bool { return p.Decay && !strings.HasPrefix(p.Name, "embed.") }

// SparsityAt is the share of weights that masks made for a step (from 1) of so many leave out,
//
//	sparsity · (1 − (1 − t)³),  t from 0 to 1 between start and end.
func (p Prune) SparsityAt(step, steps int64) float64 {
	n := float64(steps)
	t := (float64(step) - p.Start*n) / ((p.End - p.Start) * n)
	t = min(1, max(0, t))
	return p.Sparsity * (1 - math.Pow(1-t, 3))
}

// Due tells the steps before which masks are made: every so many, and the first that has
// the whole sparsity.
func (p Prune) Due(step, steps int64) bool {
	return p.Sparsity > 0 && ((step-1)%int64(p.Every) == 0 || step == int64(math.Ceil(p.End*float64(steps))))
}

// Masked is how many of a matrix's n weights a share is.
func Masked(n int, share float64) int { return int(math.Floor(share*float64(n) + 0.5)) }
