package tokenizer

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// defineAdded gives the added tokens their ids and prepares finding them.
func (t *Tokenizer) defineAdded(added []AddedToken) error {
	next := int32(t.model) // the id that a token outside the model's vocabulary gets
	for i, a := range added {
		field := fmt.Sprintf("added_tokens[%d] (%q)", i, a.Content)
		if a.Content == "" {
			return fmt.Errorf("%s: content is empty", field)
		}
		for _, b := range added[:i] {
			if a.Content == b.Content {
				return fmt.Errorf("%s: comes twice", field)
			}
		}
		if id, ok := t.ids[a.Content]; ok {
			if id != a.ID {
				return fmt.Errorf("%s: id %d, but model.vocab gives it id %d", field, a.ID, id)
			}
		} else {
			// The tokenizers library numbers these itself, whatever the file says; a file that
			// says otherwise would mean one thing there and another one here.
			if a.ID != next {
				return fmt.Errorf("%s: id %d, want %d, the next one behind model.vocab and the added tokens before it", field, a.ID, next)
			}
			if err := t.define(a.Content, a.ID); err != nil {
				return fmt.Errorf("%s: %w", field, err)
			}
		}
		next = max(next, a.ID+1)
	}
	t.added = slices.Clone(added)
	// Where two are spelled alike once they are normalized, special ones come first.
	for _, special := range []bool{true, false} {
		for i, a := range t.added {
			switch n := t.settings.normalizer; {
			case a.Special != special:
			case !a.Normalized:
				t.matchers[0].add(a)
			default:
				if n != nil {
					a.Content = n.normalize(&finder{}, a.Content)
				}
				if a.Content == "" {
					return fmt.Errorf("added_tokens[%d] (%q): nothing is left of it once normalized", i, t.added[i].Content)
				}
				t.matchers[1].add(a)
			}
		}
	}
	return nil
}

// matcher finds added tokens in a text.
type matcher struct {
	byFirst [256][]AddedToken // by their first byte, the longest first
	any     bool
}

func (m *matcher) add(a AddedToken) {
	list := &m.byFirst[a.Content[0]]
	*list = append(*list, a)
	slices.SortStableFunc(*list, func(a, b AddedToken) int { return len(b.Content) - len(a.Content) })
	m.any = true
}

// find returns the first added token in text at or behind from, of those that begin at one place
// the longest, and its place; -1 where there is none.
func (m *matcher) find(text string, from int) (AddedToken, int) {
	for at := from; at < len(text); at++ {
		for _, a := range m.byFirst[text[at]] {
			if strings.HasPrefix(text[at:], a.Content) {
				return a, at
			}
		}
	}
	return AddedToken{}, -1
}

// split yields, in order, the stretches of text between added tokens (with id -1, never empty) and
// the ids of the added tokens. With ordinary, special tokens are passed over.
func (m *matcher) split(text string, ordinary bool, yield func(text string, id int32)) {
	done := 0 // what lies before has been yielded
	if m.any {
		for from := 0; ; {
			a, start := m.find(text, from)
			if start < 0 {
				break
			}
			end := start + len(a.Content)
			from = end // also behind one that does not count
			if ordinary && a.Special || a.SingleWord && !standsAlone(text, start, end) {
				continue
			}
			if a.LStrip {
				start = max(done, len(strings.TrimRightFunc(text[:start], unicode.IsSpace)))
			}
			if a.RStrip {
				end = len(text) - len(strings.TrimLeftFunc(text[end:], unicode.IsSpace))
			}
			if done < start {
				yield(text[done:start], -1)
			}
			yield("", a.ID)
			done = end
		}
	}
	if done < len(text) {
		yield(text[done:], -1)
	}
}

// standsAlone reports whether no word character touches text[start:end].
func standsAlone(text string, start, end int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:start])
	after, _ := utf8.DecodeRuneInString(text[end:])
	return (start == 0 || !wordCharacter(before)) && (end == len(text) || !wordCharacter(after))
}
