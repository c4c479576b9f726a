package graphgen

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	onnx "github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend/simple"
	"google.golang.org/protobuf/proto"

	"march/graphgen/onnxpb"
)

// encoded compiles, encodes and decodes a graph.
func encoded(t *testing.T, g *Graph, target Target, o EncodeOptions) *onnxpb.ModelProto {
	t.Helper()
	p, err := g.Compile(target)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Encode(o)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := p.Encode(o); err != nil || !bytes.Equal(b, again) {
		t.Errorf("encoded twice gives other bytes (%v)", err)
	}
	if err := onnx.NewModel(simple.NewSimpleGraph()).UnmarshalBinary(b); err != nil {
		t.Errorf("onnx-go: %v", err)
	}
	m := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(b, m); err != nil {
		t.Fatal(err)
	}
	wellFormed(t, m)
	return m
}

// wellFormed checks what every ONNX file must keep: each name assigned once, before it is
// read, and node names that are unique.
func wellFormed(t *testing.T, m *onnxpb.ModelProto) {
	t.Helper()
	known, nodes := map[string]bool{}, map[string]bool{}
	assign := func(name string) {
		if name == "" || known[name] {
			t.Errorf("%q is assigned twice, or has no name", name)
		}
		known[name] = true
	}
	for _, x := range m.Graph.Input {
		assign(x.GetName())
	}
	for _, x := range m.Graph.Initializer {
		assign(x.GetName())
	}
	for _, n := range m.Graph.Node {
		for _, x := range n.Input {
			if x != "" && !known[x] {
				t.Errorf("%s reads %q before it is computed", n.GetName(), x)
			}
		}
		for _, x := range n.Output {
			assign(x)
		}
		if nodes[n.GetName()] {
			t.Errorf("two nodes are called %s", n.GetName())
		}
		nodes[n.GetName()] = true
	}
	for _, x := range m.Graph.Output {
		if !known[x.GetName()] {
			t.Errorf("output %s is not computed", x.GetName())
		}
	}
}

func nodesOf(m *onnxpb.ModelProto, op string) (list []*onnxpb.NodeProto) {
	for _, n := range m.Graph.Node {
		if n.GetOpType() == op {
			list = append(list, n)
		}
	}
	return list
}

// TestEncodeModel: versions, operator sets, names and properties of a whole model.
func TestEncodeModel(t *testing.T) {
	for _, target := range Targets() {
		m := encoded(t, every(t), target, EncodeOptions{Name: "whole", Metadata: map[string]string{"b": "2", "a": "1", "c": "3"}})
		if m.GetIrVersion() != 8 || m.GetProducerName() != "march" || m.Graph.GetName() != "whole" {
			t.Errorf("%s: ir %d, producer %q, graph %q", target, m.GetIrVersion(), m.GetProducerName(), m.Graph.GetName())
		}
		var sets []string
		for _, o := range m.OpsetImport {
			sets = append(sets, fmt.Sprint(o.GetDomain(), ":", o.GetVersion()))
		}
		if want := map[Target][]string{Portable: {":18"}, ORT: {":18", "com.microsoft:1"}, Fused: {":18", "com.microsoft:1", "march:1"}}[target]; !slices.Equal(sets, want) {
			t.Errorf("%s: operator sets %v", target, sets)
		}
		var properties []string
		for _, p := range m.MetadataProps {
			properties = append(properties, p.GetKey()+p.GetValue())
		}
		if !slices.Equal(properties, []string{"a1", "b2", "c3"}) {
			t.Errorf("%s: properties %v", target, properties)
		}
		// Tools that do not know a domain are told the types of what comes out of it.
		typed := map[string]bool{}
		for _, v := range m.Graph.ValueInfo {
			typed[v.GetName()] = true
		}
		for _, n := range m.Graph.Node {
			if n.GetDomain() == "" {
				continue
			}
			if target == Portable {
				t.Errorf("portable: %s.%s", n.GetDomain(), n.GetOpType())
			}
			for _, o := range n.Output {
				if !typed[o] {
					t.Errorf("%s: no type is given for %s of %s", target, o, n.GetOpType())
				}
			}
		}
		for _, n := range m.Graph.Node {
			for _, a := range n.Attribute {
				if strings.HasPrefix(a.GetName(), "_") {
					t.Errorf("%s has march's own attribute %s", n.GetName(), a.GetName())
				}
			}
		}
		if nodesOf(m, "Gather")[0].GetName() != "decoder.0/gather" {
			t.Errorf("a node is called %q", nodesOf(m, "Gather")[0].GetName())
		}
	}
}

