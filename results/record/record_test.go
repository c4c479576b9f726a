package record

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata/run.json anew")

func full() *Run {
	start := time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC)
	return &Run{
		Version:      Version,
		Cell:         Cell{Study: "sharing", Variant: "baseline", Set: "attn.heads=12", Arch: "decoder", Scale: "tiny", Seed: 1, Objective: "causal-lm", Target: "ort", Precision: "fp32", Device: "cpu"},
		Status:       Done,
		Started:      start,
		Finished:     start.Add(70 * time.Second),
		March:        "v0.1.0",
		ConfigSHA256: strings.Repeat("ab", 32),
		Parameters:   Parameters{Total: 877_000, Embedding: 208_896, Norm: 2_496, Other: 665_608},
		FLOPs:        FLOPs{Forward: 1_800_000, Training: 5_500_000},
		Budget:       Budget{Steps: 900, TokensPerStep: 512, SequenceLength: 128, Schedule: "warm-up 10 %, cosine to 10 % of 3e-3"},
		Data:         Data{Name: "grammar", SHA256: strings.Repeat("cd", 32), TokenizerSHA256: strings.Repeat("ef", 32), Vocab: 2048, Tokens: 1_000_000},
		Machine:      Machine{Hardware: "a CPU", Threads: 2, OS: "linux/amd64", ONNXRuntime: "1.31.1"},
		Training:     &Training{Steps: 900, Tokens: 460_800, Seconds: 35.5, TokensPerSecond: 12_980.3, Loss: 2.1, LossSD: new(0.031)},
		Validation:   &Validation{Loss: 2.05, Tokens: 50_000},
		Suites: map[string]Suite{
			"grammar": {
				Scores: []Score{{Name: "accuracy", Value: 0.71, Unit: ShareUnit}, {Name: "cloze_accuracy", Value: 0.4, Unit: ShareUnit, Count: 500}, {Name: "cloze_perplexity", Value: 38.1, Count: 500, Lower: true, Note: "of the whole last word"}},
				Groups: []Group{
					{Level: PhenomenonLevel, Name: "agreement", Title: "Agreement", Field: "morphology", Items: 1000, Correct: 700, Ties: 2, Accuracy: 0.7},
					{Level: ParadigmLevel, Name: "distractor", Field: "morphology", Phenomenon: "agreement", Items: 1000, Correct: 720, Accuracy: 0.72},
				},
				Items: 2000, Ties: 2, Settings: map[string]string{"sentence score": "sum"}, Notes: []string{"<a note & more>"}, Tokens: 20_000, Seconds: 3,
			},
		},
		Notes: []string{"resumed once"},
	}
}

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	want := full()
	if err := WriteFile(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want.Path = path
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, wrote %+v", got, want)
	}
}

// A record of version 1 stays readable whatever becomes of the types.
func TestGolden(t *testing.T) {
	const path = "testdata/run.json"
	if *update {
		if err := WriteFile(path, full()); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := full()
	want.Path = path
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, want %+v", got, want)
	}
}

