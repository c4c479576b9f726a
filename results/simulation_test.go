package results

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"march/results/record"
)

// The whole road from records to verdicts, as package stats simulates the tests alone: of 1,000 tables of
// fifteen equal variants at most 6.4 % (5 %, and two standard errors) show any better or worse, and at most as
// many mark a best loss; of as many with one that differs by three times the noise floor, five seeds each, at least 80 % find it, on its side.
func TestSimulatedTables(t *testing.T) {
	const tables, variants, seeds, noise = 1000, 15, 5, 0.02
	random := rand.New(rand.NewPCG(15, 5))
	simulate := func(planted float64) (shown, found, mistaken, marked int) {
		for range tables {
			var common [seeds]float64
			for s := range common {
				common[s] = 2 * noise * random.NormFloat64()
			}
			var runs []record.Run
			for v := range variants {
				name := fmt.Sprintf("variant_%d", v)
				if v == 0 {
					name = "baseline"
				}
				for s := range seeds {
					loss := 2 + common[s] + noise*random.NormFloat64()
					if v == 7 {
						loss -= planted
					}
					runs = append(runs, record.Run{
						Cell:   record.Cell{Study: "sharing", Variant: name, Arch: "decoder", Scale: "tiny", Seed: uint64(s + 1)},
						Status: record.Done, Training: &record.Training{Steps: 900}, Validation: &record.Validation{Loss: loss, Tokens: 50_000},
					})
				}
			}
			v, err := Judge(runs, VerdictOptions{})
			if err != nil {
				t.Fatal(err)
			}
			table := New(runs)
			loss := best(column(t, table, "valid_loss"))
			if len(loss) > 0 {
				marked++
			}
			if perplexity := best(column(t, table, "valid_perplexity")); !slices.Equal(loss, perplexity) {
				t.Fatalf("best losses %q, best perplexities %q: they are the same figures", loss, perplexity)
			}
			any := false
			for _, x := range v.List {
				if x.Outcome != IsBetter && x.Outcome != IsWorse {
					continue
				}
				any = true
				switch {
				case x.Variant == "variant_7" && x.Outcome == IsBetter:
					found++
				default:
					mistaken++
				}
			}
			if any {
				shown++
			}
		}
		return shown, found, mistaken, marked
	}
	equal, _, _, marked := simulate(0)
	_, found, mistaken, _ := simulate(3 * noise)
	t.Logf("of %d tables %d of equal variants show a difference, %d mark a best; %d find three times the noise floor, with %d mistaken verdicts", tables, equal, marked, found, mistaken)
	if equal > 64 || marked > 64 {
		t.Errorf("%d of %d tables of equal variants show a difference and %d mark a best, want at most 64", equal, tables, marked)
	}
	if found < 800 {
		t.Errorf("%d of %d tables find three times the noise floor, want at least 800", found, tables)
	}
	if mistaken > 64 {
		t.Errorf("%d verdicts on variants that are equal", mistaken)
	}
}
