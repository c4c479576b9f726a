package corpus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"march/trainloop/folderlock"
	"march/trainloop/rng"
)

// A sequence that is not the same twice is noticed, and a failure leaves what was there.
func TestFailureKeepsOldData(t *testing.T) {
	out := filepath.Join(t.TempDir(), "data")
	old := prepare(t, PrepareOptions{Texts: slices.Values(stories(5, 20)), Out: out}).Info()
	calls := 0
	_, err := Prepare(context.Background(), PrepareOptions{Out: out, VocabSize: 300, Texts: func(yield func(string) bool) {
		calls++
		yield(story(uint64(calls), 50))
	}})
	if !errors.Is(err, errChanged) || calls != 2 {
		t.Errorf("changing texts, read %d times: %v", calls, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	count := 0
	_, err = Prepare(ctx, PrepareOptions{Out: out, VocabSize: 300, Texts: slices.Values(stories(3000, 20)), Progress: func(done, total int64) {
		if count++; count == 4000 { // in the second reading
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	d, err := Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Info().SHA256 != old.SHA256 {
		t.Error("the old data is gone")
	}
}

func TestReplacingRemovesOldShards(t *testing.T) {
	out := filepath.Join(t.TempDir(), "data")
	prepare(t, PrepareOptions{Texts: slices.Values(stories(5, 20)), Out: out, ValidFraction: 0.3})
	stale := write(t, out, "train-00007.bin", "old")
	other := write(t, out, "notes.txt", "kept")
	d := prepare(t, PrepareOptions{Texts: slices.Values(stories(6, 20)), Out: out})
	for path, want := range map[string]bool{stale: false, filepath.Join(out, "valid-00000.bin"): false, other: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: there %v, want %v", path, err == nil, want)
		}
	}
	if d.Train().Documents() != 6 {
		t.Errorf("%d documents", d.Train().Documents())
	}
}

func TestMatches(t *testing.T) {
	dir := t.TempDir()
	in := write(t, dir, "in.txt", joined(stories(8, 30)))
	valid := write(t, dir, "valid.txt", joined(stories(2, 30)))
	out := filepath.Join(dir, "out")
	o := PrepareOptions{Inputs: []string{in}, Out: out, ValidFraction: 0.2, VocabSize: 300, Source: "stories"}
	if ok, why := Matches(out, o); ok || why != "nothing is prepared there" {
		t.Errorf("empty folder: %v, %q", ok, why)
	}
	d := prepare(t, o)
	tok := filepath.Join(out, tokenizerFile)
	for _, c := range []struct {
		name   string
		change func(*PrepareOptions)
		want   string // "" matches
	}{
		{"same", func(o *PrepareOptions) {}, ""},
		{"out", func(o *PrepareOptions) { o.Out = "elsewhere" }, ""},
		{"glob", func(o *PrepareOptions) { o.Inputs = []string{filepath.Join(dir, "i*.txt")} }, ""},
		{"source", func(o *PrepareOptions) { o.Source = "novels" }, `made from "stories", not "novels"`},
		{"inputs", func(o *PrepareOptions) { o.Inputs = append(o.Inputs, valid) }, "input files"},
		{"texts", func(o *PrepareOptions) { o.Inputs, o.Texts = nil, slices.Values(stories(8, 30)) }, "input files"},
		{"validation", func(o *PrepareOptions) { o.ValidFraction, o.ValidInputs = 0, []string{valid} }, "validation files"},
		{"fraction", func(o *PrepareOptions) { o.ValidFraction = 0.3 }, "validation fraction 0.2, not 0.3"},
		{"vocabulary", func(o *PrepareOptions) { o.VocabSize = 400 }, "vocabulary of 300, not 400"},
		{"specials", func(o *PrepareOptions) { o.SpecialTokens = []string{"<x>"} }, "special tokens"},
		{"tokenizer", func(o *PrepareOptions) { o.Tokenizer = tok }, "another tokenizer"},
		{"missing input", func(o *PrepareOptions) { o.Inputs = []string{"gone.txt"} }, "gone.txt"},
	} {
		o := o
		c.change(&o)
		if ok, why := Matches(out, o); ok != (c.want == "") || !strings.Contains(why, c.want) {
			t.Errorf("%s: %v, %q, want %q", c.name, ok, why, c.want)
		}
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(in, later, later); err != nil {
		t.Fatal(err)
	}
	if ok, _ := Matches(out, o); ok {
		t.Error("a changed input matches")
	}
	d.Close()
	os.Remove(filepath.Join(out, "valid-00000.bin"))
	if ok, _ := Matches(out, o); ok {
		t.Error("a missing shard matches")
	}
	// Texts match by their Source alone, so they need one.
	texts := PrepareOptions{Texts: slices.Values(stories(3, 10)), VocabSize: 300, Out: filepath.Join(dir, "texts")}
	prepare(t, texts)
	if ok, why := Matches(texts.Out, texts); ok || !strings.Contains(why, "without a Source") {
		t.Errorf("texts without a source: %v, %q", ok, why)
	}
	texts.Source = "three stories, seed 0"
	prepare(t, texts)
	if ok, why := Matches(texts.Out, texts); !ok {
		t.Errorf("texts with a source: %q", why)
	}
}

// Several at once in one folder, alike and unlike: at the end it holds one of them, whole.
func TestConcurrentPrepare(t *testing.T) {
	out := filepath.Join(t.TempDir(), "data")
	var infos [6]*Info
	var wg sync.WaitGroup
	for i := range infos {
		wg.Go(func() {
			o := PrepareOptions{Texts: slices.Values(stories(100+i%2, 40)), Source: fmt.Sprint(i % 2), Out: out, VocabSize: 300, ValidFraction: 0.1}
			info, err := Prepare(context.Background(), o)
			if err != nil {
				t.Error(err)
			}
			infos[i] = info
		})
	}
	wg.Wait()
	d, err := Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for i, info := range infos {
		if info.SHA256 != infos[i%2].SHA256 {
			t.Errorf("preparation %d gave other data than its like", i)
		}
	}
	if sha := d.Info().SHA256; sha != infos[0].SHA256 && sha != infos[1].SHA256 {
		t.Error("the folder holds what nobody made")
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	out := t.TempDir()
	unlock, err := folderlock.Try(out)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Millisecond)
	defer cancel()
	if _, err := Prepare(ctx, PrepareOptions{Texts: slices.Values(stories(2, 5)), Out: out, VocabSize: 300}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for a lock: %v", err)
	}
}

// Killed at any moment, a preparation leaves the folder with data that opens or without any.
func TestKilledPrepare(t *testing.T) {
	if dir := os.Getenv("MARCH_TEST_PREPARE_FOREVER"); dir != "" {
		for i := 0; ; i++ {
			o := PrepareOptions{Texts: slices.Values(stories(30+i%3, 40)), Out: dir, VocabSize: 280 + i%2, ValidFraction: 0.2}
			if _, err := Prepare(context.Background(), o); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
	}
	dir := t.TempDir()
	opened := 0
	r := rng.New(rng.Name("kill"))
	for range 20 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledPrepare$")
		cmd.Env = append(os.Environ(), "MARCH_TEST_PREPARE_FOREVER="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(20+r.Below(100)) * time.Millisecond)
		cmd.Process.Kill()
		if cmd.Wait(); cmd.ProcessState.Exited() {
			t.Fatal("the preparation ended by itself")
		}
		d, err := Open(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after a kill: %v", err)
		}
		if err == nil {
			opened++
			d.Close()
		}
	}
	if opened == 0 {
		t.Error("no kill left data: the test killed too early each time")
	}
	prepare(t, PrepareOptions{Texts: slices.Values(stories(5, 20)), Out: dir})
	if left, _ := filepath.Glob(filepath.Join(dir, stagingPrefix+"*")); len(left) > 0 {
		t.Errorf("killed preparations left %d folders behind", len(left))
	}
}
