package program

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"march/graphgen"
	"march/graphgen/atomicfile"
	"march/trainloop/safetensors"
	"march/variants"
	"march/variants/manifest"
)

// Write makes the folder dir and writes the program into it; the manifest comes last, so
// that a folder with a manifest is whole.
func Write(dir string, v variants.Variant, o Options) (*manifest.Manifest, error) {
	w, err := Begin(dir, v, o)
	if err != nil {
		return nil, err
	}
	return w.Wait()
}

// Writing is a program on its way to its folder: the graphs are there and can be run, while start values and manifest
// are still being written.
type Writing struct {
	// Manifest lists all but the start values' file.
	Manifest *manifest.Manifest

	done  chan struct{}
	whole *manifest.Manifest
	err   error
}

// Wait returns when nothing is being written any more: the manifest of the whole folder, or what went wrong. Whoever
// began must wait, before he writes into the folder again or ends.
func (w *Writing) Wait() (*manifest.Manifest, error) {
	<-w.done
	return w.whole, w.err
}

// Written is a program that is in its folder already, as its manifest says.
func Written(m *manifest.Manifest) *Writing {
	done := make(chan struct{})
	close(done)
	return &Writing{Manifest: m, done: done, whole: m}
}

// Begin is [Write] for somebody who needs the graphs at once: it returns when they are in the folder.
func Begin(dir string, v variants.Variant, o Options) (*Writing, error) {
	w, err := begin(dir, v, o)
	if err != nil {
		return nil, fmt.Errorf("variant %s: %w", v.FullName(), err)
	}
	return w, nil
}

func begin(dir string, v variants.Variant, o Options) (*Writing, error) {
	if err := v.Config.Validate(); err != nil {
		return nil, err
	}
	o = o.orDefaults(v.Config)
	if err := o.check(v.Config); err != nil {
		return nil, err // before an older program in the folder is touched
	}
	m, err := describe(v, o)
	if err != nil {
		return nil, err
	}
	if err := vacate(dir); err != nil {
		return nil, err
	}
	w := &writer{dir: dir, variant: v, options: o, m: m, started: make(chan struct{})}
	var start manifest.Digest
	var startErr error
	go func() {
		defer close(w.started)
		start, startErr = w.start()
	}()
	if err := w.graphs(); err != nil {
		<-w.started // nothing goes on behind an error
		return nil, err
	}
	p := &Writing{Manifest: m, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		<-w.started
		whole := *m // whoever runs the graphs reads the other one
		whole.Files = maps.Clone(m.Files)
		whole.Files[InitFile] = start
		if p.err = startErr; p.err == nil {
			p.err = whole.Write(dir)
		}
		if p.err != nil {
			p.err = fmt.Errorf("variant %s: %w", v.FullName(), p.err)
			return
		}
		p.whole = &whole
	}()
	return p, nil
}

// orDefaults are the options with what is left out filled in.
func (o Options) orDefaults(c variants.Config) Options {
	if o.Target == "" {
		o.Target = graphgen.Portable
	}
	if o.Opset == 0 {
		o.Opset = graphgen.Opset
	}
	if o.Precision == "" {
		o.Precision = "fp32"
	}
	if o.Recompute == "" {
		o.Recompute = "none"
	}
	if o.Length == 0 {
		o.Length = c.Length
	}
	if o.Batch == 0 {
		o.Batch = DefaultBatch(c, o.Length)
	}
	if o.Graphs == nil {
		o.Graphs = Graphs()
	}
	return o
}

