package tokenizer

import "unicode"

// charSet is a set of characters.
type charSet struct {
	not    bool
	runes  []rune
	ranges [][2]rune
	tables []*unicode.RangeTable
	inner  []*charSet

	low [4]uint64 // of U+0000 … U+00FF, filled by finish
}

func (s *charSet) finish() *charSet {
	for r := range rune(256) {
		if s.search(r) {
			s.low[r/64] |= 1 << (r % 64)
		}
	}
	return s
}

// search looks r up without the table.
func (s *charSet) search(r rune) bool {
	for _, x := range s.runes {
		if x == r {
			return !s.not
		}
	}
	for _, x := range s.ranges {
		if x[0] <= r && r <= x[1] {
			return !s.not
		}
	}
	for _, t := range s.tables {
		if unicode.Is(t, r) {
			return !s.not
		}
	}
	for _, x := range s.inner {
		if x.has(r) {
			return !s.not
		}
	}
	return s.not
}

func (s *charSet) has(r rune) bool {
	if r < 256 {
		return s.low[r/64]>>(r%64)&1 == 1
	}
	return s.search(r)
}
