package trainloop

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"march/trainloop/rng"
	"march/trainloop/safetensors"
)

// values are what a tensor holds at a step: anything that the step alone decides.
func values(name string, step int64, n int) []float32 {
	s := rng.New(uint64(step), rng.Name(name))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(s.Below(1<<20)) / 7
	}
	return v
}

var smallTensors = map[string]int{"embed.table": 300, "layer.0.wq": 1000, "norm.gain": 7}

// smallFiles is a checkpoint without an engine.
func smallFiles(step int64) []tensorFile {
	file := func(name string, suffixes ...string) tensorFile {
		return tensorFile{name, func() (list []safetensors.Tensor, err error) {
			for tensor, n := range smallTensors {
				for _, suffix := range suffixes {
					list = append(list, safetensors.New(tensor+suffix, []int{n}, values(tensor+suffix, step, n)))
				}
			}
			return list, nil
		}}
	}
	return []tensorFile{file(paramsFile, ""), file(momentsFile, ".m", ".v")}
}

func saveSmall(t testing.TB, run string, step int64, valid *float64) {
	t.Helper()
	if err := saveCheckpoint(run, State{Step: step, Tokens: 100 * step, Seconds: 0.1 * float64(step), Valid: valid}, smallFiles(step), keepLast); err != nil {
		t.Fatal(err)
	}
}

// checkSmall compares a checkpoint's tensors with what was saved, bit by bit.
func checkSmall(c *Checkpoint) error {
	for _, file := range smallFiles(c.Step) {
		f, err := safetensors.Open(filepath.Join(c.Dir, file.name))
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Expect(c.Tensors[file.name]); err != nil {
			return err
		}
		want, _ := file.tensors()
		for _, tensor := range want {
			got := make([]byte, len(tensor.Data))
			if err := f.ReadInto(tensor.Name, got); err != nil {
				return err
			}
			if string(got) != string(tensor.Data) {
				return fmt.Errorf("%s: tensor %s is of another step", c.Dir, tensor.Name)
			}
		}
	}
	if c.Tokens != 100*c.Step {
		return fmt.Errorf("%s: %d tokens", c.Dir, c.Tokens)
	}
	return nil
}

func kept(t testing.TB, run string) []string {
	t.Helper()
	names, err := savedSteps(filepath.Join(run, checkpointsDir))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestCheckpointsKept(t *testing.T) {
	run := t.TempDir()
	losses := map[int64]float64{2: 3.5, 3: 2.5, 5: 2.75, 6: 2.5}
	for step := int64(1); step <= 7; step++ {
		var valid *float64
		if v, ok := losses[step]; ok {
			valid = &v
		}
		saveSmall(t, run, step, valid)
	}
	if got, want := kept(t, run), []string{"step-00000003", "step-00000006", "step-00000007"}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v: the last two and the best", got, want)
	}
	warn := func(text string) { t.Errorf("warning: %s", text) }
	latest, err := Latest(run, warn)
	if err != nil || latest.Step != 7 || checkSmall(latest) != nil {
		t.Fatalf("%+v, %v, %v", latest, err, checkSmall(latest))
	}
	best, err := Best(run, warn)
	if err != nil || best.Step != 3 || checkSmall(best) != nil {
		t.Errorf("best %+v, %v", best, err)
	}
	// Saved again, as after a fall back: the new one takes the place.
	saveSmall(t, run, 7, nil)
	if entries, _ := os.ReadDir(filepath.Join(run, checkpointsDir)); len(entries) != 3 {
		t.Errorf("%v lie there", entries)
	}
	if none, err := Best(t.TempDir(), warn); none != nil || err != nil {
		t.Errorf("best of nothing: %v, %v", none, err)
	}
}

