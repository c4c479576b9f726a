package main

import (
	"slices"
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	for _, x := range []struct{ got, want string }{
		{grouped(0), "0"}, {grouped(999), "999"}, {grouped(1000), "1,000"}, {grouped(14_677_248), "14,677,248"}, {grouped(-1234), "-1,234"},
		{short(0), "0"}, {short(999), "999"}, {short(1000), "1.00k"}, {short(9_996), "10.0k"}, {short(33_632_256), "33.6M"}, {short(999_960), "1.00M"}, {short(1.5e9), "1.50G"}, {short(2e12), "2.00T"},
		{size(12), "12 B"}, {size(4_515), "4.51 kB"}, {size(58_484_912), "58.5 MB"},
		{percent(100, 100), "0 %"}, {percent(101, 100), "+1.00 %"}, {percent(99, 100), "−1.00 %"}, {percent(5, 0), "–"},
		{moreOrFewer(101, 100), "1.00 % more than"}, {moreOrFewer(99, 100), "1.00 % fewer than"}, {moreOrFewer(1, 1), "as many as"},
		{didYouMean("stduy", []string{"study", "scale"}, "--"), "; did you mean --study?"},
		{didYouMean("zzz", []string{"study", "scale"}, "--"), ""},
		{didYouMean("a", []string{"list", "gen"}, ""), ""},
		{counted(1, "thread"), "1 thread"}, {counted(2, "thread"), "2 threads"},
		{mostUsed(map[string]int{"Add": 2, "Mul": 9, "Gemm": 2}, 2), "9 Mul, 2 Add, 1 other kind"},
		{clipped("all of it", 9), "all of it"}, {clipped("too long a text", 9), "too long…"},
		{strings.Join(wrap("one two three\nfour", 8), "|"), "one two|three|four"},
		{strings.Join(wrap("one two three", 0), "|"), "one two three"},
	} {
		if x.got != x.want {
			t.Errorf("got %q, want %q", x.got, x.want)
		}
	}
}

func TestTableFits(t *testing.T) {
	columns := []column{{title: "name"}, {title: "n", right: true}, {title: "text", fit: clip}}
	rows := [][]string{{"a", "1", "a text that is far too long for it"}, {"bb", "22", "short"}}
	draw := func(width int, how fit) []string {
		columns[2].fit = how
		var b strings.Builder
		if err := printTable(&b, width, columns, rows); err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	}
	for _, width := range []int{1, 5, 20} { // narrower than what is kept
		if got := draw(width, clip); len(got) != 4 || !strings.Contains(got[2], "a text that") {
			t.Errorf("width %d: %q", width, got)
		}
	}
	whole, cut, folded := draw(0, clip), draw(40, clip), draw(40, fold)
	if len(whole) != 4 || len(cut) != 4 || len(folded) != 5 {
		t.Errorf("%q\n%q\n%q", whole, cut, folded)
	}
	for _, line := range slices.Concat(cut, folded) {
		if n := len([]rune(line)); n > 40 {
			t.Errorf("%d characters: %q", n, line)
		}
	}
	if !strings.Contains(whole[2], "far too long for it") || !strings.HasSuffix(cut[2], "…") {
		t.Errorf("%q\n%q", whole[2], cut[2])
	}
}
