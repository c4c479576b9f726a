package evalsuite

import (
	"cmp"
	"fmt"

	"march/trainloop/rng"
)

// encoders predict masked tokens from the text on both sides of them.
//
// A sentence's score is its pseudo-log-likelihood (Salazar and others, Masked Language Model
// Scoring, ACL 2020): the sum over its tokens of log p(token | all other tokens), each
// from a row in which it alone is masked. With words set, the later tokens of the same word are
// masked too, which keeps a rare word's tokens from giving each other away (Kauf and Ivanova, A
// Better Way to Do Masked Language Model Scoring, ACL 2023, "PLL-word-l2r").
type encoders struct {
	maxLength   int
	start, mask int32
	words       *wordStarts // nil: each token is masked alone
}

// passage masks all scored tokens at once and reads them off one row.
func (e encoders) passage(tokens []int32, from int) sequence {
	over := len(tokens) - e.maxLength
	if over <= 0 {
		return sequence{tokens: tokens, from: from}
	}
	return sequence{tokens: tokens[over:], from: max(from-over, 0), cut: true}
}

// pair scores both sentences whole, all but the start token.
func (e encoders) pair(good, bad []int32) (sequence, sequence) {
	g, b := e.passage(good, 1), e.passage(bad, 1)
	for _, s := range []*sequence{&g, &b} {
		s.each = true
		if e.words != nil {
			s.starts = e.words.in(s.tokens, s.from)
		}
	}
	return g, b
}

// maskPasses is in how many passes over a window each of its tokens is masked once: the least
// number with at most the training's 15 % of masks in each, ⌈1/0.15⌉.
const maskPasses = 7

// maskSeed is the seed of the masks of a stream's windows.
const maskSeed = 0

// windows follow each other without overlap. Each token but the start tokens, which are never
// masked, is masked in the one pass that a random number says, a function of its place in the
// stream: within a pass masks are as independent as in training. A pass that masks nothing of a
// window is left out.
func (e encoders) windows(tokens []int32, window, passes int) windows {
	passes = cmp.Or(passes, maskPasses)
	w := windows{
		method: fmt.Sprintf("masked tokens, each in one of %d passes (seed %d)", maskPasses, maskSeed),
		notes: []string{"an encoder's perplexity is exp(masked-LM loss), of tokens given the text on both sides: " +
			"it does not compare with that of other architectures"},
	}
	if passes < maskPasses {
		w.method += fmt.Sprintf(", %d of the passes run", passes)
	}
	draw := rng.New(maskSeed, rng.Name("evalsuite.masks"))
	for at, n := 0, 0; at < len(tokens); at, n = at+window, n+1 {
		cut := tokens[at:min(at+window, len(tokens))]
		var picked [maskPasses][]int32
		for i, id := range cut {
			if id != e.start {
				pass := draw.At(uint64(at+i)) % maskPasses
				picked[pass] = append(picked[pass], int32(i))
			}
		}
		for _, p := range picked[:passes] {
			if len(p) > 0 {
				w.window = append(w.window, n)
				w.sequences = append(w.sequences, sequence{tokens: cut, picked: p})
			}
		}
	}
	return w
}

func (e encoders) lead() int { return 0 }

func (e encoders) size(s sequence) (source, target int) { return len(s.tokens), 0 }

func (e encoders) rows(s sequence) int {
	n := max(len(s.tokens)-s.from, 0)
	if s.each {
		return n
	}
	return min(n, 1)
}

func (e encoders) fill(b *Batch, row int, s sequence, part int) {
	tokens, labels := b.Tokens[row*b.Length:(row+1)*b.Length], b.labels(row)
	for t, id := range s.tokens {
		tokens[t] = int64(id)
	}
	b.Lengths[row] = int64(len(s.tokens))
	score := func(at int) { tokens[at], labels[at] = int64(e.mask), int64(s.tokens[at]) }
	switch {
	case s.each:
		score(s.from + part)
		for at := s.from + part + 1; at < len(s.starts) && !s.starts[at]; at++ {
			tokens[at] = int64(e.mask)
		}
	case s.picked != nil:
		for _, at := range s.picked {
			score(int(at))
		}
	default:
		for at := s.from; at < len(s.tokens); at++ {
			score(at)
		}
	}
}

const withinWord = "pseudo-log-likelihood, each token masked with the later ones of its word"

// WithinWord reports whether a result's settings are those of [Options].WithinWord.
func WithinWord(settings map[string]string) bool { return settings["sentence score"] == withinWord }

func (e encoders) method() method {
	m := method{
		pairs:        "pseudo-log-likelihood, each token masked alone",
		passages:     "all tokens of the last word masked at once",
		passagesNote: "an encoder is told how many tokens the last word has and fills them in at once: its accuracy and perplexity on passages do not compare with those of other architectures",
		kept:         fmt.Sprintf("keep their last %d tokens", e.maxLength),
	}
	if e.words != nil {
		m.pairs = withinWord
	}
	return m
}