// TestEncodeConstants: every element type, small constants as initializers, large filled
// ones made at run time.
func TestEncodeConstants(t *testing.T) {
	little := binary.LittleEndian
	for _, c := range []struct {
		name string
		x    func(g *Graph) *Tensor
		kind onnxpb.TensorProto_DataType
		raw  []byte
	}{
		{"float32", func(g *Graph) *Tensor { return g.Floats(Float32, []float64{1.5, -2}) }, onnxpb.TensorProto_FLOAT,
			little.AppendUint32(little.AppendUint32(nil, math.Float32bits(1.5)), math.Float32bits(-2))},
		{"float64", func(g *Graph) *Tensor { return g.Scalar(Float64, 0.1) }, onnxpb.TensorProto_DOUBLE,
			little.AppendUint64(nil, math.Float64bits(0.1))},
		{"bfloat16", func(g *Graph) *Tensor { return g.Floats(BFloat16, []float64{1, -3.140625}) }, onnxpb.TensorProto_BFLOAT16,
			[]byte{0x80, 0x3f, 0x49, 0xc0}},
		{"int64", func(g *Graph) *Tensor { return g.Ints([]int64{-1, 1 << 40}) }, onnxpb.TensorProto_INT64,
			little.AppendUint64(little.AppendUint64(nil, math.MaxUint64), 1<<40)},
		{"int32, filled", func(g *Graph) *Tensor { return g.Fill(Int32, -2, 2) }, onnxpb.TensorProto_INT32,
			[]byte{0xfe, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff}},
		{"bool", func(g *Graph) *Tensor { return g.Fill(Bool, 1, 3) }, onnxpb.TensorProto_BOOL, []byte{1, 1, 1}},
		{"not a number", func(g *Graph) *Tensor { return g.Scalar(Float32, math.Inf(-1)) }, onnxpb.TensorProto_FLOAT, []byte{0, 0, 0x80, 0xff}},
	} {
		g := New()
		g.Output("y", Identity(c.x(g)))
		m := encoded(t, g, Portable, EncodeOptions{})
		if len(m.Graph.Initializer) != 1 {
			t.Errorf("%s: %d initializers", c.name, len(m.Graph.Initializer))
			continue
		}
		if x := m.Graph.Initializer[0]; x.GetDataType() != int32(c.kind) || !bytes.Equal(x.RawData, c.raw) {
			t.Errorf("%s: type %d, bytes %x, wanted %d, %x", c.name, x.GetDataType(), x.RawData, c.kind, c.raw)
		}
	}
	g := New()
	x := in(g, 64, 3)
	g.Output("y", Mul(Add(x, g.Fill(Float32, 2, 64, 3)), g.Fill(Float32, 3, 64, 1)))
	g.Output("z", Add(x, g.Fill(Float32, 4, 1, 3)))
	m := encoded(t, g, Portable, EncodeOptions{})
	fills := nodesOf(m, "ConstantOfShape")
	if len(fills) != 2 {
		t.Fatalf("%d filled constants are made at run time, wanted 2", len(fills))
	}
	if v := fills[0].Attribute[0].T; fills[0].Attribute[0].GetName() != "value" || !slices.Equal(v.Dims, []int64{1}) || !bytes.Equal(v.RawData, little.AppendUint32(nil, math.Float32bits(2))) {
		t.Errorf("filled with %v", fills[0].Attribute)
	}
	for _, x := range m.Graph.Initializer {
		if len(x.RawData) > 16 {
			t.Errorf("initializer %s of %v has %d bytes", x.GetName(), x.Dims, len(x.RawData))
		}
	}
}

func TestBFloat16(t *testing.T) {
	for f, want := range map[float32]uint16{
		1: 0x3f80, -2: 0xc000, 0: 0, 3.14159274: 0x4049, 1.00390625: 0x3f80 /* a tie goes to even */, 1.01171875: 0x3f82, /* also */
		math.MaxFloat32: 0x7f80, float32(math.Inf(-1)): 0xff80, 1e-40: 0x0001,
	} {
		if got := bfloat16(f); got != want {
			t.Errorf("%v becomes %#04x, wanted %#04x", f, got, want)
		}
	}
	if got := bfloat16(float32(math.NaN())); got&0x7f80 != 0x7f80 || got&0x7f == 0 {
		t.Errorf("NaN becomes %#04x", got)
	}
}

