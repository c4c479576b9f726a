package onnxinfo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"march/graphgen/onnxpb"
)

func model(t testing.TB, g *onnxpb.GraphProto) []byte {
	b, err := proto.Marshal(&onnxpb.ModelProto{IrVersion: proto.Int64(8), Graph: g})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// outside is a tensor of four numbers with external data.
func outside(location, offset, length string) *onnxpb.TensorProto {
	t := &onnxpb.TensorProto{Name: proto.String("w"), Dims: []int64{4}, DataType: proto.Int32(1), DataLocation: onnxpb.TensorProto_EXTERNAL.Enum()}
	for _, e := range [][2]string{{"location", location}, {"offset", offset}, {"length", length}} {
		if e[1] != "" {
			t.ExternalData = append(t.ExternalData, &onnxpb.StringStringEntryProto{Key: &e[0], Value: &e[1]})
		}
	}
	return t
}

// TestExternal: data that no runtime should open is refused, whether an initializer has it or a node; what lies below the
// model's folder is not.
func TestExternal(t *testing.T) {
	for _, c := range []struct{ location, offset, length, want string }{
		{"w.bin", "", "", ""},
		{"data/w.bin", "4096", "16", ""},
		{"", "0", "16", "no location"},
		{"/etc/passwd", "", "", `lies in "/etc/passwd", wanted a file below`},
		{"../w.bin", "", "", `"../w.bin"`},
		{"data/../../w.bin", "", "", "wanted a file below"},
		{`..\w.bin`, "", "", "wanted a file below"},
		{`C:\w.bin`, "", "", "wanted a file below"},
		{`\\host\w.bin`, "", "", "wanted a file below"},
		{"w.bin", "-8", "16", `offset "-8"`},
		{"w.bin", "9223372036854775807", "16", "larger than a file"},
		{"w.bin", "9223372036854775808", "16", "offset"},
		{"w.bin", "0", "1e3", `length "1e3"`},
		{"w.bin", "0", "12", "has 12 bytes of external data, its shape [4] wants 16"},
	} {
		w := outside(c.location, c.offset, c.length)
		in := node("Constant", "w")
		in.Attribute = []*onnxpb.AttributeProto{{Name: proto.String("value"), T: w}}
		for what, g := range map[string]*onnxpb.GraphProto{"initializer": {Initializer: []*onnxpb.TensorProto{w}}, "node": {Node: []*onnxpb.NodeProto{in}}} {
			if what == "node" && strings.Contains(c.want, "its shape") {
				continue
			}
			_, err := Describe(model(t, g), nil)
			if (err == nil) != (c.want == "") || err != nil && !(strings.Contains(err.Error(), c.want) && strings.Contains(err.Error(), `tensor "w"`)) {
				t.Errorf("%s in %q from %q, %q bytes: %v, wanted %q", what, c.location, c.offset, c.length, err, c.want)
			}
		}
	}
}

// TestLinks: external data behind a link is refused, the file's own or a folder's.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"elsewhere", "model"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "elsewhere", "w.bin"), make([]byte, 16), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"link.bin": "../elsewhere/w.bin", "folder": "../elsewhere"} {
		if err := os.Symlink(to, filepath.Join(dir, "model", name)); err != nil {
			t.Skip("no symbolic links can be made here: ", err)
		}
	}
	path := filepath.Join(dir, "model", "x.onnx")
	for location, refused := range map[string]bool{"link.bin": true, "folder/w.bin": true, "none.bin": false} {
		if err := os.WriteFile(path, model(t, &onnxpb.GraphProto{Initializer: []*onnxpb.TensorProto{outside(location, "0", "16")}}), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path, nil); (err != nil) != refused || refused && !strings.Contains(err.Error(), "a link") {
			t.Errorf("%s: %v", location, err)
		}
	}
}

