// Package objective says what a model can be trained to predict, and how long the rows
// of each objective's batches are. It makes no batches: package corpus does.
package objective

import (
	"fmt"
	"strings"
)

// The objectives.
const (
	CausalLM       = "causal-lm"       // each token from those before it
	MaskedLM       = "masked-lm"       // tokens that were masked, from those on both sides
	SpanCorruption = "span-corruption" // the spans left out of a text, by an encoder-decoder
	PrefixLM       = "prefix-lm"       // the second half of a text from the first, by an encoder-decoder
)

// All lists the objectives.
func All() []string { return []string{CausalLM, MaskedLM, SpanCorruption, PrefixLM} }

// Sizes are the lengths of an objective's rows.
type Sizes struct {
	Input  int // tokens that the model, or its encoder, reads
	Target int // tokens that a decoder beside an encoder reads and predicts; 0: there is none
}

// SizesOf are the sizes of rows of a length: of the input (causal-lm, masked-lm), of the
// corrupted text (span-corruption), of both halves of a text together (prefix-lm).
func SizesOf(objective string, length int) (Sizes, error) {
	if length < 1 {
		return Sizes{}, fmt.Errorf("rows of %d tokens, want at least 1", length)
	}
	switch objective {
	case CausalLM, MaskedLM:
		return Sizes{Input: length}, nil
	case SpanCorruption:
		c, err := CorruptionFor(length)
		return Sizes{Input: length, Target: c.Targets()}, err
	case PrefixLM:
		if length < 2 {
			return Sizes{}, fmt.Errorf("%s with texts of %d token: want at least 2, one for each half", PrefixLM, length)
		}
		return Sizes{Input: length - length/2, Target: length / 2}, nil
	}
	return Sizes{}, fmt.Errorf("no objective %q, want one of %s", objective, strings.Join(All(), ", "))
}

// Corruption is how many tokens of a text are left out (Noise), in how many spans, so that
// the input and the targets have fixed lengths with nothing padded:
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
type Corruption struct{ Raw, Noise, Spans int }

func corrupt(raw int) Corruption {
	noise := max(1, Hidden(raw))
	return Corruption{raw, noise, max(1, (2*noise+3)/6)}
}

// Inputs is the length of what the encoder reads.
func (c Corruption) Inputs() int { return c.Raw - c.Noise + c.Spans }

// Targets is the length of what the decoder predicts.
func (c Corruption) Targets() int { return c.Noise + c.Spans + 1 }

// Sentinels is the number of ids that the spans take.
func (c Corruption) Sentinels() int { return c.Spans + 1 }

// CorruptionFor is the corruption of the longest text whose input has so many tokens. There is one
// for each length from 2 on: one more token of text is one more of the input, or one more that is
// left out and perhaps one more span.
func CorruptionFor(inputs int) (Corruption, error) {
	if inputs < 2 {
		return Corruption{}, fmt.Errorf("%s with inputs of %d tokens is too short for a span: want at least 2", SpanCorruption, inputs)
	}
	c := corrupt(inputs)
	for next := corrupt(c.Raw + 1); next.Inputs() <= inputs; next = corrupt(c.Raw + 1) {
		c = next
	}
	return c, nil
}

// Hidden is 15 % of n, rounded half up: both masked-lm and span-corruption hide so many.
func Hidden(n int) int { return (15*n + 50) / 100 }