// vacate makes the folder and takes away what an older program in it vouches for.
func vacate(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	// A manifest that stays while the files change would vouch for a mixture.
	if err := os.Remove(filepath.Join(dir, manifest.File)); err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, name := range append(Graphs(), "training") { // nor may a graph of an older program stay beside the new one
		if err := os.Remove(filepath.Join(dir, name+".onnx")); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// writer writes the files of one program. Graphs and start values are made at the same time.
type writer struct {
	dir     string
	variant variants.Variant
	options Options
	started chan struct{} // closed when the start values are written
	weights map[string]graphgen.External

	mu sync.Mutex // guards the lists in m
	m  *manifest.Manifest
}

// start writes the start values and notes where each lies, for infer.onnx.
func (w *writer) start() (d manifest.Digest, err error) {
	params, err := w.variant.Config.Parameters()
	if err != nil {
		return d, err
	}
	tensors := make([]safetensors.Tensor, len(params))
	for i, p := range params {
		tensors[i] = safetensors.Tensor{Name: p.Name, DType: "F32", Shape: p.Shape, Make: func() ([]byte, error) { return w.startOf(p) }}
	}
	path := filepath.Join(w.dir, InitFile)
	d.Bytes, d.SHA256, err = safetensors.WriteFileDigest(path, tensors, map[string]string{"format": "pt", "producer": "march", "variant": w.variant.FullName()})
	if err != nil {
		return d, err
	}
	f, err := safetensors.Open(path)
	if err != nil {
		return d, err
	}
	defer f.Close()
	w.weights = map[string]graphgen.External{}
	for _, t := range f.Tensors() {
		w.weights[t.Name] = graphgen.External{File: InitFile, Offset: t.Offset, Length: t.Bytes}
	}
	return d, nil
}

// graphs writes all graphs, at the same time. Of several errors the first graph's is returned.
func (w *writer) graphs() error {
	names := slices.Clone(w.options.Graphs)
	if w.options.TrainingInfo {
		names = append(names, "training")
	}
	errs, bugs := make([]error, len(names)), make([]any, len(names))
	var work sync.WaitGroup
	for i, name := range names {
		work.Go(func() {
			defer func() { bugs[i] = bug(name, recover()) }()
			if err := w.graph(name); err != nil {
				errs[i] = fmt.Errorf("%s.onnx: %w", name, err)
			}
		})
	}
	work.Wait()
	for _, b := range bugs {
		if b != nil {
			panic(b) // where it would have come out of a single goroutine
		}
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// bug is what was recovered from a panic, with its place in the code; nil where nothing was.
func bug(graph string, recovered any) any {
	if recovered == nil {
		return nil
	}
	pc := make([]uintptr, 32)
	frames := runtime.CallersFrames(pc[:runtime.Callers(3, pc)])
	for {
		f, more := frames.Next()
		if strings.HasPrefix(f.Function, "march/") {
			return fmt.Sprintf("%s.onnx: %v, at %s:%d", graph, recovered, f.File, f.Line)
		}
		if !more {
			return recovered
		}
	}
}

// graph writes one graph, or for training the model and its training step in one file.
func (w *writer) graph(name string) error {
	if name == "infer" || name == "training" {
		if <-w.started; w.weights == nil {
			return nil // the start values' error is the one to report
		}
	}
	enc := w.encoding(name)
	if name == "training" {
		infer, _, err := w.compile("infer")
		if err != nil {
			return err
		}
		step, _, err := w.compile("step")
		if err != nil {
			return err
		}
		b, err := graphgen.EncodeTraining(infer, step, enc)
		if err != nil {
			return err
		}
		return w.write(TrainingFile, b)
	}
	p, flops, err := w.compile(name)
	if err != nil {
		return err
	}
	b, err := p.Encode(enc)
	if err != nil {
		return err
	}
	described := describeGraph(name+".onnx", p.Graph, enc.Weights)
	described.FLOPs = flops
	w.mu.Lock()
	w.m.Graphs[name] = described
	w.mu.Unlock()
	return w.write(name+".onnx", b)
}

// write reads a model back and gives it its name.
func (w *writer) write(file string, b []byte) error {
	if err := ReadBack(b); err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	w.mu.Lock()
	w.m.Files[file] = manifest.Digest{Bytes: int64(len(b)), SHA256: hex.EncodeToString(sum[:])}
	w.mu.Unlock()
	return atomicfile.WriteFile(filepath.Join(w.dir, file), b)
}
