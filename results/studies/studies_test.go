package studies

import (
	"math"
	"strconv"
	"testing"

	"march/variants"
)

// Spot checks against the notes, and the shape of the tables.
func TestSharing(t *testing.T) {
	tables := Sharing()
	if len(tables) != 2 || tables[0].Suite != "blimp" || tables[1].Suite != "lambada" {
		t.Fatalf("tables %+v", tables)
	}
	bold := 0
	for _, table := range tables {
		if len(table.Variants) != 16 || len(table.Columns) != 4 || table.Columns[3] != (Column{"encoder", 25000}) {
			t.Errorf("%s: %d rows, columns %v", table.Suite, len(table.Variants), table.Columns)
		}
		for name, row := range table.Figures {
			if _, err := variants.Find("sharing/"+name, "tiny", "decoder"); err != nil {
				t.Errorf("row %s is no variant: %v", name, err)
			}
			if len(row) != 4 {
				t.Errorf("%s has %d cells", name, len(row))
			}
			for _, f := range row {
				if f != nil && f.Bold {
					bold++
				}
			}
		}
	}
	if bold != 6+4 {
		t.Errorf("%d figures in bold, the notes have 10", bold)
	}
	f := tables[1].Figures["wide_cycle_rev"][2]
	if f == nil || math.Abs(f.Accuracy-0.0984) > 1e-12 || f.Perplexity != 19 || !f.Bold {
		t.Errorf("wide_cycle_rev, decoder at 25,000 steps: %+v, want **9.84 (19)**", f)
	}
	if f := tables[1].Figures["baseline"][2]; f == nil || !math.IsNaN(f.Perplexity) {
		t.Errorf("baseline, decoder at 25,000 steps: %+v, want 8.93 without perplexity", f)
	}
	if f := tables[0].Figures["deep_seq"][2]; f != nil {
		t.Errorf("deep_seq was not run for 25,000 steps: %+v", f)
	}
}

func TestHeads(t *testing.T) {
	for _, row := range fields(headsCurvesTSV)[1:] { // the column that no table reads
		if x, err := strconv.ParseFloat(row[2], 64); err != nil || len(row) != 4 || x <= 0 {
			t.Errorf("heads_curves.tsv: line %q", row)
		}
	}
	runs := Heads()
	if len(runs) != 25 || runs[0].Variant != "baseline" {
		t.Fatalf("%d runs, the first %s", len(runs), runs[0].Variant)
	}
	names := map[string]bool{}
	for _, r := range runs {
		names[r.Variant] = true
	}
	for _, r := range runs {
		if len(r.Steps) != 50 || r.Steps[49] != 1000 || len(r.Valid) != 50 {
			t.Errorf("%s: a curve of %d points", r.Variant, len(r.Steps))
		}
		if math.Abs(r.Valid[49]-r.Loss) > 1e-4 {
			t.Errorf("%s: the curve ends at %v, the loss is %v", r.Variant, r.Valid[49], r.Loss)
		}
		if !names[r.Against] {
			t.Errorf("%s compares with %s, which is not there", r.Variant, r.Against)
		}
		if r.Variant != "baseline (fp32)" {
			if _, err := variants.Find("heads/"+r.Variant, "tiny", "encoder-decoder"); err != nil {
				t.Errorf("%s is no variant: %v", r.Variant, err)
			}
		}
		if r.Parameters < 30e6 || r.Parameters > 40e6 || r.Seconds < 800 || r.LossSD < 0.01 || r.LossSD > 0.05 {
			t.Errorf("%+v", r)
		}
	}
}
