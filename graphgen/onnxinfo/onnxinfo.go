// Package onnxinfo says what is in an ONNX file: inputs, outputs, operators by layer, and how
// much memory they take. It runs nothing, and opens no file that the graph points to. It
// takes graphs without nested graphs, such as march's. Start at [Read].
package onnxinfo

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"march/graphgen/onnxpb"
)

// maxFile bounds what is read: a protobuf cannot be larger.
const maxFile = 2 << 30

// Info is what a file holds.
type Info struct {
	File       string            `json:"file"`
	Bytes      int64             `json:"bytes"`
	IR         int64             `json:"ir_version"`
	Producer   string            `json:"producer"`
	Opsets     map[string]int64  `json:"opsets"` // by domain, "ai.onnx" the standard's
	Properties map[string]string `json:"properties"`
	Inputs     []Port            `json:"inputs"`
	Outputs    []Port            `json:"outputs"`
	Weights    []Port            `json:"weights"` // floating-point initializers of more than one number
	External   int64             `json:"external_bytes"`
	Nodes      int               `json:"nodes"`
	Operators  map[string]int    `json:"operators"`
	Layers     []Layer           `json:"layers"` // in the order of their first node
	Activations
}

// Port is a named tensor. A dimension is a number or a symbol.
type Port struct {
	Name  string   `json:"name"`
	DType string   `json:"dtype"`
	Shape []string `json:"shape"`
	Bytes int64    `json:"bytes"` // -1: not known before the graph runs
}

// Layer is a place in the model: nodes whose names begin alike.
type Layer struct {
	Name      string         `json:"name"`
	Nodes     int            `json:"nodes"`
	Operators map[string]int `json:"operators"`
	Bytes     int64          `json:"bytes"` // of what its nodes give, where that is known
}

// Activations is the memory of what nodes give, estimated from shapes; a runtime may fuse
// nodes, share memory, and take another order.
type Activations struct {
	Sum     int64 `json:"activation_bytes"`      // of all tensors
	Peak    int64 `json:"peak_activation_bytes"` // alive at once, in the file's order
	Unknown int   `json:"unknown_shapes"`        // tensors that are in neither sum
}

// Read describes a file. Sizes gives symbols of its inputs' shapes a number.
func Read(path string, sizes map[string]int64) (*Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s: more than 2 GiB, which no ONNX file has", path)
	}
	info, files, err := describe(b, sizes)
	if err == nil {
		err = checkLinks(filepath.Dir(path), files)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	info.File = path
	return info, nil
}

// Describe is Read of a file's content.
func Describe(b []byte, sizes map[string]int64) (*Info, error) {
	info, _, err := describe(b, sizes)
	return info, err
}

// describe gives the files with external data too, each with a tensor that lies there.
func describe(b []byte, sizes map[string]int64) (info *Info, files map[string]string, err error) {
	m := &onnxpb.ModelProto{}
	if _, err := decoded(b, m.ProtoReflect().Descriptor(), 0); err != nil {
		return nil, nil, fmt.Errorf("not an ONNX file: %w", err)
	}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, m); err != nil {
		return nil, nil, fmt.Errorf("not an ONNX file: %w", err)
	}
	g := m.GetGraph()
	if g == nil {
		return nil, nil, fmt.Errorf("not an ONNX file: it has no graph")
	}
	info = &Info{Bytes: int64(len(b)), IR: m.GetIrVersion(), Producer: m.GetProducerName(), Opsets: map[string]int64{}, Properties: map[string]string{},
		Nodes: len(g.Node), Operators: map[string]int{}, Inputs: []Port{}, Outputs: []Port{}, Weights: []Port{}, Layers: []Layer{}}
	for _, o := range m.OpsetImport {
		info.Opsets[cmp.Or(o.GetDomain(), "ai.onnx")] = o.GetVersion()
	}
	for _, p := range m.MetadataProps {
		info.Properties[p.GetKey()] = p.GetValue()
	}
	s := newShapes(sizes)
	initialized := map[string]bool{}
	files = map[string]string{}
	for _, t := range g.Initializer {
		initialized[t.GetName()] = true
		if err := s.constant(t); err != nil {
			return nil, nil, err
		}
		p := s.port(t.GetName())
		location, err := external(t, p.Bytes)
		if err != nil {
			return nil, nil, err
		}
		if location != "" {
			files[location] = t.GetName()
			info.External = plus(info.External, max(0, p.Bytes))
		}
		if isFloat(t.GetDataType()) && !slices.Equal(t.Dims, []int64{1}) && len(t.Dims) > 0 {
			info.Weights = append(info.Weights, p)
		}
	}
	for _, v := range g.Input {
		if !initialized[v.GetName()] {
			if err := s.value(v); err != nil {
				return nil, nil, err
			}
			info.Inputs = append(info.Inputs, s.port(v.GetName()))
		}
	}
	for _, v := range g.ValueInfo {
		if err := s.value(v); err != nil {
			return nil, nil, err
		}
	}
	for _, n := range g.Node {
		for _, a := range n.Attribute {
			location, err := external(a.GetT(), unknown)
			if err != nil {
				return nil, nil, fmt.Errorf("node %q: %w", n.GetName(), err)
			}
			if location != "" {
				files[location] = a.GetT().GetName()
			}
		}
	}
	info.nodes(g, s)
	for _, v := range g.Output {
		p := s.port(v.GetName())
		if p.Bytes < 0 {
			if err := s.value(v); err != nil {
				return nil, nil, err
			}
			p = s.port(v.GetName())
		}
		info.Outputs = append(info.Outputs, p)
	}
	return info, files, nil
}

