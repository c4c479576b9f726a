package tokenizer

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A split pattern is a regular expression in the dialect of the tokenizers library (Oniguruma, Ruby's
// syntax). Go's regexp has neither its look-ahead nor its possessive repeats, so this is a small
// matcher of its own, of what split patterns use; anything else is refused by name. It backtracks,
// but never tries one instruction twice at one place: time and memory of a match are bounded by
// instructions × characters.

// Bounds of a pattern. The longest in use has 400 characters.
const (
	maxPattern      = 4 << 10
	maxInstructions = 1 << 10
	maxNesting      = 50
)

type opcode uint8

const (
	opMatch  opcode = iota
	opSet           // one character of set
	opSplit         // try x, then y
	opJump          // go on at x
	opLook          // go on if sub matches here, or with not, if it does not
	opAtomic        // what sub matches first, and no other way
)

type instruction struct {
	op   opcode
	not  bool
	x, y int32
	set  *charSet
	sub  []instruction
}

// pattern is a compiled one.
type pattern struct {
	code    []instruction
	literal string // not "": only this text
}

// node is a part of a pattern before it becomes code.
type node struct {
	kind     nodeKind
	set      *charSet
	children []*node
	min, max int // of a repeat; max -1: any number
	lazy     bool
	atomic   bool // of a repeat: possessive
	not      bool
}

type nodeKind uint8

const (
	nodeSet nodeKind = iota
	nodeConcat
	nodeAlternate
	nodeRepeat
	nodeLook
	nodeAtomic
)

// compilePattern reads a regular expression; an error says what of it is not supported.
func compilePattern(expression string) (*pattern, error) {
	if len(expression) > maxPattern {
		return nil, fmt.Errorf("%d bytes long, want %d at most", len(expression), maxPattern)
	}
	p := &patternParser{text: expression}
	root, err := p.alternatives(0)
	if err == nil && p.at < len(p.text) {
		err = errors.New("a closing bracket without an opening one")
	}
	if err == nil && root.nullable() {
		err = errors.New("it can match the empty text, which is no word")
	}
	var code []instruction
	if err == nil {
		c := compiler{}
		if code, err = c.program(root); err == nil && c.total > maxInstructions {
			err = fmt.Errorf("more than %d instructions", maxInstructions)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w (at character %d)", err, utf8.RuneCountInString(expression[:p.at]))
	}
	return &pattern{code: code}, nil
}

// nullable reports whether the empty text matches.
func (n *node) nullable() bool {
	switch n.kind {
	case nodeSet:
		return false
	case nodeAlternate:
		for _, c := range n.children {
			if c.nullable() {
				return true
			}
		}
		return false
	case nodeRepeat:
		return n.min == 0 || n.children[0].nullable()
	case nodeLook:
		return true
	}
	for _, c := range n.children {
		if !c.nullable() {
			return false
		}
	}
	return true
}

type patternParser struct {
	text string
	at   int
	fold bool // inside (?i:…)
}

func (p *patternParser) more() bool { return p.at < len(p.text) }

// eat goes past s if it comes next.
func (p *patternParser) eat(s string) bool {
	if strings.HasPrefix(p.text[p.at:], s) {
		p.at += len(s)
		return true
	}
	return false
}

func (p *patternParser) alternatives(depth int) (*node, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("groups more than %d deep", maxNesting)
	}
	all := &node{kind: nodeAlternate}
	for {
		one, err := p.sequence(depth)
		if err != nil {
			return nil, err
		}
		all.children = append(all.children, one)
		if !p.eat("|") {
			break
		}
	}
	if len(all.children) == 1 {
		return all.children[0], nil
	}
	return all, nil
}

func (p *patternParser) sequence(depth int) (*node, error) {
	all := &node{kind: nodeConcat}
	var before rune // the literal before, where case is folded
	for p.more() && p.text[p.at] != '|' && p.text[p.at] != ')' {
		start := p.at
		one, err := p.atom(depth)
		if err != nil {
			return nil, err
		}
		if p.fold {
			now, _ := utf8.DecodeRuneInString(p.text[start:])
			// "ß" is "ss" where case is folded, "ﬁ" is "fi": one character for two of the pattern.
			if pair := strings.ToLower(string([]rune{before, now})); strings.Contains(" ff fi fl ss st ", " "+pair+" ") {
				return nil, fmt.Errorf("%q with folded case is not supported: one character can stand for both", pair)
			}
			before = now
		}
		if one, err = p.repeats(one); err != nil {
			return nil, err
		}
		all.children = append(all.children, one)
	}
	return all, nil
}

// repeats reads what stands behind an atom.
func (p *patternParser) repeats(one *node) (*node, error) {
	for p.more() {
		r := &node{kind: nodeRepeat, children: []*node{one}, max: -1}
		braces := false
		switch c := p.text[p.at]; {
		case c == '*':
			p.at++
		case c == '+':
			r.min = 1
			p.at++
		case c == '?':
			r.max = 1
			p.at++
		case c == '{':
			end := strings.IndexByte(p.text[p.at:], '}')
			if end < 0 {
				return nil, errors.New("{ without }")
			}
			low, high, comma := strings.Cut(p.text[p.at+1:p.at+end], ",")
			var err error
			if r.min, err = strconv.Atoi(low); err != nil || r.min < 0 {
				return nil, fmt.Errorf("the repeat {%s} is not supported, want {n}, {n,} or {n,m}", p.text[p.at+1:p.at+end])
			}
			switch {
			case !comma:
				r.max = r.min
			case high != "":
				if r.max, err = strconv.Atoi(high); err != nil || r.max < r.min {
					return nil, fmt.Errorf("the repeat {%s} is not supported, want {n}, {n,} or {n,m}", p.text[p.at+1:p.at+end])
				}
			}
			if r.min > 256 || r.max > 256 {
				return nil, errors.New("a repeat of more than 256 is not supported")
			}
			p.at += end + 1
			braces = true
		default:
			return one, nil
		}
		if one.kind == nodeLook {
			return nil, errors.New("a repeated look-ahead is not supported")
		}
		switch {
		case p.eat("?"):
			if braces {
				return nil, errors.New("? behind {} is not supported")
			}
			r.lazy = true
		case p.more() && p.text[p.at] == '+':
			if braces {
				return nil, errors.New("+ behind {} is not supported")
			}
			p.at++
			r.atomic = true
		}
		one = r
	}
	return one, nil
}

func (p *patternParser) atom(depth int) (*node, error) {
	switch c := p.text[p.at]; c {
	case '(':
		return p.group(depth)
	case '[':
		p.at++
		set, err := p.class(depth)
		return &node{kind: nodeSet, set: set}, err
	case '.':
		p.at++
		set := &charSet{not: true, runes: []rune{'\n'}}
		return &node{kind: nodeSet, set: set.finish()}, nil
	case '^', '$':
		return nil, fmt.Errorf("the anchor %c is not supported", c)
	case '*', '+', '?':
		return nil, fmt.Errorf("%c repeats nothing", c)
	case '\\':
		set, err := p.escape()
		return &node{kind: nodeSet, set: set}, err
	}
	r, size := utf8.DecodeRuneInString(p.text[p.at:])
	if r == utf8.RuneError && size == 1 {
		return nil, errors.New("not UTF-8")
	}
	p.at += size
	set, err := p.literal(r)
	return &node{kind: nodeSet, set: set}, err
}

// literal is the set of one character, of its other case too where case is folded.
func (p *patternParser) literal(r rune) (*charSet, error) {
	set := &charSet{runes: []rune{r}}
	if p.fold {
		if r >= utf8.RuneSelf {
			return nil, fmt.Errorf("%q with folded case is not supported, want ASCII", r)
		}
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			set.runes = append(set.runes, f)
		}
	}
	return set.finish(), nil
}

