// Package manifest is the table of contents of a program folder: what each ONNX file
// takes and gives, where each parameter lies in the flat buffers, what the model costs.
// It knows nothing of how the files are made or run, and imports nothing of march that
// does. Start at [Read].
package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"march/graphgen/atomicfile"
)

// File is the manifest's name in a program folder.
const File = "manifest.json"

// Format is the version of the layout that this package reads and writes.
const Format = 1

// Alignment of each parameter in the flat buffers, and of each range, in bytes. A range
// of whole rows lets the optimizer sum its squares row by row.
const (
	Alignment      = 256
	RangeAlignment = 16384
)

// Inputs that the graphs of a model have beside its parameters.
const (
	Tokens        = "tokens"         // int64 [B,S]
	Labels        = "labels"         // int64 [B,S], with decoder_tokens [B,T]: what position t predicts
	Scored        = "scored"         // int64 [M]: positions that have labels [M], counted through the labels' rows; score.onnx
	Lengths       = "lengths"        // int64 [B]: tokens from there on are padding; encoders and encoder-decoders
	DecoderTokens = "decoder_tokens" // int64 [B,T]: encoder-decoders
	Documents     = "documents"      // int64 [B,S]: a number for each document of a row; decoders with training.document_mask
)

// maxBytes bounds what Read takes in.
const maxBytes = 64 << 20

// Manifest describes a program folder.
type Manifest struct {
	Format    int             `json:"format"`
	Producer  string          `json:"producer"`
	Study     string          `json:"study"`
	Variant   string          `json:"variant"`
	About     string          `json:"about"`
	Source    string          `json:"source"`
	Scale     string          `json:"scale"`
	Arch      string          `json:"arch"`
	Config    json.RawMessage `json:"config"` // every axis; package variants knows them
	Target    string          `json:"target"`
	Precision string          `json:"precision"`
	// Deterministic: the graphs that train add in a fixed order on GPUs too.
	Deterministic bool              `json:"deterministic,omitempty"`
	GPU           bool              `json:"gpu,omitempty"`         // large arrays are computed as a GPU does it quickest
	Recompute     string            `json:"recompute,omitempty"`   // what gradients compute anew; "": nothing
	LossChunks    int               `json:"loss_chunks,omitempty"` // parts in which the loss head goes over the rows; 0: 1
	Opset         int               `json:"opset"`
	Batch         int               `json:"batch"`  // sequences of a micro-batch
	Length        int               `json:"length"` // tokens of a sequence
	MaxLength     int               `json:"max_length"`
	Vocab         int               `json:"vocab"`
	Seed          uint64            `json:"seed"`
	Init          string            `json:"init_sha256,omitempty"` // of the file that the start values are from; "": they are the seed\'s
	Budget        json.RawMessage   `json:"budget"`
	Parameters    []Parameter       `json:"parameters"`
	Ranges        []Range           `json:"ranges"`
	Teacher       []Parameter       `json:"teacher,omitempty"` // of the model that teaches, in a buffer of its own
	Graphs        map[string]*Graph `json:"graphs"`            // by name: grad, update, step, eval, score, infer
	Files         map[string]Digest `json:"files"`
}

// Parameter is one tensor's place in the flat buffers.
type Parameter struct {
	Name   string `json:"name"`
	Shape  []int  `json:"shape"`
	Offset int    `json:"offset"` // in bytes, a multiple of Alignment
	Decay  bool   `json:"decay"`  // weight decay applies
}

// Elements is the number of entries.
func (p Parameter) Elements() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// Range is a stretch of the flat buffers that update.onnx treats as one vector.
type Range struct {
	Name     string `json:"name"`
	Offset   int    `json:"offset"`   // in bytes
	Elements int    `json:"elements"` // padding included
	Decay    bool   `json:"decay"`
}

// Graph is one ONNX file's interface.
type Graph struct {
	File    string `json:"file"`
	Inputs  []Port `json:"inputs"`
	Outputs []Port `json:"outputs"`
	Nodes   int    `json:"nodes"`
	// Recomputed of the nodes compute anew what gradients read, where Manifest.Recompute is block.
	Recomputed int `json:"recomputed_nodes,omitempty"`
	// FLOPs are the multiplications and additions of the matrix products of a graph that has gradients, with those that are
	// computed anew; Budget has the model's.
	FLOPs     int64          `json:"flops,omitempty"`
	Operators map[string]int `json:"operators"`
}

// Port is an input or output. A negative dimension is dynamic.
type Port struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
}

// Digest is a file's size and content.
type Digest struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// BufferBytes is the size of each flat buffer.
func (m *Manifest) BufferBytes() int {
	end := 0
	for _, r := range m.Ranges {
		end = max(end, r.Offset+4*r.Elements)
	}
	return end
}

