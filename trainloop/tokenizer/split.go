package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// nextWord does what the regular expression of the GPT-2 release does,
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// by hand: Go's regexp has no look-ahead, and a scanner is faster.

// class is what the pattern tells apart.
type class uint8

const (
	other  class = iota // also a byte that is not UTF-8
	letter              // \p{L}
	number              // \p{N}
	space               // \s
)

// plane0 holds the classes of the basic multilingual plane, where nearly all text lies.
var plane0 = func() *[0x10000]class {
	var table [0x10000]class
	for _, c := range []struct {
		class  class
		tables []*unicode.RangeTable
	}{
		{letter, []*unicode.RangeTable{unicode.L, newLetters}},
		{number, []*unicode.RangeTable{unicode.N, newNumbers}},
		{space, []*unicode.RangeTable{unicode.White_Space}},
	} {
		for _, t := range c.tables {
			for _, r := range t.R16 {
				for x := uint32(r.Lo); x <= uint32(r.Hi); x += uint32(r.Stride) {
					table[x] = c.class
				}
			}
		}
	}
	return &table
}()

// Letters, decimal numbers and marks of Unicode 15.1 and 16.0, the version that the tokenizers library splits by;
// Go's tables are of 15.0. Where Go's have caught up these repeat them and change nothing.
var (
	newLetters = &unicode.RangeTable{
		R16: []unicode.Range16{
			{0x1C89, 0x1C8A, 1}, {0xA7CB, 0xA7CD, 1}, {0xA7DA, 0xA7DC, 1},
		},
		R32: []unicode.Range32{
			{0x105C0, 0x105F3, 1}, {0x10D4A, 0x10D65, 1}, {0x10D6F, 0x10D85, 1}, {0x10EC2, 0x10EC4, 1},
			{0x11380, 0x11389, 1}, {0x1138B, 0x1138E, 3}, {0x11390, 0x113B5, 1}, {0x113B7, 0x113D1, 26},
			{0x113D3, 0x113D3, 1}, {0x11BC0, 0x11BE0, 1}, {0x13460, 0x143FA, 1}, {0x16100, 0x1611D, 1},
			{0x16D40, 0x16D6C, 1}, {0x18CFF, 0x18CFF, 1}, {0x1E5D0, 0x1E5ED, 1}, {0x1E5F0, 0x1E5F0, 1},
			{0x2EBF0, 0x2EE5D, 1},
		},
	}
	newNumbers = &unicode.RangeTable{
		R32: []unicode.Range32{
			{0x10D40, 0x10D49, 1}, {0x116D0, 0x116E3, 1}, {0x11BF0, 0x11BF9, 1}, {0x16130, 0x16139, 1},
			{0x16D70, 0x16D79, 1}, {0x1CCF0, 0x1CCF9, 1}, {0x1E5F1, 0x1E5FA, 1},
		},
	}
	newMarks = &unicode.RangeTable{
		R16: []unicode.Range16{{0x0897, 0x0897, 1}},
		R32: []unicode.Range32{
			{0x10D69, 0x10D6D, 1}, {0x10EFC, 0x10EFC, 1}, {0x113B8, 0x113C0, 1}, {0x113C2, 0x113C5, 3},
			{0x113C7, 0x113CA, 1}, {0x113CC, 0x113D0, 1}, {0x113D2, 0x113D2, 1}, {0x113E1, 0x113E2, 1},
			{0x11F5A, 0x11F5A, 1}, {0x1611E, 0x1612F, 1}, {0x1E5EE, 0x1E5EF, 1},
		},
	}
)

// classAt returns the class of the character at text[i] and its length in bytes.
func classAt(text string, i int) (class, int) {
	if c := text[i]; c < utf8.RuneSelf {
		return plane0[c], 1
	}
	r, size := utf8.DecodeRuneInString(text[i:])
	switch {
	case r == utf8.RuneError && size == 1:
		return other, 1
	case r < 0x10000:
		return plane0[r], size
	case unicode.In(r, unicode.L, newLetters):
		return letter, size
	case unicode.In(r, unicode.N, newNumbers):
		return number, size
	}
	return other, size
}

// nextWord returns the end of the word that begins at text[i], i < len(text). Every byte belongs to
// exactly one word. What a word is depends on nothing before it.
func nextWord(text string, i int) int {
	if text[i] == '\'' {
		if n := contraction(text[i+1:]); n > 0 {
			return i + 1 + n
		}
	}
	start := i
	kind, size := classAt(text, i)
	if text[i] == ' ' && i+1 < len(text) {
		if next, n := classAt(text, i+1); next != space {
			kind, size, start = next, n, i+1
		}
	}
	end, last := start+size, start // last: where the last character of the run begins
	for end < len(text) {
		next, n := classAt(text, end)
		if next != kind {
			break
		}
		last = end
		end += n
	}
	// White space before a word leaves its last character to that word.
	if kind == space && end < len(text) && last > i {
		return last
	}
	return end
}

// contraction returns the length of 's, 't, 're, 've, 'm, 'll or 'd after the apostrophe, or 0.
func contraction(rest string) int {
	if rest == "" {
		return 0
	}
	switch rest[0] {
	case 's', 't', 'm', 'd':
		return 1
	case 'r', 'v':
		if len(rest) > 1 && rest[1] == 'e' {
			return 2
		}
	case 'l':
		if len(rest) > 1 && rest[1] == 'l' {
			return 2
		}
	}
	return 0
}

// LastCut returns the largest i > 0 where text can be cut so that both parts, encoded one after
// the other, give the same tokens as the whole whatever follows; 0 where there is none. It is what
// lets a document larger than memory be encoded in pieces. The cut lies before a space that
// follows something else: no word of the pattern crosses that. An added token that has white
// space in it, or takes the white space beside it along, may be cut in two.
func LastCut(text string) int {
	for i := len(text) - 1; i > 0; i-- {
		if text[i] != ' ' {
			continue
		}
		r, size := utf8.DecodeLastRuneInString(text[:i])
		if r == utf8.RuneError && size == 1 {
			return i // a broken byte is no white space
		}
		if kind, _ := classAt(text[:i], i-size); kind != space {
			return i
		}
	}
	return 0
}
