package evalsuite

import (
	"slices"
	"testing"
)

// Words begin where GPT-2's pattern begins them.
func TestWordStarts(t *testing.T) {
	const text = "the naïve cat's 12 mice, (all)\n\n\"three\" ran 3rd"
	want := []string{"the", " naïve", " cat", "'s", " 12", " mice", ",", " (", "all", ")", "\n\n", "\"", "three", "\"", " ran", " 3", "rd"}
	tok := trainTokenizer(t, 262, "the cat's", "the naïve cat") // few merges: words have many tokens
	w := newWordStarts(tok)
	tokens := tok.Encode(text)
	starts := w.in(tokens, 0)
	var got []string
	from := 0
	for at := 1; at <= len(tokens); at++ {
		if at == len(tokens) || starts[at] {
			got = append(got, tok.Decode(tokens[from:at]))
			from = at
		}
	}
	// What tokens alone cannot tell: an apostrophe from the s behind it, and the two line breaks.
	joined := slices.Clone(got)
	for i := 0; i+1 < len(joined); i++ {
		if joined[i] == "'" || joined[i] == "\n" {
			joined = slices.Replace(joined, i, i+2, joined[i]+joined[i+1])
		}
	}
	if !slices.Equal(joined, want) {
		t.Errorf("words %q, want %q", got, want)
	}
	if len(tokens) < len(want)+5 {
		t.Errorf("%d tokens: too few for a test of words of several", len(tokens))
	}
}
