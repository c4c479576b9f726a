package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// finder is the working memory of matching.
type finder struct {
	stack []thread
	tried []uint64 // a bit for each (place, instruction)
	used  int      // how much of tried may be other than zero
	inner *finder  // for look-ahead and atomic groups
}

type thread struct {
	pc int32
	at int
}

// find returns where the first match in text at or behind from lies; false where there is none.
func (p *pattern) find(f *finder, text string, from int) (start, end int, ok bool) {
	if p.literal != "" {
		if i := strings.Index(text[from:], p.literal); i >= 0 {
			return from + i, from + i + len(p.literal), true
		}
		return 0, 0, false
	}
	for at := from; at < len(text); {
		if end := f.match(p.code, text, at); end > at {
			return at, end, true
		}
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
	}
	return 0, 0, false
}

// match returns the end of the match that begins at a place, or -1.
func (f *finder) match(code []instruction, text string, from int) int {
	clear(f.tried[:f.used])
	f.used = 0
	f.stack = append(f.stack[:0], thread{0, from})
	for len(f.stack) > 0 {
		last := len(f.stack) - 1
		t := f.stack[last]
		f.stack = f.stack[:last]
	thread:
		for {
			bit := (t.at-from)*len(code) + int(t.pc)
			word := bit / 64
			if word >= f.used {
				for word >= len(f.tried) {
					f.tried = append(f.tried, 0)
				}
				f.used = word + 1
			}
			if f.tried[word]>>(bit%64)&1 == 1 {
				break
			}
			f.tried[word] |= 1 << (bit % 64)
			switch in := &code[t.pc]; in.op {
			case opMatch:
				return t.at
			case opSet:
				if t.at >= len(text) {
					break thread
				}
				r, size := utf8.DecodeRuneInString(text[t.at:]) // a broken byte counts as U+FFFD
				if !in.set.has(r) {
					break thread
				}
				t.at += size
				t.pc++
			case opSplit:
				f.stack = append(f.stack, thread{in.y, t.at})
				t.pc = in.x
			case opJump:
				t.pc = in.x
			case opLook, opAtomic:
				if f.inner == nil {
					f.inner = &finder{}
				}
				end := f.inner.match(in.sub, text, t.at)
				if in.op == opLook && (end < 0) != in.not || in.op == opAtomic && end < 0 {
					break thread
				}
				if in.op == opAtomic {
					t.at = end
				}
				t.pc++
			}
		}
	}
	return -1
}
