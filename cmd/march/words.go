package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
)

// notOneOf is the error of a flag that takes one of a few words.
func notOneOf(flag, word string, known []string) error {
	return usagef("--%s %q is not one of %s%s", flag, word, joined(known), didYouMean(word, known, ""))
}

// didYouMean names the known words nearest to a mistyped one, if any is near; each is
// shown behind prefix.
func didYouMean(word string, known []string, prefix string) string {
	type near struct {
		word     string
		distance int
	}
	var list []near
	most := max(1, len(word)/3)
	if len(word) > 3 {
		most = max(most, 2) // two letters that changed places
	}
	for _, k := range known {
		d := levenshtein.ComputeDistance(strings.ToLower(word), k)
		if d <= most || len(word) > 2 && strings.HasPrefix(k, word) {
			list = append(list, near{prefix + k, d})
		}
	}
	if len(list) == 0 {
		return ""
	}
	slices.SortStableFunc(list, func(a, b near) int { return cmp.Compare(a.distance, b.distance) })
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = n.word
	}
	return "; did you mean " + abridge(words, 3) + "?"
}

// abridge joins words with commas, the first n of them.
func abridge(words []string, n int) string {
	if len(words) > n {
		return strings.Join(words[:n], ", ") + ", …"
	}
	return strings.Join(words, ", ")
}

// plain drops the system call from an error about a file: "open x: no such file" is
// "x: no such file".
func plain(err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return fmt.Errorf("%s: %w", e.Path, e.Err)
	}
	return err
}

// wrap breaks a text at spaces into lines of at most width characters; 0 is no bound.
func wrap(text string, width int) []string {
	var lines []string
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := ""
		for word := range strings.FieldsSeq(paragraph) {
			switch {
			case line == "":
				line = word
			case width > 0 && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
				lines = append(lines, line)
				line = word
			default:
				line += " " + word
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// grouped prints a count with a comma after each three digits: 14,194,176.
func grouped(n int64) string {
	if n < 0 {
		return "-" + grouped(-n)
	}
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// short prints a count in three or four digits with the unit's letter: 31.2M.
func short(n float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if n >= unit.size*0.9995 {
			x := n / unit.size
			switch {
			case x < 9.995:
				return fmt.Sprintf("%.2f%s", x, unit.name)
			case x < 99.95:
				return fmt.Sprintf("%.1f%s", x, unit.name)
			}
			return fmt.Sprintf("%.0f%s", x, unit.name)
		}
	}
	return fmt.Sprintf("%.0f", n)
}

// size prints a number of bytes: 48.1 MB.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	s := short(float64(n))
	return s[:len(s)-1] + " " + s[len(s)-1:] + "B"
}

// percent prints the distance of n from base: +0.3 %.
func percent(n, base int64) string {
	if base == 0 {
		return "–"
	}
	if n == base {
		return "0 %"
	}
	p := 100 * float64(n-base) / float64(base)
	return strings.Replace(fmt.Sprintf("%+.2f %%", p), "-", "−", 1)
}
