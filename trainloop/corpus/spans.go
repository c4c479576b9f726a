package corpus

import (
	"march/trainloop/objective"
	"march/trainloop/rng"
)

// spans leaves spans out of a window. As in the code of the paper above, it begins with text that is kept and ends with a span; the
// lengths of the pieces that are kept, and of those left out, are each divided at random, every
// division into pieces of at least one token equally likely. Span k is sentinel k in the input, and
// stands behind it among the labels; sentinels are the last ids of the model's vocabulary,
// downwards from sentinel 0, so that the tokenizer needs no tokens for them. Any token may be left
// out, EndOfText too. The decoder reads the labels shifted right behind EndOfText.
type spans struct {
	objective.Corruption
	v *vocabulary
}

func (s spans) fill(window []int64, random rng.Stream, row Batch) int {
	left := divide(&random, s.Noise, s.Spans)
	kept := divide(&random, s.Raw-s.Noise, s.Spans)
	input, labels, at := row.Tokens[:0], row.Labels[:0], 0
	for k := range s.Spans {
		input = append(input, window[at:at+kept[k]]...)
		at += kept[k]
		input, labels = append(input, s.v.sentinel(k)), append(labels, s.v.sentinel(k))
		labels = append(labels, window[at:at+left[k]]...)
		at += left[k]
	}
	labels = append(labels, s.v.sentinel(s.Spans))
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
