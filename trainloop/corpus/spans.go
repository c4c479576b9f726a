package corpus

import (
	"fmt"

	"march/trainloop/rng"
)

// corruption is how many tokens of a text are left out (noise), in how many spans, so that the
// input and the targets have fixed lengths with nothing padded:
//
//	noise   = 15 % of raw, at least 1
//	spans   = noise / 3, rounded, at least 1
//	inputs  = raw - noise + spans      each span is one sentinel
//	targets = noise + spans + 1        each span behind its sentinel, and a last sentinel
//
// (Raffel et al.: Exploring the Limits of Transfer Learning with a Unified Text-to-Text
// Transformer, 2020, sections 3.1.4 and 3.3.4, for the corruption and its rates. The authors' code
// has an end mark behind the inputs and the targets; here, as in the paper's figure 2, a last
// sentinel ends the targets, and packed text, which ends nowhere, has no end mark.)
type corruption struct{ raw, noise, spans int }

func corrupt(raw int) corruption {
	noise := max(1, share(raw))
	return corruption{raw, noise, max(1, (2*noise+3)/6)}
}

func (c corruption) inputs() int    { return c.raw - c.noise + c.spans }
func (c corruption) targets() int   { return c.noise + c.spans + 1 }
func (c corruption) sentinels() int { return c.spans + 1 }

// corruptionFor is the corruption of the longest text whose input has so many tokens. There is one
// for each length from 2 on: one more token of text is one more of the input, or one more that is
// left out and perhaps one more span.
func corruptionFor(inputs int) (corruption, error) {
	if inputs < 2 {
		return corruption{}, fmt.Errorf("corpus: %s with inputs of %d tokens is too short for a span: want at least 2", SpanCorruption, inputs)
	}
	c := corrupt(inputs)
	for next := corrupt(c.raw + 1); next.inputs() <= inputs; next = corrupt(c.raw + 1) {
		c = next
	}
	return c, nil
}

// spans leaves spans out of a window. As in the code of the paper above, it begins with text that is kept and ends with a span; the
// lengths of the pieces that are kept, and of those left out, are each divided at random, every
// division into pieces of at least one token equally likely. Span k is sentinel k in the input, and
// stands behind it among the labels; sentinels are the last ids of the model's vocabulary,
// downwards from sentinel 0, so that the tokenizer needs no tokens for them. Any token may be left
// out, EndOfText too. The decoder reads the labels shifted right behind EndOfText.
type spans struct {
	corruption
	v *vocabulary
}

func (s spans) fill(window []int64, random rng.Stream, row Batch) int {
	left := divide(&random, s.noise, s.spans)
	kept := divide(&random, s.raw-s.noise, s.spans)
	input, labels, at := row.Tokens[:0], row.Labels[:0], 0
	for k := range s.spans {
		input = append(input, window[at:at+kept[k]]...)
		at += kept[k]
		input, labels = append(input, s.v.sentinel(k)), append(labels, s.v.sentinel(k))
		labels = append(labels, window[at:at+left[k]]...)
		at += left[k]
	}
	labels = append(labels, s.v.sentinel(s.spans))
	row.Lengths[0] = int64(len(input))
	s.v.shift(row.DecoderTokens, labels)
	return len(labels)
}

// divide cuts n into parts of at least 1 each, every way to do so equally likely: it chooses where,
// of n-1 places, the cuts are.
func divide(random *rng.Stream, n, parts int) []int {
	sizes, last := make([]int, 0, parts), 0
	for _, place := range random.Choose(n-1, parts-1) {
		sizes = append(sizes, place+1-last)
		last = place + 1
	}
	return append(sizes, n-last)
}
