package tokenizer

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// A split pattern is a regular expression in the dialect of the tokenizers library (Oniguruma, Ruby's
// syntax). Go's regexp has neither its look-ahead nor its possessive repeats, so this is a small
// matcher of its own, of what split patterns use; anything else is refused by name. It backtracks,
// but never tries one instruction twice at one place: a match takes instructions × characters, in time
// and memory. A look-ahead or atomic group is matched anew at each place that it is met at, so each
// level of them takes that many times the characters.

// Bounds of a pattern. The longest in use has 400 characters.
const (
	maxPattern      = 4 << 10
	maxInstructions = 1 << 10
	maxNesting      = 50
	maxLooks        = 3 // look-ahead and atomic groups inside of each other
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
		code, err = (&compiler{}).program(root)
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

// compiler turns nodes into code.
type compiler struct {
	total int
	looks int // around what is compiled now
}

func (c *compiler) program(n *node) ([]instruction, error) {
	if c.looks++; c.looks > maxLooks+1 { // the pattern itself is the first
		return nil, fmt.Errorf("look-ahead and atomic groups more than %d deep", maxLooks)
	}
	defer func() { c.looks-- }()
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
