package objective

import (
	"math"
	"testing"
)

// TestSizes: the rows of each objective.
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		objective     string
		length        int
		input, target int
	}{
		{CausalLM, 128, 128, 0}, {MaskedLM, 1, 1, 0}, {SpanCorruption, 512, 512, 114}, {PrefixLM, 128, 64, 64}, {PrefixLM, 5, 3, 2},
	} {
		if s, err := SizesOf(c.objective, c.length); err != nil || s != (Sizes{c.input, c.target}) {
			t.Errorf("%s of length %d: %+v, %v", c.objective, c.length, s, err)
		}
	}
	for objective, length := range map[string]int{SpanCorruption: 1, PrefixLM: 1, CausalLM: 0, "next": 8} {
		if _, err := SizesOf(objective, length); err == nil {
			t.Errorf("%s of length %d: no error", objective, length)
		}
	}
}

// The lengths of a corrupted text: as T5's, whose inputs and targets of 512 and 114 tokens from
// texts of 568 have an end mark each, and the targets no last sentinel.
func TestCorruptionLengths(t *testing.T) {
	for _, c := range []struct{ inputs, raw, noise, spans, targets int }{
		{2, 2, 1, 1, 3}, {9, 10, 2, 1, 4}, {128, 142, 21, 7, 29}, {511, 568, 85, 28, 114},
	} {
		got, err := CorruptionFor(c.inputs)
		if err != nil || got != (Corruption{c.raw, c.noise, c.spans}) || got.Targets() != c.targets {
			t.Errorf("inputs of %d: %+v with targets of %d (%v), want %+v", c.inputs, got, got.Targets(), err, c)
		}
	}
	for inputs := 2; inputs < 3000; inputs++ {
		c, err := CorruptionFor(inputs)
		if err != nil || c.Inputs() != inputs || corrupt(c.Raw+1).Inputs() <= inputs || c.Noise < c.Spans || c.Raw-c.Noise < c.Spans {
			t.Fatalf("inputs of %d: %+v (%v)", inputs, c, err)
		}
		if share := float64(c.Noise) / float64(c.Raw); inputs > 200 && math.Abs(share-0.15) > 0.005 {
			t.Errorf("inputs of %d: %.3f of the text is left out", inputs, share)
		}
		if mean := float64(c.Noise) / float64(c.Spans); inputs > 200 && math.Abs(mean-3) > 0.2 {
			t.Errorf("inputs of %d: spans of %.2f tokens", inputs, mean)
		}
	}
}
