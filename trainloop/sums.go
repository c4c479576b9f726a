package trainloop

import (
	"march/graphgen"
	"march/trainloop/rng"
	"march/variants"
)

// Sums are what micro-batches add up to.
type Sums struct {
	Loss  float64 // cross-entropy in nats, over all labels
	Count int64   // labels
	// Further are the graph's other outputs by name, such as ponder_sum: parts of what is
	// minimised beside the cross-entropy, summed over the labels. Nil where there are none.
	Further map[string]float64
}

// add adds a micro-batch's sums.
func (s *Sums) add(o Sums) {
	s.Loss, s.Count = s.Loss+o.Loss, s.Count+o.Count
	for name, x := range o.Further {
		if s.Further == nil {
			s.Further = map[string]float64{}
		}
		s.Further[name] += x
	}
}

// set sets one of a micro-batch's float outputs.
func (s *Sums) set(output string, x float64) {
	if output == variants.Loss {
		s.Loss = x
		return
	}
	if s.Further == nil {
		s.Further = map[string]float64{}
	}
	s.Further[output] = x
}

// perLabel are the further sums divided by the number of labels.
func (s *Sums) perLabel() map[string]float64 {
	if s.Further == nil {
		return nil
	}
	means := map[string]float64{}
	for name, x := range s.Further {
		means[name] = x / float64(s.Count)
	}
	return means
}

// DropoutSeed is what the engine writes into the input [variants.DropoutSeed] on a GPU: for micro-batch
// number micro (counted over the whole run) of optimizer step number step (from 1),
//
//	(rng.Hash(seed, rng.Name("dropout"), step, micro) >> 1) mod (2^31 - 1)
//
// so that masks are anew in every micro-batch, and the same ones in a run that is resumed.
func DropoutSeed(seed uint64, step, micro int64) int64 {
	return int64(rng.Hash(seed, rng.Name("dropout"), uint64(step), uint64(micro))>>1) % graphgen.DropoutSeeds
}

// dropoutSeed is what the engine writes for micro-batch number micro of a step, its part number part. On a CPU that is the seed of
// a step of one micro-batch, with the part: masks are then the same however many micro-batches the step is cut
// into, and those of a GPU that takes it whole. Graphs for a GPU know no parts.
func (e *Engine) dropoutSeed(step, micro, part int64) int64 {
	if e.rt.GPU() != "" {
		return DropoutSeed(e.seed, step, micro)
	}
	return graphgen.DropoutPart(DropoutSeed(e.seed, step, step-1), part)
}
