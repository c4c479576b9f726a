package corpus

import (
	"march/trainloop/objective"
	"march/trainloop/rng"
)

// masked hides tokens (Devlin et al.: BERT, 2019, section 3.1) anew every time that a window comes
// up (Liu et al.: RoBERTa, 2019, section 4.1, dynamic masking). "Selects uniformly 15 % of the
// input tokens" is read as a number, not as a chance: of a row's n tokens that are not special,
// round(0.15·n) are chosen, at least one, every choice equally likely. Each of them becomes Mask
// with a chance of 8 in 10, in 1 of 10 any token that is not special, else stays; each has itself
// as label. Special tokens are never chosen.
type masked struct{ v *vocabulary }

func (m masked) fill(window []int64, random rng.Stream, row Batch) int {
	copy(row.Tokens, window)
	row.Lengths[0] = int64(len(window))
	var candidates []int
	for i, token := range window {
		if !m.v.special[token] {
			candidates = append(candidates, i)
		}
	}
	if len(candidates) == 0 {
		return 0
	}
	chosen := random.Choose(len(candidates), max(1, objective.Hidden(len(candidates))))
	for _, c := range chosen {
		i := candidates[c]
		row.Labels[i] = window[i]
		switch x := random.Below(10); {
		case x < 8:
			row.Tokens[i] = m.v.mask
		case x == 8:
			row.Tokens[i] = m.v.ordinary[random.Below(uint64(len(m.v.ordinary)))]
		}
	}
	return len(chosen)
}
