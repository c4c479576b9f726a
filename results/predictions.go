package results

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"march/results/record"
	"march/results/stats"
)

// PredictionsFolder lies beside a record and has a file SUITE.jsonl for each suite, a line an item.
const PredictionsFolder = "predictions"

// scored are the items of one measure in one run: which were right, in the order of the file.
type scored struct {
	right  []float64
	strata stats.Strata // the paradigms' numbers of items; items of a paradigm stand together
	items  string       // a digest of the items' names and order: the same for runs that were asked the same
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
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no file %s/%s.jsonl beside the record", PredictionsFolder, suite) // the same for all runs
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &scored{}
	names, paradigm := sha256.New(), ""
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
		if len(s.right) == 0 || x.Paradigm != paradigm {
			paradigm = x.Paradigm
			s.strata = append(s.strata, 0)
		}
		s.strata[len(s.strata)-1]++
		s.right = append(s.right, right)
		io.WriteString(names, x.Paradigm+"\x00"+x.ID+"\x00") // a hash never fails
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.items = string(names.Sum(nil))
	want, ok := r.Suites[suite].Score(name)
	mean, _ := stats.MeanSD(s.right)
	if !ok || len(s.right) == 0 || math.Abs(mean-want.Value) > 1e-9 {
		return nil, fmt.Errorf("%s: not the predictions of this record: %d items make %.4f, the record says %.4f", path, len(s.right), mean, want.Value)
	}
	return s, nil
}
