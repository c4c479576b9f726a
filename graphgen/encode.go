package graphgen

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"march/graphgen/onnxpb"
)

// largeFill is the number of elements from which a filled constant is made at run time
// instead of being written out.
const largeFill = 64

var dataTypes = map[DType]onnxpb.TensorProto_DataType{
	Float32: onnxpb.TensorProto_FLOAT, Float64: onnxpb.TensorProto_DOUBLE, BFloat16: onnxpb.TensorProto_BFLOAT16, Float16: onnxpb.TensorProto_FLOAT16,
	Int64: onnxpb.TensorProto_INT64, Int32: onnxpb.TensorProto_INT32, Bool: onnxpb.TensorProto_BOOL,
}

// EncodeOptions say what goes into a file beside the graph.
type EncodeOptions struct {
	Name     string            // of the graph
	Metadata map[string]string // properties of the model
	Opset    int               // version of ai.onnx operators, one of [Opsets]; 0: [Opset]
	Version  string            // of march, as the producer; "": not said
	// Weights gives inputs that become initializers, by name: where their values lie.
	Weights map[string]External
	// Inside gives inputs that become initializers with their bytes in the file, little-endian, by name.
	Inside map[string][]byte
}

// External places a tensor's bytes in a file beside the ONNX file.
type External struct {
	File           string // relative to the ONNX file
	Offset, Length int64
}

