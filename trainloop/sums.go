package trainloop

import "march/variants"

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