// TestOverflow: shapes whose sizes overflow are refused, and sums of sizes stop at the largest number.
func TestOverflow(t *testing.T) {
	for _, dims := range [][]int64{{1 << 62, 4}, {-1}, {3, -4}, {1 << 62}} {
		_, err := Describe(model(t, &onnxpb.GraphProto{Initializer: []*onnxpb.TensorProto{{Name: proto.String("w"), Dims: dims, DataType: proto.Int32(1)}}}), nil)
		if err == nil || !strings.Contains(err.Error(), `tensor "w" has the shape`) {
			t.Errorf("%v: %v", dims, err)
		}
	}
	g := &onnxpb.GraphProto{Input: []*onnxpb.ValueInfoProto{{Name: proto.String("x"), Type: &onnxpb.TypeProto{TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(1),
		Shape: &onnxpb.TensorShapeProto{Dim: []*onnxpb.TensorShapeProto_Dimension{{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: 1 << 59}}}}}}}}}
	for i := range 8 {
		y := fmt.Sprint("y", i)
		g.Node = append(g.Node, node("Relu", y, "x"))
		g.Output = append(g.Output, &onnxpb.ValueInfoProto{Name: &y})
	}
	info, err := Describe(model(t, g), nil)
	if err != nil || info.Sum < 1<<62 || info.Peak < 1<<62 {
		t.Errorf("%+v, %v", info, err)
	}
}

// TestBomb: a small file whose messages would fill the memory is refused before it is decoded.
func TestBomb(t *testing.T) {
	for what, one := range map[string]string{"nodes": "\x0a\x00", "inputs": "\x0a\x04\x0a\x00\x0a\x00", "initializers": "\x2a\x00"} {
		graph := strings.Repeat(one, 6<<20)
		b := append(append([]byte{0x3a}, varint(len(graph))...), graph...)
		if _, err := Describe(b, nil); err == nil || !strings.Contains(err.Error(), "MiB of memory") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func varint(n int) (b []byte) {
	for ; n >= 128; n >>= 7 {
		b = append(b, byte(n)|128)
	}
	return append(b, byte(n))
}

// FuzzInspect: no bytes make it panic, or give sizes that are none. The seeds have every operator whose shapes are inferred.
func FuzzInspect(f *testing.F) {
	operators := []string{"Cast", "Equal", "Shape", "ArgMax", "Where", "ConstantOfShape", "LayerNormalization", "Add", "Mul", "GatherElements", "Gemm", "MatMul", "Transpose",
		"Reshape", "Expand", "Gather", "Unsqueeze", "ReduceSum", "ReduceMax", "Concat", "Slice", "Split", "Range", "Identity"}
	for _, op := range operators {
		n := node(op, "y", "x", "a", "b", "c")
		n.Output = append(n.Output, "z")
		n.Name = proto.String("decoder.0.attn/" + op)
		for _, name := range []string{"axis", "perm", "axes", "to", "start", "end", "transA", "keepdims"} {
			n.Attribute = append(n.Attribute, &onnxpb.AttributeProto{Name: &name, I: proto.Int64(1), Ints: []int64{1, 0}})
		}
		f.Add(model(f, &onnxpb.GraphProto{
			Initializer: []*onnxpb.TensorProto{whole("x", []int64{2, 2}, 1, 2, 3, 4), whole("a", []int64{2}, 0, 1), whole("b", []int64{2}, 1, 1), whole("c", []int64{2}, 0, 1)},
			Node:        []*onnxpb.NodeProto{n, node(op, "u", "y", "z", "u")},
			Output:      []*onnxpb.ValueInfoProto{{Name: proto.String("u")}},
		}))
	}
	f.Add(model(f, &onnxpb.GraphProto{Initializer: []*onnxpb.TensorProto{outside("w.bin", "8", "16")}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := Describe(b, map[string]int64{"batch": 1 << 62, "length": 3})
		if err != nil {
			return
		}
		if Compare(info, info) == nil {
			t.Error("no list")
		}
		if info.Sum < 0 || info.Peak < 0 || info.Peak > info.Sum || info.External < 0 {
			t.Errorf("%d bytes of activations, %d at once, %d of external data", info.Sum, info.Peak, info.External)
		}
	})
}
