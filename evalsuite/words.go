package evalsuite

import (
	"sync"
	"unicode"
	"unicode/utf8"
)

// wordStarts tells at which tokens the words of byte-level BPE begin: with white space, and where
// letters, digits and other characters meet, as the tokenizer's pattern has it. Tokens that are
// parts of a character begin no word. Several goroutines may ask at once.
type wordStarts struct {
	tokenizer Tokenizer
	mu        sync.Mutex
	edges     map[int32]edges // guarded by mu
}

// edges are the classes of a token's first and last character.
type edges struct{ first, last characterClass }

type characterClass byte

const (
	noCharacter characterClass = iota // none, or part of one
	blank                             // the space, which belongs to the word behind it
	otherSpace
	letter
	digit
	otherCharacter
)

func newWordStarts(t Tokenizer) *wordStarts {
	return &wordStarts{tokenizer: t, edges: map[int32]edges{}}
}

// at says whether a word starts with the token next, where previous stands before it.
func (w *wordStarts) at(previous, next int32) bool {
	before, first := w.of(previous).last, w.of(next).first
	switch {
	case first == blank || first == otherSpace:
		return true
	case first == noCharacter || before == noCharacter || before == blank:
		return false
	}
	return first != before
}

func (w *wordStarts) of(id int32) edges {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.edges[id]
	if !ok {
		text := w.tokenizer.Decode([]int32{id})
		first, _ := utf8.DecodeRuneInString(text)
		last, _ := utf8.DecodeLastRuneInString(text)
		e = edges{classOf(first), classOf(last)}
		w.edges[id] = e
	}
	return e
}

func classOf(r rune) characterClass {
	switch {
	case r == utf8.RuneError:
		return noCharacter
	case r == ' ':
		return blank
	case unicode.IsSpace(r):
		return otherSpace
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return digit
	}
	return otherCharacter
}
