package corpus

import "march/trainloop/rng"

// causal: labels[t] is the token behind tokens[t]. v may be nil where batches have no documents.
type causal struct{ v *vocabulary }

func (c causal) fill(window []int64, _ rng.Stream, row Batch) int {
	n := len(window) - 1
	copy(row.Tokens, window[:n])
	copy(row.Labels, window[1:])
	document := int64(0)
	for i := range row.Documents {
		if row.Tokens[i] == c.v.endOfText && i < n {
			document++
		}
		row.Documents[i] = document
	}
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
