package sweep

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"march/evalsuite"
	"march/runtime"
	"march/trainloop/tokenizer"
	"march/variants"
	"march/variants/program"
)

// A program without score.onnx, as older versions of march wrote them, is scored by its eval.onnx, and every item gets the
// same score. Programs are the smallest of each architecture.
func TestOlderPrograms(t *testing.T) {
	rt, err := runtime.Open(runtime.Options{Device: runtime.Device{Kind: "cpu"}, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	suite, err := evalsuite.NewGrammar()
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{"the cat sees the old dog near the house", "a dog that the cats see is here, and the boy does not know it"}
	words, err := tokenizer.Train(slices.Values(texts), tokenizer.TrainOptions{
		VocabSize: 270, SpecialTokens: []string{tokenizer.EndOfText, tokenizer.Pad, tokenizer.Mask}})
	if err != nil {
		t.Fatal(err)
	}
	sizes := []string{"vocab=270", "length=64", "d=16", "heads=2", "qkv_dim=8", "ff=32", "share.unique=1", "share.uses=1"}
	for _, x := range []struct{ name, arch string }{{"sharing/baseline", "decoder"}, {"sharing/baseline", "encoder"}, {"heads/baseline", "encoder-decoder"}} {
		t.Run(x.arch, func(t *testing.T) {
			v, err := variants.Find(x.name, "tiny", x.arch)
			if err != nil {
				t.Fatal(err)
			}
			if err := v.Config.SetAll(sizes); err != nil {
				t.Fatal(err)
			}
			predictions := map[string][]evalsuite.Prediction{}
			for _, graphs := range [][]string{{"eval", "score"}, {"eval"}} {
				dir := t.TempDir()
				_, err := program.Write(dir, v, program.Options{Batch: 2, Length: 64, Graphs: graphs, Seed: 3})
				if err != nil {
					t.Fatal(err)
				}
				model, err := LoadModel(rt, dir, filepath.Join(dir, program.InitFile))
				if err != nil {
					t.Fatal(err)
				}
				file := filepath.Join(dir, "predictions.jsonl")
				_, err = evalsuite.Run(context.Background(), model, words, suite, evalsuite.Options{Limit: 2, Predictions: file})
				if e := model.Close(); err == nil {
					err = e
				}
				if err != nil {
					t.Fatal(err)
				}
				predictions[strings.Join(graphs, " ")] = readPredictions(t, file)
			}
			if n := len(predictions["eval score"]); n < 20 {
				t.Fatalf("%d predictions, want at least 20", n)
			}
			same(t, predictions["eval"], predictions["eval score"])
		})
	}
	dir := t.TempDir()
	v, err := variants.Find("sharing/baseline", "tiny", "decoder")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := program.Write(dir, v, program.Options{Batch: 1, Length: 16, Graphs: []string{"infer"}}); err != nil {
		t.Fatal(err)
	}
	_, err = LoadModel(rt, dir, filepath.Join(dir, program.InitFile))
	if want := "program " + dir + " has neither score.onnx nor eval.onnx"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func readPredictions(t *testing.T, file string) (list []evalsuite.Prediction) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var p evalsuite.Prediction
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

func same(t *testing.T, got, want []evalsuite.Prediction) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d predictions, wanted %d", len(got), len(want))
	}
	for i, p := range got {
		q := want[i]
		if p.ID != q.ID || p.Correct != q.Correct || !slices.Equal(p.Tokens, q.Tokens) || len(p.Scores) != len(q.Scores) {
			t.Fatalf("%+v, wanted %+v", p, q)
		}
		for j, s := range p.Scores {
			if !(math.Abs(s-q.Scores[j]) <= 1e-4) {
				t.Fatalf("%s has the scores %v, wanted %v", p.ID, p.Scores, q.Scores)
			}
		}
	}
}
