package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// step is one pre-tokenizer: it cuts a text into pieces, in order, none of them empty.
type step interface {
	split(f *finder, text string, yield func(string))
}

// preTokenizer is tokenizer.json's pre_tokenizer: its steps, each of which cuts the pieces of the
// one before.
type preTokenizer struct {
	steps   []step
	spelled bool            // what comes out is spelled in the alphabet: a step stands behind ByteLevel
	cuts    bool            // text can be cut before a space behind something else, see LastCut
	crosses bool            // while it is read: a step of which that is not known came before any of which it is
	raw     json.RawMessage // as it was read; a ByteLevel with all that the library writes
}

// words yields the words of a text.
func (p *preTokenizer) words(f *finder, text string, yield func(string)) {
	if p.spelled {
		word := yield
		yield = func(s string) {
			raw, _ := unspell(s) // it was spelled by a step
			word(raw)
		}
	}
	cutAll(p.steps, f, text, yield)
}

func cutAll(steps []step, f *finder, text string, yield func(string)) {
	if len(steps) == 0 {
		yield(text)
		return
	}
	if len(steps) == 1 {
		steps[0].split(f, text, yield)
		return
	}
	steps[0].split(f, text, func(piece string) { cutAll(steps[1:], f, piece, yield) })
}

// scanner cuts by a pattern that is written out in code.
type scanner func(text string, i int) int

func (s scanner) split(_ *finder, text string, yield func(string)) {
	for i := 0; i < len(text); {
		end := s(text, i)
		yield(text[i:end])
		i = end
	}
}

// byteLevelStep is ByteLevel; with spell what it yields is spelled in the alphabet.
type byteLevelStep struct{ prefixSpace, words, spell bool }

func (s byteLevelStep) split(f *finder, text string, yield func(string)) {
	if s.prefixSpace && text[0] != ' ' {
		text = " " + text
	}
	if s.spell {
		word := yield
		yield = func(raw string) { word(spell(raw)) }
	}
	if s.words {
		scanner(nextWord).split(f, text, yield)
	} else {
		yield(text)
	}
}

// digitsStep is Digits.
type digitsStep struct{ each bool }

func (s digitsStep) split(_ *finder, text string, yield func(string)) {
	start, was := 0, false
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		is := isNumeric(r)
		if i > start && (is != was || is && s.each) {
			yield(text[start:i])
			start = i
		}
		was = is
		i += size
	}
	yield(text[start:])
}

func isNumeric(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= '0' && r <= '9'
	}
	return unicode.In(r, unicode.N, newNumbers, newestNumbers)
}

// splitStep is Split.
type splitStep struct {
	pattern  *pattern
	behavior string
	invert   bool
}

// The behaviors of Split, which say where a match of the pattern goes.
const (
	isolated   = "Isolated"
	removed    = "Removed"
	contiguous = "Contiguous"
	withBefore = "MergedWithPrevious"
	withNext   = "MergedWithNext"
)

func (s splitStep) split(f *finder, text string, yield func(string)) {
	// held is a stretch that may yet grow.
	start, held, heldMatch := 0, false, false
	flush := func(to int) {
		if held && start < to {
			yield(text[start:to])
		}
		held = false
	}
	stretch := func(from, to int, match bool) {
		if from == to {
			return
		}
		match = match != s.invert
		joins := false
		switch s.behavior {
		case removed:
			if match {
				flush(from)
				return
			}
		case contiguous:
			joins = match == heldMatch
		case withBefore:
			joins = match && !heldMatch
		case withNext:
			joins = !match && heldMatch
		}
		if !held || !joins {
			flush(from)
			start, held = from, true
		}
		heldMatch = match
	}
	done := 0
	for done < len(text) {
		from, to, ok := s.pattern.find(f, text, done)
		if !ok {
			break
		}
		stretch(done, from, false)
		stretch(from, to, true)
		done = to
	}
	stretch(done, len(text), false)
	flush(len(text))
}

// parsePreTokenizer reads the field "pre_tokenizer".
func parsePreTokenizer(raw json.RawMessage) (*preTokenizer, error) {
	const field = "pre_tokenizer"
	if isNull(raw) {
		return nil, errors.New("pre_tokenizer: null is not supported, want ByteLevel")
	}
	p := &preTokenizer{raw: raw}
	if typeOf(raw) == "ByteLevel" {
		one, err := parseByteLevel(field, raw)
		if err != nil {
			return nil, err
		}
		p.raw = one.json()
	}
	byteLevels, err := p.add(field, raw, 0)
	if err != nil {
		return nil, err
	}
	if byteLevels != 1 {
		return nil, fmt.Errorf("%s%s has %d ByteLevel, want one: only byte-level vocabularies are supported", field, kindOf(raw), byteLevels)
	}
	// A last ByteLevel that cuts nothing only spells what the model is given raw.
	if last, ok := p.steps[len(p.steps)-1].(byteLevelStep); ok && len(p.steps) > 1 && !last.words && !last.prefixSpace {
		p.steps = p.steps[:len(p.steps)-1]
	}
	for i, s := range p.steps {
		if b, ok := s.(byteLevelStep); ok && i < len(p.steps)-1 {
			b.spell, p.spelled = true, true
			p.steps[i] = b
		}
	}
	// A single plain ByteLevel is a scanner: no closure for each text.
	if b, ok := p.steps[0].(byteLevelStep); ok && len(p.steps) == 1 && b.words && !b.prefixSpace {
		p.steps[0] = scanner(nextWord)
	}
	return p, nil
}

