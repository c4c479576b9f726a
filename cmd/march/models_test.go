package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"march/variants"
	"march/variants/manifest"
)

func TestListGolden(t *testing.T) {
	t.Setenv("COLUMNS", "110")
	golden(t, "list.txt", ok(t, "list", "--scale", "tiny", "baseline", "very_wide_*", "gpt2"))
}

// Every variant is listed, and without a terminal nothing is cut.
func TestListWhole(t *testing.T) {
	t.Setenv("COLUMNS", "")
	var entries []entry
	if err := json.Unmarshal([]byte(ok(t, "list", "--scale", "tiny", "--json")), &entries); err != nil {
		t.Fatal(err)
	}
	text := ok(t, "list", "--scale", "tiny", "very_wide_*", "gpt2")
	for _, name := range variants.Names("") {
		for _, arch := range variants.Archs(name) {
			i := slices.IndexFunc(entries, func(x entry) bool { return x.Name == name && x.Arch == arch })
			if i < 0 {
				t.Errorf("%s %s is not listed in JSON", name, arch)
				continue
			}
			x := entries[i]
			if x.Error != "" {
				continue
			}
			if x.Budget.Total == 0 || x.Budget.TrainingFLOPs < 2*x.Budget.ForwardFLOPs || x.Distance == nil {
				t.Errorf("%s %s: budget %+v, distance %v", name, arch, x.Budget, x.Distance)
			}
			if _, bare, _ := strings.Cut(name, "/"); strings.Contains(bare, "very_wide") && (!strings.Contains(text, bare) || !strings.Contains(text, x.Description)) {
				t.Errorf("%s is not listed with %q", name, x.Description)
			}
		}
	}
}

// The listed name is one that other commands take for the same variant.
func TestShortName(t *testing.T) {
	for _, full := range variants.Names("") {
		v, err := variants.Find(shortName(full), "tiny", "")
		if err != nil || v.FullName() != full {
			t.Errorf("%s is listed as %s, which is %s, %v", full, shortName(full), v.FullName(), err)
		}
	}
}

func TestShowGolden(t *testing.T) {
	t.Setenv("COLUMNS", "")
	golden(t, "show.txt", ok(t, "show", "very_wide_cycle", "--scale", "tiny", "--set", "act=silu"))
}

// What show prints is a config file of the same model, at every scale and for every
// variant; what it says of the difference leads from the baseline to the variant.
func TestShowRoundTrip(t *testing.T) {
	inFolder(t)
	for _, full := range variants.Names("") {
		v, err := variants.Find(full, "tiny", "")
		if err != nil {
			continue
		}
		back, err := variants.ReadYAML([]byte("variant: "+full+"\n"+v.Config.YAML()), "tiny", "")
		if err != nil || back.Config != v.Config || back.FullName() != full {
			t.Errorf("%s: read back %+v, %v", full, back, err)
		}
	}
	write(t, "x.yaml", ok(t, "show", "wide_cycle", "--scale", "small", "--set", "glu=true"))
	var shown struct {
		Name       string
		Difference []change
		Config     variants.Config
	}
	if err := json.Unmarshal([]byte(ok(t, "show", "--config", "x.yaml", "--scale", "small", "--json")), &shown); err != nil {
		t.Fatal(err)
	}
	want, err := variants.Find("wide_cycle+glu=true", "small", "")
	if err != nil || shown.Config != want.Config || shown.Name != want.FullName() {
		t.Errorf("read back %+v, want %+v, %v", shown, want, err)
	}
	base, err := variants.Find("baseline", "small", "")
	for _, x := range shown.Difference {
		if e := base.Config.Set(x.Axis, x.Value); e != nil {
			t.Error(e)
		}
	}
	if err != nil || base.Config != want.Config {
		t.Errorf("the baseline with the difference is %+v, want %+v, %v", base.Config, want.Config, err)
	}
}

func TestListAxes(t *testing.T) {
	var list []axis
	if err := json.Unmarshal([]byte(ok(t, "list", "--axes", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	text := ok(t, "list", "--axes")
	for i, a := range variants.Axes() {
		if list[i].Name != a.Name || list[i].Values == "" || list[i].Doc == "" || !strings.Contains(text, a.Name) {
			t.Errorf("axis %s is listed as %+v", a.Name, list[i])
		}
	}
	for axis, want := range map[string]string{"heads": "a whole number", "glu": "true or false", "norm.kind": "layer, rms"} {
		if got := allowed(axis); got != want {
			t.Errorf("values of %s are %q, want %q", axis, got, want)
		}
	}
}

func TestGenOne(t *testing.T) {
	inFolder(t)
	text := ok(t, "gen", "--variant", "very_wide_cycle", "--scale", "tiny", "--batch", "2", "--seq", "32", "--seed", "7", "--target", "ort", "--out", "a/b")
	m := verified(t, "a/b")
	if m.Batch != 2 || m.Length != 32 || m.Seed != 7 || m.Target != "ort" || m.Variant != "very_wide_cycle" || m.Scale != "tiny" {
		t.Errorf("manifest %+v", m)
	}
	entries, err := os.ReadDir("a/b")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range entries {
		if !strings.Contains(text, " "+x.Name()+" ") {
			t.Errorf("%s is not in\n%s", x.Name(), text)
		}
	}
	if !strings.HasSuffix(text, "in a/b\n") {
		t.Errorf("the folder is not named at the end of\n%s", text)
	}
}

// Where programs go, by what is asked for.
func TestGenFolders(t *testing.T) {
	inFolder(t)
	write(t, "own.yaml", "variant: baseline\nheads: 3\nqkv_dim: 32\n")
	for _, x := range []struct {
		line string
		want []string
	}{
		{"--variant baseline", []string{"programs/sharing/baseline/decoder"}},
		{"--variant baseline --out one", []string{"one"}},
		{"--variant baseline --variant sharing/baseline --out same", []string{"same"}},
		{"--config own.yaml --out own", []string{"own"}},
		{"--variant baseline --config own.yaml --set vocab=300 --out two", []string{"two/sharing/baseline+vocab=300/decoder", "two/sharing/baseline+vocab=300+heads=3+qkv_dim=32/decoder"}},
		{"--variant wide_c* --vocab 300 --out glob", []string{"glob/sharing/wide_cycle+vocab=300/decoder", "glob/sharing/wide_cycle_rev+vocab=300/decoder"}},
	} {
		var programs []writtenProgram
		args := append([]string{"gen", "--scale", "tiny", "--batch", "1", "--seq", "8", "--json"}, strings.Fields(x.line)...)
		if err := json.Unmarshal([]byte(ok(t, args...)), &programs); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range programs {
			got = append(got, filepath.ToSlash(p.Folder))
			verified(t, p.Folder)
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("march gen %s: %q, want %q", x.line, got, x.want)
		}
	}
}

// A table of several programs fits the width and names each.
func TestGenSeveral(t *testing.T) {
	inFolder(t)
	t.Setenv("COLUMNS", "100")
	code, stdout, stderr := march(t, "gen", "--variant", "deep_cycle*", "--scale", "tiny", "--batch", "1", "--seq", "8")
	if code != 0 || !strings.Contains(stdout, "sharing/deep_cycle_rev ") || !strings.Contains(stdout, "2 programs") || strings.Count(stderr, "\n") != 2 {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
}

func verified(t *testing.T, folder string) *manifest.Manifest {
	t.Helper()
	m, err := manifest.Read(folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Verify(folder); err != nil {
		t.Error(err)
	}
	return m
}
