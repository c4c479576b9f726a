package tokenizer

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// patternParser reads a split pattern into nodes.
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
