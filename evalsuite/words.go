package evalsuite

import (
	"unicode"
	"unicode/utf8"
)

// wordStarts tells at which tokens the words of byte-level BPE begin: with white space, and where
// letters, digits and other characters meet, as the tokenizer's pattern has it. Tokens that are
// parts of a character begin no word.
type wordStarts struct {
	tokenizer Tokenizer
	known     map[int32]edges
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
	return &wordStarts{tokenizer: t, known: map[int32]edges{}}
}

// in says of the tokens behind index from whether a word starts with them.
func (w *wordStarts) in(tokens []int32, from int) []bool {
	starts, before := make([]bool, len(tokens)), noCharacter
	for i := from; i < len(tokens); i++ {
		e := w.of(tokens[i])
		starts[i] = i > from && meet(before, e.first)
		before = e.last
	}
	return starts
}

// meet says whether a word starts between a character of class before and one of class first.
func meet(before, first characterClass) bool {
	switch {
	case first == blank || first == otherSpace:
		return true
	case first == noCharacter || before == noCharacter || before == blank:
		return false
	}
	return first != before
}

func (w *wordStarts) of(id int32) edges {
	e, ok := w.known[id]
	if !ok {
		text := w.tokenizer.Decode([]int32{id})
		first, _ := utf8.DecodeRuneInString(text)
		last, _ := utf8.DecodeLastRuneInString(text)
		e = edges{classOf(first), classOf(last)}
		w.known[id] = e
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
