package tokenizer

import "unicode/utf8"

// gpt2Pattern is the regular expression of the GPT-2 release. nextWord does by hand what it does:
// Go's regexp has no look-ahead, and a scanner is faster.
const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

// nextWord returns the end of the word that begins at text[i], i < len(text). Every byte belongs to
// exactly one word. What a word is depends on nothing before it.
func nextWord(text string, i int) int {
	if text[i] == '\'' {
		if n := contraction(text[i+1:]); n > 0 {
			return i + 1 + n
		}
	}
	start := i
	kind, size := classAt(text, i)
	if text[i] == ' ' && i+1 < len(text) {
		if next, n := classAt(text, i+1); next != space {
			kind, size, start = next, n, i+1
		}
	}
	end, last := start+size, start // last: where the last character of the run begins
	for end < len(text) {
		next, n := classAt(text, end)
		if next != kind {
			break
		}
		last = end
		end += n
	}
	// White space before a word leaves its last character to that word.
	if kind == space && end < len(text) && last > i {
		return last
	}
	return end
}

// contraction returns the length of 's, 't, 're, 've, 'm, 'll or 'd after the apostrophe, or 0.
func contraction(rest string) int {
	if rest == "" {
		return 0
	}
	switch rest[0] {
	case 's', 't', 'm', 'd':
		return 1
	case 'r', 'v':
		if len(rest) > 1 && rest[1] == 'e' {
			return 2
		}
	case 'l':
		if len(rest) > 1 && rest[1] == 'l' {
			return 2
		}
	}
	return 0
}

// modernPattern is the one of GPT-4's vocabulary (cl100k) as tokenizer.json files have it, Llama 3's too.
// Qwen's takes one digit at a time.
const (
	modernPattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	qwenPattern   = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	// tiktokenPattern is modernPattern as tiktoken spells it: the same words.
	tiktokenPattern = `'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`
	// gpt4oPattern (o200k) goes through the general matcher.
	gpt4oPattern = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
		`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
		`\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// nextModernWord is nextWord for modernPattern with at most so many digits to a word.
func nextModernWord(text string, i, digits int) int {
	if text[i] == '\'' {
		if n := foldedContraction(text[i+1:]); n > 0 {
			return i + 1 + n
		}
	}
	kind, size := classAt(text, i)
	next := i + size // behind the first character
	switch {
	case kind == letter:
		return run(text, next, letter)
	case kind == number:
		for n := 1; n < digits && next < len(text); n++ {
			k, size := classAt(text, next)
			if k != number {
				break
			}
			next += size
		}
		return next
	}
	after, n := other, 0
	if next < len(text) {
		after, n = classAt(text, next)
	}
	if n > 0 && after == letter && text[i] != '\n' && text[i] != '\r' {
		return run(text, next+n, letter)
	}
	if kind == other || text[i] == ' ' && n > 0 && after == other {
		next = run(text, next, other)
		for next < len(text) && (text[next] == '\n' || text[next] == '\r') {
			next++
		}
		return next
	}
	// White space: up to its last line end, or all of it but the last character before a word.
	end, last, line := i, i, 0
	for end < len(text) {
		k, n := classAt(text, end)
		if k != space {
			break
		}
		last = end
		end += n
		if text[last] == '\n' || text[last] == '\r' {
			line = end
		}
	}
	switch {
	case line > 0:
		return line
	case end < len(text) && last > i:
		return last
	}
	return end
}

// run returns the end of the characters of one class from text[i] on.
func run(text string, i int, kind class) int {
	for i < len(text) {
		k, n := classAt(text, i)
		if k != kind {
			break
		}
		i += n
	}
	return i
}

// foldedContraction is contraction in either case; the long s is an s then.
func foldedContraction(rest string) int {
	if len(rest) > 1 && rest[:2] == "ſ" {
		return 2
	}
	var low [2]byte
	for i := range min(len(rest), 2) {
		low[i] = rest[i]
		if c := rest[i]; c >= 'A' && c <= 'Z' {
			low[i] += 'a' - 'A'
		}
	}
	return contraction(string(low[:min(len(rest), 2)]))
}

// LastCut is the package's LastCut for the words of this tokenizer. It returns 0 always where its
// normalizer or its split pattern is none of those that are known to allow such cuts.
func (t *Tokenizer) LastCut(text string) int {
	if !t.settings.cuts {
		return 0
	}
	return LastCut(text)
}

// LastCut returns the largest i > 0 where text can be cut so that both parts, encoded one after the
// other by a tokenizer of Train's, give the same tokens as the whole whatever follows; 0 where there
// is none. It is what lets a document larger than memory be encoded in pieces. The cut lies before a
// space that follows something else: no word of the pattern crosses that. An added token that has
// white space in it, or takes the white space beside it along, may be cut in two.
func LastCut(text string) int {
	for i := len(text) - 1; i > 0; i-- {
		if text[i] != ' ' {
			continue
		}
		r, size := utf8.DecodeLastRuneInString(text[:i])
		if r == utf8.RuneError && size == 1 {
			return i // a broken byte is no white space
		}
		if kind, _ := classAt(text[:i], i-size); kind != space {
			return i
		}
	}
	return 0
}