// TestEncodeAttributes: each kind of attribute, and optional inputs that are left out.
func TestEncodeAttributes(t *testing.T) {
	g := New()
	x, w := in(g, 2, 3), in(g, 3, 4)
	y := Linear(x, w, nil)
	y = Cast(Transpose(y, 1, 0), Float64)
	y = ReduceSum(y, true, 1)
	data := scatterAdd(x, g.Input("i", Int64, 2, 3), Exp(x), 1)
	g.Output("y", y)
	g.Output("data", data)
	m := encoded(t, g, Portable, EncodeOptions{})
	attributes := func(op string) string {
		var list []string
		for _, a := range nodesOf(m, op)[0].Attribute {
			list = append(list, fmt.Sprintf("%s %s %v %v %v %s", a.GetName(), a.GetType(), a.GetI(), a.GetF(), a.GetInts(), a.GetS()))
		}
		return strings.Join(list, "; ")
	}
	for op, want := range map[string]string{
		"Gemm":            "alpha FLOAT 0 1 [] ; transA INT 0 0 [] ; transB INT 0 0 [] ",
		"Transpose":       "perm INTS 0 0 [1 0] ",
		"Cast":            "to INT 11 0 [] ",
		"ReduceSum":       "keepdims INT 1 0 [] ",
		"ScatterElements": "axis INT 1 0 [] ; reduction STRING 0 0 [] add",
	} {
		if got := attributes(op); got != want {
			t.Errorf("%s: %q, wanted %q", op, got, want)
		}
	}
	if n := nodesOf(m, "Gemm")[0]; len(n.Input) != 2 {
		t.Errorf("Gemm without an addend reads %q", n.Input)
	}
	g = New()
	g.Output("y", one("Cast", Attrs{"to": Float64, "odd": []string{"x"}}, in(g, 2)))
	p, err := g.Compile(Portable)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Encode(EncodeOptions{}); err == nil || !strings.Contains(err.Error(), "attribute odd has the type []string") {
		t.Errorf("an attribute that cannot be written: error %v", err)
	}
}

// TestEncodeNames: outputs get their own names, also where two are one tensor; inner
// names never collide with them.
func TestEncodeNames(t *testing.T) {
	g := New()
	x := g.Input("exp", Float32, 3)
	g.Input("const_2", Float32, 3)
	y := Exp(Add(x, g.inputs[1]))
	g.Output("tanh", y)
	g.Output("again", y)
	g.Output("third", y)
	g.Output("z", Tanh(Add(Tanh(y), g.Floats(Float32, []float64{1, 2, 3}))))
	m := encoded(t, g, Portable, EncodeOptions{})
	if n := nodesOf(m, "Identity"); len(n) != 2 || n[0].Input[0] != "tanh" || n[0].Output[0] != "again" || n[1].Output[0] != "third" {
		t.Errorf("aliases are %v", n)
	}
	if n := nodesOf(m, "Exp")[0]; n.Output[0] != "tanh" || n.GetName() == "exp" {
		t.Errorf("the node is %v", n)
	}
	var outputs []string
	for _, o := range m.Graph.Output {
		outputs = append(outputs, o.GetName())
	}
	if !slices.Equal(outputs, []string{"tanh", "again", "third", "z"}) {
		t.Errorf("outputs %v", outputs)
	}
}

// TestEncodeDynamic: symbols become named dimensions, and shapes that hold two are put
// together from the inputs' own.
func TestEncodeDynamic(t *testing.T) {
	g := New()
	b, s := g.Symbol("batch"), g.Symbol("length")
	x := g.Input("x", Float32, b, s, 4)
	y := Exp(Reshape(x, g.Product(b, s), 4))
	g.Output("rows", y)
	g.Output("y", Reshape(y, b, s, 2, 2))
	g.Output("first", First(g.Input("table", Float32, 16, 4), 0, s))
	m := encoded(t, g, Portable, EncodeOptions{})
	shape := func(v *onnxpb.ValueInfoProto) string {
		var dims []string
		for _, d := range v.Type.GetTensorType().Shape.Dim {
			dims = append(dims, d.GetDimParam()+strings.TrimPrefix(fmt.Sprint(d.GetDimValue()), "0"))
		}
		return strings.Join(dims, ",")
	}
	if got := shape(m.Graph.Input[0]); got != "batch,length,4" {
		t.Errorf("input [%s]", got)
	}
	for i, want := range []string{"batch*length,4", "batch,length,2,2", "length,4"} {
		if got := shape(m.Graph.Output[i]); got != want {
			t.Errorf("output %d is [%s], wanted [%s]", i, got, want)
		}
	}
	if n := len(nodesOf(m, "Shape")); n != 2 {
		t.Errorf("%d sizes are asked for, wanted 2: batch and length, once each", n)
	}
}

// TestEncodeWeights: inputs that have weights become initializers that point into another file.
func TestEncodeWeights(t *testing.T) {
	g := New()
	x, w := in(g, 2, 3), in(g, 3, 4)
	g.Output("y", Linear(x, w, nil))
	m := encoded(t, g, Portable, EncodeOptions{Weights: map[string]External{"xb": {File: "w.safetensors", Offset: 128, Length: 48}}})
	if len(m.Graph.Input) != 1 || m.Graph.Input[0].GetName() != "xa" || len(m.Graph.Initializer) != 1 {
		t.Fatalf("%d inputs, %d initializers", len(m.Graph.Input), len(m.Graph.Initializer))
	}
	var entries []string
	init := m.Graph.Initializer[0]
	for _, e := range init.ExternalData {
		entries = append(entries, e.GetKey()+"="+e.GetValue())
	}
	if init.GetName() != "xb" || init.GetDataLocation() != onnxpb.TensorProto_EXTERNAL || !slices.Equal(init.Dims, []int64{3, 4}) ||
		!slices.Equal(entries, []string{"location=w.safetensors", "offset=128", "length=48"}) {
		t.Errorf("the weight is %v", init)
	}
}
