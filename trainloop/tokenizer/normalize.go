package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normalizer is what is done to a text before added tokens with normalized are looked for and it is cut
// into words.
type normalizer interface {
	normalize(f *finder, text string) string
}

// maxContent bounds what Replace and Prepend may make of a text.
const maxContent = 256 // bytes of their content

// parseNormalizer reads the field "normalizer"; nil for null. cuts says that a text may be cut before a
// space behind something else, and the parts normalized one by one.
func parseNormalizer(field string, raw json.RawMessage, depth int) (n normalizer, cuts bool, err error) {
	if isNull(raw) {
		return nil, true, nil
	}
	var one struct {
		Type string `json:"type"`
	}
	kind := typeOf(raw)
	switch kind {
	case "NFC", "NFD", "NFKC", "NFKD":
		n, cuts = unicodeForm{map[string]norm.Form{"NFC": norm.NFC, "NFD": norm.NFD, "NFKC": norm.NFKC, "NFKD": norm.NFKD}[kind]}, true
		err = strict(raw, &one)
	case "Lowercase":
		n, cuts = lowercase{}, true
		err = strict(raw, &one)
	case "Strip":
		s := stripEnds{}
		err = strict(raw, &s)
		n = s
	case "Prepend":
		s := prepend{}
		err = strict(raw, &s)
		n = s
		if len(s.Prepend) > maxContent {
			err = fmt.Errorf("prepend: %d bytes, want %d at most", len(s.Prepend), maxContent)
		}
	case "Replace":
		n, err = parseReplace(raw)
	case "Sequence":
		var s struct {
			Type string            `json:"type"`
			All  []json.RawMessage `json:"normalizers"`
		}
		if err := strict(raw, &s); err != nil {
			return nil, false, fmt.Errorf("%s: %w", field, err)
		}
		if depth > 4 || len(s.All) > 16 {
			return nil, false, fmt.Errorf("%s: a Sequence of more than 16, or more than 4 deep, is not supported", field)
		}
		all, cuts := sequence{}, true
		for i, raw := range s.All {
			n, ok, err := parseNormalizer(fmt.Sprintf("%s.normalizers[%d]", field, i), raw, depth+1)
			if err != nil {
				return nil, false, err
			}
			if n == nil {
				return nil, false, fmt.Errorf("%s.normalizers[%d]: null", field, i)
			}
			all, cuts = append(all, n), cuts && ok
		}
		return all, cuts, nil
	default:
		return nil, false, fmt.Errorf("%s%s is not supported, want NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace or a Sequence of them", field, kindOf(raw))
	}
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", field, err)
	}
	return n, cuts, nil
}

type sequence []normalizer

func (s sequence) normalize(f *finder, text string) string {
	for _, n := range s {
		text = n.normalize(f, text)
	}
	return text
}

// prepend is Prepend: nothing is put before the empty text.
type prepend struct {
	Type    string `json:"type"`
	Prepend string `json:"prepend"`
}

func (p prepend) normalize(_ *finder, text string) string {
	if text == "" {
		return text
	}
	return p.Prepend + text
}

// stripEnds is Strip.
type stripEnds struct {
	Type  string `json:"type"`
	Left  bool   `json:"strip_left"`
	Right bool   `json:"strip_right"`
}

func (s stripEnds) normalize(_ *finder, text string) string {
	if s.Left {
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
	}
	if s.Right {
		text = strings.TrimRightFunc(text, unicode.IsSpace)
	}
	return text
}

// replace is Replace.
type replace struct {
	pattern *pattern
	by      string
}

func parseReplace(raw json.RawMessage) (normalizer, error) {
	var r struct {
		Type    string `json:"type"`
		Pattern struct {
			Regex  *string
			String *string
		} `json:"pattern"`
		Content string `json:"content"`
	}
	if err := strict(raw, &r); err != nil {
		return nil, err
	}
	if len(r.Content) > maxContent {
		return nil, fmt.Errorf("content: %d bytes, want %d at most", len(r.Content), maxContent)
	}
	p, err := parsePattern("pattern", r.Pattern.Regex, r.Pattern.String)
	return replace{p, r.Content}, err
}

