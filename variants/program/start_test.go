package program

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"march/trainloop/safetensors"
	"march/variants"
	"march/variants/manifest"
)

// TestStart: start values from elsewhere are asked for one at a time, lie in the program, and are named by its manifest.
func TestStart(t *testing.T) {
	v, dir := micro(t), t.TempDir()
	var asked []string
	values := func(p variants.Parameter) ([]float32, error) {
		asked = append(asked, p.Name)
		return slices.Repeat([]float32{float32(len(p.Name))}, p.Elements()), nil
	}
	m, err := Write(dir, v, Options{Batch: 2, Graphs: []string{"infer"}, Start: values, Init: "abc"})
	if err != nil {
		t.Fatal(err)
	}
	if m.Init != "abc" || len(asked) != len(m.Parameters) {
		t.Errorf("init %q; asked for %v", m.Init, asked)
	}
	if err := m.Verify(dir); err != nil {
		t.Error(err)
	}
	f, err := safetensors.Open(filepath.Join(dir, InitFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range m.Parameters {
		got := make([]float32, p.Elements())
		if err := safetensors.Read(f, p.Name, got); err != nil || got[len(got)-1] != float32(len(p.Name)) {
			t.Errorf("%s ends with %v (%v)", p.Name, got[len(got)-1], err)
		}
	}
	_, err = Write(dir, v, Options{Batch: 2, Start: func(variants.Parameter) ([]float32, error) { return nil, errors.New("lost") }})
	if err == nil || !strings.Contains(err.Error(), "lost") {
		t.Errorf("values that cannot be had: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, manifest.File)); err == nil {
		t.Error("a manifest vouches for a program that was not written")
	}
}