// Encode writes the program as an ONNX model.
func (p *Program) Encode(o EncodeOptions) ([]byte, error) {
	o.Opset = cmp.Or(o.Opset, Opset)
	if err := CheckOpset(o.Opset); err != nil {
		return nil, err
	}
	e := encoder{p: p, names: map[*Tensor]string{}, taken: map[string]int{}, opts: o}
	m := &onnxpb.ModelProto{
		IrVersion:    proto.Int64(irVersion(o.Opset)),
		ProducerName: proto.String("march"),
		Graph:        e.graph(),
		OpsetImport:  []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(int64(o.Opset))}},
	}
	if p.Target.contrib() {
		m.OpsetImport = append(m.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String("com.microsoft"), Version: proto.Int64(1)})
	}
	if slices.ContainsFunc(p.Graph.nodes, func(n *Node) bool { return n.Op.Kernel }) {
		m.OpsetImport = append(m.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String("march"), Version: proto.Int64(1)})
	}
	if o.Version != "" {
		m.ProducerVersion = proto.String(o.Version)
	}
	for k, v := range o.Metadata {
		m.MetadataProps = append(m.MetadataProps, &onnxpb.StringStringEntryProto{Key: proto.String(k), Value: proto.String(v)})
	}
	slices.SortFunc(m.MetadataProps, func(a, b *onnxpb.StringStringEntryProto) int { return strings.Compare(a.GetKey(), b.GetKey()) })
	if e.err != nil {
		return nil, e.err
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

type encoder struct {
	p     *Program
	opts  EncodeOptions
	names map[*Tensor]string
	taken map[string]int // names in use, and how often each was asked for
	pb    *onnxpb.GraphProto
	err   error
}

func (e *encoder) graph() *onnxpb.GraphProto {
	g := e.p.Graph
	e.pb = &onnxpb.GraphProto{Name: proto.String(e.opts.Name)}
	for _, t := range g.inputs {
		e.names[t] = e.unique(t.name)
		if data, ok := e.opts.Inside[t.name]; ok {
			e.pb.Initializer = append(e.pb.Initializer, &onnxpb.TensorProto{
				Name: proto.String(t.name), DataType: proto.Int32(int32(dataTypes[t.DType()])), Dims: dims(t.Shape()), RawData: data})
			continue
		}
		if w, ok := e.opts.Weights[t.name]; ok {
			e.pb.Initializer = append(e.pb.Initializer, e.external(t, w))
			continue
		}
		e.pb.Input = append(e.pb.Input, e.valueInfo(t.name, t))
	}
	aliases := map[*Tensor][]string{}
	for _, o := range g.outputs {
		e.unique(o.Name)
		if e.names[o.Tensor] == "" {
			e.names[o.Tensor] = o.Name
		} else {
			aliases[o.Tensor] = append(aliases[o.Tensor], o.Name)
		}
		e.pb.Output = append(e.pb.Output, e.valueInfo(o.Name, o.Tensor))
	}
	nodes := g.nodes
	if g.blocks > 0 && e.p.Target.contrib() {
		nodes = g.runtimeOrder()
	}
	for _, n := range nodes {
		e.node(n)
		for _, o := range n.Out {
			for _, name := range aliases[o] {
				e.pb.Node = append(e.pb.Node, &onnxpb.NodeProto{
					OpType: proto.String("Identity"), Name: proto.String(name), Input: []string{e.names[o]}, Output: []string{name}})
			}
		}
	}
	return e.pb
}

func (e *encoder) node(n *Node) {
	name := e.unique(nodeName(n))
	pb := &onnxpb.NodeProto{OpType: proto.String(n.Op.Name), Name: proto.String(name)}
	if n.Op.Domain != "" {
		pb.Domain = proto.String(n.Op.Domain)
	}
	in, attrs := forOpset(n, e.opts.Opset)
	var slots []int // of a kernel's inputs, where some are left out
	for i, t := range in {
		if n.Op.Kernel && t == nil {
			continue // ONNX Runtime takes no gaps here
		}
		pb.Input, slots = append(pb.Input, e.name(t)), append(slots, i)
	}
	if n.Op.Kernel && len(slots) < len(in) {
		pb.Attribute = append(pb.Attribute, e.attribute("inputs", slots))
	}
	for len(pb.Input) > 0 && pb.Input[len(pb.Input)-1] == "" {
		pb.Input = pb.Input[:len(pb.Input)-1]
	}
	for i, t := range n.Out {
		if e.names[t] == "" {
			e.names[t] = name
			if i > 0 {
				e.names[t] = e.unique(fmt.Sprintf("%s:%d", name, i))
			}
		}
		pb.Output = append(pb.Output, e.names[t])
		if n.Op.Domain != "" { // shape inference of other tools stops at an operator it does not know
			e.pb.ValueInfo = append(e.pb.ValueInfo, e.valueInfo(e.names[t], t))
		}
	}
	keys := make([]string, 0, len(attrs))
	for k := range attrs {
		if !strings.HasPrefix(k, "_") {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		pb.Attribute = append(pb.Attribute, e.attribute(k, attrs[k]))
	}
	e.pb.Node = append(e.pb.Node, pb)
}

// nodeName is where in the model a node stands and what it does: decoder.3.attn/softmax.
func nodeName(n *Node) string {
	if n.Scope == "" {
		return strings.ToLower(n.Op.Name)
	}
	return n.Scope + "/" + strings.ToLower(n.Op.Name)
}

// unique returns name, or name with the lowest number that makes it new.
func (e *encoder) unique(name string) string {
	for {
		k := e.taken[name]
		e.taken[name]++
		if k == 0 {
			return name
		}
		if c := fmt.Sprintf("%s_%d", name, k); e.taken[c] == 0 {
			e.taken[c]++
			return c
		}
	}
}

// name is the tensor's name in the file; constants are written when first asked for.
func (e *encoder) name(t *Tensor) string {
	if t == nil {
		return ""
	}
	if name, ok := e.names[t]; ok {
		return name
	}
	if t.value == nil {
		e.err = fmt.Errorf("%s has no name", t)
		return ""
	}
	name := e.unique(fmt.Sprintf("const_%d", len(e.names)))
	e.names[t] = name
	if v, ok := t.value.splat(); ok && t.Shape().Elements() >= largeFill {
		e.fill(name, t, v)
		return name
	}
	e.pb.Initializer = append(e.pb.Initializer, &onnxpb.TensorProto{
		Name: proto.String(name), DataType: proto.Int32(int32(dataTypes[t.DType()])),
		Dims: dims(t.Shape()), RawData: e.raw(t.DType(), t.value, t.Shape().Elements()),
	})
	return name
}

// fill emits a node that makes a filled constant at run time; in bfloat16 and float16, which neither
// ONNX Runtime nor every reader takes as this node's value, by way of float32.
func (e *encoder) fill(name string, t *Tensor, v float64) {
	shape, typ, out := e.name(t.g.Ints(dims(t.Shape()))), t.DType(), name
	if typ.narrow() {
		narrow := typ
		typ, out = Float32, e.unique(name+"_float32")
		defer func() {
			e.pb.Node = append(e.pb.Node, &onnxpb.NodeProto{
				OpType: proto.String("Cast"), Name: proto.String(name), Input: []string{out}, Output: []string{name},
				Attribute: []*onnxpb.AttributeProto{e.attribute("to", narrow)}})
		}()
	}
	value := &onnxpb.TensorProto{DataType: proto.Int32(int32(dataTypes[typ])), Dims: []int64{1}}
	if typ.Float() {
		value.RawData = e.raw(typ, &Value{Floats: []float64{v}}, 1)
	} else {
		value.RawData = e.raw(typ, &Value{Ints: []int64{int64(v)}}, 1)
	}
	e.pb.Node = append(e.pb.Node, &onnxpb.NodeProto{
		OpType: proto.String("ConstantOfShape"), Name: proto.String(out), Input: []string{shape}, Output: []string{out},
		Attribute: []*onnxpb.AttributeProto{{Name: proto.String("value"), Type: onnxpb.AttributeProto_TENSOR.Enum(), T: value}},
	})
}

func (e *encoder) attribute(name string, v any) *onnxpb.AttributeProto {
	a := &onnxpb.AttributeProto{Name: proto.String(name)}
	setInt := func(i int64) { a.Type, a.I = onnxpb.AttributeProto_INT.Enum(), proto.Int64(i) }
	switch v := v.(type) {
	case int:
		setInt(int64(v))
	case bool:
		setInt(map[bool]int64{true: 1}[v])
	case DType:
		setInt(int64(dataTypes[v]))
	case float64:
		a.Type, a.F = onnxpb.AttributeProto_FLOAT.Enum(), proto.Float32(float32(v))
	case string:
		a.Type, a.S = onnxpb.AttributeProto_STRING.Enum(), []byte(v)
	case []int:
		a.Type, a.Ints = onnxpb.AttributeProto_INTS.Enum(), dims(v)
	default:
		e.err = fmt.Errorf("attribute %s has the type %T, which cannot be written", name, v)
	}
	return a
}

func (e *encoder) valueInfo(name string, t *Tensor) *onnxpb.ValueInfoProto {
	shape := &onnxpb.TensorShapeProto{}
	for _, d := range t.Shape() {
		dim := &onnxpb.TensorShapeProto_Dimension{}
		if d >= 0 {
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
		} else {
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: t.g.formatDim(d)}
		}
		shape.Dim = append(shape.Dim, dim)
	}
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(dataTypes[t.DType()])), Shape: shape}}}
}