// Where a run goes on behind damaged checkpoints, those that it writes are kept, also while the damaged ones are ahead.
func TestKeptBehindDamage(t *testing.T) {
	run := t.TempDir()
	for step := int64(10); step <= 40; step += 10 {
		saveSmall(t, run, step, nil)
	}
	parent := filepath.Join(run, checkpointsDir)
	for name, file := range map[string]string{"step-00000030": stateFile, "step-00000040": paramsFile} {
		if err := os.WriteFile(filepath.Join(parent, name, file), []byte("damaged"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	saveSmall(t, run, 21, nil)
	saveSmall(t, run, 22, nil)
	saveSmall(t, run, 31, nil) // in between lies one whose state is damaged
	if got, want := kept(t, run), []string{"step-00000022", "step-00000030", "step-00000031", "step-00000040"}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	if c, err := Latest(run, func(string) {}); err != nil || c.Step != 31 || checkSmall(c) != nil {
		t.Errorf("%+v, %v", c, err)
	}
	saveSmall(t, run, 40, nil)
	if got, want := kept(t, run), []string{"step-00000031", "step-00000040"}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
}

// A save that fails half-way leaves the last checkpoint as it was, and the run can go on.
func TestFailedSave(t *testing.T) {
	run := t.TempDir()
	saveSmall(t, run, 1, nil)
	saveSmall(t, run, 2, nil)
	broken := errors.New("no more")
	files := smallFiles(3)
	files[1].tensors = func() ([]safetensors.Tensor, error) { return nil, broken }
	if err := saveCheckpoint(run, State{Step: 3}, files, keepLast); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if c, err := Latest(run, func(text string) { t.Error(text) }); err != nil || c.Step != 2 || checkSmall(c) != nil {
		t.Errorf("%+v, %v", c, err)
	}
	saveSmall(t, run, 3, nil)
	if got := kept(t, run); !slices.Equal(got, []string{"step-00000002", "step-00000003"}) {
		t.Errorf("kept %v", got)
	}
}

// A flipped bit at any place of any file, and a file cut off anywhere, is noticed, said to be where it is,
// and the checkpoint before is used.
func TestDamage(t *testing.T) {
	run := t.TempDir()
	saveSmall(t, run, 1, nil)
	saveSmall(t, run, 2, nil)
	dir := filepath.Join(run, checkpointsDir, "step-00000002")
	r := rand.New(rand.NewPCG(13, 14))
	check := func(what, file string) string {
		t.Helper()
		warnings := ""
		c, err := Latest(run, func(text string) { warnings += text })
		if err != nil || c.Step != 1 || checkSmall(c) != nil {
			t.Fatalf("%s: %+v, %v", what, c, err)
		}
		if !strings.Contains(warnings, "checkpoint passed over") || !strings.Contains(warnings, file) && !strings.Contains(warnings, "its state is of step") {
			t.Fatalf("%s: warnings %q, want %s named", what, warnings, file)
		}
		return warnings
	}
	flips, named := 0, 0
	for _, file := range []string{paramsFile, momentsFile, stateFile} {
		path := filepath.Join(dir, file)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		header := 8 + int(good[0]) + int(good[1])<<8 // of safetensors
		classes := [][2]int{{0, 8}, {8, header}, {header, len(good)}}
		if file == stateFile {
			classes = [][2]int{{0, len(good)}, {len(good) - 100, len(good)}}
		}
		for n, class := range classes {
			for range 130 {
				bad := slices.Clone(good)
				at := class[0] + r.IntN(class[1]-class[0])
				bad[at] ^= 1 << r.IntN(8)
				if err := os.WriteFile(path, bad, 0o666); err != nil {
					t.Fatal(err)
				}
				warning := check(fmt.Sprintf("%s, byte %d flipped", file, at), file)
				flips++
				if n == 2 {
					if !strings.Contains(warning, "(tensor ") {
						t.Fatalf("%s, byte %d flipped: %q, want the tensor named", file, at, warning)
					}
					named++
				}
			}
		}
		for _, size := range []int{0, 1, 7, 8, header - 1, header, len(good) / 2, len(good) - 1} {
			size = min(size, len(good)-1)
			os.WriteFile(path, good[:size], 0o666)
			check(fmt.Sprintf("%s of %d bytes", file, size), file)
		}
		os.WriteFile(path, append(slices.Clone(good), 0), 0o666)
		check(file+" with a byte more", file)
		os.Remove(path)
		check(file+" missing", file)
		os.WriteFile(path, good, 0o666)
	}
	if c, err := Latest(run, func(text string) { t.Error(text) }); err != nil || c.Step != 2 {
		t.Errorf("restored: %+v, %v", c, err)
	}
	if flips < 1000 || named < 200 {
		t.Errorf("only %d flips, %d of them in tensors", flips, named)
	}
	// Nothing whole at all.
	os.RemoveAll(filepath.Join(run, checkpointsDir, "step-00000001"))
	os.WriteFile(filepath.Join(dir, stateFile), nil, 0o666)
	if _, err := Latest(run, func(string) {}); err == nil || !strings.Contains(err.Error(), "none of the 1 checkpoints") {
		t.Errorf("error %v", err)
	}
}

// A state file of an earlier version, without digests of tensors, is read as it was.
func TestOldState(t *testing.T) {
	s, err := decodeState([]byte(`{"step": 5, "tokens": 50, "seconds": 1.5, "sha256": {"params.safetensors": "ab"}}`))
	if err != nil || s.Step != 5 || s.SHA256[paramsFile] != "ab" {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := decodeState([]byte(`{"step": 5, "steps": 6}`)); err == nil {
		t.Error("an unknown field passes")
	}
}

var kills = flag.Int("kills", 25, "how often TestKilledSaving kills")

// A process that saves in a tight loop is killed at random moments. What it leaves is whole, at most one
// interval old, and of one step to the last bit; the next one goes on from there.
func TestKilledSaving(t *testing.T) {
	if run := os.Getenv("MARCH_TEST_SAVING"); run != "" {
		saveForever(run)
	}
	// A life is some saves long, however busy the machine is.
	began, tries := time.Now(), t.TempDir()
	for step := range int64(5) {
		saveSmall(t, tries, step+1, nil)
	}
	life := max(60*time.Millisecond, 2*time.Since(began))
	run := t.TempDir()
	r := rand.New(rand.NewPCG(15, 16))
	reached, moments := int64(0), map[string]int{}
	for n := range *kills {
		child := exec.Command(os.Args[0], "-test.run=^TestKilledSaving$")
		child.Env = append(os.Environ(), "MARCH_TEST_SAVING="+run)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() { // it has begun to save
			t.Fatal("the saving process ended by itself")
		}
		timer := time.AfterFunc(time.Duration(r.Int64N(int64(life))), func() { child.Process.Kill() })
		last := lines.Text()
		for lines.Scan() {
			last = lines.Text()
		}
		child.Wait()
		timer.Stop()
		said, err := strconv.ParseInt(last, 10, 64)
		if err != nil {
			t.Fatalf("kill %d: the saving process said %q", n, last)
		}
		entries, _ := os.ReadDir(filepath.Join(run, checkpointsDir))
		for _, e := range entries {
			moments[strings.TrimRight(e.Name(), "0123456789")]++
		}
		c, err := Latest(run, func(text string) { t.Errorf("kill %d: %s", n, text) })
		if err != nil || c == nil {
			t.Fatalf("kill %d: %+v, %v", n, c, err)
		}
		if c.Step < said || c.Step > said+1 || c.Step < reached {
			t.Errorf("kill %d: step %d, but it had saved step %d", n, c.Step, said)
		}
		if err := checkSmall(c); err != nil {
			t.Errorf("kill %d: %v", n, err)
		}
		reached = c.Step
	}
	t.Logf("%d kills, %d steps; what lay there: %v", *kills, reached, moments)
	if reached < int64(*kills) {
		t.Errorf("only %d steps in %d lives", reached, *kills)
	}
}

// saveForever is the process that is killed. It says each step that is saved.
func saveForever(run string) {
	c, err := Latest(run, func(string) {})
	step := int64(0)
	if err == nil && c != nil {
		step, err = c.Step, checkSmall(c)
	}
	for ; err == nil; step++ {
		if step > 0 {
			fmt.Println(step)
		}
		valid := float64(step % 5)
		err = saveCheckpoint(run, State{Step: step + 1, Tokens: 100 * (step + 1), Valid: &valid}, smallFiles(step+1), keepLast)
	}
	fmt.Println(err)
	os.Exit(1)
}

func TestGoesOn(t *testing.T) {
	was := Settings{Variant: "baseline", Config: []byte(`{"heads":4}`), DataSHA256: "aa", Tokenizer: "bb", Device: "cpu", Threads: 2, TokensPerStep: 8, MicroBatch: 1, Length: 4}
	var warnings []string
	warn := func(text string) { warnings = append(warnings, text) }
	now := was
	now.Device, now.Threads = "cuda", 8
	if err := now.goesOn(was, false, warn); err != nil || len(warnings) != 2 || !strings.Contains(warnings[0], "device (was \"cpu\", now \"cuda\")") ||
		!strings.Contains(warnings[1], "dropout") || !strings.Contains(warnings[1], "2 micro-batches") {
		t.Errorf("another device: %v, %q", err, warnings)
	}
	warnings, was.MicroBatch, now.MicroBatch = nil, 2, 2
	if err := now.goesOn(was, false, warn); err != nil || len(warnings) != 1 {
		t.Errorf("another device, with one micro-batch a step: %v, %q", err, warnings)
	}
	now = was
	now.Config, now.DataSHA256, now.Tokenizer = []byte(`{"heads":8}`), "cc", "dd"
	err := now.goesOn(was, false, warn)
	var other *SettingsError
	if !errors.As(err, &other) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{"heads was 4, now 8", `data_sha256 (was "aa", now "cc")`, `tokenizer_sha256 (was "bb", now "dd")`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	warnings = nil
	if err := now.goesOn(was, true, warn); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "heads was 4, now 8") {
		t.Errorf("overridden: %v, %q", err, warnings)
	}
}

// Whatever a state file holds: an error, or a state that is written and read alike.
func FuzzState(f *testing.F) {
	loss := 2.5
	good, err := State{Step: 3, Tokens: 30, Valid: &loss, SHA256: map[string]string{paramsFile: "ab"}, Tensors: map[string]map[string]string{paramsFile: {"a": "b"}}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"step": 5, "tokens": 50, "seconds": 1e300, "sha256": {"params.safetensors": "ab"}}`))
	f.Add([]byte(`{"check":"x","tensors":{"\ud800":null}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeState(data)
		if err != nil {
			return
		}
		b, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeState(b); err != nil || again.Step != s.Step || len(again.Tensors) != len(s.Tensors) {
			t.Fatalf("%+v comes back as %+v, %v", s, again, err)
		}
	})
}
