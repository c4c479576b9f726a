package results

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"march/results/record"
)

func TestLossSD(t *testing.T) {
	line := make([]float64, 100)
	for i := range line {
		line[i] = 5 - 0.01*float64(i)
	}
	if sd, ok := LossSD(line); !ok || sd > 1e-12 {
		t.Errorf("a straight line: %v %v", sd, ok)
	}
	// ±0.1 by turns around a line: the residuals' squares sum to 50 · 0.01, less what the line takes up.
	turns := slices.Clone(line)
	for i := range turns {
		turns[i] += 0.1 * float64(1-2*(i%2))
	}
	if sd, ok := LossSD(turns); !ok || math.Abs(sd-math.Sqrt(50*0.01/48)) > 1e-3 {
		t.Errorf("by turns: %v %v", sd, ok)
	}
	// The first half does not count.
	for i := range 50 {
		turns[i] = 1000
	}
	if sd, ok := LossSD(turns); !ok || math.Abs(sd-math.Sqrt(50*0.01/48)) > 1e-3 {
		t.Errorf("wild first half: %v %v", sd, ok)
	}
	// 1, 2, 4: the line is 5/6 + 3/2·x, residuals 1/6, −1/3, 1/6, so that sd is sqrt(1/6).
	if sd, ok := LossSD([]float64{9, 9, 1, 2, 4}); !ok || math.Abs(sd-math.Sqrt(1.0/6)) > 1e-12 {
		t.Errorf("three: %v %v", sd, ok)
	}
	for _, bad := range [][]float64{nil, {1, 2, 3}, {1, 2, 3, math.NaN(), 5, 6}, {1, 1, 1, math.Inf(1), 1, 1}} {
		if sd, ok := LossSD(bad); ok {
			t.Errorf("%v: %v", bad, sd)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	save := func(path string, r record.Run) string {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := record.WriteFile(path, &r); err != nil {
			t.Fatal(err)
		}
		return path
	}
	b := save("runs/b/seed2/run.json", run("b", "", 2, 0))
	a := save("runs/a/run.json", run("a", "", 1, 0))
	other := save("saved/other-name.json", run("c", "", 1, 0))
	empty := filepath.Join(dir, "empty")
	odd := filepath.Join(dir, "odd[1]")
	for _, d := range []string{empty, odd, filepath.Join(dir, "broken", "x")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	temporary := filepath.Join(dir, "saved", ".run.json.march-tmp-0123456789ab")
	broken := filepath.Join(dir, "broken", "x", "run.json")
	for _, path := range []string{temporary, broken, filepath.Join(dir, "runs", "a", "metrics.json")} {
		if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "runs"), link); err != nil {
		t.Fatal(err)
	}
	runs := filepath.Join(dir, "runs")
	cases := []struct {
		name  string
		paths []string
		want  []string // variants
		errs  []string
	}{
		{"nothing", nil, nil, nil},
		{"a folder", []string{runs}, []string{"a", "b"}, nil},
		{"a link to a folder", []string{link}, []string{"a", "b"}, nil},
		{"files", []string{b, a}, []string{"b", "a"}, nil},
		{"any name", []string{other}, []string{"c"}, nil},
		{"globs", []string{filepath.Join(dir, "runs", "*"), filepath.Join(dir, "saved", "*.json")}, []string{"a", "b", "c"}, nil},
		{"once each", []string{a, runs, link, a}, []string{"a", "b"}, nil},
		{"an empty folder", []string{empty}, nil, nil},
		{"a name that looks like a glob", []string{odd}, nil, nil},
		{"missing", []string{filepath.Join(dir, "no")}, nil, []string{filepath.Join(dir, "no") + ": no such file or folder"}},
		{"no match", []string{filepath.Join(dir, "no*")}, nil, []string{"no*: no file or folder matches"}},
		{"bad glob", []string{filepath.Join(dir, "[")}, nil, []string{"not a valid glob"}},
		{"one broken", []string{dir}, []string{"a", "b"}, []string{broken + ": not a run record"}},
		{"several errors", []string{"no1", runs, "no2"}, []string{"a", "b"}, []string{"no1: no such", "no2: no such"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Load(c.paths...)
			var variants []string
			for _, r := range got {
				variants = append(variants, r.Cell.Variant)
				if r.Path == "" {
					t.Error("a run does not know its file")
				}
			}
			if !slices.Equal(variants, c.want) {
				t.Errorf("loaded %q, want %q", variants, c.want)
			}
			if (err != nil) != (len(c.errs) > 0) {
				t.Errorf("error %v", err)
			}
			for _, want := range c.errs {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q", err, want)
				}
			}
		})
	}
}

// Files of any name, each once, with what led to them.
func TestFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, path := range []string{"runs/a/steps", "runs/b/c/steps", "runs/b/run.json"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("runs", "link"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		paths []string
		want  []File
	}{
		{[]string{"runs", "link"}, []File{{"runs/a/steps", "runs"}, {"runs/b/c/steps", "runs"}}},
		{[]string{"link", "runs/a"}, []File{{"link/a/steps", "link"}, {"link/b/c/steps", "link"}}},
		{[]string{"runs/*", "runs"}, []File{{"runs/a/steps", "runs/a"}, {"runs/b/c/steps", "runs/b"}}},
		{[]string{"runs/a/steps"}, []File{{"runs/a/steps", "runs/a/steps"}}},
	} {
		if got, err := Files("steps", c.paths...); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q: %v, %v; want %v", c.paths, got, err, c.want)
		}
	}
	got, err := Files("steps", "no", "runs/b")
	if err == nil || !strings.Contains(err.Error(), "no: no such file or folder") || !slices.Equal(got, []File{{"runs/b/c/steps", "runs/b"}}) {
		t.Errorf("%v beside %v", got, err)
	}
}

// A table must not depend on maps' order, nor change the runs.
func TestDeterministic(t *testing.T) {
	want := write(t, New(budgets()), JSON, 0)
	runs := budgets()
	for range 20 {
		if got := write(t, New(runs), JSON, 0); !bytes.Equal(got, want) {
			t.Fatalf("two tables of the same runs differ:\n%s\n%s", got, want)
		}
	}
	if !reflect.DeepEqual(runs, budgets()) {
		t.Error("the runs were changed")
	}
}