func (p *patternParser) group(depth int) (*node, error) {
	p.at++
	kind, not, fold := nodeConcat, false, p.fold
	switch {
	case p.eat("?:"):
	case p.eat("?i:"):
		fold = true
	case p.eat("?="):
		kind = nodeLook
	case p.eat("?!"):
		kind, not = nodeLook, true
	case p.eat("?>"):
		kind = nodeAtomic
	case strings.HasPrefix(p.text[p.at:], "?"):
		end := min(len(p.text), p.at+4)
		return nil, fmt.Errorf("the group (%s… is not supported, want (…), (?:…), (?i:…), (?=…), (?!…) or (?>…)", strings.ToValidUTF8(p.text[p.at:end], ""))
	}
	outer := p.fold
	p.fold = fold
	inside, err := p.alternatives(depth + 1)
	p.fold = outer
	if err != nil {
		return nil, err
	}
	if !p.eat(")") {
		return nil, errors.New("( without )")
	}
	return &node{kind: kind, not: not, children: []*node{inside}}, nil
}

// escape reads \ and what stands behind it, outside and inside of [].
func (p *patternParser) escape() (*charSet, error) {
	p.at++
	if !p.more() {
		return nil, errors.New(`\ at the end`)
	}
	r, size := utf8.DecodeRuneInString(p.text[p.at:])
	p.at += size
	switch r {
	case 'n', 'r', 't', 'f', 'v', 'a', 'e':
		return p.literal(map[rune]rune{'n': '\n', 'r': '\r', 't': '\t', 'f': '\f', 'v': '\v', 'a': '\a', 'e': 0x1b}[r])
	case 's', 'S':
		return (&charSet{not: r == 'S', tables: []*unicode.RangeTable{unicode.White_Space}}).finish(), nil
	case 'd', 'D':
		return (&charSet{not: r == 'D', tables: properties["Nd"]}).finish(), nil
	case 'p', 'P':
		if !p.eat("{") {
			return nil, fmt.Errorf(`\%c without {`, r)
		}
		not := p.eat("^") != (r == 'P')
		end := strings.IndexByte(p.text[p.at:], '}')
		if end < 0 {
			return nil, fmt.Errorf(`\%c{ without }`, r)
		}
		name := p.text[p.at : p.at+end]
		tables, ok := properties[name]
		if !ok {
			return nil, fmt.Errorf(`the property \p{%s} is not supported`, name)
		}
		p.at += end + 1
		return (&charSet{not: not, tables: tables}).finish(), nil
	case 'x', 'u':
		digits, most := "", uint64(unicode.MaxRune)
		if r == 'x' && p.eat("{") {
			end := strings.IndexByte(p.text[p.at:], '}')
			if end < 0 {
				return nil, errors.New(`\x{ without }`)
			}
			digits = p.text[p.at : p.at+end]
			p.at += end + 1
		} else {
			n := 4
			if r == 'x' { // a byte, which from 80 on is a part of a character
				n, most = 2, utf8.RuneSelf-1
			}
			if p.at+n > len(p.text) {
				return nil, fmt.Errorf(`\%c is cut off`, r)
			}
			digits = p.text[p.at : p.at+n]
			p.at += n
		}
		code, err := strconv.ParseUint(digits, 16, 32)
		if err != nil || code > most || !utf8.ValidRune(rune(code)) {
			return nil, fmt.Errorf(`\%c%s is not supported`, r, digits)
		}
		return p.literal(rune(code))
	}
	if r == utf8.RuneError || r >= utf8.RuneSelf || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
		return nil, fmt.Errorf(`\%c is not supported`, r)
	}
	return p.literal(r)
}

