package main

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"march/results/record"
)

// TestHeldOutText: a model with a document mask trains from text, and is scored on the documents kept for a
// test beside those for validation, each with a figure and a column of its own.
func TestHeldOutText(t *testing.T) {
	dir, r := t.TempDir(), rand.New(rand.NewPCG(5, 6))
	words := strings.Fields("the a one cat dog bird house garden river sees finds likes old small red quickly today never again and but")
	var text strings.Builder
	for range 400 {
		for range 5 + r.IntN(20) {
			text.WriteString(words[r.IntN(len(words))] + " ")
		}
		text.WriteString("\n<|endoftext|>\n")
	}
	file, data, run := filepath.Join(dir, "text.txt"), filepath.Join(dir, "data"), filepath.Join(dir, "run")
	if err := os.WriteFile(file, []byte(text.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	if code, _, log := march(t, "data", "prepare", file, "--vocab", "300", "--valid-fraction", "0.1", "--test-fraction", "0.2", "--out", data); code != 0 {
		t.Fatal(log)
	}
	small := []string{"train", "--variant", "baseline", "--set", "d=24", "--set", "heads=3", "--set", "qkv_dim=8", "--set", "ff=48", "--set", "vocab=300", "--set", "length=64",
		"--set", "training.document_mask=true", "--tokens-per-step", "256", "--steps", "4", "--validate-every", "2", "--threads", "1"}
	if code, _, log := march(t, append(small, "--data", data, "--out", run)...); code != 0 {
		t.Fatal(log)
	}
	if code, _, log := march(t, "eval", "--run", run, "--data", data, "--suite", "ppl,ppl-test"); code != 0 {
		t.Fatal(log)
	}
	rec, err := record.ReadFile(filepath.Join(run, record.FileName))
	if err != nil {
		t.Fatal(err)
	}
	code, out, log := march(t, "data", "info", data, "--json")
	if code != 0 {
		t.Fatal(log)
	}
	var info struct {
		Valid int64 `json:"valid_tokens"`
		Test  int64 `json:"test_tokens"`
	}
	if err := json.Unmarshal([]byte(out), &info); err != nil || info.Valid == 0 || info.Test <= info.Valid {
		t.Fatalf("%v: %s", err, out)
	}
	for suite, tokens := range map[string]int64{"ppl": info.Valid, "ppl-test": info.Test} {
		s := rec.Suites[suite]
		if loss, ok := s.Score("loss"); s.Tokens != tokens-1 || !ok || !(loss.Value > 1 && loss.Value < math.Log(300)+1) {
			t.Errorf("%s: %+v, wanted a loss over %d tokens", suite, s, tokens-1)
		}
		if _, err := os.Stat(filepath.Join(run, "predictions", suite+".jsonl")); err != nil {
			t.Error(err)
		}
	}
	if rec.Validation == nil || rec.Validation.Tokens != info.Valid-1 {
		t.Errorf("the validation loss is of %+v, wanted %d tokens", rec.Validation, info.Valid-1)
	}
	if _, out, _ = march(t, "table", run); !strings.Contains(out, "test loss: the same on the documents kept for a test") || !strings.Contains(out, "training.document_mask=true") {
		t.Errorf("the table does not say what the test is of, or what the variant is:\n%s", out)
	}
	// Other text with the same tokenizer: printed, and not taken for the run's own.
	other, elsewhere, ppl := filepath.Join(dir, "other.txt"), filepath.Join(dir, "elsewhere"), filepath.Join(run, "predictions", "ppl.jsonl")
	if err := os.WriteFile(other, []byte(strings.Repeat("Zq xv kj, wvw!\n", 200)), 0o666); err != nil {
		t.Fatal(err)
	}
	if code, _, log := march(t, "data", "prepare", other, "--valid", other, "--tokenizer", filepath.Join(data, "tokenizer.json"), "--out", elsewhere); code != 0 {
		t.Fatal(log)
	}
	before, _ := os.ReadFile(ppl)
	code, out, log = march(t, "eval", "--run", run, "--data", elsewhere, "--suite", "ppl")
	if code != 0 || !strings.Contains(out, "loss") || !strings.Contains(log, "the run was trained with other data (data): its record keeps its own figures of ppl") {
		t.Errorf("exit code %d, %s%s", code, out, log)
	}
	after, _ := os.ReadFile(ppl)
	if now, err := record.ReadFile(filepath.Join(run, record.FileName)); err != nil || *now.Validation != *rec.Validation || string(after) != string(before) {
		t.Errorf("the record or its predictions are of other text now: %+v", now)
	}
	again := append(small, "--out", filepath.Join(dir, "other"), "--suite", "ppl-test", "--data")
	if code, _, log := march(t, "data", "prepare", file, "--vocab", "300", "--out", filepath.Join(dir, "plain")); code != 0 {
		t.Fatal(log)
	}
	if code, _, log := march(t, append(again, filepath.Join(dir, "plain"))...); code != 1 || !strings.Contains(log, "suite ppl-test: the data plain have no documents for a test; march data prepare keeps some with --test-fraction") {
		t.Errorf("without test documents: exit code %d, %s", code, log)
	}
	if _, err := os.Stat(filepath.Join(dir, "other")); err == nil {
		t.Error("a run without test documents was begun")
	}
}
