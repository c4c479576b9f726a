package onnxinfo

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"march/graphgen/onnxpb"
)

// TestHostile: what is no ONNX file is an error, whatever its numbers say.
func TestHostile(t *testing.T) {
	for _, b := range [][]byte{nil, []byte("{}"), []byte("\x08\x08"), {0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f}} {
		if _, err := Describe(b, nil); err == nil || !strings.Contains(err.Error(), "not an ONNX file") {
			t.Errorf("%q: error %v", b, err)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("a file that is not there is read")
	}
}

func node(op, out string, in ...string) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: &op, Input: in, Output: []string{out}}
}

func whole(name string, dims []int64, values ...int64) *onnxpb.TensorProto {
	return &onnxpb.TensorProto{Name: &name, Dims: dims, DataType: proto.Int32(7), Int64Data: values}
}

// TestGrowth: a chain of small nodes does not make long shapes or values. Twelve nodes reach what would be 4,097 dimensions.
func TestGrowth(t *testing.T) {
	ones := slices.Repeat([]int64{1}, 40)
	for op, g := range map[string]*onnxpb.GraphProto{
		"Gather":    {Initializer: []*onnxpb.TensorProto{whole("x0", []int64{1, 1}, 0)}},
		"Unsqueeze": {Initializer: []*onnxpb.TensorProto{whole("x0", []int64{1}, 0), whole("axes", []int64{40}, ones...)}},
		"Concat":    {Initializer: []*onnxpb.TensorProto{whole("x0", []int64{40}, ones...), whole("more", []int64{40}, ones...)}},
	} {
		const nodes = 12
		for i := range nodes {
			x, y := fmt.Sprint("x", i), fmt.Sprint("x", i+1)
			second := map[string]string{"Gather": x, "Unsqueeze": "axes", "Concat": "more"}[op]
			if op == "Concat" { // the long one last: what is there already is short
				x, second = second, x
			}
			g.Node = append(g.Node, node(op, y, x, second))
			g.Node = append(g.Node, node("ConstantOfShape", "c"+y, y))
		}
		s := newShapes(nil)
		for _, x := range g.Initializer {
			if err := s.constant(x); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range g.Node {
			s.infer(n)
			out := n.Output[0]
			if rank, length := len(s.dims[out]), len(s.values[out]); rank > maxRank || length > maxValues {
				t.Errorf("%s: %s has %d dimensions and %d values, wanted %d and %d at most", op, out, rank, length, maxRank, maxValues)
				break
			}
		}
	}
}

// TestRank: a tensor that is declared with too many dimensions is named.
func TestRank(t *testing.T) {
	dims := slices.Repeat([]int64{1}, maxRank+1)
	shape := &onnxpb.TensorShapeProto{}
	for range dims {
		shape.Dim = append(shape.Dim, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: 1}})
	}
	deep := []*onnxpb.ValueInfoProto{{Name: proto.String("deep"), Type: &onnxpb.TypeProto{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(1), Shape: shape}}}}
	for what, g := range map[string]*onnxpb.GraphProto{
		"initializer": {Initializer: []*onnxpb.TensorProto{whole("deep", dims, 1)}},
		"input":       {Input: deep}, "inside": {ValueInfo: deep}, "output": {Output: deep},
	} {
		b, err := proto.Marshal(&onnxpb.ModelProto{Graph: g})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Describe(b, nil); err == nil || !strings.Contains(err.Error(), `"deep" has 65 dimensions, wanted 64`) {
			t.Errorf("%s: error %v", what, err)
		}
	}
}