func TestFailedRunNeedsLittle(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	r := &Run{Cell: Cell{Study: "heads", Variant: "database_from_dim", Arch: "encoder-decoder", Scale: "tiny", Seed: 7}, Status: Skipped, Reason: "heads 9 does not divide 56"}
	if err := WriteFile(path, r); err != nil {
		t.Fatal(err)
	}
	got, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.Reason != r.Reason || got.Cell != r.Cell || got.Version != Version || r.Version != 0 {
		t.Errorf("read %+v", got)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"training", "validation", "suites", "started", "parameters"} {
		if strings.Contains(string(data), field) {
			t.Errorf("the file names %q, of which nothing is known:\n%s", field, data)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	good, err := json.Marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	change := func(old, new string) string {
		s := strings.Replace(string(good), old, new, 1)
		if s == string(good) {
			t.Fatalf("the record has no %s", old)
		}
		return s
	}
	cases := []struct{ name, file, want string }{
		{"empty", "", "ends too early"},
		{"blank", " \n", "ends too early"},
		{"cut off", string(good[:len(good)/2]), "ends too early"},
		{"not JSON", "hello", "not JSON"},
		{"a list", "[]", "want a JSON object"},
		{"a number", "1", "want a JSON object"},
		{"null", "null", "want a JSON object"},
		{"no version", "{}", `no "version"`},
		{"another tool's file", `{"name":"x","runs":[1,2]}`, `no "version"`},
		{"newer", `{"version":2,"cells":[]}`, "newer march (record version 2, this one reads up to 1): update march"},
		{"version of another kind", `{"version":"1"}`, "field version: found a string, want a int"},
		{"unknown field", change(`"notes":["resumed`, `"remark":"x","notes":["resumed`), `unknown field "remark"`},
		{"unknown inner field", change(`"arch":`, `"archs":"x","arch":`), `unknown field "archs"`},
		{"wrong kind", change(`"steps":900`, `"steps":"900"`), "field budget.steps: found a string, want a int64"},
		{"fraction for a count", change(`"steps":900`, `"steps":900.5`), "field budget.steps: found a number 900.5"},
		{"twice", change(`"status":"done"`, `"status":"done","status":"done"`), `field "status" appears twice`},
		{"twice inside", change(`"arch":`, `"arch":"x","arch":`), `field "arch" appears twice`},
		{"a suite twice", change(`"suites":{`, `"suites":{"grammar":{},`), `field "grammar" appears twice`},
		{"text behind", string(good) + "x", "more text after the record"},
		{"two records", string(good) + string(good), "more text after the record"},
		{"deep", `{"a":` + strings.Repeat("[", 100_000), "nested too deeply"},
		{"status", change(`"status":"done"`, `"status":"ok"`), `status found "ok", want "done", "failed" or "skipped"`},
		{"no reason", change(`"status":"done"`, `"status":"failed"`), "reason is missing in a run that is failed"},
		{"reason of a success", change(`"status":"done"`, `"status":"done","reason":"x"`), `reason found "x" in a run that is done`},
		{"no variant", change(`"variant":"baseline"`, `"variant":""`), "cell.variant is missing"},
		{"no seed of that size", change(`"seed":1`, `"seed":-1`), "field cell.seed"},
		{"negative", change(`"tokens":460800`, `"tokens":-1`), "training.tokens found -1, want 0 or more"},
		{"parameters do not add up", change(`"norm":2496`, `"norm":2497`), "parameters.total found 877000, but embedding, norm and other make 877001"},
		{"accuracy as a percentage", change(`"accuracy","value":0.71`, `"accuracy","value":71`), "suites.grammar.scores.accuracy found 71, want a share"},
		{"accuracy and counts", change(`"correct":700`, `"correct":701`), "groups.agreement.accuracy found 0.7, but 701 of 1000"},
		{"more right than there are", change(`"correct":700`, `"correct":999`), "found 999 correct and 2 ties of 1000 items"},
		{"level", change(`"level":"paradigm"`, `"level":"row"`), `groups.distractor.level found "row"`},
		{"ends before it starts", change(`"finished":"2026`, `"finished":"2025`), "finished is before started"},
		{"time", change(`"started":"2026-`, `"started":"26-`), "26-"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), FileName)
			if err := os.WriteFile(path, []byte(c.file), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := ReadFile(path)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path+": ") {
				t.Errorf("error %v, want the file and %q", err, c.want)
			}
		})
	}
}

func TestReadIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	if err := os.WriteFile(path, make([]byte, MaxBytes+1), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("error %v", err)
	}
	if _, err := ReadFile(filepath.Join(path, "missing")); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v does not name the file", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	cases := []struct {
		name   string
		change func(*Run)
		want   string
	}{
		{"loss", func(r *Run) { r.Validation.Loss = math.NaN() }, "validation.loss found NaN, want a finite number"},
		{"score", func(r *Run) { r.Suites["grammar"].Scores[2].Value = math.Inf(1) }, "suites.grammar.scores.cloze_perplexity found +Inf"},
		{"several", func(r *Run) { *r = Run{Version: 2} }, "and 1 more"},
		{"score twice", func(r *Run) { r.Suites["grammar"].Scores[1].Name = "accuracy" }, "there twice"},
		{"group twice", func(r *Run) { r.Suites["grammar"].Groups[1] = r.Suites["grammar"].Groups[0] }, "twice at level phenomenon"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := full()
			c.change(r)
			err := WriteFile(path, r)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want the file and %q", err, c.want)
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("a file appeared")
			}
		})
	}
}

func TestCell(t *testing.T) {
	a, b := full().Cell, full().Cell
	b.Seed = 2
	if a.Compare(b) >= 0 || b.Compare(a) <= 0 || a.Compare(a) != 0 {
		t.Error("seeds do not order cells")
	}
	if got, want := a.String(), "sharing/baseline attn.heads=12 decoder tiny causal-lm ort fp32 cpu seed 1"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	// Compare must look at every field, or two cells would be taken for one.
	for i := range reflect.TypeFor[Cell]().NumField() {
		c := a
		switch f := reflect.ValueOf(&c).Elem().Field(i); f.Kind() {
		case reflect.String:
			f.SetString(f.String() + "x")
		default:
			f.SetUint(f.Uint() + 1)
		}
		if a.Compare(c) >= 0 {
			t.Errorf("Compare does not look at %s", reflect.TypeFor[Cell]().Field(i).Name)
		}
	}
}

func FuzzParse(f *testing.F) {
	good, err := json.Marshal(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":1,"cell":{"study":"s","variant":"v","arch":"a","scale":"t","seed":1},"status":"failed","reason":"r"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Parse(data)
		if err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), FileName)
		if err := WriteFile(path, r); err != nil {
			if strings.Contains(err.Error(), "bytes, at most") {
				return
			}
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if _, err := ReadFile(path); err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
	})
}