func (r replace) normalize(f *finder, text string) string {
	var out strings.Builder
	done := 0
	for done < len(text) {
		from, to, ok := r.pattern.find(f, text, done)
		if !ok {
			break
		}
		out.WriteString(text[done:from])
		out.WriteString(r.by)
		done = to
	}
	if done == 0 {
		return text
	}
	out.WriteString(text[done:])
	return out.String()
}

// lowercase is Lowercase: each character for itself, as Unicode 17.0 has it.
type lowercase struct{}

func (lowercase) normalize(_ *finder, text string) string {
	lower := true
	for i := range len(text) {
		if c := text[i]; c >= utf8.RuneSelf || c >= 'A' && c <= 'Z' {
			lower = false
			break
		}
	}
	if lower {
		return text
	}
	var out strings.Builder
	out.Grow(len(text))
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			out.WriteByte(text[i])
		case r == 'İ': // the only one that becomes two
			out.WriteString("i\u0307")
		default:
			out.WriteRune(toLower(r))
		}
		i += size
	}
	return out.String()
}

// newCases are pairs of cases that Go's tables lack.
var newCases = []struct{ low, high, stride, delta rune }{
	{0x1C89, 0x1C89, 1, 1}, {0xA7CB, 0xA7CB, 1, 0x264 - 0xA7CB}, {0xA7CC, 0xA7CE, 2, 1}, {0xA7D2, 0xA7D4, 2, 1}, {0xA7DA, 0xA7DA, 1, 1},
	{0xA7DC, 0xA7DC, 1, 0x19B - 0xA7DC}, {0x10D50, 0x10D65, 1, 0x20}, {0x16EA0, 0x16EB8, 1, 0x1B},
}

func toLower(r rune) rune {
	if r >= 0x1C89 && r <= 0x16EB8 {
		for _, c := range newCases {
			if r >= c.low && r <= c.high && (r-c.low)%c.stride == 0 {
				return r + c.delta
			}
		}
	}
	return unicode.ToLower(r)
}

// unicodeForm is NFC, NFD, NFKC or NFKD. Characters that came after Unicode 9.0, the version that the
// tokenizers library normalizes by, stay as they are and begin anew, as there. The algorithm is that of
// Unicode Standard Annex 15, without the stream-safe format: any number of marks may follow one another.
type unicodeForm struct{ form norm.Form }

func (u unicodeForm) normalize(_ *finder, text string) string {
	n := u.form.QuickSpanString(text)
	if n == len(text) {
		return text
	}
	out := make([]byte, 0, len(text)+len(text)/8)
	for ; len(text) > 0; n = u.form.QuickSpanString(text) {
		// Up to a boundary nothing has to be done; from there on to the next ASCII character, before
		// which there always is one.
		out = append(out, text[:n]...)
		text = text[n:]
		end := min(1, len(text))
		for end < len(text) && text[end] >= utf8.RuneSelf {
			end++
		}
		out = u.append(out, text[:end])
		text = text[end:]
	}
	return string(out)
}

// mark is a character with its canonical combining class.
type mark struct {
	r     rune // negative: -1 less a broken byte
	class uint8
}

func (u unicodeForm) append(out []byte, text string) []byte {
	decompose := norm.NFD
	if u.form == norm.NFKC || u.form == norm.NFKD {
		decompose = norm.NFKD
	}
	var all []mark
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			all = append(all, mark{r: -1 - rune(text[i])})
		case unicode.Is(sinceUnicode9, r):
			all = append(all, mark{r: r})
		default:
			for _, d := range decompose.String(text[i : i+size]) {
				all = append(all, mark{d, norm.NFD.PropertiesString(string(d)).CCC()})
			}
		}
		i += size
	}
	for i := 0; i < len(all); {
		if all[i].class == 0 {
			i++
			continue
		}
		end := i
		for end < len(all) && all[end].class != 0 {
			end++
		}
		slices.SortStableFunc(all[i:end], func(a, b mark) int { return int(a.class) - int(b.class) })
		i = end
	}
	if u.form == norm.NFC || u.form == norm.NFKC {
		all = compose(all)
	}
	for _, m := range all {
		if m.r < 0 {
			out = append(out, byte(-1-m.r))
		} else {
			out = utf8.AppendRune(out, m.r)
		}
	}
	return out
}

