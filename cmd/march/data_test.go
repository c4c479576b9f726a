package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"march/results/record"
	"march/runtime"
	"march/trainloop/corpus"
)

// stories is a small text of several documents.
func stories(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "Story %d: the cat number %d sat on the mat and looked at %d birds in the garden.\n<|endoftext|>\n", i, i*i, i%7)
	}
	return b.String()
}

func TestData(t *testing.T) {
	inFolder(t)
	write(t, "text.txt", stories(200))
	text := ok(t, "data", "prepare", "text.txt", "--out", "d", "--vocab", "300", "--valid-fraction", "0.1")
	if again := ok(t, "data", "info", "d"); again != text {
		t.Errorf("data info says\n%s\ndata prepare said\n%s", again, text)
	}
	var info corpus.Info
	if err := json.Unmarshal([]byte(ok(t, "data", "info", "d", "--json")), &info); err != nil {
		t.Fatal(err)
	}
	if info.VocabSize != 300 || info.Documents+info.ValidDocuments != 200 || info.ValidDocuments < 5 || !strings.Contains(text, grouped(info.Tokens)) {
		t.Errorf("info %+v\n%s", info, text)
	}
	if _, _, stderr := march(t, "data", "info", "d", "--verify"); !strings.Contains(stderr, "every file agrees") {
		t.Errorf("data info --verify says %q", stderr)
	}

	// With that tokenizer, and validation text of its own.
	ok(t, "data", "prepare", "text.txt", "--valid", "text.txt", "--tokenizer", "d/tokenizer.json", "--out", "e")
	other, err := corpus.ReadInfo("e")
	if err != nil || other.TokenizerSHA256 != info.TokenizerSHA256 || other.Split != corpus.SplitGiven || other.ValidDocuments != 200 {
		t.Errorf("info %+v, %v", other, err)
	}

	// A damaged shard.
	shard := filepath.Join("d", info.Shards[0].File)
	b, err := os.ReadFile(shard)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	write(t, shard, string(b))
	if code, _, stderr := march(t, "data", "info", "d", "--verify"); code != 1 || !strings.Contains(stderr, info.Shards[0].File) {
		t.Errorf("a damaged shard: exit code %d, %q", code, stderr)
	}
}

