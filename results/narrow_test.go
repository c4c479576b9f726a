package results

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/olekukonko/tablewriter/pkg/twwidth"

	"march/results/record"
)

// sixty are as many variants, one of a name that is longer than a terminal, some failed, skipped, or without a suite.
func sixty() (runs []record.Run) {
	for i := range 60 {
		r := run(fmt.Sprintf("variant_%02d", i), "", 1, float64(i)/1000)
		switch i {
		case 5, 31:
			r = failed(r.Cell.Variant, 1, record.Failed, "training diverged: the loss after step 12 is NaN")
		case 17:
			r = failed(r.Cell.Variant, 1, record.Skipped, "heads 9 does not divide 100")
		case 22:
			delete(r.Suites, "grammar")
		case 40:
			r.Cell.Set = "act=silu ff=170 glu=true heads=12 norm.kind=rms position.kind=rope qkv_dim=8 share.assignment=cycle_rev share.unique=3"
		}
		r.ConfigSHA256 = fmt.Sprintf("%064x", i)
		runs = append(runs, r)
	}
	return runs
}

// A table of sixty variants fits the width with every name whole, or says what is not shown and how to see it; a long name takes
// no column from the others.
func TestSixty(t *testing.T) {
	t.Parallel()
	runs := sixty()
	text := func(table *Table, width int) string {
		var b bytes.Buffer
		if err := table.Write(&b, Text, width); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if n := twwidth.Width(strings.TrimSuffix(line, "\n")); n > width {
				t.Errorf("width %d: a line of %d characters: %s", width, n, line)
			}
		}
		return b.String()
	}
	for _, width := range []int{100, 80, 60} {
		got := text(New(runs), width)
		for i := range 60 {
			if !strings.Contains(got, fmt.Sprintf("\n variant_%02d ", i)) {
				t.Errorf("width %d: variant %d is not there", width, i)
			}
		}
		words := strings.Join(strings.Fields(got), " ")
		for _, want := range []string{"Not shown for want of width: ", "A wider terminal, or --format markdown or csv, shows them.", "failed [1]", "skipped [2]", "failed [3]", "[2] variant_17, seed 1: heads 9 does not divide 100.", "– not run or not known"} {
			if !strings.Contains(words, want) {
				t.Errorf("width %d: no %q in\n%s", width, want, got)
			}
		}
	}
	got := text(New(runs), 100)
	for _, want := range []string{"\n variant_40 act=silu ff=170 glu=true", "\n   heads=12 norm.kind=rms", "ppl", "acc"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	text(LikeSharing(runs, false)[0], 100)
}

// Tables like the study's say it where nothing is finished.
func TestLikeSharingUnfinished(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := WriteAll(&b, LikeSharing([]record.Run{failed("baseline", 1, record.Failed, "no space left on device")}, false), Text, 100); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "No run is finished. Not shown: baseline, seed 1 (failed: no space left on device).\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
