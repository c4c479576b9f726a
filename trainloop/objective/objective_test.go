package objective

import "testing"

// TestSizes: every length has rows with nothing padded, and the longest text that fits.
func TestSizes(t *testing.T) {
	for length := 2; length < 2000; length++ {
		s, err := SizesOf(SpanCorruption, length)
		c, _ := CorruptionFor(length)
		if err != nil || s.Input != length || c.Inputs() != length || s.Target != c.Targets() || corrupt(c.Raw+1).Inputs() <= length {
			t.Fatalf("length %d: %+v of %+v, %v", length, s, c, err)
		}
	}
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
