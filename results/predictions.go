package results

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"march/results/record"
	"march/results/stats"
)

// PredictionsFolder lies beside a record and has a file SUITE.jsonl for each suite, a line an item.
const PredictionsFolder = "predictions"

// scored are the items of one measure in one run: which were right, in the order of the file.
type scored struct {
	right    []float64
	paradigm []string // of each item
	id       []string
}

// sameItems reports whether two runs were scored on the same items in the same order.
func (s *scored) sameItems(t *scored) bool {
	return slices.Equal(s.paradigm, t.paradigm) && slices.Equal(s.id, t.id)
}

// strata are the paradigms' numbers of items; items of a paradigm stand together.
func (s *scored) strata() (sizes stats.Strata) {
	for i, p := range s.paradigm {
		if i == 0 || p != s.paradigm[i-1] {
			sizes = append(sizes, 0)
		}
		sizes[len(sizes)-1]++
	}
	return sizes
}

// clozeParadigm is that of the passages in suite grammar, whose pairs lie in the same file.
const clozeParadigm = "cloze"

// predictions reads what a run said of each item that a share is over. It is an error if the items
// do not make the share that the record has: then the file is of another evaluation.
func predictions(r *record.Run, suite, name string) (*scored, error) {
	if r.Path == "" {
		return nil, errors.New("the record was not read from a file")
	}
	path := filepath.Join(filepath.Dir(r.Path), PredictionsFolder, suite+".jsonl")
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &scored{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		var x struct {
			Paradigm string `json:"paradigm"`
			ID       string `json:"id"`
			Correct  *bool  `json:"correct"`
		}
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		if x.Correct == nil {
			return nil, fmt.Errorf(`%s:%d: key "correct" is missing`, path, n)
		}
		if suite == "grammar" && (x.Paradigm == clozeParadigm) != (name == "cloze_accuracy") {
			continue
		}
		right := 0.0
		if *x.Correct {
			right = 1
		}
		s.right, s.paradigm, s.id = append(s.right, right), append(s.paradigm, x.Paradigm), append(s.id, x.ID)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	want, ok := r.Suites[suite].Score(name)
	mean, _ := stats.MeanSD(s.right)
	if !ok || len(s.right) == 0 || math.Abs(mean-want.Value) > 1e-9 {
		return nil, fmt.Errorf("%s: not the predictions of this record: %d items make %.4f, the record says %.4f", path, len(s.right), mean, want.Value)
	}
	return s, nil
}
