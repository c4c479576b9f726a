package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"html"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"march/cmd/internal/sweep"
	"march/results"
	"march/results/record"
	"march/trainloop"
	"march/variants/manifest"
)

// smallRun are the arguments of a training run that takes seconds.
func smallRun(data, out string, more ...string) []string {
	return append([]string{"train", "--variant", "deep_cycle_rev", "--set", "d=24", "--set", "heads=3", "--set", "qkv_dim=8", "--set", "ff=48",
		"--set", "vocab=400", "--set", "length=32", "--tokens-per-step", "128", "--steps", "240", "--save-every", "10", "--device", "cpu", "--threads", "2",
		"--data", data, "--out", out}, more...)
}

// smallData prepares a text of many sentences.
func smallData(t *testing.T) string {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("the a one cat dog bird house garden river sees finds likes old small red quickly today never again and but")
	var text strings.Builder
	for range 40 {
		for range 60 {
			for range 5 + r.IntN(6) {
				text.WriteString(words[r.IntN(len(words))] + " ")
			}
			text.WriteString(".\n")
		}
		text.WriteString("<|endoftext|>\n")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "text.txt")
	if err := os.WriteFile(file, []byte(text.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	if code, _, log := march(t, "data", "prepare", file, "--vocab", "400", "--valid-fraction", "0.1", "--out", data); code != 0 {
		t.Fatal(log)
	}
	return data
}

// finalState is what must not depend on interruptions: the last checkpoint's files and
// every step's loss, rate and gradient norm.
func finalState(t *testing.T, run string) (digests string, steps []trainloop.Metric) {
	t.Helper()
	c, err := trainloop.Latest(run, func(string) {})
	if err != nil || c == nil || c.Step != 240 {
		t.Fatalf("%s: last checkpoint %+v, %v", run, c, err)
	}
	for _, name := range []string{"params.safetensors", "moments.safetensors"} {
		b, err := os.ReadFile(filepath.Join(c.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		digests += fmt.Sprintf("%s %x\n", name, sha256.Sum256(b))
	}
	steps, err = trainloop.ReadMetrics(run)
	if err != nil {
		t.Fatal(err)
	}
	for i := range steps {
		steps[i].Seconds = 0
	}
	return digests, steps
}

// TestResume kills a run at five random moments and interrupts it once; going on each
// time, it must end as the uninterrupted run does, to the last bit.
func TestResume(t *testing.T) {
	data, dir := smallData(t), t.TempDir()
	straight, broken := filepath.Join(dir, "straight"), filepath.Join(dir, "broken")
	began := time.Now()
	if code, _, log := march(t, smallRun(data, straight)...); code != 0 {
		t.Fatal(log)
	}
	whole := time.Since(began)
	if s, err := trainloop.ReadSettings(straight); err != nil || s.MicroBatch != 2 {
		t.Fatalf("on two threads a step of four sequences runs %d at a time, wanted 2 (%v)", s.MicroBatch, err)
	}
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for i := range 6 {
		signal := syscall.SIGKILL
		if i == 2 {
			signal = syscall.SIGINT
		}
		cmd := exec.Command(os.Args[0], smallRun(data, broken, "--resume")...)
		cmd.Env = append(os.Environ(), "MARCH_TEST_AS_MAIN=1")
		var log bytes.Buffer
		cmd.Stderr = &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		wait := whole/6 + time.Duration(r.Float64()*float64(whole)/8)
		time.Sleep(wait)
		_ = cmd.Process.Signal(signal) // it may be done already
		err := cmd.Wait()
		steps, _ := trainloop.ReadMetrics(broken)
		t.Logf("%v after %v: %v, %d steps logged", signal, wait.Round(time.Millisecond), err, len(steps))
		if signal == syscall.SIGINT && err != nil {
			if code := cmd.ProcessState.ExitCode(); code != 130 {
				t.Errorf("Ctrl-C: exit code %d, wanted 130; %s", code, &log)
			}
			if len(steps) > 0 && !strings.Contains(log.String(), "--resume goes on") {
				t.Errorf("Ctrl-C does not say how to go on: %s", &log)
			}
		}
	}
	if code, _, log := march(t, smallRun(data, broken, "--resume")...); code != 0 {
		t.Fatal(log)
	}
	wantDigests, want := finalState(t, straight)
	gotDigests, got := finalState(t, broken)
	if gotDigests != wantDigests {
		t.Errorf("the interrupted run ended in other parameters:\n%swanted\n%s", gotDigests, wantDigests)
	}
	if len(got) != len(want) {
		t.Fatalf("%d steps logged, wanted %d", len(got), len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("step %d: %+v, wanted %+v", i+1, got[i], want[i])
		}
	}
	if code, out, log := march(t, smallRun(data, broken, "--resume")...); code != 0 || !strings.Contains(out, "240 steps") {
		t.Errorf("--resume of a finished run: exit code %d, %s%s", code, out, log)
	}
}

// TestResumeElsewhere: a run goes on with the operators of another place, as from a GPU to a CPU, or with other threads, and
// says so. Its steps stay cut into the micro-batches that it was begun with.
func TestResumeElsewhere(t *testing.T) {
	data, run := smallData(t), filepath.Join(t.TempDir(), "run")
	cmd := exec.Command(os.Args[0], smallRun(data, run, "--target", "portable")...)
	cmd.Env = append(os.Environ(), "MARCH_TEST_AS_MAIN=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if steps, _ := trainloop.ReadMetrics(run); len(steps) > 10 || time.Since(began) > time.Minute {
			break
		}
	}
	_ = cmd.Process.Signal(syscall.SIGINT)
	if err := cmd.Wait(); err == nil {
		t.Fatal("the run was done before it could be stopped in the middle")
	}
	code, out, log := march(t, smallRun(data, run, "--resume", "--target", "ort", "--threads", "1")...)
	if code != 0 || !strings.Contains(log, `target (was "portable", now "ort"); threads (was 2, now 1)`) {
		t.Fatalf("exit code %d, %s%s", code, out, log)
	}
	m, err := manifest.Read(sweep.ProgramDir(run))
	if err != nil || m.Target != "ort" {
		t.Errorf("the program is for target %v (%v)", m, err)
	}
	if s, err := trainloop.ReadSettings(run); err != nil || s.MicroBatch != 2 || m.Batch != 2 {
		t.Errorf("micro-batches of %d sequences, of a program for %d; wanted 2, as before (%v)", s.MicroBatch, m.Batch, err)
	}
}

// TestTrainRefuses covers what a run is refused for, each with one line that says what
// would be right.
func TestTrainRefuses(t *testing.T) {
	data, dir := smallData(t), t.TempDir()
	run := filepath.Join(dir, "run")
	if code, _, log := march(t, smallRun(data, run, "--steps", "3")...); code != 0 {
		t.Fatal(log)
	}
	empty := filepath.Join(dir, "empty.txt")
	if err := os.WriteFile(empty, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{smallRun(data, run), 1, "holds a run already: --resume goes on with it"},
		{smallRun(data, run, "--resume"), 1, "training.steps was 3, now 240"},
		{smallRun(data, run, "--resume", "--steps", "3", "--set", "heads=1"), 1, "heads was 3, now 1"},
		{smallRun(data, run, "--resume", "--steps", "3", "--seed", "2"), 1, "seed (was 1, now 2)"},
		{smallRun(data, filepath.Join(dir, "a"), "--tokens-per-step", "100"), 1, "tokens per step 100"},
		{smallRun(data, filepath.Join(dir, "b"), "--batch", "1000", "--tokens-per-step", "32000"), 1, "use a smaller batch or length"},
		{smallRun(data, filepath.Join(dir, "c"), "--set", "vocab=100"), 1, "vocab is 100"},
		{smallRun(filepath.Join(dir, "nothing"), filepath.Join(dir, "d")), 1, "holds no prepared data"},
		{smallRun(data, filepath.Join(dir, "e"), "--steps", "0"), 2, "--steps"},
		{smallRun(data, filepath.Join(dir, "f"), "--target", "fast"), 2, "--target"},
		{smallRun(data, filepath.Join(dir, "g"), "--precision", "bf16"), 2, "--precision"},
		{smallRun(data, filepath.Join(dir, "h"), "--device", "cuda"), 1, "cuda"},
		{smallRun(data, filepath.Join(dir, "i"), "--lib", empty), 1, empty},
		{smallRun(data, filepath.Join(dir, "j"), "--suite", "pll"), 2, "--suite"},
		{smallRun(data, filepath.Join(dir, "l"), "--eval-every", "5"), 2, "--eval-every 5: wanted a suite beside ppl and ppl-test"},
		{smallRun(data, filepath.Join(dir, "m"), "--eval-every", "5", "--suite", "none"), 2, "--eval-every 5: wanted a suite"},
		{[]string{"eval", "--run", dir}, 1, "holds no run"},
		{[]string{"eval"}, 2, "--run"},
		{[]string{"eval", "--run", run, "--suite", "blimp"}, 2, "--blimp"},
		{[]string{"eval", "--run", run, "--data", data, "--blimp", dir}, 1, "--blimp"},
		{[]string{"bench", "--study", "sharin"}, 2, "did you mean sharing"},
		{[]string{"bench", "--seeds", "0"}, 2, "--seeds"},
		{[]string{"bench", "--seeds", "1001"}, 2, "--seeds 1001: wanted 1 to 1000"},
		{[]string{"bench", "--format", "html"}, 2, "--format"},
		{[]string{"perf", "--workload", "P9"}, 2, "--workload"},
		{[]string{"perf", "--against", empty}, 1, empty},
		{[]string{"data", "prepare", empty, "--out", filepath.Join(dir, "k")}, 1, "empty.txt"},
	} {
		code, _, log := march(t, c.args...)
		if code != c.code || !strings.Contains(log, c.want) || strings.Contains(log, "panic") {
			t.Errorf("march %s:\n  exit code %d, wanted %d\n  %s  wanted %q in it", strings.Join(c.args, " "), code, c.code, log, c.want)
		}
	}
}

// TestBench runs two cells, breaks off in between, and goes on.
func TestBench(t *testing.T) {
	data, out := smallData(t), filepath.Join(t.TempDir(), "bench")
	args := []string{"bench", "--variant", "baseline", "--variant", "baseline+act=silu+glu=true", "--set", "d=24", "--set", "heads=3", "--set", "qkv_dim=8",
		"--set", "ff=48", "--set", "vocab=400", "--set", "length=32", "--tokens-per-step", "128", "--steps", "20", "--suite", "ppl", "--threads", "2",
		"--data", data, "--out", out, "--format", "json"}
	code, first, log := march(t, args...)
	if code != 0 {
		t.Fatal(log)
	}
	var table struct {
		Rows []map[string]any `json:"rows"`
	}
	if err := json.Unmarshal([]byte(first), &table); err != nil || len(table.Rows) != 2 {
		t.Fatalf("%v; %s", err, first)
	}
	records, err := filepath.Glob(filepath.Join(out, "sharing", "*", "decoder", "seed-1", "run.json"))
	if err != nil || len(records) != 2 {
		t.Fatalf("records %v: %v", records, err)
	}
	before, err := os.ReadFile(records[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Dir(records[1])); err != nil {
		t.Fatal(err)
	}
	if code, _, log := march(t, args...); code != 0 {
		t.Fatal(log)
	}
	after, err := os.ReadFile(records[0])
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the finished cell was run again: %v", err)
	}
	if _, err := os.Stat(records[1]); err != nil {
		t.Errorf("the missing cell was not run: %v", err)
	}
	if code, _, log := march(t, append(args, "--steps", "21")...); code != 1 || !strings.Contains(log, "training.steps was 20, now 21") {
		t.Errorf("another budget in the same folder: exit code %d, %s", code, log)
	}
}

// TestBenchTeaches: a variant that learns from another does so from that one's cell of the
// same seed, which is added, and fails with the reason where that one did.
func TestBenchTeaches(t *testing.T) {
	data, out := smallData(t), filepath.Join(t.TempDir(), "bench")
	args := func(more ...string) []string {
		return append([]string{"--set", "vocab=400", "--set", "length=32", "--tokens-per-step", "64", "--steps", "4", "--suite", "ppl", "--threads", "2", "--data", data}, more...)
	}
	bench := append([]string{"bench", "--variant", "distill", "--variant", "prune", "--seeds", "2", "--out", out, "--format", "json"}, args()...)
	code, table, log := march(t, bench...)
	if code != 0 || !strings.Contains(log, "sharing/baseline+vocab=400+length=32 (decoder) is added") {
		t.Fatalf("exit code %d, %s", code, log)
	}
	if !strings.Contains(table, "learned from a trained baseline (alpha 0.5, temperature 2)") || !strings.Contains(table, `"parameters_effective": {`) {
		t.Errorf("the table does not say who taught, or what pruning left: %s", table)
	}
	cell := func(variant string, seed int) string {
		return filepath.Join(out, "sharing", variant+"+vocab=400+length=32", "decoder", fmt.Sprintf("seed-%d", seed))
	}
	for seed := 1; seed <= 2; seed++ {
		s, err := trainloop.ReadSettings(cell("distill", seed))
		if err != nil {
			t.Fatal(err)
		}
		c, err := trainloop.Latest(cell("baseline", seed), func(string) {})
		if err != nil || s.Teacher == "" || s.Teacher != c.ParamsSHA256() {
			t.Errorf("seed %d learned from %s, wanted its baseline's %s (%v)", seed, s.Teacher, c.ParamsSHA256(), err)
		}
	}
	if code, _, log := march(t, bench...); code != 0 || strings.Contains(log, "step 4") {
		t.Errorf("a second call: exit code %d, %s", code, log)
	}
	// Train with a teacher named, and refuse what is none.
	run := filepath.Join(t.TempDir(), "run")
	train := func(more ...string) []string { return append([]string{"train", "--out", run}, args(more...)...) }
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{train("--variant", "distill"), 2, "variant sharing/distill+vocab=400+length=32 learns from sharing/baseline+vocab=400+length=32: wanted --teacher FOLDER"},
		{train("--variant", "baseline", "--teacher", cell("baseline", 1)), 2, "learns from none"},
		{train("--variant", "distill", "--teacher", out), 1, "holds no run"},
		{train("--variant", "distill", "--set", "training.distill.teacher=deep_seq", "--teacher", cell("baseline", 1)), 1, "trained another model, sharing/baseline+vocab=400+length=32: share.uses=6, wanted 12"},
		{train("--variant", "distill", "--set", "training.distill.teacher=heads/rope", "--teacher", cell("baseline", 1)), 2, "is not one of encoder-decoder"},
		{train("--variant", "distill", "--teacher", cell("baseline", 1)), 0, ""},
		{train("--variant", "distill", "--teacher", cell("baseline", 2), "--resume"), 1, "teacher_sha256 (was "},
		{train("--variant", "distill", "--teacher", cell("baseline", 1), "--resume"), 0, ""},
	} {
		if code, _, log := march(t, c.args...); code != c.code || !strings.Contains(log, c.want) || strings.Contains(log, "panic") {
			t.Errorf("march %s:\n  exit code %d, wanted %d\n  %s  wanted %q in it", strings.Join(c.args, " "), code, c.code, log, c.want)
		}
	}
	// A teacher that broke, and a finished run that learned from one.
	for _, path := range []string{filepath.Join(cell("baseline", 2), "checkpoints"), filepath.Join(cell("baseline", 2), "run.json"),
		cell("distill", 2), filepath.Join(cell("baseline", 1), "checkpoints"), filepath.Join(cell("baseline", 1), "run.json")} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(cell("baseline", 1), "metrics.jsonl"), []byte("broken\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cell("baseline", 2), "metrics.jsonl"), []byte("broken\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if code, table, log := march(t, bench...); code != 1 || !strings.Contains(table, "teacher baseline: ") || !strings.Contains(table, " failed: ") {
		t.Errorf("a teacher that broke: exit code %d, %s%s", code, table, log)
	}
	if r, err := record.ReadFile(filepath.Join(cell("distill", 2), record.FileName)); err != nil || r.Status != record.Failed {
		t.Errorf("the cell whose teacher broke is %+v (%v)", r, err)
	}
	if r, err := record.ReadFile(filepath.Join(cell("distill", 1), record.FileName)); err != nil || r.Status != record.Done {
		t.Errorf("the cell that had learned before is %+v (%v)", r, err)
	}
}

// TestBenchArchitectures trains and scores an encoder and an encoder-decoder. The latter's
// validation loss is that of its objective: near the training loss, which the loss of
// plain text, never seen in training, would not be.
func TestBenchArchitectures(t *testing.T) {
	data, out := smallData(t), filepath.Join(t.TempDir(), "bench")
	code, text, log := march(t, "bench", "--variant", "heads/baseline", "--variant", "sharing/baseline", "--arch", "encoder,encoder-decoder",
		"--set", "d=24", "--set", "heads=3", "--set", "qkv_dim=8", "--set", "ff=48", "--set", "vocab=420", "--set", "length=32",
		"--tokens-per-step", "256", "--steps", "60", "--suite", "ppl,grammar", "--limit", "5", "--data", data, "--out", out, "--format", "json")
	if code != 0 {
		t.Fatal(log)
	}
	var table struct {
		Rows []map[string]any `json:"rows"`
	}
	if err := json.Unmarshal([]byte(text), &table); err != nil || len(table.Rows) != 2 {
		t.Fatalf("%v; %s", err, text)
	}
	for _, arch := range []string{"encoder", "encoder-decoder"} {
		files, err := filepath.Glob(filepath.Join(out, "*", "*", arch, "seed-1", record.FileName))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: %v, %v", arch, files, err)
		}
		r, err := record.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		if r.Status != record.Done || r.Validation == nil || math.Abs(r.Validation.Loss-r.Training.Loss) > 1 || r.Validation.Loss > math.Log(420) {
			t.Errorf("%s: %s, training loss %v, validation %+v", arch, r.Status, r.Training, r.Validation)
		}
		if s := r.Suites["grammar"]; len(s.Scores) == 0 || s.Items == 0 {
			t.Errorf("%s: %+v", arch, s)
		}
	}
}

// TestReport: the page of a bench has the verdicts and a command for each run, and that command makes the
// same run.
func TestReport(t *testing.T) {
	dir := t.TempDir()
	data, runs, file := smallData(t), filepath.Join(dir, "runs"), filepath.Join(dir, "report.html")
	args := []string{"bench", "--variant", "baseline", "--variant", "baseline+act=silu+glu=true", "--set", "d=24", "--set", "heads=3", "--set", "qkv_dim=8",
		"--set", "ff=48", "--set", "vocab=400", "--set", "length=32", "--tokens-per-step", "128", "--steps", "12", "--suite", "ppl,grammar", "--limit", "3", "--threads", "2",
		"--data", data, "--seeds", "2", "--validate-every", "4", "--eval-every", "4", "--save-every", "4", "--out", runs}
	code, text, log := march(t, args...)
	if code != 0 {
		t.Fatal(log)
	}
	if !strings.Contains(text, "could") || !strings.Contains(text, "Noise floor of valid. loss") {
		t.Errorf("no verdicts below a bench of two seeds:\n%s", text)
	}
	all, err := results.Load(runs)
	if err != nil {
		t.Fatal(err)
	}
	ok(t, "report", runs, "--out", file, "--pictures", filepath.Join(dir, "pictures"))
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"valid. loss: ", "Training loss", "&#34;parameters&#34;: &#34;"} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("no %q in the page", want)
		}
	}
	for _, name := range []string{"train_loss.svg", "valid_loss.png", "valid_loss_flops.svg", "grammar_accuracy_tokens.svg"} {
		if _, err := os.Stat(filepath.Join(dir, "pictures", name)); err != nil {
			t.Error(err)
		}
	}
	scoredOnTheWay(t, data, filepath.Dir(all[0].Path))
	lines := regexp.MustCompile(`<pre class="command">(march train[^<]* --seed 2 [^<]*)</pre>`).FindAllSubmatch(page, -1)
	if len(lines) != 2 {
		t.Fatalf("%d commands of seed 2, want 2", len(lines))
	}
	line := strings.NewReplacer("DATA", data, " again", " "+filepath.Join(dir, "again")).Replace(html.UnescapeString(string(lines[0][1])))
	ok(t, append(strings.Fields(line)[1:], "--validate-every", "2")...)
	again, err := record.ReadFile(filepath.Join(dir, "again", "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, r := range all {
		if r.Cell == again.Cell {
			found = true
			if r.Validation.Loss != again.Validation.Loss || r.Training.Loss != again.Training.Loss || r.ConfigSHA256 != again.ConfigSHA256 {
				t.Errorf("loss %v and %v, then %v and %v", r.Training.Loss, r.Validation.Loss, again.Training.Loss, again.Validation.Loss)
			}
			a, _ := r.Suites["grammar"].Score("accuracy")
			if b, ok := again.Suites["grammar"].Score("accuracy"); !ok || a != b {
				t.Errorf("grammar %v, then %v", a, b)
			}
		}
	}
	if !found {
		t.Errorf("the command made %v, which is none of the runs", again.Cell)
	}
}

