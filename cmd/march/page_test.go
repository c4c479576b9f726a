package main

import (
	"encoding/json"
	"html"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"march/cmd/internal/sweep"
	"march/results/record"
	"march/trainloop"
	"march/variants/manifest"
)

// madeRun is a run's record with its settings and its program's manifest, written to a folder.
func madeRun(t *testing.T, s trainloop.Settings, m manifest.Manifest) *record.Run {
	t.Helper()
	dir := t.TempDir()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, trainloop.SettingsFile), string(text))
	if err := os.MkdirAll(sweep.ProgramDir(dir), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := m.Write(sweep.ProgramDir(dir)); err != nil {
		t.Fatal(err)
	}
	return &record.Run{
		Cell: record.Cell{Study: s.Study, Variant: s.Variant, Arch: s.Arch, Scale: s.Scale, Seed: s.Seed, Target: s.Target, Precision: s.Precision, Device: s.Device},
		Data: record.Data{Name: "grammar"}, Path: filepath.Join(dir, record.FileName),
		Suites: map[string]record.Suite{"grammar": {}, "blimp": {}, "lambada": {Settings: map[string]string{"form": "openai", "data": "sha256 c0ffee"}}},
	}
}

func TestAgain(t *testing.T) {
	s := trainloop.Settings{Study: "sharing", Variant: "variant_31", Arch: "decoder", Scale: "tiny", Seed: 3, Steps: 900, TokensPerStep: 512, MicroBatch: 4, Length: 128,
		Target: "ort", Device: "cpu", Precision: "fp32", Threads: 1, Config: json.RawMessage(`{"training":{"rate":0.003}}`)}
	lines, err := again(madeRun(t, s, manifest.Manifest{}))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"# BLIMP: its folder of jsonl files", "# LAMBADA: its file, in the openai form, of which march says data: sha256 c0ffee",
		"march train --variant sharing/variant_31 --arch decoder --scale tiny --seed 3 --steps 900 --tokens-per-step 512 --rate 0.003 --batch 4 --target ort --device cpu --precision fp32 --threads 1 --suite grammar,blimp,lambada --blimp BLIMP --lambada LAMBADA --out again"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}

	// What a GPU's run adds, and what a record of another's may hold.
	s.Variant, s.Device, s.Precision, s.Deterministic, s.Teacher = "baseline+x=it's; rm", "cuda", "bf16", true, "5707135a"
	r := madeRun(t, s, manifest.Manifest{Recompute: "attention", LossChunks: 8})
	r.Data, r.Suites = record.Data{Name: "a\nrm -r b", SHA256: "c0ffee11"}, map[string]record.Suite{
		"ppl": {Settings: map[string]string{"arithmetic": "TF32"}}, "grammar": {Limit: 20, Settings: map[string]string{"sentence length": "per token"}}}
	if lines, err = again(r); err != nil {
		t.Fatal(err)
	}
	want = []string{"# DATA: the prepared folder a rm -r b (sha256 c0ffee11)", "# TEACHER: the run whose parameters have the sha256 5707135a",
		`march train --variant 'sharing/baseline+x=it'\''s; rm' --arch decoder --scale tiny --seed 3 --steps 900 --tokens-per-step 512 --rate 0.003 --batch 4 --target ort --device cuda --precision bf16 --threads 1` +
			" --deterministic --recompute attention --loss-chunks 8 --data DATA --teacher TEACHER --suite ppl,grammar --per-token --limit 20 --out again",
		"march eval --run again --data DATA --suite grammar --per-token --limit 20"} // scored later, in float32
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
	words := strings.Fields(strings.Replace(want[2], `'sharing/baseline+x=it'\''s; rm'`, "baseline", 1))[2:]
	f := trainCommand.flags()
	trainCommand.setup(f)
	if err := f.Parse(words); err != nil {
		t.Errorf("march train knows no such line: %v", err)
	}

	if err := os.RemoveAll(sweep.ProgramDir(filepath.Dir(r.Path))); err != nil {
		t.Fatal(err)
	}
	if lines, err := again(r); err == nil {
		t.Errorf("without a manifest: %q", lines)
	}
}

// The page names the command line that makes it, and what is missing is said once.
func TestReportLine(t *testing.T) {
	inFolder(t)
	saveRun(t, "my runs/a", "baseline", 0.75, "")
	saveRun(t, "my runs/b", "deep_cycle", 0.81, "")
	code, _, log := march(t, "report", "my runs", "--out", "page.html", "--pictures", "pictures")
	if code != 0 {
		t.Fatal(log)
	}
	if n := strings.Count(log, "missing: curves: "); n != 1 {
		t.Errorf("missing curves are named %d times:\n%s", n, log)
	}
	page, err := os.ReadFile("page.html")
	if err != nil {
		t.Fatal(err)
	}
	if want := "<code>march report 'my runs' --out page.html</code>"; !strings.Contains(html.UnescapeString(string(page)), want) {
		t.Errorf("no %q in the page", want)
	}
	if !strings.Contains(string(page), `<figure id="valid_loss_parameters">`) {
		t.Error("no picture in the page")
	}
	if _, err := os.Stat(filepath.Join("pictures", "valid_loss_parameters.png")); err != nil {
		t.Error(err)
	}
	if code, _, log := march(t, "report", "my runs", "--pictures", "again"); code != 0 || strings.Count(log, "missing: curves: ") != 1 {
		t.Errorf("exit code %d:\n%s", code, log)
	}
}
