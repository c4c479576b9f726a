package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// alphabet spells each byte as one visible character, so that tokens can stand in a JSON file:
// printable ones of Latin-1 as themselves, the others as U+0100, U+0101, … in their order (a space
// is "Ġ"). byteOf is its inverse.
var (
	alphabet [256]rune
	byteOf   = map[rune]byte{}
)

func init() {
	next := rune(0x100)
	for b := range 256 {
		r := rune(b)
		switch {
		case r >= '!' && r <= '~', r >= '¡' && r <= '¬', r >= '®' && r <= 'ÿ':
		default:
			r = next
			next++
		}
		alphabet[b] = r
		byteOf[r] = byte(b)
	}
}

// spell is a text in the alphabet.
func spell(text string) string {
	out := make([]byte, 0, len(text)+len(text)/8)
	for i := range len(text) {
		out = utf8.AppendRune(out, alphabet[text[i]])
	}
	return string(out)
}

// unspell returns the bytes that a token is spelled for; false where a character of it is not in
// the alphabet.
func unspell(token string) (string, bool) {
	out := make([]byte, 0, len(token))
	for _, r := range token {
		b, ok := byteOf[r]
		if !ok {
			return "", false
		}
		out = append(out, b)
	}
	return string(out), true
}

// validText returns b as a string with U+FFFD in place of each maximal subpart of an ill-formed
// sequence, as the Unicode Standard recommends (chapter 3, "U+FFFD Substitution of Maximal
// Subparts"). Go's own conversions put one for each byte or one for each run.
func validText(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var out strings.Builder
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 {
			size = subpart(b)
		}
		out.WriteRune(r)
		b = b[size:]
	}
	return out.String()
}

// subpart returns how many bytes of the ill-formed sequence at the start of b one U+FFFD stands
// for: the longest start of any well-formed sequence, or one byte.
func subpart(b []byte) int {
	// The range of the second byte depends on the first (Unicode Standard, table 3-7).
	low, high, need := byte(0x80), byte(0xBF), 0
	switch c := b[0]; {
	case c >= 0xC2 && c <= 0xDF:
		need = 2
	case c >= 0xE0 && c <= 0xEF:
		need = 3
		if c == 0xE0 {
			low = 0xA0
		} else if c == 0xED {
			high = 0x9F
		}
	case c >= 0xF0 && c <= 0xF4:
		need = 4
		if c == 0xF0 {
			low = 0x90
		} else if c == 0xF4 {
			high = 0x8F
		}
	}
	n := 1
	for n < need && n < len(b) && b[n] >= low && b[n] <= high {
		low, high = 0x80, 0xBF
		n++
	}
	return n
}
