package runtime

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	ort "github.com/yalue/onnxruntime_go"

	"march/runtime/internal/ortc"
)

// Binding is a session with memory for its inputs and outputs, ready to run
// again and again.
type Binding struct {
	session *Session
	tensors []*Tensor // each once for every time it is bound

	mu    sync.Mutex // held while running; guards inner
	inner *ort.IoBinding
}

// Bind ties every input of the model, and those of its outputs that are wanted,
// to tensors, by name. Names, element types and shapes are checked against the
// model; dynamic dimensions of the same name must agree. Outputs that are not
// bound are not kept.
//
// A tensor, or two over the same memory, may be an input and an output: then
// the run updates it in place. That is right only where the graph reads such an
// input before it writes the output, which whoever makes the graph must see to.
// Outputs must not overlap each other.
func (s *Session) Bind(inputs, outputs map[string]*Tensor) (*Binding, error) {
	dims := map[string]dim{}
	if err := s.match("input", s.inputs, inputs, true, dims); err != nil {
		return nil, fmt.Errorf("bind %s: %w", s.name, err)
	}
	if len(outputs) == 0 {
		return nil, fmt.Errorf("bind %s: no output is bound; it has %s", s.name, nameList(s.outputs))
	}
	if err := s.match("output", s.outputs, outputs, false, dims); err != nil {
		return nil, fmt.Errorf("bind %s: %w", s.name, err)
	}
	if err := disjoint(outputs); err != nil {
		return nil, fmt.Errorf("bind %s: %w", s.name, err)
	}

	r := s.rt
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("bind %s: the session is closed", s.name)
	}
	b := &Binding{session: s}
	for _, m := range []map[string]*Tensor{inputs, outputs} {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			t := m[name]
			if t.closed {
				return nil, fmt.Errorf("bind %s: %s: %w", s.name, name, errTensorClosed)
			}
			b.tensors = append(b.tensors, t)
		}
	}
	var err error
	if b.inner, err = s.inner.CreateIoBinding(); err != nil {
		return nil, fmt.Errorf("bind %s: %w", s.name, tidy(err))
	}
	bind := func(m map[string]*Tensor, to func(string, ort.Value) error) error {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if err := to(name, m[name].value); err != nil {
				return fmt.Errorf("bind %s: %s: %w", s.name, name, tidy(err))
			}
		}
		return nil
	}
	if err := errors.Join(bind(inputs, b.inner.BindInput), bind(outputs, b.inner.BindOutput)); err != nil {
		b.inner.Destroy()
		return nil, err
	}
	for _, t := range b.tensors {
		t.bound++
	}
	s.bindings[b] = struct{}{}
	return b, nil
}

// dim is the size of a named dimension and who set it.
type dim struct {
	size int64
	by   string
}

// match checks tensors against the model's inputs or outputs.
func (s *Session) match(kind string, ports []Info, tensors map[string]*Tensor, all bool, dims map[string]dim) error {
	known := map[string]bool{}
	var missing []string
	for _, p := range ports {
		known[p.Name] = true
		t, ok := tensors[p.Name]
		if !ok {
			missing = append(missing, p.String())
			continue
		}
		if err := s.fits(p, t, dims); err != nil {
			return fmt.Errorf("%s %s: %w", kind, p.Name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		if !known[name] {
			return fmt.Errorf("the model has no %s %q; it has %s", kind, name, nameList(ports))
		}
	}
	if all && len(missing) > 0 {
		return fmt.Errorf("%d of %d %ss are not bound: %s", len(missing), len(ports), kind, shorten(missing))
	}
	return nil
}

func (s *Session) fits(p Info, t *Tensor, dims map[string]dim) error {
	switch {
	case t == nil:
		return fmt.Errorf("the tensor is nil, want %s", p)
	case t.buf.rt != s.rt:
		return errors.New("the tensor belongs to another runtime")
	case t.typ != p.Type:
		return fmt.Errorf("the tensor is %s, want %s", t, p)
	case len(t.shape) != len(p.Shape):
		return fmt.Errorf("the tensor is %s, want %s: %d dimensions", t, p, len(p.Shape))
	}
	for i, want := range p.Shape {
		got := t.shape[i]
		if want >= 0 {
			if got != want {
				return fmt.Errorf("the tensor is %s, want %s: dimension %d is %d, want %d", t, p, i, got, want)
			}
			continue
		}
		symbol := p.Symbols[i]
		if symbol == "" {
			continue
		}
		if d, ok := dims[symbol]; !ok {
			dims[symbol] = dim{got, p.Name}
		} else if d.size != got {
			return fmt.Errorf("the tensor is %s, want %s: %s is %d here and %d in %s", t, p, symbol, got, d.size, d.by)
		}
	}
	return nil
}

// disjoint refuses outputs that write over each other.
func disjoint(outputs map[string]*Tensor) error {
	names := slices.SortedFunc(maps.Keys(outputs), func(a, b string) int {
		return outputs[a].offset - outputs[b].offset
	})
	last := map[*Buffer]string{}
	for _, name := range names {
		t := outputs[name]
		if before, ok := last[t.buf]; ok {
			if p := outputs[before]; p.offset+p.bytes > t.offset {
				return fmt.Errorf("outputs %s and %s share memory", before, name)
			}
		}
		last[t.buf] = name
	}
	return nil
}

// nameList names a few ports, for messages.
func nameList(ports []Info) string {
	names := make([]string, len(ports))
	for i, p := range ports {
		names[i] = p.Name
	}
	return shorten(names)
}

// shorten joins the first few of a list.
func shorten(list []string) string {
	const most = 8
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	return strings.Join(list, ", ")
}

// Run runs the model once on the bound memory. After an error the content of
// the outputs is undefined.
//
// On a GPU, too, it returns when the run is done. ONNX Runtime can be told to return when
// it is queued (disable_synchronize_execution_providers), but 1.29 and 1.30 then free pinned
// memory from a callback in the stream, where CUDA forbids it, and ends the process.
func (b *Binding) Run() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inner == nil {
		return fmt.Errorf("run %s: the binding is closed", b.session.name)
	}
	var err error
	run := func() error { return b.session.inner.RunWithBinding(b.inner) }
	if t := b.session.thread; t != nil {
		err = t.do(run)
	} else if b.session.rt.gpu != nil {
		err = run()
	} else {
		err = ortc.FlushDenormals(run)
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", b.session.name, b.session.rt.tidy(err))
	}
	return nil
}

// Close waits for a run to end and lets go of the tensors.
func (b *Binding) Close() error {
	b.mu.Lock() // to the end: a second Close returns only when the first is done
	defer b.mu.Unlock()
	if b.inner == nil {
		return nil
	}
	s := b.session
	waited := s.rt.Synchronize()
	s.rt.mu.Lock()
	defer s.rt.mu.Unlock()
	for _, t := range b.tensors {
		t.bound--
	}
	delete(s.bindings, b)
	inner := b.inner
	b.inner = nil
	return errors.Join(waited, inner.Destroy())
}
