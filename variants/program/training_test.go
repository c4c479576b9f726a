package program

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"march/graphgen/onnxpb"
)

// fields are the length-delimited fields of a message, by number.
func fields(t *testing.T, b []byte) map[protowire.Number][][]byte {
	t.Helper()
	all := map[protowire.Number][][]byte{}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		if kind == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b)
			all[number] = append(all[number], v)
		}
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
	}
	return all
}

// TestTrainingInfo: the training information binds every parameter, both its moments and the
// step, from outputs that are there to initializers that are there. (tools/interop/training.py
// trains by it.)
func TestTrainingInfo(t *testing.T) {
	dir := t.TempDir()
	m, err := Write(dir, micro(t), Options{Batch: 2, TrainingInfo: true})
	if err != nil {
		t.Fatal(err)
	}
	if m.Files[TrainingFile].Bytes == 0 || m.Verify(dir) != nil {
		t.Errorf("the manifest has no digest of %s", TrainingFile)
	}
	b, err := os.ReadFile(filepath.Join(dir, TrainingFile))
	if err != nil {
		t.Fatal(err)
	}
	info := fields(t, b)[20]
	if len(info) != 1 {
		t.Fatalf("%d pieces of training information, wanted 1", len(info))
	}
	parts := fields(t, info[0])
	graph := func(field protowire.Number) *onnxpb.GraphProto {
		g := &onnxpb.GraphProto{}
		if err := proto.Unmarshal(parts[field][0], g); err != nil {
			t.Fatal(err)
		}
		return g
	}
	start, algorithm := graph(1), graph(2)
	initializers, main := map[string]bool{}, model(t, filepath.Join(dir, TrainingFile)).Graph
	for _, x := range append(main.Initializer, algorithm.Initializer...) {
		if initializers[x.GetName()] {
			t.Errorf("two initializers are called %s", x.GetName())
		}
		initializers[x.GetName()] = true
	}
	for field, g := range map[protowire.Number]*onnxpb.GraphProto{3: start, 4: algorithm} {
		outputs := map[string]bool{}
		for _, o := range g.Output {
			outputs[o.GetName()] = true
		}
		bound := map[string]bool{}
		for _, raw := range parts[field] {
			e := &onnxpb.StringStringEntryProto{}
			if err := proto.Unmarshal(raw, e); err != nil {
				t.Fatal(err)
			}
			if !initializers[e.GetKey()] || !outputs[e.GetValue()] || bound[e.GetKey()] {
				t.Errorf("field %d binds %s to %s: wanted an initializer, once, and an output", field, e.GetKey(), e.GetValue())
			}
			bound[e.GetKey()] = true
		}
		for _, p := range m.Parameters {
			if !bound[p.Name] || !bound[p.Name+".m"] || !bound[p.Name+".v"] {
				t.Errorf("field %d does not bind %s and its moments", field, p.Name)
			}
		}
		if !bound["step"] || len(bound) != 3*len(m.Parameters)+1 {
			t.Errorf("field %d binds %d names for %d parameters", field, len(bound), len(m.Parameters))
		}
	}
	var inputs []string
	for _, v := range algorithm.Input {
		inputs = append(inputs, v.GetName())
	}
	if !slices.Equal(inputs, []string{"tokens", "labels", "lr"}) {
		t.Errorf("the algorithm's inputs are %v", inputs)
	}
	// A program without it leaves none behind.
	if _, err := Write(dir, micro(t), Options{Batch: 2, Graphs: []string{"eval"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, TrainingFile)); !os.IsNotExist(err) {
		t.Errorf("an older program's %s is still there: %v", TrainingFile, err)
	}
}
