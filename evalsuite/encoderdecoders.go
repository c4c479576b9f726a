package evalsuite

import (
	"fmt"
	"slices"
)

// encoderDecoders read the text so far in the encoder and predict the continuation in the decoder,
// whose input is the start token and then the continuation shifted right by one. The encoder's side
// is tokens[:from], the continuation tokens[from:]. Models trained on span corruption are given the
// same, without sentinels.
type encoderDecoders struct {
	maxLength int
	start     int32
}

// passage keeps what is next to the end: the last maxLength tokens are the decoder's if as many are
// scored, and the encoder has the last maxLength of those before. Tokens that the decoder has no
// place for go to the encoder's side and are not scored.
func (e encoderDecoders) passage(tokens []int32, from int) sequence {
	s := sequence{tokens: tokens, from: max(from, 1)}
	if over := len(tokens) - s.from - e.maxLength; over > 0 {
		s.from, s.cut = s.from+over, true
	}
	if over := s.from - e.maxLength; over > 0 {
		s.tokens, s.from, s.cut = tokens[over:], s.from-over, true
	}
	return s
}

// pair gives the encoder the tokens with which both sentences begin, the start token at least, and
// leaves at least one token of each to the decoder.
func (e encoderDecoders) pair(good, bad []int32) (sequence, sequence) {
	shared, short := 0, min(len(good), len(bad))-1
	for shared < short && good[shared] == bad[shared] {
		shared++
	}
	return e.passage(good, shared), e.passage(bad, shared)
}

// windows follow each other without overlap; of each the first half, rounded down, is the
// encoder's and the rest is scored. A window of one token is left out.
func (e encoderDecoders) windows(tokens []int32, window, _ int) windows {
	w := windows{
		method: "the second half of each window in the decoder, the first in the encoder",
		notes: []string{"an encoder-decoder's perplexity is that of the second half of each window, given the first: " +
			"it does not compare with that of other architectures"},
	}
	window = max(window, 2)
	for at := 0; at+1 < len(tokens); at += window {
		cut := tokens[at:min(at+window, len(tokens))]
		w.window = append(w.window, len(w.sequences))
		w.sequences = append(w.sequences, e.passage(cut, len(cut)/2))
	}
	return w
}

// given makes a window of each row, as it is.
func (e encoderDecoders) given(rows []Row, of string) (windows, error) {
	w := windows{
		method: "rows of " + of,
		notes: []string{"an encoder-decoder's perplexity is that of " + of + " on held-out text: " +
			"it does not compare with that of other architectures or objectives"},
	}
	for i, r := range rows {
		if n := max(len(r.Source), len(r.Target)); len(r.Source) == 0 || len(r.Target) == 0 || n > e.maxLength {
			return w, fmt.Errorf("row %d of %s has %d tokens for the encoder and %d for the decoder: want 1 to %d of each", i, of, len(r.Source), len(r.Target), e.maxLength)
		}
		w.window = append(w.window, i)
		w.sequences = append(w.sequences, sequence{tokens: slices.Concat(r.Source, r.Target), from: len(r.Source)})
	}
	return w, nil
}

func (e encoderDecoders) lead() int { return 0 }

func (e encoderDecoders) size(s sequence) (source, target int) {
	return s.from, len(s.tokens) - s.from
}

func (e encoderDecoders) rows(s sequence) int { return min(max(len(s.tokens)-s.from, 0), 1) }

func (e encoderDecoders) fill(b *Batch, row int, s sequence, _ int) {
	source := b.Tokens[row*b.Length:]
	for t, id := range s.tokens[:s.from] {
		source[t] = int64(id)
	}
	b.Lengths[row] = int64(s.from)
	target, labels := b.DecoderTokens[row*b.DecoderLength:], b.labels(row)
	previous := e.start
	for t, id := range s.tokens[s.from:] {
		target[t], labels[t] = int64(previous), int64(id)
		previous = id
	}
}

func (e encoderDecoders) method() method {
	return method{
		pairs:    "sum of log-probabilities in the decoder, after the tokens that both sentences begin with in the encoder",
		passages: "the last word in the decoder, all before it in the encoder",
		kept:     fmt.Sprintf("keep their last %d tokens on each side", e.maxLength),
	}
}
