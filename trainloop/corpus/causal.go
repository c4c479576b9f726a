package corpus

import "march/trainloop/rng"

// causal: labels[t] is the token behind tokens[t].
type causal struct{}

func (causal) fill(window []int64, _ rng.Stream, row Batch) int {
	n := len(window) - 1
	copy(row.Tokens, window[:n])
	copy(row.Labels, window[1:])
	return n
}

// prefix: the encoder reads the first half of the window, labels are the second, and the decoder
// reads the labels shifted right behind EndOfText. Of an odd number of tokens the encoder has one
// more. (Raffel et al.: Exploring the Limits of Transfer Learning with a Unified Text-to-Text
// Transformer, 2020, section 3.2.3, split texts at a random point; the middle keeps lengths fixed.)
type prefix struct{ v *vocabulary }

func (p prefix) fill(window []int64, _ rng.Stream, row Batch) int {
	s := len(row.Tokens)
	copy(row.Tokens, window[:s])
	row.Lengths[0] = int64(s)
	n := copy(row.Labels, window[s:])
	p.v.shift(row.DecoderTokens[:n], row.Labels)
	return n
}
