package onnxinfo

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strconv"

	"march/graphgen/onnxpb"
)

// elements are the types' names and bytes.
var elements = map[int32]struct {
	name string
	size int64
}{
	1: {"float32", 4}, 2: {"uint8", 1}, 3: {"int8", 1}, 6: {"int32", 4}, 7: {"int64", 8}, 9: {"bool", 1},
	10: {"float16", 2}, 11: {"float64", 8}, 12: {"uint32", 4}, 13: {"uint64", 8}, 16: {"bfloat16", 2},
}

func isFloat(t int32) bool { return t == 1 || t == 10 || t == 11 || t == 16 }

// maxValues is the longest constant that is followed: shapes, axes, sizes.
const maxValues = 64

// maxRank is the most dimensions that a tensor has here. Nodes in a chain can double their rank (Gather of a tensor by itself), so
// that without a bound a file of a few hundred bytes fills the memory.
const maxRank = 64

// unknown is a dimension that has no number.
const unknown = -1

// shapes are the types of a graph's tensors, as far as they are known.
type shapes struct {
	sizes  map[string]int64 // of symbols
	dims   map[string][]int64
	names  map[string][]string // dimensions as they were written
	types  map[string]int32
	values map[string][]int64 // of short integer tensors
	made   map[string]bool    // by a node
}

func newShapes(sizes map[string]int64) *shapes {
	return &shapes{sizes: sizes, dims: map[string][]int64{}, names: map[string][]string{}, types: map[string]int32{}, values: map[string][]int64{}, made: map[string]bool{}}
}

// bytes is a tensor's size, -1 where it is not known.
func (s *shapes) bytes(name string) int64 {
	d, ok := s.dims[name]
	if !ok || elements[s.types[name]].size == 0 {
		return unknown
	}
	n := uint64(elements[s.types[name]].size)
	for _, x := range d {
		if x < 0 {
			return unknown
		}
		hi, lo := bits.Mul64(n, uint64(x))
		if hi != 0 || lo > 1<<62 {
			return unknown
		}
		n = lo
	}
	return int64(n)
}

func (s *shapes) port(name string) Port {
	p := Port{Name: name, DType: elements[s.types[name]].name, Shape: []string{}, Bytes: s.bytes(name)}
	for i, d := range s.dims[name] {
		switch {
		case i < len(s.names[name]):
			p.Shape = append(p.Shape, s.names[name][i])
		case d < 0:
			p.Shape = append(p.Shape, "?")
		default:
			p.Shape = append(p.Shape, strconv.FormatInt(d, 10))
		}
	}
	return p
}

// value takes a declared type; more than maxRank dimensions are an error.
func (s *shapes) value(v *onnxpb.ValueInfoProto) error {
	t := v.GetType().GetTensorType()
	if t.GetShape() == nil {
		return nil
	}
	if n := len(t.Shape.Dim); n > maxRank {
		return tooDeep(v.GetName(), n)
	}
	name, dims, names := v.GetName(), []int64{}, []string{}
	for _, d := range t.Shape.Dim {
		n, text := d.GetDimValue(), strconv.FormatInt(d.GetDimValue(), 10)
		if p := d.GetDimParam(); p != "" {
			n, text = unknown, p
			if size, ok := s.sizes[p]; ok {
				n = size
			}
		}
		dims, names = append(dims, n), append(names, text)
	}
	s.dims[name], s.names[name], s.types[name] = dims, names, t.GetElemType()
	return nil
}

func tooDeep(name string, rank int) error {
	return fmt.Errorf("tensor %q has %d dimensions, wanted %d at most", name, rank, maxRank)
}

// constant takes an initializer, with its values where they are few whole numbers; more than maxRank dimensions are an error, and so is a size that
// overflows.
func (s *shapes) constant(t *onnxpb.TensorProto) error {
	if len(t.Dims) > maxRank {
		return tooDeep(t.GetName(), len(t.Dims))
	}
	name, n := t.GetName(), int64(1)
	s.dims[name], s.types[name] = slices.Clone(t.Dims), t.GetDataType()
	if s.dims[name] == nil {
		s.dims[name] = []int64{}
	}
	if elements[s.types[name]].size > 0 && s.bytes(name) == unknown {
		return fmt.Errorf("tensor %q has the shape %v, which is none or has more bytes than a file", name, t.Dims)
	}
	for _, d := range t.Dims {
		if d < 0 || d > maxValues {
			return nil
		}
		if n *= d; n > maxValues {
			return nil
		}
	}
	if t.GetDataType() != 7 {
		return nil
	}
	switch {
	case int64(len(t.Int64Data)) == n:
		s.values[name] = append([]int64{}, t.Int64Data...) // not nil, if empty
	case int64(len(t.RawData)) == 8*n:
		v := make([]int64, n)
		for i := range v {
			v[i] = int64(binary.LittleEndian.Uint64(t.RawData[8*i:]))
		}
		s.values[name] = v
	}
	return nil
}

// known gives a tensor's dimensions.
func (s *shapes) known(names []string, i int) ([]int64, bool) {
	if i >= len(names) {
		return nil, false
	}
	d, ok := s.dims[names[i]]
	return d, ok
}

// integer and integers are a node's attributes.
func integer(n *onnxpb.NodeProto, name string, otherwise int64) int64 {
	for _, a := range n.Attribute {
		if a.GetName() == name {
			return a.GetI()
		}
	}
	return otherwise
}

func integers(n *onnxpb.NodeProto, name string) ([]int64, bool) {
	for _, a := range n.Attribute {
		if a.GetName() == name {
			return a.Ints, true
		}
	}
	return nil, false
}

// broadcast is NumPy's rule.
func broadcast(a, b []int64) []int64 {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := slices.Clone(a)
	for i, y := range b {
		j := len(a) - len(b) + i
		if out[j] == 1 || out[j] == unknown && y > 1 {
			out[j] = y
		}
	}
	return out
}
