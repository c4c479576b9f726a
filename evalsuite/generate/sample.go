package generate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Sampling says how the next token is chosen: logits are divided by the temperature, of the tokens the most likely ones
// stay, and one of those is drawn by its probability.
type Sampling struct {
	Temperature float64 // 0: always the most likely token
	TopK        int     // so many tokens stay; 0: all
	TopP        float64 // of those, the fewest whose probabilities add up to this stay; 0 and 1: all (Holtzman et al., 2020)
}

// Check refuses what no choice can be made by.
func (s Sampling) Check() error {
	switch {
	case !(s.Temperature >= 0) || math.IsInf(s.Temperature, 0):
		return fmt.Errorf("a temperature of %v: wanted 0 (the most likely token) or more", s.Temperature)
	case s.TopK < 0:
		return fmt.Errorf("the %d most likely tokens: wanted 1 or more, or 0 for all", s.TopK)
	case !(s.TopP >= 0 && s.TopP <= 1):
		return fmt.Errorf("a share of %v: wanted more than 0 and at most 1", s.TopP)
	}
	return nil
}

// Distribution is the probability of each token, given its logit; tokens with allowed false have none. Of equally likely
// tokens the one with the lower id counts as the more likely.
func (s Sampling) Distribution(logits []float32, allowed []bool) ([]float64, error) {
	var order []int
	for id, x := range logits {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 1) {
			return nil, fmt.Errorf("the logit of token %d is %v", id, x)
		}
		if allowed == nil || allowed[id] {
			order = append(order, id)
		}
	}
	if len(order) == 0 {
		return nil, fmt.Errorf("none of the %d tokens is allowed", len(logits))
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(logits[b], logits[a]) })
	p := make([]float64, len(logits))
	if s.Temperature == 0 {
		p[order[0]] = 1
		return p, nil
	}
	if s.TopK > 0 && s.TopK < len(order) {
		order = order[:s.TopK]
	}
	most := float64(logits[order[0]])
	sum := 0.0
	for _, id := range order {
		p[id] = math.Exp((float64(logits[id]) - most) / s.Temperature)
		sum += p[id]
	}
	if s.TopP > 0 && s.TopP < 1 {
		kept, n := 0.0, 0
		for n < len(order) && kept < s.TopP*sum {
			kept += p[order[n]]
			n++
		}
		for _, id := range order[n:] {
			p[id] = 0
		}
		sum = kept
	}
	for id := range p {
		p[id] /= sum
	}
	return p, nil
}

// draw is the token that u, uniform in [0, 1), falls to where probabilities lie one behind the other.
func draw(p []float64, u float64) int {
	last, sum := 0, 0.0
	for id, x := range p {
		if x == 0 {
			continue
		}
		if last, sum = id, sum+x; u < sum {
			return id
		}
	}
	return last // the sum was rounded down
}