// class reads what stands behind [.
func (p *patternParser) class(depth int) (*charSet, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("[] more than %d deep", maxNesting)
	}
	set := &charSet{not: p.eat("^")}
	for first := true; ; first = false {
		if !p.more() {
			return nil, errors.New("[ without ]")
		}
		switch {
		case p.eat("]"):
			if first {
				return nil, errors.New("[] without a character is not supported")
			}
			return set.finish(), nil
		case strings.HasPrefix(p.text[p.at:], "[:"), strings.HasPrefix(p.text[p.at:], "&&"):
			return nil, fmt.Errorf("%s inside of [] is not supported", p.text[p.at:p.at+2])
		case p.eat("["):
			inner, err := p.class(depth + 1)
			if err != nil {
				return nil, err
			}
			set.inner = append(set.inner, inner)
			continue
		}
		item, err := p.classItem()
		if err != nil {
			return nil, err
		}
		// A hyphen makes a range, but for one before ].
		if p.at+1 >= len(p.text) || p.text[p.at] != '-' || p.text[p.at+1] == ']' {
			set.inner = append(set.inner, item)
			continue
		}
		p.at++
		to, err := p.classItem()
		if err != nil {
			return nil, err
		}
		if len(item.runes) == 0 || len(to.runes) == 0 || item.runes[0] > to.runes[0] || p.fold {
			return nil, errors.New("a range that is not from a character to a larger one, or with folded case, is not supported")
		}
		set.ranges = append(set.ranges, [2]rune{item.runes[0], to.runes[0]})
	}
}

