package runtime

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// A hand encoder for the few models the tests need, so that this package's
// tests depend on nothing but ONNX's wire format. Field numbers are those of
// onnx.proto.

type testNode struct {
	op, name, domain string
	in, out          []string
	ints             map[string]int64
}

// testValue is a graph input or output. A dimension is an int (fixed) or a
// string (named); nil dims is a value without a shape.
type testValue struct {
	name string
	typ  ElementType
	dims []any
}

type testConst struct {
	name string
	dims []int64
	data []float32
	file string // the data lie there
}

type testModel struct {
	nodes   []testNode
	inputs  []testValue
	outputs []testValue
	consts  []testConst
	ir      uint64   // 0: 8
	opset   uint64   // 0: 17
	domains []string // further operator sets, version 1
}

func text(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func sub(b []byte, field protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), message)
}

func number(b []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), n)
}

func (n testNode) encode() (b []byte) {
	for _, s := range n.in {
		b = text(b, 1, s)
	}
	for _, s := range n.out {
		b = text(b, 2, s)
	}
	b = text(b, 3, n.name)
	b = text(b, 4, n.op)
	for name, v := range n.ints {
		b = sub(b, 5, number(number(text(nil, 1, name), 3, uint64(v)), 20, 2)) // AttributeProto.INT
	}
	return text(b, 7, n.domain)
}

func (v testValue) encode() []byte {
	var shape []byte
	for _, d := range v.dims {
		switch d := d.(type) {
		case int:
			shape = sub(shape, 1, number(nil, 1, uint64(d)))
		case string:
			shape = sub(shape, 1, text(nil, 2, d))
		}
	}
	tensor := number(nil, 1, uint64(v.typ))
	if v.dims != nil {
		tensor = sub(tensor, 2, shape)
	}
	return sub(text(nil, 1, v.name), 2, sub(nil, 1, tensor))
}

func (c testConst) encode() (b []byte) {
	for _, d := range c.dims {
		b = number(b, 1, uint64(d))
	}
	b = number(b, 2, uint64(Float32))
	if c.file != "" {
		return number(sub(text(b, 8, c.name), 13, text(text(nil, 1, "location"), 2, c.file)), 14, 1)
	}
	var raw []byte
	for _, v := range c.data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return sub(text(b, 8, c.name), 9, raw)
}

func (m testModel) encode() []byte {
	var graph []byte
	for _, n := range m.nodes {
		graph = sub(graph, 1, n.encode())
	}
	graph = text(graph, 2, "test")
	for _, c := range m.consts {
		graph = sub(graph, 5, c.encode())
	}
	for _, v := range m.inputs {
		graph = sub(graph, 11, v.encode())
	}
	for _, v := range m.outputs {
		graph = sub(graph, 12, v.encode())
	}
	b := number(nil, 1, max(m.ir, 8))
	b = sub(b, 7, graph)
	opset := m.opset
	if opset == 0 {
		opset = 17
	}
	b = sub(b, 8, number(text(nil, 1, ""), 2, opset))
	for _, d := range m.domains {
		b = sub(b, 8, number(text(nil, 1, d), 2, 1))
	}
	return b
}

func dims(d ...any) []any { return append([]any{}, d...) }

// increment is y = x + 1 over n floats.
func increment(n int) testModel {
	return testModel{
		nodes:   []testNode{{op: "Add", name: "increment", in: []string{"x", "one"}, out: []string{"y"}}},
		inputs:  []testValue{{"x", Float32, dims(n)}},
		outputs: []testValue{{"y", Float32, dims(n)}},
		consts:  []testConst{{name: "one", data: []float32{1}}},
	}
}
