package results

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"march/evalsuite"
	"march/results/record"
)

// answered writes the predictions of runs on suite grammar beside their records, which get paths, and makes
// the records' figures those of the predictions. What a run with fewer right items has right, one with more
// has right too; passages are as much easier for a variant as its perplexity says.
func answered(t *testing.T, runs []record.Run) []record.Run {
	t.Helper()
	runs = slices.Clone(runs)
	for i := range runs {
		r := &runs[i]
		s, ok := r.Suites["grammar"]
		if !ok {
			continue
		}
		s.Groups, s.Scores = slices.Clone(s.Groups), slices.Clone(s.Scores)
		var lines bytes.Buffer
		emit := func(p evalsuite.Prediction) {
			p.Suite = "grammar"
			line, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			lines.Write(append(line, '\n'))
		}
		random := rand.New(rand.NewPCG(4, 4)) // the same items for all runs
		correct, items := int64(0), int64(0)
		for g, x := range s.Groups {
			if x.Level != record.ParadigmLevel {
				continue
			}
			for id, rank := range random.Perm(int(x.Items)) {
				emit(evalsuite.Prediction{Paradigm: x.Name, ID: strconv.Itoa(id), Scores: []float64{-1, -2}, Correct: int64(rank) < x.Correct})
			}
			correct, items = correct+x.Correct, items+x.Items
			s.Groups[g-1].Correct, s.Groups[g-1].Accuracy = x.Correct, x.Accuracy // the phenomenon of this paradigm alone
		}
		for j := range s.Scores {
			x := &s.Scores[j]
			switch x.Name {
			case "accuracy":
				x.Value = float64(correct) / float64(items)
			case "cloze_accuracy":
				x.Value = math.Round(x.Value*float64(x.Count)) / float64(x.Count)
			}
		}
		right, _ := s.Score("cloze_accuracy")
		perplexity, _ := s.Score("cloze_perplexity")
		nats, mean := make([]float64, right.Count), 0.0
		for n := range nats {
			nats[n] = 3 + random.NormFloat64()
			mean += nats[n] / float64(len(nats))
		}
		for id, rank := range random.Perm(len(nats)) {
			emit(evalsuite.Prediction{Paradigm: clozeParadigm, ID: strconv.Itoa(id), Scores: []float64{mean - nats[id] - math.Log(perplexity.Value)}, Correct: float64(rank) < right.Value*float64(len(nats))-0.5})
		}
		r.Suites = maps.Clone(r.Suites)
		r.Suites["grammar"] = s
		dir := filepath.Join(t.TempDir(), "run")
		if err := os.MkdirAll(filepath.Join(dir, PredictionsFolder), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, PredictionsFolder, "grammar.jsonl"), lines.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		r.Path = filepath.Join(dir, record.FileName)
	}
	return runs
}
