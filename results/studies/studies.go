// Package studies holds the published figures of march's two studies, as they were published, so that
// tables can set them beside runs of march's own. It computes nothing and corrects nothing: what is
// known to be wrong with a figure is said beside it. Start with Sharing and Heads.
//
// sharing.tsv has the two tables of study sharing's notes ("Training run 1"), cell by cell: accuracy in
// per cent, of LAMBADA with the perplexity in parentheses, bold as there, - where not run. Each is one
// run; sizes, data and seeds are not recorded.
//
// heads_runs.tsv and heads_curves.tsv are study heads' 25 recorded runs (github.com/bri25yu/march, in
// deepspeed on eight A5000): parameters, seconds, losses in nats a token at every twentieth of 1,000
// steps of about 1.05M tokens, all of one seed.
package studies

import (
	_ "embed"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
)

// The sources of the figures, as a table names them.
const (
	SharingSource = `study sharing, its notes' tables of "Training run 1": one run a figure, sizes and data not recorded`
	HeadsSource   = "study heads, github.com/bri25yu/march: 25 recorded runs of 1,000 steps on eight A5000, one seed each"
)

var (
	//go:embed sharing.tsv
	sharingTSV string
	//go:embed heads_runs.tsv
	headsRunsTSV string
	//go:embed heads_curves.tsv
	headsCurvesTSV string
)

// Figure is one cell of study sharing's tables.
type Figure struct {
	Accuracy   float64 // 0 to 1
	Perplexity float64 // NaN where the table has none
	Bold       bool    // in the notes: by the digits, of one run
	Text       string  // the accuracy as it stands there: "8.3"
}

// Column is one of the tables' columns.
type Column struct {
	Arch  string // "decoder", "encoder"
	Steps int64
}

// SharingTable is one of study sharing's tables.
type SharingTable struct {
	Suite    string // "blimp", "lambada"
	Columns  []Column
	Variants []string             // rows, by their names in march's catalogue
	Figures  map[string][]*Figure // by variant; nil: not run
}

// Sharing gives the tables of BLiMP and LAMBADA.
func Sharing() []SharingTable { return sharing() }

var sharing = sync.OnceValue(func() (tables []SharingTable) {
	rows := fields(sharingTSV)
	var columns []Column
	for _, title := range rows[0][2:] {
		var c Column
		if _, err := fmt.Sscanf(title, "%s %d", &c.Arch, &c.Steps); err != nil {
			panic("sharing.tsv: " + title)
		}
		columns = append(columns, c)
	}
	for _, row := range rows[1:] {
		if len(tables) == 0 || tables[len(tables)-1].Suite != row[0] {
			tables = append(tables, SharingTable{Suite: row[0], Columns: columns, Figures: map[string][]*Figure{}})
		}
		t := &tables[len(tables)-1]
		t.Variants = append(t.Variants, row[1])
		for _, cell := range row[2:] {
			t.Figures[row[1]] = append(t.Figures[row[1]], parseFigure(cell))
		}
	}
	return tables
})

// parseFigure reads "**8.3 (22)**".
func parseFigure(cell string) *Figure {
	if cell == "-" {
		return nil
	}
	f := &Figure{Perplexity: math.NaN()}
	text, bold := strings.CutPrefix(cell, "**")
	f.Bold = bold
	accuracy, perplexity, both := strings.Cut(strings.TrimSuffix(text, "**"), " (")
	f.Accuracy, f.Text = number(accuracy)/100, accuracy
	if both {
		f.Perplexity = number(strings.TrimSuffix(perplexity, ")"))
	}
	return f
}

// HeadsRun is one recorded run of study heads.
type HeadsRun struct {
	Variant    string // its name in march's catalogue; "baseline (fp32)" is the baseline's second run
	Parameters int64
	Seconds    float64 // of all steps
	Loss       float64 // on held-out text, after the last step
	LossSD     float64 // of the detrended training loss over the last 500 steps
	Steps      []int64 // of the curve
	Valid      []float64
	// Against is the run that this one is to be compared with: the baseline, or for runs that had
	// unit-variance positions beside their own change, the one that had these alone.
	Against string
	Caveat  string // what is known to be wrong with the run: it counts for nothing
}

// HeadsTokensPerStep is about what a step of study heads saw.
const HeadsTokensPerStep = 1 << 20

// unitVariance are the recorded runs that had the positions of ape_unit_variance too.
var unitVariance = []string{"relu_glu", "gelu_glu", "silu_glu", "mixed_act", "mixed_act_sum_over_mean", "mixed_act_som_dropout", "no_self_attention_residual"}

// Heads gives the recorded runs, the baseline first.
func Heads() []HeadsRun { return heads() }

var heads = sync.OnceValue(func() (runs []HeadsRun) {
	at := map[string]int{}
	for _, row := range fields(headsRunsTSV)[1:] {
		at[row[0]] = len(runs)
		r := HeadsRun{Variant: row[0], Parameters: int64(number(row[1])), Seconds: number(row[2]), Loss: number(row[3]), LossSD: number(row[5]), Against: "baseline"}
		for _, v := range unitVariance {
			if v == r.Variant {
				r.Against = "ape_unit_variance"
			}
		}
		if r.Variant == "unified_attention" {
			r.Caveat = "its recorded run could see its own keys ahead, by a slip"
		}
		runs = append(runs, r)
	}
	for _, row := range fields(headsCurvesTSV)[1:] {
		r := &runs[at[row[0]]]
		r.Steps, r.Valid = append(r.Steps, int64(number(row[1]))), append(r.Valid, number(row[3])) // row[2] is the training loss
	}
	return runs
})

// fields are a file's lines and columns.
func fields(tsv string) (rows [][]string) {
	for line := range strings.Lines(tsv) {
		rows = append(rows, strings.Split(strings.TrimRight(line, "\n"), "\t"))
	}
	return rows
}

func number(s string) float64 {
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic("embedded figures: " + err.Error()) // the tests read them all
	}
	return x
}
