package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"march/results/events"
	"march/trainloop"
)

// saveSteps writes the metrics of a run that was validated at its second step and cut short in its fourth.
func saveSteps(t *testing.T, dir string) {
	t.Helper()
	var text strings.Builder
	for step := int64(1); step <= 3; step++ {
		m := trainloop.Metric{Step: step, Loss: 9 - float64(step)/4, Rate: 0.003, GradNorm: 1, Tokens: 512 * step, Seconds: float64(step) / 2}
		if step == 2 {
			m.Valid, m.PerLabel, m.Scores = new(8.25), map[string]float64{"ponder_sum": 2.5}, map[string]float64{"grammar/accuracy": 0.5}
		}
		line, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(append(line, '\n'))
	}
	write(t, filepath.Join(dir, trainloop.MetricsFile), text.String()+`{"step":4,"lo`)
}

func TestMetrics(t *testing.T) {
	inFolder(t)
	saveSteps(t, "runs/a")
	saveSteps(t, "runs/b/seed-1")
	saveRun(t, "runs/a", "baseline", 0.75, "")
	rows, err := csv.NewReader(strings.NewReader(ok(t, "metrics", "runs"))).ReadAll()
	if err != nil || len(rows) != 7 {
		t.Fatalf("%d lines, %v", len(rows), err)
	}
	if got, want := strings.Join(rows[2], " "), "a 2 1024 1 8.5 8.25 0.003 1 0 2.5 0.5"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if rows[4][0] != "b/seed-1" || rows[1][5] != "" || rows[1][9] != "" {
		t.Errorf("lines %q and %q", rows[1], rows[4])
	}
	lines := strings.Split(strings.TrimSpace(ok(t, "metrics", "runs/a", "runs/a", "--format", "jsonl")), "\n")
	var line struct {
		Run        string
		Step       int64
		Loss       float64
		Valid_loss *float64
	}
	if err := json.Unmarshal([]byte(lines[1]), &line); err != nil || len(lines) != 3 || line.Run != "a" || line.Step != 2 || line.Loss != 8.5 || line.Valid_loss == nil || *line.Valid_loss != 8.25 {
		t.Errorf("%d lines, the second %+v: %v", len(lines), line, err)
	}
	for range 2 { // a second call leaves one file as well
		ok(t, "metrics", "runs", "--tensorboard", "logs")
	}
	files, err := filepath.Glob("logs/a/*")
	if err != nil || len(files) != 1 || filepath.Base(files[0]) != events.FileName {
		t.Fatalf("files %q, %v", files, err)
	}
	file, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{"loss/train": 3, "loss/validation": 1, "per_label/ponder_sum": 1, "score/grammar/accuracy": 2, "brain.Event:2": 1} {
		if got := bytes.Count(file, []byte(text)); got != want {
			t.Errorf("%s is there %d times, want %d", text, got, want)
		}
	}
	if _, err := os.Stat(filepath.Join("logs", "b", "seed-1", events.FileName)); err != nil {
		t.Error(err)
	}
	// Two runs of one name keep apart.
	saveSteps(t, "other/runs/a")
	ok(t, "metrics", "runs", "other/runs", "--tensorboard", "both")
	if files, _ := filepath.Glob("both/runs/a*"); len(files) != 2 {
		t.Errorf("folders %q, want two", files)
	}
}

// What runs are called, by what leads to them.
func TestMetricsNames(t *testing.T) {
	inFolder(t)
	for _, dir := range []string{"A/x", "A/y/seed-1", "B/x"} {
		saveSteps(t, dir)
	}
	if err := os.Symlink("A", "link"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ paths, want string }{
		{"A", "x y/seed-1"},
		{"A/", "x y/seed-1"},
		{"link", "x y/seed-1"},
		{"A link", "A/x A/y/seed-1"},
		{"A B", "A/x A/y/seed-1 B/x"},
		{"[AB]", "A/x A/y/seed-1 B/x"},
		{"A/x B/x", "x x-2"},
		{"A/* B", "x y/seed-1 B/x"},
		{"A/x/metrics.jsonl", "x"},
		{"A/x/*", "x"},
	} {
		rows, err := csv.NewReader(strings.NewReader(ok(t, append([]string{"metrics"}, strings.Fields(c.paths)...)...))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, row := range rows[1:] {
			names = append(names, row[0])
		}
		if got := strings.Join(slices.Compact(names), " "); got != c.want {
			t.Errorf("march metrics %s: runs %s, want %s", c.paths, got, c.want)
		}
	}
	t.Chdir("A/x")
	if got := ok(t, "metrics", "."); !strings.Contains(got, "\nx,1,") {
		t.Errorf("a run in the current folder:\n%s", got)
	}
}