// Every form of text and what goes with it.
func TestDataForms(t *testing.T) {
	inFolder(t)
	write(t, "text.txt", strings.ReplaceAll(stories(200)+stories(1), "<|endoftext|>\n", "\n"))
	write(t, "records.jsonl", "{\"id\":1,\"body\":\"a cat\"}\n{\"id\":2,\"body\":\"a bird\"}\n")
	text := ok(t, "data", "prepare", "text.txt", "--documents", "blank", "--dedup", "--test-fraction", "0.2", "--out", "d", "--vocab", "300")
	for _, want := range []string{"test", "tokens of a training document", "33 to 64", "documents that repeat another: 1", "unigram entropy"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	info, err := corpus.ReadInfo("d")
	if err != nil || info.Documents+info.ValidDocuments+info.TestDocuments != 200 || info.TestDocuments < 20 {
		t.Errorf("%+v, %v", info, err)
	}
	ok(t, "data", "prepare", "records.jsonl", "--field", "body", "--valid-fraction", "0", "--out", "r", "--vocab", "300")
	if info, err := corpus.ReadInfo("r"); err != nil || info.Documents != 2 {
		t.Errorf("%+v, %v", info, err)
	}
	files := ok(t, "data", "export", "d", "--format", "llm.c", "--out", "tokens")
	if files != "tokens/train.bin\ntokens/val.bin\ntokens/test.bin\n" {
		t.Errorf("data export says %q", files)
	}
	ok(t, "data", "import", "tokens/train.bin", "--valid", "tokens/val.bin", "--test", "tokens/test.bin", "--tokenizer", "tokens/tokenizer.json", "--format", "llm.c", "--out", "back")
	if back, err := corpus.ReadInfo("back"); err != nil || back.SHA256 != info.SHA256 {
		t.Errorf("other data after export and import: %+v, %v", back, err)
	}
	for line, want := range map[string]string{
		"data prepare text.txt --out e --documents words":           `--documents "words": wanted marked, blank or lines`,
		"data prepare text.txt --out e --test-fraction 1":           "together below 1",
		"data prepare --embedded --out e --dedup":                   "--embedded and --dedup exclude each other",
		"data prepare --embedded --out e --test-fraction 0.1":       "--test-fraction does not go with it",
		"data import tokens/train.bin --out e --tokenizer t":        `--format "": wanted nanogpt or llm.c`,
		"data import tokens/train.bin --out e --format llm.c":       "--tokenizer FILE is missing",
		"data import tokens/train.bin --tokenizer t --format llm.c": "--out FOLDER is missing",
		"data export d --format bin --out e":                        `--format "bin": wanted nanogpt or llm.c`,
		"data export d --format llm.c":                              "--out FOLDER is missing",
	} {
		if code, _, stderr := march(t, strings.Fields(line)...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("march %s: exit code %d, %q", line, code, stderr)
		}
	}
}

// A fraction that comes to next to nothing is said to.
func TestDataFewDocuments(t *testing.T) {
	inFolder(t)
	long := strings.Repeat("a long story about a cat and a bird ", 200)
	write(t, "text.txt", "short\n<|endoftext|>\n"+long+"1\n<|endoftext|>\n"+long+"2\n<|endoftext|>\n"+long+"3\n<|endoftext|>\nshorter\n")
	code, _, stderr := march(t, "data", "prepare", "text.txt", "--out", "d", "--vocab", "300", "--valid-fraction", "0.5")
	info, err := corpus.ReadInfo("d")
	if code != 0 || err != nil {
		t.Fatal(code, stderr, err)
	}
	few := float64(info.ValidTokens) < 0.25*float64(info.Tokens+info.ValidTokens)
	if few != strings.Contains(stderr, "fell to validation") {
		t.Errorf("%d of %d tokens, stderr %q", info.ValidTokens, info.Tokens, stderr)
	}
}

func TestDoctor(t *testing.T) {
	code, stdout, stderr := march(t, "doctor", "--lib", filepath.Join(t.TempDir(), "none.so"))
	if code != 1 || !strings.Contains(stdout, "not found") || !strings.Contains(stdout, "to mend it") || !strings.Contains(stderr, "models cannot run here") {
		t.Errorf("without a library: exit code %d\n%s\n%s", code, stdout, stderr)
	}
	if _, _, _, err := runtime.Discover(); err != nil {
		t.Skip(err)
	}
	var d runtime.Diagnosis
	if err := json.Unmarshal([]byte(ok(t, "doctor", "--json")), &d); err != nil || !d.OK || d.Version == "" {
		t.Errorf("%+v, %v", d, err)
	}
	if text := ok(t, "doctor"); !strings.Contains(text, d.Library) || !strings.Contains(text, d.Version) || !strings.Contains(text, "all good") {
		t.Errorf("doctor says\n%s", text)
	}
}

// saveRun writes a record of a run that was trained, or failed for a reason.
func saveRun(t *testing.T, dir, variant string, accuracy float64, reason string) {
	t.Helper()
	r := &record.Run{
		Cell:   record.Cell{Study: "sharing", Variant: variant, Arch: "decoder", Scale: "tiny", Seed: 1, Objective: "causal-lm", Target: "ort", Precision: "fp32", Device: "cpu"},
		Status: record.Done, Started: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Finished: time.Date(2026, 1, 1, 0, 1, 0, 0, time.UTC),
		Parameters: record.Parameters{Total: 878_400, Embedding: 208_896, Norm: 2_496, Other: 667_008},
		FLOPs:      record.FLOPs{Forward: 2_015_232, Training: 6_050_688},
		Budget:     record.Budget{Steps: 900, TokensPerStep: 512, SequenceLength: 128},
		Data:       record.Data{Name: "grammar", Vocab: 2048},
		Training:   &record.Training{Steps: 900, Tokens: 460_800, Seconds: 36, TokensPerSecond: 12_800, Loss: 2.1},
		Validation: &record.Validation{Loss: 2, Tokens: 50_000},
		Suites: map[string]record.Suite{"grammar": {
			Items: 1000, Scores: []record.Score{{Name: "accuracy", Value: accuracy, Unit: record.ShareUnit}},
			Groups: []record.Group{{Level: record.PhenomenonLevel, Name: "agreement", Items: 1000, Correct: int64(1000 * accuracy), Accuracy: accuracy}},
		}},
	}
	if reason != "" {
		r.Status, r.Reason, r.Training, r.Validation, r.Suites = record.Failed, reason, nil, nil, nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := record.WriteFile(filepath.Join(dir, record.FileName), r); err != nil {
		t.Fatal(err)
	}
}

func TestTable(t *testing.T) {
	inFolder(t)
	saveRun(t, "runs/a", "baseline", 0.75, "")
	saveRun(t, "runs/b", "deep_cycle", 0.81, "")
	saveRun(t, "runs/c", "wide_cycle", 0, "the loss is no number at step 3")
	text := ok(t, "table", "runs")
	for _, want := range []string{"baseline", "deep_cycle", "wide_cycle", "the loss is no number at step 3", "81"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if got := ok(t, "table", "runs/[ab]", "runs/a/run.json", "--format", "csv"); strings.Count(got, "\n") != 3 {
		t.Errorf("two runs in CSV:\n%s", got)
	}
	if got := ok(t, "table", "runs", "--format", "markdown"); !strings.Contains(got, "| ") {
		t.Errorf("Markdown:\n%s", got)
	}
	if a, b := ok(t, "table", "runs", "--json"), ok(t, "table", "runs", "--format", "json"); a != b || !json.Valid([]byte(a)) {
		t.Errorf("JSON:\n%s", a)
	}
	if got := ok(t, "table", "runs", "--by", "phenomenon"); !strings.Contains(got, "agreement") {
		t.Errorf("by phenomenon:\n%s", got)
	}
	verdict := ok(t, "table", "runs", "--verdicts")
	for _, want := range []string{"deep_cycle", "no verdict [1]", "one seed says nothing of the noise between seeds", "Not shown: wide_cycle, seed 1 (failed: the loss is no number at step 3)."} {
		if !strings.Contains(verdict, want) {
			t.Errorf("%q is not in\n%s", want, verdict)
		}
	}
	if got := ok(t, "table", "runs", "--against", "deep_cycle", "--metric", "valid_loss,grammar_accuracy", "--format", "csv"); strings.Count(got, "\n") != 3 || !strings.Contains(got, "baseline") {
		t.Errorf("against another, in CSV:\n%s", got)
	}
	sharing := ok(t, "table", "runs", "--like", "sharing", "--beside-study")
	for _, want := range []string{"Dec 10k", "75.00", "81.00", "*71.02", "67.56", "0 of 1", "Not shown: wide_cycle"} {
		if !strings.Contains(sharing, want) {
			t.Errorf("%q is not in\n%s", want, sharing)
		}
	}
	var list []map[string]any
	if got := ok(t, "table", "runs", "--like", "heads", "--beside-study", "--json"); json.Unmarshal([]byte(got), &list) != nil || len(list) != 3 {
		t.Errorf("want three tables in a list:\n%s", got)
	}
	if got := ok(t, "table", "runs", "--like", "heads", "--beside-study"); !strings.Contains(got, "94.0M") || !strings.Contains(got, "1,762") {
		t.Errorf("the study's runs lack FLOPs or seconds:\n%s", got)
	}
	for line, want := range map[string]string{
		"table runs --against wide_cycle":           "no finished run is called wide_cycle",
		"table runs --by paradigm":                  "no run was scored on a suite with figures by paradigm",
		"table runs --by phenomenon --suite gramar": "no run was scored on it; found grammar; did you mean grammar?",
		"table runs --by field --suite grammar":     "--suite grammar has no figures by field; none has",
		"table runs runs/d":                         "runs/d: no such file",
	} {
		if code, _, stderr := march(t, strings.Fields(line)...); code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("march %s: exit code %d, %q", line, code, stderr)
		}
	}
}

func TestVersion(t *testing.T) {
	if got := ok(t, "version"); !strings.HasPrefix(got, "march ") || strings.Count(got, "\n") != 1 {
		t.Errorf("march version: %q", got)
	}
	if !json.Valid([]byte(ok(t, "version", "--json"))) {
		t.Error("march version --json is no JSON")
	}
}
