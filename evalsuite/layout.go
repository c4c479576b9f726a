package evalsuite

import (
	"cmp"
	"fmt"
	"slices"

	"march/trainloop/tokenizer"
)

// layout is how an architecture reads texts: what it is given, what of them is scored, and which
// rows of a batch that takes. decoders, encoders and encoderDecoders are the three.
type layout interface {
	// passage is tokens of which those from index `from` on are scored, given those before.
	passage(tokens []int32, from int) sequence
	// pair is two whole sentences, each with the start token, to be compared.
	pair(good, bad []int32) (sequence, sequence)
	// windows cuts a stream's tokens into windows of so many positions; passes is
	// PerplexityOptions.MaskPasses.
	windows(tokens []int32, window, passes int) windows
	// lead is how many tokens of a stream are read before the first that is scored.
	lead() int

	// size is the positions that a row of the sequence has in the encoder or only stack, and in an
	// encoder-decoder's decoder.
	size(s sequence) (source, target int)
	// rows is how many rows the sequence takes; its score is their sum. 0: nothing is scored.
	rows(s sequence) int
	// fill writes one of the sequence's rows into row of a batch that was reset. Workers call it at once.
	fill(b *Batch, row int, s sequence, part int)

	// method says in words how each kind of item is scored.
	method() method
}

// method is how an architecture scores, for a result's settings and notes.
type method struct {
	pairs, passages string // "" where it is the way of decoders, which older records do not name
	passagesNote    string
	kept            string // what is left of an item that is longer than the model
}

// windows are a stream's tokens, cut, or rows that were given.
type windows struct {
	size      int   // positions of a window; 0: rows were given
	left      int64 // tokens of the stream that were not asked for
	sequences []sequence
	window    []int   // of each sequence: the number of its window, not falling
	text      []int32 // the tokens that are scored, where their words and bytes can be counted
	method    string  // what is scored of a window, as in type method
	notes     []string
}

// sequence is a list of tokens, some of which are scored: what its [layout] makes of the fields.
type sequence struct {
	tokens []int32
	from   int     // those from this index on are scored; an encoder-decoder's encoder has those before
	picked []int32 // encoders: the indices that are scored, in place of from
	each   bool    // encoders: each scored token is masked in a row of its own; else all at once
	starts []bool  // encoders, with each: where words start, whose later tokens are masked with each; nil: it is masked alone
	cut    bool    // it was longer than the model and lost its first tokens
}

// newLayout is the layout of a model's architecture; start is the token that texts begin with.
func newLayout(a Architecture, maxLength int, t Tokenizer, o Options) (l layout, start int32, err error) {
	if maxLength < 1 {
		return nil, 0, fmt.Errorf("the model has %d positions: want at least 1", maxLength)
	}
	start, ok := t.ID(tokenizer.EndOfText)
	if !ok {
		return nil, 0, fmt.Errorf("the tokenizer has no token %s, with which every sentence begins", tokenizer.EndOfText)
	}
	switch a {
	case Decoder:
		return decoders{maxLength, start}, start, nil
	case EncoderDecoder:
		return encoderDecoders{maxLength, start}, start, nil
	case Encoder:
		mask, ok := t.ID(tokenizer.Mask)
		if !ok {
			return nil, 0, fmt.Errorf("the tokenizer has no token %s, without which an encoder cannot be scored", tokenizer.Mask)
		}
		e := encoders{maxLength: maxLength, start: start, mask: mask}
		if o.WithinWord {
			e.words = newWordStarts(t)
		}
		return e, start, nil
	}
	return nil, 0, fmt.Errorf("the model's architecture %q is not one of %s, %s, %s", a, Decoder, Encoder, EncoderDecoder)
}

// compareSequences orders sequences from long to short, then by their tokens, then by what is
// scored; 0 means that they are the same work.
func compareSequences(l layout, a, b sequence) int {
	aSource, aTarget := l.size(a)
	bSource, bTarget := l.size(b)
	if c := cmp.Or(cmp.Compare(bSource, aSource), cmp.Compare(bTarget, aTarget)); c != 0 {
		return c
	}
	if c := slices.Compare(a.tokens, b.tokens); c != 0 {
		return c
	}
	if c := cmp.Compare(a.from, b.from); c != 0 {
		return c
	}
	if a.each != b.each {
		if a.each {
			return 1
		}
		return -1
	}
	return slices.Compare(a.picked, b.picked)
}