// classItem reads one character or escape inside of [].
func (p *patternParser) classItem() (*charSet, error) {
	if !p.more() {
		return nil, errors.New("[ without ]")
	}
	if p.text[p.at] == '\\' {
		return p.escape()
	}
	r, size := utf8.DecodeRuneInString(p.text[p.at:])
	if r == utf8.RuneError && size == 1 {
		return nil, errors.New("not UTF-8")
	}
	p.at += size
	return p.literal(r)
}

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

// compiler turns nodes into code.
type compiler struct{ total int }

func (c *compiler) program(n *node) ([]instruction, error) {
	code, err := c.emit(nil, n)
	return append(code, instruction{op: opMatch}), err
}

func (c *compiler) emit(code []instruction, n *node) ([]instruction, error) {
	// Counted while it grows: {256} inside of {256} must cost nothing.
	if c.total++; c.total > maxInstructions || len(code) > maxInstructions {
		return nil, fmt.Errorf("more than %d instructions", maxInstructions)
	}
	var err error
	switch n.kind {
	case nodeSet:
		return append(code, instruction{op: opSet, set: n.set}), nil
	case nodeConcat:
		for _, child := range n.children {
			if code, err = c.emit(code, child); err != nil {
				return nil, err
			}
		}
	case nodeAlternate:
		var jumps []int
		for i, child := range n.children {
			split := len(code)
			if i < len(n.children)-1 {
				code = append(code, instruction{op: opSplit, x: int32(split + 1)})
			}
			if code, err = c.emit(code, child); err != nil {
				return nil, err
			}
			if i < len(n.children)-1 {
				jumps = append(jumps, len(code))
				code = append(code, instruction{op: opJump})
				code[split].y = int32(len(code))
			}
		}
		for _, at := range jumps {
			code[at].x = int32(len(code))
		}
	case nodeLook, nodeAtomic:
		sub, err := c.program(n.children[0])
		op := opLook
		if n.kind == nodeAtomic {
			op = opAtomic
		}
		return append(code, instruction{op: op, not: n.not, sub: sub}), err
	case nodeRepeat:
		if n.atomic {
			greedy := *n
			greedy.atomic = false
			return c.emit(code, &node{kind: nodeAtomic, children: []*node{&greedy}})
		}
		for range n.min {
			if code, err = c.emit(code, n.children[0]); err != nil {
				return nil, err
			}
		}
		split := func(at, leave int) {
			x, y := int32(at+1), int32(leave)
			if n.lazy {
				x, y = y, x
			}
			code[at] = instruction{op: opSplit, x: x, y: y}
		}
		if n.max < 0 {
			at := len(code)
			code = append(code, instruction{})
			if code, err = c.emit(code, n.children[0]); err != nil {
				return nil, err
			}
			code = append(code, instruction{op: opJump, x: int32(at)})
			split(at, len(code))
			return code, nil
		}
		var splits []int
		for range n.max - n.min {
			splits = append(splits, len(code))
			code = append(code, instruction{})
			if code, err = c.emit(code, n.children[0]); err != nil {
				return nil, err
			}
		}
		for _, at := range splits {
			split(at, len(code))
		}
	}
	return code, err
}

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
