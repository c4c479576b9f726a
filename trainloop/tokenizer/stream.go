package tokenizer

import "unicode/utf8"

// TextStream turns ids into text as they come: what is whole. The bytes of a character may be spread over several tokens,
// and are held back until it is. All that Add and Rest return, joined, is what Decode gives of all ids.
type TextStream struct {
	t    *Tokenizer
	held []byte // the start of a character
}

// Stream begins a text.
func (t *Tokenizer) Stream() *TextStream { return &TextStream{t: t} }

// Add takes the next id and returns the characters that are whole with it.
func (s *TextStream) Add(id int32) string {
	s.held = s.t.DecodeBytes(s.held, []int32{id})
	n := len(s.held) - unfinished(s.held)
	text := validText(s.held[:n])
	s.held = append(s.held[:0], s.held[n:]...)
	return text
}

// Rest ends the text: U+FFFD for a character that was never finished, else nothing.
func (s *TextStream) Rest() string {
	text := validText(s.held)
	s.held = nil
	return text
}

// unfinished is how many bytes at the end begin a character and do not end it.
func unfinished(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if tail := b[len(b)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
