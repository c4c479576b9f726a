package program

import (
	"errors"
	"fmt"
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

// TestBegin: the graphs are there while start values are still being made, and the folder is whole when they are. What goes
// wrong with them is what waiting for them gives, and no manifest vouches for the rest.
func TestBegin(t *testing.T) {
	v, dir := micro(t), t.TempDir()
	enough := make(chan struct{})
	values := func(p variants.Parameter) ([]float32, error) { <-enough; return make([]float32, p.Elements()), nil }
	w, err := Begin(dir, v, Options{Batch: 2, Graphs: []string{"grad", "update", "eval"}, Start: values})
	if err != nil {
		t.Fatal(err)
	}
	for name, g := range w.Manifest.Graphs {
		info, err := os.Stat(filepath.Join(dir, g.File))
		if err != nil || info.Size() != w.Manifest.Files[g.File].Bytes {
			t.Errorf("%s is not there: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, manifest.File)); err == nil || len(w.Manifest.Graphs) != 3 {
		t.Errorf("there is a manifest before there are start values, or these are not all graphs: %v", w.Manifest.Graphs)
	}
	close(enough)
	m, err := w.Wait()
	if err != nil {
		t.Fatal(err)
	}
	read, err := manifest.ReadVerified(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Files) != 4 || len(read.Files) != 4 || read.Files[InitFile] != m.Files[InitFile] {
		t.Errorf("files %v, read back %v", m.Files, read.Files)
	}
	if again, err := w.Wait(); again != m || err != nil {
		t.Errorf("the second time: %v", err)
	}

	enough = make(chan struct{})
	w, err = Begin(dir, v, Options{Batch: 2, Start: func(variants.Parameter) ([]float32, error) { <-enough; return nil, errors.New("lost") }, Graphs: []string{"eval"}})
	if err != nil {
		t.Fatal(err)
	}
	close(enough)
	if _, err := w.Wait(); err == nil || !strings.Contains(err.Error(), "lost") || !strings.HasPrefix(err.Error(), "variant ") {
		t.Errorf("start values that cannot be had: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, manifest.File)); err == nil {
		t.Error("a manifest vouches for a program that was not written")
	}

	// Of a graph and the start values that both fail, nothing is left running, and the graph is named.
	grown := false
	_, err = Begin(dir, v, Options{Batch: 3, LossChunks: 7, Graphs: []string{"eval", "grad"}, Start: func(p variants.Parameter) ([]float32, error) {
		grown = true // a race where this went on behind the error
		return nil, errors.New("lost")
	}})
	if err == nil || !strings.Contains(err.Error(), "grad.onnx: 7 chunks of the loss head") || !grown {
		t.Errorf("a graph that cannot be: %v", err)
	}
}

// TestBug: a panic, which is a bug, comes out of Write, where it can be reported, and says where it was.
func TestBug(t *testing.T) {
	defer func() {
		if r := fmt.Sprint(recover()); !strings.Contains(r, "eval.onnx: ") || !strings.Contains(r, ".go:") {
			t.Errorf("recovered %s", r)
		}
	}()
	m := &manifest.Manifest{Graphs: map[string]*manifest.Graph{}} // without files
	w := &writer{dir: t.TempDir(), variant: micro(t), options: Options{Batch: 1, Graphs: []string{"eval"}}.orDefaults(micro(t).Config), m: m}
	err := w.graphs()
	t.Errorf("no panic, but %v", err)
}