// add appends the steps of one pre-tokenizer and returns how many of them are ByteLevel.
func (p *preTokenizer) add(field string, raw json.RawMessage, depth int) (int, error) {
	if depth > maxNesting {
		return 0, fmt.Errorf("%s: sequences more than %d deep", field, maxNesting)
	}
	switch typeOf(raw) {
	case "ByteLevel":
		b, err := parseByteLevel(field, raw)
		if err != nil {
			return 0, err
		}
		words := b.UseRegex == nil || *b.UseRegex
		p.cuts = p.cuts || words && !p.crosses
		p.steps = append(p.steps, byteLevelStep{prefixSpace: b.AddPrefixSpace, words: words})
		return 1, nil
	case "Digits":
		var d struct {
			Type string `json:"type"`
			Each bool   `json:"individual_digits"`
		}
		if err := strict(raw, &d); err != nil {
			return 0, fmt.Errorf("%s: %w", field, err)
		}
		p.steps = append(p.steps, digitsStep{d.Each})
		return 0, nil
	case "Split":
		return 0, p.addSplit(field, raw)
	case "Sequence":
		var s struct {
			Type string            `json:"type"`
			All  []json.RawMessage `json:"pretokenizers"`
		}
		if err := strict(raw, &s); err != nil {
			return 0, fmt.Errorf("%s: %w", field, err)
		}
		total := 0
		for i, one := range s.All {
			n, err := p.add(fmt.Sprintf("%s.pretokenizers[%d]", field, i), one, depth+1)
			if err != nil {
				return 0, err
			}
			if total += n; len(p.steps) > 64 {
				return 0, fmt.Errorf("%s: more than 64 steps", field)
			}
		}
		return total, nil
	}
	return 0, fmt.Errorf("%s%s is not supported, want ByteLevel, Split, Digits or a Sequence of them", field, kindOf(raw))
}

// knownPatterns are those with a scanner of their own, or nil, and where no word goes on behind a
// character other than white space with a space.
var knownPatterns = map[string]scanner{
	gpt2Pattern:     nextWord,
	modernPattern:   func(text string, i int) int { return nextModernWord(text, i, 3) },
	tiktokenPattern: func(text string, i int) int { return nextModernWord(text, i, 3) },
	qwenPattern:     func(text string, i int) int { return nextModernWord(text, i, 1) },
	gpt4oPattern:    nil,
}

func (p *preTokenizer) addSplit(field string, raw json.RawMessage) error {
	var s struct {
		Type    string `json:"type"`
		Pattern struct {
			Regex  *string
			String *string
		} `json:"pattern"`
		Behavior string `json:"behavior"`
		Invert   bool   `json:"invert"`
	}
	if err := strict(raw, &s); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	switch s.Behavior {
	case isolated, removed, contiguous, withBefore, withNext:
	default:
		return fmt.Errorf("%s.behavior: %q is not supported", field, s.Behavior)
	}
	expression, err := parsePattern(field+".pattern", s.Pattern.Regex, s.Pattern.String)
	if err != nil {
		return err
	}
	if s.Pattern.Regex != nil {
		scan, known := knownPatterns[*s.Pattern.Regex]
		if whole := s.Behavior == isolated || s.Behavior == removed && s.Invert; known && whole {
			p.cuts = p.cuts || !p.crosses
			if scan != nil { // each character is in a word, so that nothing stands between them
				p.steps = append(p.steps, scan)
				return nil
			}
		}
	}
	p.crosses = !p.cuts
	p.steps = append(p.steps, splitStep{expression, s.Behavior, s.Invert})
	return nil
}

// parsePattern compiles a field "pattern": {"Regex": …} or {"String": …}.
func parsePattern(field string, regex, text *string) (*pattern, error) {
	switch {
	case (regex == nil) == (text == nil):
		return nil, fmt.Errorf("%s: want either Regex or String", field)
	case text != nil && *text == "":
		return nil, fmt.Errorf("%s: empty", field)
	case text != nil:
		return &pattern{literal: *text}, nil
	}
	p, err := compilePattern(*regex)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", field, *regex, err)
	}
	return p, nil
}
