package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"march/results"
	"march/results/record"
	"march/variants"
)

// asMarch is march as a process of its own, which can be killed.
func asMarch(args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "MARCH_TEST_AS_MAIN=1")
	log := &bytes.Buffer{}
	cmd.Stderr = log
	return cmd, log
}

// small are the flags of models that train in a moment.
var small = []string{"--set", "d=24", "--set", "heads=3", "--set", "qkv_dim=8", "--set", "ff=48", "--set", "vocab=400", "--set", "length=32", "--tokens-per-step", "128", "--suite", "ppl,grammar", "--limit", "3", "--threads", "2"}

// records reads the finished records below a folder, as they lie there, by their paths in it.
func records(t *testing.T, out string) map[string]string {
	t.Helper()
	files, err := results.Files(record.FileName, out)
	if err != nil && len(files) > 0 {
		t.Fatal(err)
	}
	list := map[string]string{}
	for _, f := range files {
		text, err := os.ReadFile(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		path, err := filepath.Rel(out, f.Path)
		if err != nil {
			t.Fatal(err)
		}
		list[path] = string(text)
	}
	return list
}

// untimed is a table of JSON without what a clock says.
func untimed(t *testing.T, text string) []map[string]any {
	t.Helper()
	var table struct {
		Rows []map[string]any `json:"rows"`
	}
	if err := json.Unmarshal([]byte(text), &table); err != nil || len(table.Rows) == 0 {
		t.Fatalf("%v; %s", err, text)
	}
	for _, row := range table.Rows {
		for _, key := range []string{"seconds", "tokens_per_second", "peak_bytes"} {
			delete(row, key)
		}
	}
	return table.Rows
}

// TestBenchKilled kills a bench ten times at random moments and starts it again each time: no finished cell is run again,
// none is lost, and the table is that of a bench that nobody disturbed.
func TestBenchKilled(t *testing.T) {
	data, dir := smallData(t), t.TempDir()
	bench := func(out string) []string {
		return append([]string{"bench", "--variant", "baseline", "--variant", "deep_cycle_rev", "--variant", "wide_cycle", "--seeds", "2", "--steps", "40", "--save-every", "10",
			"--data", data, "--out", filepath.Join(dir, out), "--format", "json"}, small...)
	}
	began := time.Now()
	straight := ok(t, bench("straight")...)
	whole := time.Since(began)
	want := untimed(t, straight)
	cells := slices.Sorted(maps.Keys(records(t, filepath.Join(dir, "straight"))))
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	kills, midway := 0, 0
	for n := 0; kills < 10; n++ { // in a new folder where a bench gets to its end
		out := fmt.Sprint("killed", n)
		finished := map[string]string{}
		check := func() {
			now := records(t, filepath.Join(dir, out))
			for path, text := range finished {
				if now[path] != text {
					t.Errorf("cell %s was finished and is run again, or lost:\n%s\n%s", path, text, now[path])
				}
			}
			finished = now
		}
		for kills < 10 {
			cmd, log := asMarch(bench(out)...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration((0.1 + 0.4*r.Float64()) * float64(whole)))
			_ = cmd.Process.Kill()
			if err := cmd.Wait(); err == nil {
				break
			} else if cmd.ProcessState.Exited() {
				t.Fatalf("%v: %s", err, log)
			}
			kills++
			check()
			if len(finished) > 0 && len(finished) < len(cells) {
				midway++
			}
		}
		got := untimed(t, ok(t, bench(out)...))
		check()
		if list := slices.Sorted(maps.Keys(finished)); !slices.Equal(list, cells) {
			t.Errorf("cells %q, wanted %q", list, cells)
		}
		if a, b := fmt.Sprint(got), fmt.Sprint(want); a != b {
			t.Errorf("another table than that of an undisturbed bench:\n%s\n%s", a, b)
		}
	}
	t.Logf("%d kills, %d of them with some cells finished and some not; undisturbed: %v", kills, midway, whole.Round(time.Millisecond))
}

// TestPlan kills a study in two stages as its second one begins. Going on, it runs no cell again; what it promotes is what
// the records of the first stage say.
func TestPlan(t *testing.T) {
	data, dir := smallData(t), t.TempDir()
	out, file := filepath.Join(dir, "out"), filepath.Join(dir, "study.yaml")
	write(t, file, `
by: valid_loss
seeds: 2
stages:
  - name: short
    variants: [baseline, deep_seq, "baseline+act=silu", "baseline+position.kind=rope"]
    budget: {steps: 30}
  - name: longer
    variants: [baseline]
    promote: {from: short, top: 1}
    budget: {tokens: 7_680}
  - name: never
    optional: true
    variants: [baseline]
    budget: {steps: 1}
`)
	args := append([]string{"bench", "--plan", file, "--data", data, "--out", out, "--format", "json"}, small...)
	plain := append(slices.Clone(args), "--dry-run")
	if text := ok(t, plain...); !strings.Contains(text, `"known": false`) || !strings.Contains(text, `"not_run": "optional; --optional runs it"`) {
		t.Errorf("before it runs: %s", text)
	}
	if list := records(t, out); len(list) > 0 {
		t.Fatalf("--dry-run ran %v", list)
	}
	cmd, _ := asMarch(args...)
	cmd.Stderr = nil
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := ""
	for lines := bufio.NewScanner(log); lines.Scan(); {
		said += lines.Text() + "\n"
		if strings.HasPrefix(lines.Text(), "stage longer: 4 cells") {
			break
		}
	}
	_ = cmd.Process.Kill()
	if cmd.Wait() == nil || !strings.Contains(said, "is promoted") {
		t.Fatalf("it was not killed between the stages: %s", said)
	}
	before := records(t, out)
	if len(before) != 8 {
		t.Fatalf("%d records after the first stage, wanted 8: %s", len(before), said)
	}
	// The promotion, by hand: the lowest mean over two seeds, but for the baseline's.
	sum := map[string]float64{}
	for path, text := range before {
		r, err := record.Parse([]byte(text))
		if err != nil {
			t.Fatal(path, err)
		}
		sum[filepath.Base(filepath.Dir(filepath.Dir(filepath.Dir(path))))] += r.Validation.Loss
	}
	best, base := "", "baseline+vocab=400+length=32+d=24+heads=3+qkv_dim=8+ff=48"
	for name := range sum {
		if name != base && (best == "" || sum[name] < sum[best]) {
			best = name
		}
	}
	if len(sum) != 4 || sum[base] == 0 {
		t.Fatalf("records of %v", sum)
	}
	table := untimed(t, ok(t, args...))
	if len(table) != 6 {
		t.Errorf("a table of %d rows, wanted 4 and 2", len(table))
	}
	after := records(t, out)
	for path, text := range before {
		if after[path] != text {
			t.Errorf("%s was run again", path)
		}
	}
	for _, name := range []string{base, best} {
		for seed := 1; seed <= 2; seed++ {
			path := filepath.Join("longer", "sharing", name, "decoder", fmt.Sprintf("seed-%d", seed), record.FileName)
			r, err := record.Parse([]byte(after[path]))
			if err != nil || r.Training.Steps != 60 {
				t.Errorf("%s: %v, %+v, wanted 60 steps", path, err, r)
			}
		}
	}
	if len(after) != 12 {
		t.Errorf("%d records, wanted 8 and 4: %q", len(after), slices.Sorted(maps.Keys(after)))
	}
	if text := ok(t, plain...); strings.Contains(text, `"known": false`) || !strings.Contains(text, `"done": 8`) || !strings.Contains(text, `"done": 4`) {
		t.Errorf("once it is done: %s", text)
	}
	ok(t, args...)
	if fmt.Sprint(records(t, out)) != fmt.Sprint(after) {
		t.Error("a third call changed records")
	}
}

// Plans that cannot be, and flags that plans have no use for.
func TestPlanRefused(t *testing.T) {
	inFolder(t)
	write(t, "key.yaml", "plan: x\nstages:\n- name: a\n  varants: [baseline]\n")
	write(t, "name.yaml", "stages:\n- name: a\n  variants: [baseline, bseline]\n  budget: {steps: 3}\n")
	for _, c := range []struct {
		line string
		code int
		want string
	}{
		{"--plan sharin", 1, "--plan sharin: no such file or directory (plans that march brings along: sharing)"},
		{"--plan key.yaml", 1, `--plan key.yaml: line 4: stages[0]: unknown key "varants": wanted one of about, arch, budget`},
		{"--plan name.yaml", 1, `--plan name.yaml: line 3: stage a: unknown variant "bseline"; did you mean baseline`},
		{"--plan sharing", 1, "ranks by blimp_accuracy, which suite blimp gives; scored are ppl, grammar"},
		{"--plan sharing --by loss", 1, `--by: measure "loss" cannot rank runs`},
		{"--plan sharing --variant baseline", 2, "--variant beside --plan: the plan says that"},
		{"--plan sharing --steps 3", 2, "--steps beside --plan"},
		{"--optional", 2, "--optional needs --plan"},
		{"--print", 2, "--print needs --plan"},
	} {
		code, stdout, log := march(t, append([]string{"bench"}, strings.Fields(c.line)...)...)
		if code != c.code || stdout != "" || !strings.Contains(log, c.want) {
			t.Errorf("march bench %s: exit code %d, %s\n wanted %d, %s", c.line, code, log, c.code, c.want)
		}
	}
	if text := ok(t, "bench", "--plan", "sharing", "--print"); !strings.Contains(text, "promote: {from: deep-wide, top: 1") {
		t.Errorf("the printed plan: %s", text)
	}
}

// A speed is measured with the micro-batch that training will have: the one asked for, or else the largest that memory holds.
func TestMeasuredBatch(t *testing.T) {
	t.Parallel()
	tooLarge := errors.New("no memory left")
	stopped, stop := context.WithCancelCause(t.Context())
	stop(errors.New("stopped by hand"))
	for _, c := range []struct {
		ctx          context.Context
		batch, holds int
		asked        bool
		want         string
		tried        []int
	}{
		{t.Context(), 12, 16, false, "", []int{12}},
		{t.Context(), 12, 3, false, "", []int{12, 6, 3}},
		{t.Context(), 9, 2, false, "", []int{9, 3, 1}},
		{t.Context(), 2, 0, false, "no memory left", []int{2, 1}},
		{t.Context(), 12, 3, true, "no memory left", []int{12}},
		{stopped, 12, 16, false, "stopped by hand", nil},
	} {
		var tried []int
		speed, err := fitting(c.ctx, c.batch, c.asked, func(err error) bool { return errors.Is(err, tooLarge) }, func(batch int) (float64, error) {
			tried = append(tried, batch)
			if batch > c.holds {
				return 0, fmt.Errorf("measuring: %w", tooLarge)
			}
			return float64(batch), nil
		})
		switch {
		case !slices.Equal(tried, c.tried):
			t.Errorf("%+v: tried %v", c, tried)
		case c.want == "" && (err != nil || speed != float64(tried[len(tried)-1])):
			t.Errorf("%+v: speed %v, %v", c, speed, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := measured(stopped, nil, variants.Variant{}, 1, 1); err == nil || err.Error() != "stopped by hand" {
		t.Errorf("measuring after a stop: %v", err)
	}
}

// TestShares: cells of scale tiny have two threads each, larger ones all of them; more cells at once than there are have none.
func TestShares(t *testing.T) {
	for _, c := range []struct {
		atOnce, threads, cells int
		scale                  string
		wantCells, wantThreads int
	}{
		{0, 2, 48, "tiny", 1, 2}, {0, 1, 48, "tiny", 1, 1}, {0, 16, 48, "tiny", 8, 2}, {0, 5, 48, "tiny", 2, 2}, {0, 16, 3, "tiny", 3, 5},
		{0, 16, 48, "small", 1, 16}, {4, 16, 48, "small", 4, 4}, {2, 2, 48, "tiny", 2, 1}, {3, 2, 48, "tiny", 3, 1},
	} {
		if cells, threads := shares(c.atOnce, c.threads, c.cells, c.scale); cells != c.wantCells || threads != c.wantThreads {
			t.Errorf("%+v: %d cells of %d threads", c, cells, threads)
		}
	}
}
