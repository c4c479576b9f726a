package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func matches(t *testing.T, expression, text string) (all []string) {
	t.Helper()
	p, err := compilePattern(expression)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	f := &finder{}
	for at := 0; ; {
		from, to, ok := p.find(f, text, at)
		if !ok {
			return all
		}
		all = append(all, text[from:to])
		at = to
	}
}

func TestPatternMatches(t *testing.T) {
	for _, c := range []struct {
		expression, text string
		want             []string
	}{
		{`ab|a|b+`, "abba", []string{"ab", "b", "a"}},
		{`a+?b?`, "aab", []string{"a", "ab"}},
		{`a*+a|b`, "aab", []string{"b"}},                    // possessive: gives nothing back
		{`(?>a|ab)c`, "abc ac", []string{"ac"}},             // atomic: the first way only
		{`\d{2,3}(?!\d)`, "1234 12", []string{"234", "12"}}, // look-ahead makes the repeat give back
		{`[^\S\n]+`, "a \t\nb", []string{" \t"}},
		{`[^(\s|[.,])]+`, "a.b(c", []string{"a", "b", "c"}}, // a set in a set
		{`[a\-c-e\]]+`, "-b]dx", []string{"-", "]d"}},
		{`\p{Lu}\P{Lu}|\p{^L}`, "Aé1", []string{"Aé", "1"}},
		{`(?i:'s|k)+`, "'S'ſkK\u212a", []string{"'S'ſkK\u212a"}},
		{`(a?)*b`, "aab", []string{"aab"}},
		{`(?:a|b)(?=.)`, "ab\n", []string{"a"}},
		{`\x{1F6A2}|\u00e9|\x41`, "🚢éA", []string{"🚢", "é", "A"}},
		{`[\x{4e00}-龥]`, "a中", []string{"中"}},
	} {
		if got := matches(t, c.expression, c.text); !slices.Equal(got, c.want) {
			t.Errorf("%s in %q: got %q, want %q", c.expression, c.text, got, c.want)
		}
	}
}

func TestPatternsRefused(t *testing.T) {
	for expression, want := range map[string]string{
		"a*":                          "can match the empty text",
		"":                            "can match the empty text",
		"(?=a)":                       "can match the empty text",
		"^a":                          "the anchor ^ is not supported",
		"a$":                          "the anchor $ is not supported",
		`a\b`:                         `\b is not supported (at character 3)`,
		`\1`:                          `\1 is not supported`,
		`\p{Emoji}a`:                  `the property \p{Emoji} is not supported`,
		`\pL`:                         `\p without {`,
		`(?<!a)b`:                     "the group (?<!a… is not supported",
		`(?<n>b)`:                     "is not supported, want (…)",
		`(?i)b`:                       "is not supported, want (…)",
		"(a":                          "( without )",
		"a)":                          "a closing bracket without an opening one",
		"[a":                          "[ without ]",
		"[]a]":                        "[] without a character",
		"[a&&b]":                      "&& inside of [] is not supported",
		"[[:alpha:]]":                 "[: inside of [] is not supported",
		`[\d-z]`:                      "a range that is not from a character to a larger one",
		"[z-a]":                       "a range that is not from a character to a larger one",
		"+a":                          "+ repeats nothing",
		"a{2":                         "{ without }",
		"a{,2}":                       "the repeat {,2} is not supported",
		"a{3,2}":                      "the repeat {3,2} is not supported",
		"a{2,300}":                    "a repeat of more than 256",
		"a{2}+":                       "+ behind {} is not supported",
		"(?:(?:a{200}){200}){200}":    "more than 1024 instructions",
		"(?i:ss)":                     `"ss" with folded case is not supported`,
		"(?i:é)":                      "with folded case is not supported, want ASCII",
		strings.Repeat("(", 60) + "a": "groups more than 50 deep",
		strings.Repeat("a", 5000):     "5000 bytes long, want 4096 at most",
		`a\`:                          `\ at the end`,
		`\x80`:                        `\x80 is not supported`,
		"(?=a)*b":                     "a repeated look-ahead is not supported",
	} {
		if _, err := compilePattern(expression); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: error %v, want %q", expression, err, want)
		}
	}
}

// The scanners give the words of the patterns that they stand for.
func TestScannersEqualPatterns(t *testing.T) {
	needsNoRace(t)
	r := rand.New(rand.NewPCG(11, 12))
	for expression, scan := range knownPatterns {
		if scan == nil {
			continue
		}
		for range 3000 {
			text := randomText(r, 1+r.IntN(12))
			if r.IntN(2) == 0 {
				text = strings.NewReplacer("a", "\r", "b", "'S", "é", "'ſ", "日", "12345").Replace(text)
			}
			var got []string
			scan.split(nil, text, func(word string) { got = append(got, word) })
			if want := matches(t, expression, text); !slices.Equal(got, want) {
				t.Fatalf("%q by %s: scanner %q, pattern %q", text, expression, got, want)
			}
		}
	}
}

// Patterns that take other matchers exponential time.
func TestPatternTime(t *testing.T) {
	needsNoRace(t)
	start := time.Now()
	for _, expression := range []string{"(a+)+b", "(a|a)*b", "(a*)*b", "(?:a?){200}b"} {
		matches(t, expression, strings.Repeat("a", 100))
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}
