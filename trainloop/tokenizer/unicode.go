package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// The tokenizers library splits by Unicode 16.0; Go's tables are of 15.0. The tables here are what the
// library has beyond them. Where Go's have caught up these repeat them and change nothing.
// tools/oracle/tokenizer_vectors.py writes digests of all classes, which a test compares.
var (
	newUpper = &unicode.RangeTable{
		R16: []unicode.Range16{{0x1C89, 0x1C89, 1}, {0xA7CB, 0xA7CC, 1}, {0xA7DA, 0xA7DC, 2}},
		R32: []unicode.Range32{{0x10D50, 0x10D65, 1}},
	}
	newLower = &unicode.RangeTable{
		R16: []unicode.Range16{{0x1C8A, 0x1C8A, 1}, {0xA7CD, 0xA7CD, 1}, {0xA7DB, 0xA7DB, 1}},
		R32: []unicode.Range32{{0x10D70, 0x10D85, 1}},
	}
	newModifiers = &unicode.RangeTable{
		R32: []unicode.Range32{{0x10D4E, 0x10D4E, 1}, {0x10D6F, 0x10D6F, 1}, {0x16D40, 0x16D42, 1}, {0x16D6B, 0x16D6C, 1}},
	}
	newOtherLetters = &unicode.RangeTable{
		R32: []unicode.Range32{
			{0x105C0, 0x105F3, 1}, {0x10D4A, 0x10D4D, 1}, {0x10D4F, 0x10D4F, 1}, {0x10EC2, 0x10EC4, 1},
			{0x11380, 0x11389, 1}, {0x1138B, 0x1138E, 3}, {0x11390, 0x113B5, 1}, {0x113B7, 0x113D1, 26},
			{0x113D3, 0x113D3, 1}, {0x11BC0, 0x11BE0, 1}, {0x13460, 0x143FA, 1}, {0x16100, 0x1611D, 1},
			{0x16D43, 0x16D6A, 1}, {0x18CFF, 0x18CFF, 1}, {0x1E5D0, 0x1E5ED, 1}, {0x1E5F0, 0x1E5F0, 1},
			{0x2EBF0, 0x2EE5D, 1},
		},
	}
	newNumbers = &unicode.RangeTable{ // all of them decimal digits
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
	newPunctuation = &unicode.RangeTable{
		R16: []unicode.Range16{{0x1B4E, 0x1B4F, 1}, {0x1B7F, 0x1B7F, 1}},
		R32: []unicode.Range32{
			{0x10D6E, 0x10D6E, 1}, {0x113D4, 0x113D5, 1}, {0x113D7, 0x113D8, 1}, {0x11BE1, 0x11BE1, 1},
			{0x16D6D, 0x16D6F, 1}, {0x1E5FF, 0x1E5FF, 1},
		},
	}
	newSymbols = &unicode.RangeTable{
		R16: []unicode.Range16{{0x2427, 0x2429, 1}, {0x2FFC, 0x2FFF, 1}, {0x31E4, 0x31E5, 1}, {0x31EF, 0x31EF, 1}},
		R32: []unicode.Range32{
			{0x10D8E, 0x10D8F, 1}, {0x1CC00, 0x1CCEF, 1}, {0x1CD00, 0x1CEB3, 1}, {0x1F8B2, 0x1F8BB, 1}, {0x1F8C0, 0x1F8C1, 1},
			{0x1FA89, 0x1FA89, 1}, {0x1FA8F, 0x1FA8F, 1}, {0x1FABE, 0x1FABE, 1}, {0x1FAC6, 0x1FAC6, 1}, {0x1FADC, 0x1FADC, 1},
			{0x1FADF, 0x1FADF, 1}, {0x1FAE9, 0x1FAE9, 1}, {0x1FBCB, 0x1FBEF, 1},
		},
	}
	// Digits asks Rust's own tables, of Unicode 17.0.
	newestNumbers = &unicode.RangeTable{R32: []unicode.Range32{{0x11DE0, 0x11DE9, 1}, {0x16FF4, 0x16FF6, 1}}}
)

var newLetters = []*unicode.RangeTable{newUpper, newLower, newModifiers, newOtherLetters}

// properties are the ones that patterns may ask for as \p{NAME}, as the library has them.
var properties = map[string][]*unicode.RangeTable{
	"L":  append([]*unicode.RangeTable{unicode.L}, newLetters...),
	"Lu": {unicode.Lu, newUpper},
	"Ll": {unicode.Ll, newLower},
	"Lt": {unicode.Lt},
	"Lm": {unicode.Lm, newModifiers},
	"Lo": {unicode.Lo, newOtherLetters},
	"M":  {unicode.M, newMarks},
	"N":  {unicode.N, newNumbers},
	"Nd": {unicode.Nd, newNumbers},
	"Nl": {unicode.Nl},
	"No": {unicode.No},
	"P":  {unicode.P, newPunctuation},
	"S":  {unicode.S, newSymbols},
	"Z":  {unicode.Z},
	"Zs": {unicode.Zs},

	"Han":      {unicode.Han, &unicode.RangeTable{R32: []unicode.Range32{{0x2EBF0, 0x2EE5D, 1}}}},
	"Hiragana": {unicode.Hiragana},
	"Katakana": {unicode.Katakana},
	"Hangul":   {unicode.Hangul},
}

// class is what GPT-2's pattern tells apart, and those that came from it.
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
	}{{letter, properties["L"]}, {number, properties["N"]}, {space, []*unicode.RangeTable{unicode.White_Space}}} {
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
	case unicode.In(r, properties["L"]...):
		return letter, size
	case unicode.In(r, properties["N"]...):
		return number, size
	}
	return other, size
}

// wordCharacter is \w of Unicode's regular expressions (Technical Standard 18, annex C).
func wordCharacter(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc,
		unicode.Other_Alphabetic, unicode.Join_Control, newNumbers, newMarks) || unicode.In(r, newLetters...)
}