// compose joins each character with the last one of class 0 before it, where nothing between them
// blocks it.
func compose(all []mark) []mark {
	kept := all[:0]
	starter, last := -1, uint8(0)
	for _, m := range all {
		if starter >= 0 && (starter == len(kept)-1 || last < m.class) {
			if r, ok := composed(kept[starter].r, m.r); ok {
				kept[starter].r = r
				continue
			}
		}
		if last = m.class; m.class == 0 {
			starter = len(kept)
		}
		kept = append(kept, m)
	}
	return kept
}

func composed(a, b rune) (rune, bool) {
	if a < 0 || b < utf8.RuneSelf || unicode.Is(sinceUnicode9, a) || unicode.Is(sinceUnicode9, b) {
		return 0, false
	}
	both := norm.NFC.String(string([]rune{a, b}))
	r, size := utf8.DecodeRuneInString(both)
	return r, size == len(both)
}

// sinceUnicode9 holds the characters that Unicode 15.0 composes, decomposes or gives a combining class,
// and Unicode 9.0 does not know.
var sinceUnicode9 = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x07FD, 0x07FD, 1}, {0x0898, 0x089F, 1}, {0x08CA, 0x08D3, 1}, {0x09FE, 0x09FE, 1}, {0x0C3C, 0x0C3C, 1}, {0x0D3B, 0x0D3C, 1},
		{0x0EBA, 0x0EBA, 1}, {0x1715, 0x1715, 1}, {0x1ABF, 0x1ACE, 1}, {0x1DF6, 0x1DFA, 1}, {0x32FF, 0x32FF, 1}, {0xA7F2, 0xA7F4, 1},
		{0xA82C, 0xA82C, 1}, {0xAB69, 0xAB69, 1},
	},
	R32: []unicode.Range32{
		{0x10781, 0x10785, 1}, {0x10787, 0x107B0, 1}, {0x107B2, 0x107BA, 1}, {0x10D24, 0x10D27, 1}, {0x10EAB, 0x10EAC, 1},
		{0x10EFD, 0x10EFF, 1}, {0x10F46, 0x10F50, 1}, {0x10F82, 0x10F85, 1}, {0x11070, 0x11070, 1}, {0x1133B, 0x1133B, 1},
		{0x1145E, 0x1145E, 1}, {0x11839, 0x1183A, 1}, {0x11930, 0x11930, 1}, {0x11935, 0x11935, 1}, {0x11938, 0x11938, 1},
		{0x1193D, 0x1193E, 1}, {0x11943, 0x11943, 1}, {0x119E0, 0x119E0, 1}, {0x11A34, 0x11A34, 1}, {0x11A47, 0x11A47, 1},
		{0x11A99, 0x11A99, 1}, {0x11D42, 0x11D42, 1}, {0x11D44, 0x11D45, 1}, {0x11D97, 0x11D97, 1}, {0x11F41, 0x11F42, 1},
		{0x16FF0, 0x16FF1, 1}, {0x1E030, 0x1E06D, 1}, {0x1E08F, 0x1E08F, 1}, {0x1E130, 0x1E136, 1}, {0x1E2AE, 0x1E2AE, 1},
		{0x1E2EC, 0x1E2EF, 1}, {0x1E4EC, 0x1E4EF, 1}, {0x1F16C, 0x1F16C, 1}, {0x1FBF0, 0x1FBF9, 1},
	},
}
