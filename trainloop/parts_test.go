package trainloop

import (
	"fmt"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"march/graphgen"
	"march/trainloop/corpus"
	"march/variants/program"
)

// parted gives a batch in parts of fewer sequences.
type parted struct {
	shapes corpus.Shapes
	whole  *corpus.Batch
}

func (p parted) Shapes() corpus.Shapes { return p.shapes }

func (p parted) Fill(micro int64, b *corpus.Batch) {
	for _, name := range corpus.Arrays() {
		n := int64(len(b.Array(name)))
		if n > 0 {
			copy(b.Array(name), p.whole.Array(name)[micro*n:])
		}
	}
}

// kinds are of goldens whose batch means more than rows: masks, lengths, documents, teachers, halting, projected positions, memories.
var kinds = regexp.MustCompile(`dropout|combined|documents|distill|prune|universal|linformer|baseline|heads_database$|unified|t5|mqa`)

// TestParts: of models of every kind, with dropout, losses and gradients of a batch that is cut into single sequences, which run
// several at once, are those of the whole batch, but for rounding.
func TestParts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(goldens, "*", "case.json"))
	if err != nil || len(files) < 100 {
		t.Fatalf("found %d goldens in %s, want more than 100: %v", len(files), goldens, err)
	}
	rt := openRuntime(t)
	if rt.GPU() != "" {
		t.Skip("a GPU takes a step's batch whole, and each micro-batch has masks of its own")
	}
	var lock sync.Mutex
	models, parts, worst := 0, 0, 0.0
	t.Run("cases", func(t *testing.T) {
		for i, file := range files {
			if !kinds.MatchString(filepath.Dir(file)) {
				continue
			}
			models++
			target := graphgen.StockTargets()[i%2]
			t.Run(fmt.Sprintf("%s/%s", filepath.Base(filepath.Dir(file)), target), func(t *testing.T) {
				t.Parallel()
				g, _ := readGolden(t, filepath.Dir(file))
				o := program.Options{Target: target, Batch: g.Batch, Length: g.Seq, DecoderLength: g.DecoderSeq, Graphs: []string{"grad"}}
				want := g.dropped(t, rt, o, 1)
				o.Batch = 1
				got := g.dropped(t, rt, o, g.Batch)
				lock.Lock()
				defer lock.Unlock()
				parts += g.Batch
				for name, off := range apart(got, want) {
					worst = max(worst, off)
					if !(off <= 2e-6) {
						t.Errorf("%q is off by %.2g of the whole", name, off)
					}
				}
			})
		}
	})
	if models < 30 {
		t.Errorf("%d models only", models)
	}
	t.Logf("%d models in %d parts: losses and gradients within %.1e of the whole", models, parts, worst)
}

// TestPartsOf: a divisor of the sequences, as many as there are threads at most, and enough tokens in each.
func TestPartsOf(t *testing.T) {
	for _, c := range []struct{ sequences, length, threads, want int }{
		{4, 128, 1, 1}, {4, 128, 2, 2}, {4, 128, 3, 2}, {4, 128, 16, 4}, {32, 512, 12, 8}, {6, 128, 4, 3}, {1, 4096, 8, 1}, {7, 128, 2, 1},
		{4, 32, 2, 2}, {4, 32, 4, 2}, {4, 16, 4, 1}, {1, 8, 2, 1},
	} {
		if got := Parts(c.sequences, c.length, c.threads); got != c.want {
			t.Errorf("%d sequences of %d tokens on %d threads: %d parts, wanted %d", c.sequences, c.length, c.threads, got, c.want)
		}
	}
}
