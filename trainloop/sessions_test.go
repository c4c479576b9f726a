package trainloop_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"march/trainloop"
	"march/trainloop/corpus"
	"march/trainloop/objective"
	"march/variants"
	"march/variants/manifest"
	"march/variants/program"
)

// TestBrokenSessions: sessions are made at the same time, and of those that cannot be made the micro-batch graph's is named, whichever
// fails first.
func TestBrokenSessions(t *testing.T) {
	rt := open(t)
	dir := toy{batch: 1, length: 2}.write(t)
	m, err := manifest.ReadVerified(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ broken, named []string }{
		{[]string{"update.onnx"}, []string{"update.onnx"}},
		{[]string{"grad.onnx", "update.onnx"}, []string{"grad.onnx"}},
	} {
		for _, name := range c.broken {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("no model"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		for range 5 {
			_, err := trainloop.NewEngine(rt, dir, trainloop.EngineOptions{Manifest: m})
			if err == nil || !strings.Contains(err.Error(), c.named[0]) {
				t.Fatalf("with %v broken: %v", c.broken, err)
			}
		}
	}
	if _, err := trainloop.NewEngine(rt, dir, trainloop.EngineOptions{}); err == nil || !strings.Contains(err.Error(), "damaged or was changed") {
		t.Errorf("a program that nobody vouches for: %v", err)
	}
}

// TestStartValuesFail while the sessions are made: the run ends with their error, and its folder is free for another.
func TestStartValuesFail(t *testing.T) {
	rt := open(t)
	v, err := variants.Find("sharing/baseline", "tiny", "decoder")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	o := trainloop.Options{Dir: dir, Program: filepath.Join(dir, "program"), Settings: toySettings(objective.CausalLM, 1), Runtime: rt,
		Training: variants.Training{Rate: 1e-3, Schedule: "constant"}, Batches: feedFor(corpus.Shapes{Batch: 1, Length: 3})}
	if o.Settings.Config, err = json.Marshal(v.Config); err != nil {
		t.Fatal(err)
	}
	begin := func(start func(variants.Parameter) ([]float32, error)) *program.Writing {
		w, err := program.Begin(o.Program, v, program.Options{Target: "ort", Batch: 1, Length: 3, Seed: toySeed, Graphs: []string{"grad", "update"}, Start: start})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	o.Writing = begin(func(variants.Parameter) ([]float32, error) { return nil, errors.New("lost") })
	if _, err := trainloop.Train(t.Context(), o); err == nil || !strings.Contains(err.Error(), "lost") {
		t.Fatalf("start values that cannot be had: %v", err)
	}
	if _, err := trainloop.ReadSettings(dir); err == nil {
		t.Fatal("the folder is taken by a run that never began")
	}
	o.Writing = begin(nil)
	if _, err := trainloop.Train(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}
