package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"march/cmd/internal/sweep"
	"march/results"
	"march/results/record"
	"march/trainloop"
)

// another starts march as a process of its own, which is killed when the test ends.
func another(t *testing.T, args ...string) (cmd *exec.Cmd, log *bytes.Buffer) {
	t.Helper()
	cmd, log = asMarch(args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone
		_ = cmd.Wait()
	})
	return cmd, log
}

// awaitSteps waits until so many steps of a run are logged.
func awaitSteps(t *testing.T, run string, n int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if list, err := trainloop.ReadMetrics(run); err == nil && len(list) >= n {
			return
		}
	}
	t.Fatalf("%s: no %d steps within a minute", run, n)
}

// While a process trains in a folder, another one is refused and changes nothing; what only reads works. Killed, the
// process leaves a folder that goes on, also behind attempts to go on with another model.
func TestRunFolder(t *testing.T) {
	data, dir := smallData(t), t.TempDir()
	straight, run := filepath.Join(dir, "straight"), filepath.Join(dir, "run")
	if code, _, log := march(t, smallRun(data, straight)...); code != 0 {
		t.Fatal(log)
	}
	first, _ := another(t, smallRun(data, run)...)
	awaitSteps(t, run, 12) // a checkpoint is there
	if err := first.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{smallRun(data, run, "--resume"), smallRun(data, run, "--seed", "2", "--resume-anyway"),
		smallRun(data, run, "--save-batches", filepath.Join(dir, "b.safetensors"))} {
		code, _, log := march(t, args...)
		if code != 1 || !strings.Contains(log, run+" is in use by process "+strconv.Itoa(first.Process.Pid)) {
			t.Errorf("%v: exit code %d, %s", args[len(args)-2:], code, log)
		}
	}
	if code, _, log := march(t, "generate", "--run", run, "--data", data, "--prompt", "the", "--tokens", "3", "--device", "cpu"); code != 0 {
		t.Errorf("generate: %s", log)
	}
	if code, _, log := march(t, "eval", "--run", run, "--data", data, "--device", "cpu"); code != 0 {
		t.Errorf("eval of a run in training: %s", log)
	}
	_ = first.Process.Kill()
	if _ = first.Wait(); first.ProcessState.Exited() {
		t.Fatal("the first process was done before the others began: the test proves nothing")
	}
	keepsItsModel(t, data, run)
	ok(t, smallRun(data, run, "--resume")...)
	want, _ := finalState(t, straight)
	if got, _ := finalState(t, run); got != want {
		t.Errorf("the run that others wanted to train in ended in\n%s, wanted\n%s", got, want)
	}
	// Its record is not that of a run with other settings, which would count as done.
	longer, _ := another(t, smallRun(data, run, "--resume-anyway", "--steps", "100000")...)
	awaitSteps(t, run, 250)
	_ = longer.Process.Kill()
	_ = longer.Wait() // killed
	if _, err := record.ReadFile(filepath.Join(run, record.FileName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the record of the run with 240 steps: %v", err)
	}
}

// keepsItsModel has training go on with settings that do not fit, or stop just before the new ones are written: a run
// of 12 or more steps then is what it was.
func keepsItsModel(t *testing.T, data, run string) {
	code, _, log := march(t, smallRun(data, run, "--set", "ff=100", "--resume-anyway")...)
	if code != 1 || !strings.Contains(log, "shape") {
		t.Errorf("a model that the checkpoint does not fit: exit code %d, %s", code, log)
	}
	ok(t, "generate", "--run", run, "--data", data, "--prompt", "the", "--tokens", "3", "--device", "cpu")
	code, _, log = march(t, smallRun(data, run, "--set", "act=relu", "--save-batches", filepath.Join(run, "b.safetensors"))...)
	if code != 1 || !strings.Contains(log, "act was gelu_tanh, now relu") {
		t.Errorf("batches of another model: exit code %d, %s", code, log)
	}
	if left, _ := filepath.Glob(filepath.Join(run, ".program*")); len(left) > 0 {
		t.Errorf("failed attempts left %v", left)
	}
	// Killed after the program took its place, before the settings did.
	other := filepath.Join(t.TempDir(), "relu")
	ok(t, smallRun(data, other, "--set", "act=relu", "--save-batches", filepath.Join(t.TempDir(), "b.safetensors"))...)
	if err := os.RemoveAll(sweep.ProgramDir(run)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(sweep.ProgramDir(other), sweep.ProgramDir(run)); err != nil {
		t.Fatal(err)
	}
}

// A call with further suites adds their scores to a record and takes none away; where it fails, the record stays.
func TestFurtherSuites(t *testing.T) {
	data, out := smallData(t), filepath.Join(t.TempDir(), "bench")
	bench := func(suite string) (code int, stdout string) {
		code, stdout, _ = march(t, append([]string{"bench", "--variant", "baseline", "--steps", "6", "--data", data, "--out", out}, append(slices.Clone(small), "--suite", suite)...)...)
		return code, stdout
	}
	run := filepath.Join(out, "sharing", "baseline+vocab=400+length=32+d=24+heads=3+qkv_dim=8+ff=48", "decoder", "seed-1")
	read := func() *record.Run {
		t.Helper()
		r, err := record.ReadFile(filepath.Join(run, record.FileName))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if code, text := bench("ppl"); code != 0 {
		t.Fatal(text)
	}
	first := read()
	inTheWay := filepath.Join(run, results.PredictionsFolder, "grammar.jsonl")
	if err := os.Mkdir(inTheWay, 0o777); err != nil {
		t.Fatal(err)
	}
	if code, text := bench("grammar"); code != 1 || !strings.Contains(text, "grammar.jsonl") {
		t.Errorf("scores that cannot be written: exit code %d, %s", code, text)
	}
	if r := read(); !reflect.DeepEqual(r, first) {
		t.Errorf("a record that was done is now %+v", r)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	if code, text := bench("grammar"); code != 0 {
		t.Fatal(text)
	}
	r := read()
	if r.Suites["grammar"].Items == 0 || !reflect.DeepEqual(r.Suites["ppl"], first.Suites["ppl"]) || !reflect.DeepEqual(r.Validation, first.Validation) || !r.Started.Equal(first.Started) {
		t.Errorf("after further suites: %+v, before %+v", r, first)
	}
	args := append([]string{"train", "--variant", "baseline", "--steps", "6", "--data", data, "--out", run, "--resume"}, append(slices.Clone(small), "--suite", "ppl,grammar", "--limit", "2")...)
	ok(t, args...)
	if again := read(); again.Suites["grammar"].Limit != 2 || !reflect.DeepEqual(again.Suites["ppl"], first.Suites["ppl"]) {
		t.Errorf("with another limit: %+v", again.Suites)
	}
}

// Without validation text, what needs it is refused before anything is trained; what does not is not.
func TestNoValidationText(t *testing.T) {
	dir := t.TempDir()
	file, data := filepath.Join(dir, "text.txt"), filepath.Join(dir, "data")
	write(t, file, strings.Repeat("The cat sees a dog. A dog sees the small old house again. ", 400))
	ok(t, "data", "prepare", file, "--vocab", "280", "--valid-fraction", "0", "--out", data)
	args := func(command string, more ...string) []string {
		return append([]string{command, "--variant", "baseline", "--steps", "2", "--data", data, "--set", "d=24", "--set", "heads=3", "--set", "qkv_dim=8", "--set", "ff=48",
			"--set", "vocab=280", "--set", "length=32", "--tokens-per-step", "128", "--threads", "1", "--out", filepath.Join(dir, "out")}, more...)
	}
	for _, x := range []struct {
		args []string
		want string
	}{
		{args("train"), "suite ppl: the data data have no validation text; march data prepare keeps some with --valid-fraction"},
		{args("bench"), "suite ppl: the data data have no validation text"},
		{args("train", "--suite", "none", "--validate-every", "1"), "--validate-every: the data data have no validation text"},
	} {
		if code, _, log := march(t, x.args...); code != 1 || !strings.Contains(log, x.want) {
			t.Errorf("%v: exit code %d, %s", x.args, code, log)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
		t.Error("a run was begun")
	}
	ok(t, args("train", "--save-batches", filepath.Join(dir, "b.safetensors"))...)
	ok(t, args("train", "--suite", "none")...)
}

// Scores in training are of neither held-out text: nobody may choose by the test's.
func TestEvalEvery(t *testing.T) {
	dir := t.TempDir()
	file, data, run := filepath.Join(dir, "text.txt"), filepath.Join(dir, "data"), filepath.Join(dir, "run")
	text := ""
	for i := range 300 {
		text += fmt.Sprintf("The cat sees %d dogs. A dog sees the small old house again.\n<|endoftext|>\n", i)
	}
	write(t, file, text)
	ok(t, "data", "prepare", file, "--vocab", "280", "--valid-fraction", "0.2", "--test-fraction", "0.2", "--out", data)
	ok(t, "train", "--variant", "baseline", "--steps", "3", "--data", data, "--set", "d=24", "--set", "heads=3", "--set", "qkv_dim=8", "--set", "ff=48", "--set", "vocab=280",
		"--set", "length=32", "--tokens-per-step", "128", "--threads", "1", "--out", run, "--suite", "ppl,ppl-test,grammar", "--limit", "1", "--eval-every", "2")
	steps, err := trainloop.ReadMetrics(run)
	if err != nil || len(steps) != 3 {
		t.Fatalf("%d steps, %v", len(steps), err)
	}
	scores := steps[1].Scores
	if _, ok := scores["grammar/accuracy"]; !ok {
		t.Errorf("scores %v, wanted grammar/accuracy", scores)
	}
	for name := range scores {
		if strings.HasPrefix(name, "ppl") {
			t.Errorf("score %s of a model in training", name)
		}
	}
}