func (e *encoder) external(t *Tensor, x External) *onnxpb.TensorProto {
	return &onnxpb.TensorProto{
		Name: proto.String(t.name), DataType: proto.Int32(int32(dataTypes[t.DType()])), Dims: dims(t.Shape()),
		DataLocation: onnxpb.TensorProto_EXTERNAL.Enum(), ExternalData: x.entries(),
	}
}

// entries are the place as ONNX has it.
func (x External) entries() []*onnxpb.StringStringEntryProto {
	return []*onnxpb.StringStringEntryProto{entry("location", x.File), entry("offset", fmt.Sprint(x.Offset)), entry("length", fmt.Sprint(x.Length))}
}

func dims(s []int) []int64 {
	v := make([]int64, len(s))
	for i, d := range s {
		v[i] = int64(d)
	}
	return v
}

// raw is the little-endian content of n elements.
func (e *encoder) raw(d DType, v *Value, n int) []byte {
	var b bytes.Buffer
	put := func(x any) { _ = binary.Write(&b, binary.LittleEndian, x) } // a Buffer does not fail
	for i := range n {
		j := i % max(len(v.Floats), len(v.Ints))
		switch d {
		case Float32:
			put(float32(v.Floats[j]))
		case Float64:
			put(v.Floats[j])
		case BFloat16:
			put(bfloat16(float32(v.Floats[j])))
		case Float16:
			put(float16(float32(v.Floats[j])))
		case Int64:
			put(v.Ints[j])
		case Int32:
			put(int32(v.Ints[j]))
		case Bool:
			put(v.Ints[j] != 0)
		}
	}
	return b.Bytes()
}

// bfloat16 rounds to the nearest, ties to even.
func bfloat16(f float32) uint16 {
	u := math.Float32bits(f)
	if u&0x7fffffff > 0x7f800000 {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}