// Layout gives parameters their offsets, in order, and the ranges over them. The
// parameters must come with the decayed ones first.
func Layout(params []Parameter) (ranges []Range, err error) {
	at := 0
	for i := range params {
		p := &params[i]
		if i == 0 || p.Decay != params[i-1].Decay {
			if p.Decay && len(ranges) > 0 {
				return nil, fmt.Errorf("parameter %s: decayed parameters must come first", p.Name)
			}
			at = alignUp(at, RangeAlignment)
			name := "plain"
			if p.Decay {
				name = "decayed"
			}
			ranges = append(ranges, Range{Name: name, Offset: at, Decay: p.Decay})
		}
		p.Offset = at
		at = alignUp(at+4*p.Elements(), Alignment)
		r := &ranges[len(ranges)-1]
		r.Elements = alignUp(at-r.Offset, RangeAlignment) / 4
	}
	return ranges, nil
}

func alignUp(n, to int) int { return (n + to - 1) / to * to }

// Place gives the teacher's parameters their offsets, in order, and the size of their
// buffer in bytes.
func Place(teacher []Parameter) (bytes int) {
	for i := range teacher {
		teacher[i].Offset = bytes
		bytes = alignUp(bytes+4*teacher[i].Elements(), Alignment)
	}
	return bytes
}

// TeacherBytes is the size of the buffer with the teacher's parameters.
func (m *Manifest) TeacherBytes() int { return Place(slices.Clone(m.Teacher)) }

// Write puts the manifest into a folder, whole.
func (m *Manifest) Write(dir string) error {
	m.Format = Format
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, File), append(b, '\n'))
}

// Read reads and checks a folder's manifest; the files themselves are checked by
// [Manifest.Verify].
func Read(dir string) (*Manifest, error) {
	path := filepath.Join(dir, File)
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s is not a program folder (march gen makes one): %w", dir, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(b) > maxBytes {
		return nil, fmt.Errorf("%s: larger than %d MiB", path, maxBytes>>20)
	}
	m := &Manifest{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("%s: something follows the manifest's closing brace", path)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// ReadVerified is Read and [Manifest.Verify].
func ReadVerified(dir string) (*Manifest, error) {
	m, err := Read(dir)
	if err == nil {
		err = m.Verify(dir)
	}
	return m, err
}

// check refuses what is inconsistent.
func (m *Manifest) check() error {
	if m.Format != Format {
		return fmt.Errorf("format %d, wanted %d: made by another version of march", m.Format, Format)
	}
	seen := map[string]bool{}
	params, teacher := slices.Clone(m.Parameters), slices.Clone(m.Teacher)
	for _, p := range slices.Concat(params, teacher) {
		n := 1
		for _, d := range p.Shape {
			if d < 1 || n > (1<<40)/d {
				return fmt.Errorf("parameter %s has the shape %v", p.Name, p.Shape)
			}
			n *= d
		}
		if seen[p.Name] {
			return fmt.Errorf("parameter %s stands twice", p.Name)
		}
		seen[p.Name] = true
	}
	ranges, err := Layout(params)
	if err != nil {
		return err
	}
	for i, p := range params {
		if p.Offset != m.Parameters[i].Offset {
			return fmt.Errorf("parameter %s lies at %d, wanted %d", p.Name, m.Parameters[i].Offset, p.Offset)
		}
	}
	Place(teacher)
	for i, p := range teacher {
		if p.Offset != m.Teacher[i].Offset {
			return fmt.Errorf("parameter %s lies at %d, wanted %d", p.Name, m.Teacher[i].Offset, p.Offset)
		}
	}
	if len(ranges) != len(m.Ranges) {
		return fmt.Errorf("%d ranges, wanted %d", len(m.Ranges), len(ranges))
	}
	for i, r := range ranges {
		if r != m.Ranges[i] {
			return fmt.Errorf("range %s is %+v, wanted %+v", r.Name, m.Ranges[i], r)
		}
	}
	for name := range m.Files {
		if filepath.Base(name) != name || name == "." || name == ".." {
			return fmt.Errorf("file %q is not in the folder", name)
		}
	}
	for name, g := range m.Graphs {
		if g == nil {
			return fmt.Errorf("graph %s is empty", name)
		}
		if _, ok := m.Files[g.File]; !ok {
			return fmt.Errorf("graph %s: file %q is not among the files", name, g.File)
		}
	}
	return nil
}

// Verify compares every file of the folder with its digest.
func (m *Manifest) Verify(dir string) error {
	for name, want := range m.Files {
		if err := verifyFile(filepath.Join(dir, filepath.Base(name)), want); err != nil {
			return err
		}
	}
	return nil
}

func verifyFile(path string, want Digest) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want.SHA256 || n != want.Bytes {
		return fmt.Errorf("%s is damaged or was changed: sha256 %.12s… of %d bytes, the manifest says %.12s… of %d (march gen writes it anew)", path, got, n, want.SHA256, want.Bytes)
	}
	return nil
}
