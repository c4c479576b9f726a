package results

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"march/results/record"
	"march/results/stats"
)

// PredictionsFolder lies beside a record and has a file SUITE.jsonl for each suite, a line an item.
const PredictionsFolder = "predictions"

// scored are the items of one measure in one run, in the order of the file. Their mean is the run's
// figure, or its logarithm.
type scored struct {
	values    []float64    // 1 of an item that is right, 0 of another; of a perplexity −log p in nats
	strata    stats.Strata // the paradigms' numbers of items; items of a paradigm stand together
	paradigms []string     // of each stratum
	items     string       // a digest of the items' names and order: the same for runs that were asked the same
}

// of keeps the items of some paradigms.
func (s *scored) of(paradigm func(name string) bool) *scored {
	part := &scored{items: s.items}
	at := 0
	for i, name := range s.paradigms {
		to := at + s.strata[i]
		if paradigm(name) {
			part.values = append(part.values, s.values[at:to]...)
			part.strata = append(part.strata, s.strata[i])
			part.paradigms = append(part.paradigms, name)
			part.items += "\x00" + name
		}
		at = to
	}
	return part
}

// makes reports whether the items' mean is a figure.
func (s *scored) makes(figure float64) bool {
	mean, _ := stats.MeanSD(s.values)
	return len(s.values) > 0 && math.Abs(mean-figure) <= 1e-9*max(1, math.Abs(figure))
}

// itemsOf names the score behind each measure that is a mean over a suite's items, or such a mean's exp.
var itemsOf = map[string]string{"grammar_accuracy": "accuracy", "cloze_accuracy": "cloze_accuracy", "cloze_perplexity": "cloze_perplexity",
	"blimp_accuracy": "accuracy", "lambada_accuracy": "accuracy", "lambada_perplexity": "perplexity"}

// predictionFiles are what was read of runs' predictions, each once.
type predictionFiles map[string]struct {
	*scored
	err error
}

// read gives what a run said of each item behind a suite's score.
func (files predictionFiles) read(r *record.Run, suite, name string) (*scored, error) {
	key := join(" ", r.Path, suite, name)
	x, seen := files[key]
	if !seen || r.Path == "" {
		x.scored, x.err = predictions(r, suite, name)
		files[key] = x
	}
	return x.scored, x.err
}

// of is read as a function of the run; nil where a measure is not of items.
func (files predictionFiles) of(m measure) func(*record.Run) (*scored, error) {
	name, ok := itemsOf[m.Key]
	if !ok {
		return nil
	}
	return func(r *record.Run) (*scored, error) { return files.read(r, m.suite, name) }
}

// errOtherItems is why runs cannot be compared item by item.
var errOtherItems = errors.New("the predictions are not of the same items")

// common are the items of two rows by the seeds that both have, which pairs them; where they have none in
// common, by one seed of each.
func common(of, base map[uint64]*scored) (a, b stats.Items, strata stats.Strata) {
	for _, seed := range slices.Sorted(maps.Keys(of)) {
		if x, y := of[seed], base[seed]; y != nil {
			a, b, strata = append(a, x.values), append(b, y.values), x.strata
		}
	}
	if a == nil {
		x, y := of[slices.Min(slices.Collect(maps.Keys(of)))], base[slices.Min(slices.Collect(maps.Keys(base)))]
		return stats.Items{x.values}, stats.Items{y.values}, x.strata
	}
	return a, b, strata
}

// clozeParadigm is that of the passages in suite grammar, whose pairs lie in the same file.
const clozeParadigm = "cloze"

// predictions reads what a run said of each item that a score is over. It is an error if the items
// do not make the score that the record has: then the file is of another evaluation.
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
	names := sha256.New()
	perplexity := strings.HasSuffix(name, "perplexity")
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		var x struct {
			Paradigm string          `json:"paradigm"`
			ID       string          `json:"id"`
			Scores   json.RawMessage `json:"scores"`
			Correct  *bool           `json:"correct"`
		}
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		if x.Correct == nil {
			return nil, fmt.Errorf(`%s:%d: key "correct" is missing`, path, n)
		}
		if suite == "grammar" && (x.Paradigm == clozeParadigm) != strings.HasPrefix(name, "cloze_") {
			continue
		}
		value := 0.0
		switch {
		case perplexity:
			var scores []float64
			if err := json.Unmarshal(x.Scores, &scores); err != nil || len(scores) != 1 {
				return nil, fmt.Errorf(`%s:%d: key "scores" is %s, want a list of the last word's alone`, path, n, x.Scores)
			}
			value = -scores[0]
		case *x.Correct:
			value = 1
		}
		if at := len(s.strata) - 1; at < 0 || x.Paradigm != s.paradigms[at] {
			s.paradigms, s.strata = append(s.paradigms, x.Paradigm), append(s.strata, 0)
		}
		s.strata[len(s.strata)-1]++
		s.values = append(s.values, value)
		io.WriteString(names, x.Paradigm+"\x00"+x.ID+"\x00") // a hash never fails
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.items = string(names.Sum(nil))
	want, ok := r.Suites[suite].Score(name)
	figure := want.Value
	if perplexity {
		figure = math.Log(figure)
	}
	if !ok || !s.makes(figure) {
		mean, _ := stats.MeanSD(s.values)
		return nil, fmt.Errorf("%s: not the predictions of this record: %d items make %.4f, the record says %.4f", path, len(s.values), mean, figure)
	}
	return s, nil
}