// scoredOnTheWay: the scores of a step are those of its checkpoint, and only such steps have them as were asked for.
func scoredOnTheWay(t *testing.T, data, run string) {
	t.Helper()
	steps, err := trainloop.ReadMetrics(run)
	if err != nil || len(steps) != 12 {
		t.Fatalf("%d steps, %v", len(steps), err)
	}
	for _, m := range steps {
		if _, ok := m.Scores["grammar/accuracy"]; ok != (m.Step == 4 || m.Step == 8) {
			t.Errorf("step %d has scores %v", m.Step, m.Scores)
		}
	}
	copied := filepath.Join(t.TempDir(), "copied")
	if err := os.CopyFS(copied, os.DirFS(run)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(copied, "checkpoints", "step-00000012")); err != nil {
		t.Fatal(err)
	}
	ok(t, "eval", "--run", copied, "--data", data, "--suite", "grammar", "--limit", "3", "--threads", "2")
	r, err := record.ReadFile(filepath.Join(copied, record.FileName))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Suites["grammar"].Scores {
		if got := steps[7].Scores["grammar/"+s.Name]; math.Abs(got-s.Value) > 1e-4*math.Abs(s.Value) {
			t.Errorf("step 8 was scored %s %v, its checkpoint is %v", s.Name, got, s.Value)
		}
	}
}