// nodes counts operators by layer, and memory.
func (info *Info) nodes(g *onnxpb.GraphProto, s *shapes) {
	last := map[string]int{} // the node that reads a tensor last
	for i, n := range g.Node {
		for _, in := range n.Input {
			last[in] = i
		}
	}
	for _, o := range g.Output {
		last[o.GetName()] = len(g.Node)
	}
	index, alive := map[string]int{}, int64(0)
	for i, n := range g.Node {
		s.infer(n)
		op := n.GetOpType()
		if d := n.GetDomain(); d != "" && d != "ai.onnx" {
			op = d + "." + op
		}
		info.Operators[op]++
		name := layerOf(n.GetName())
		at, ok := index[name]
		if !ok {
			at = len(info.Layers)
			index[name] = at
			info.Layers = append(info.Layers, Layer{Name: name, Operators: map[string]int{}})
		}
		l := &info.Layers[at]
		l.Nodes++
		l.Operators[op]++
		for _, o := range n.Output {
			if o == "" {
				continue
			}
			size := s.bytes(o)
			if size < 0 {
				info.Unknown++
				continue
			}
			l.Bytes = plus(l.Bytes, size)
			info.Sum = plus(info.Sum, size)
			alive = plus(alive, size)
		}
		info.Peak = max(info.Peak, alive)
		for _, t := range slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(n.Input), n.Output...)))) {
			if end, read := last[t]; s.made[t] && (end == i || !read) {
				alive -= max(0, s.bytes(t))
			}
		}
	}
}

// layerOf is the place in the model that a node's name begins with, up to the part behind a
// layer's number: decoder.3.attn of decoder.3.attn.norm/mul.
func layerOf(name string) string {
	cut := strings.LastIndexByte(name, '/')
	if cut < 0 {
		return ""
	}
	scope := name[:cut]
	if first, _, _ := strings.Cut(scope, "."); first == "update" {
		return first // a place for each parameter
	}
	parts := strings.Split(scope, ".")
	for i, p := range parts {
		if _, err := strconv.Atoi(p); err == nil && i+2 < len(parts) {
			return strings.Join(parts[:i+2], ".")
		}
	}
	return scope
}

// Difference is one thing that two files have in different forms.
type Difference struct {
	What string `json:"what"` // opset, property, input, output, weight, operator, layer
	Name string `json:"name"`
	A    string `json:"a"` // "" where there is none
	B    string `json:"b"`
}

// Compare lists what differs, but for properties that are the config's whole text.
func Compare(a, b *Info) []Difference {
	list := []Difference{}
	compare := func(what string, x, y map[string]string) {
		names := slices.Sorted(maps.Keys(x))
		for name := range y {
			if _, ok := x[name]; !ok {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			if x[name] != y[name] {
				list = append(list, Difference{what, name, x[name], y[name]})
			}
		}
	}
	compare("opset", texts(a.Opsets), texts(b.Opsets))
	compare("property", a.Properties, b.Properties)
	compare("input", ports(a.Inputs), ports(b.Inputs))
	compare("output", ports(a.Outputs), ports(b.Outputs))
	compare("weight", ports(a.Weights), ports(b.Weights))
	compare("operator", texts(a.Operators), texts(b.Operators))
	compare("layer", layers(a.Layers), layers(b.Layers))
	return list
}

func texts[V int | int64](m map[string]V) map[string]string {
	t := map[string]string{}
	for k, v := range m {
		t[k] = fmt.Sprint(v)
	}
	return t
}

func ports(list []Port) map[string]string {
	t := map[string]string{}
	for _, p := range list {
		t[p.Name] = p.Type()
	}
	return t
}

func layers(list []Layer) map[string]string {
	t := map[string]string{}
	for _, l := range list {
		t[l.Name] = fmt.Sprintf("%d nodes", l.Nodes)
	}
	return t
}

// Type is a port's element type and shape: float32 [2,12].
func (p Port) Type() string { return p.DType + " [" + strings.Join(p.Shape, ",") + "]" }
