package evalsuite

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"march/graphgen/onnxpb"
	"march/runtime"
)

const tableVocab = 50

func value(name string, element runtime.ElementType, dims ...any) *onnxpb.ValueInfoProto {
	shape := &onnxpb.TensorShapeProto{}
	for _, d := range dims {
		dim := &onnxpb.TensorShapeProto_Dimension{}
		switch d := d.(type) {
		case int:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
		case string:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: d}
		}
		shape.Dim = append(shape.Dim, dim)
	}
	return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(element)), Shape: shape}}}
}

func node(op string, inputs []string, output string, ints map[string]int64) *onnxpb.NodeProto {
	n := &onnxpb.NodeProto{OpType: &op, Input: inputs, Output: []string{output}}
	for name, v := range ints {
		n.Attribute = append(n.Attribute, &onnxpb.AttributeProto{Name: &name, I: &v, Type: onnxpb.AttributeProto_INT.Enum()})
	}
	return n
}

func constant(name string, v int64, dims ...int64) *onnxpb.TensorProto {
	return &onnxpb.TensorProto{Name: &name, Dims: dims, DataType: proto.Int32(int32(runtime.Int64)), Int64Data: []int64{v}}
}

// tableModel writes an eval.onnx whose logits are the rows of a parameter "table" [V,V]: a bigram
// model.
func tableModel(t *testing.T, further ...*onnxpb.ValueInfoProto) string {
	t.Helper()
	m := &onnxpb.ModelProto{
		IrVersion:   proto.Int64(8),
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(17)}},
		Graph: &onnxpb.GraphProto{
			Name: proto.String("eval"),
			Node: []*onnxpb.NodeProto{
				node("Gather", []string{"table", "tokens"}, "logits", nil),
				node("LogSoftmax", []string{"logits"}, "logprobs", map[string]int64{"axis": -1}),
				node("Max", []string{"labels", "zero"}, "index", nil),
				node("Unsqueeze", []string{"index", "last"}, "indices", nil),
				node("GatherElements", []string{"logprobs", "indices"}, "picked", map[string]int64{"axis": 2}),
				node("Squeeze", []string{"picked", "last"}, "logprob", nil),
				node("ArgMax", []string{"logits"}, "top", map[string]int64{"axis": -1, "keepdims": 0}),
			},
			Initializer: []*onnxpb.TensorProto{constant("zero", 0), constant("last", -1, 1)},
			Input: append([]*onnxpb.ValueInfoProto{
				value("table", runtime.Float32, tableVocab, tableVocab),
				value("tokens", runtime.Int64, "B", "S"), value("labels", runtime.Int64, "B", "S")}, further...),
			Output: []*onnxpb.ValueInfoProto{value("logprob", runtime.Float32, "B", "S"), value("top", runtime.Int64, "B", "S")},
		},
	}
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return writeModel(t, data)
}

// writeModel writes a model to a file of its own.
func writeModel(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "eval.onnx")
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func openRuntime(t *testing.T) *runtime.Runtime {
	t.Helper()
	rt, err := runtime.Open(runtime.Options{Threads: 1})
	if err != nil {
		t.Skipf("no ONNX Runtime: %v", err)
	}
	t.Cleanup(func() { rt.Close() })
	return rt
}

// The adapter against the same table in Go, over more shapes than it keeps and growing ones.
func TestONNXModel(t *testing.T) {
	rt := openRuntime(t)
	rng := rand.New(rand.NewPCG(7, 8))
	logits := make([]float32, tableVocab*tableVocab)
	for i := range logits {
		logits[i] = 3 * rng.Float32()
	}
	table, err := rt.NewTensor(runtime.Float32, tableVocab, tableVocab)
	if err != nil {
		t.Fatal(err)
	}
	if err := runtime.Upload(table, logits); err != nil {
		t.Fatal(err)
	}
	m, err := NewONNXModel(rt, tableModel(t), map[string]*runtime.Tensor{"table": table}, 200)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()

	reference := &fakeModel{t: t, prob: func(previous, next int64) float64 {
		row, sum := logits[previous*tableVocab:(previous+1)*tableVocab], 0.0
		for _, x := range row {
			sum += math.Exp(float64(x))
		}
		return math.Exp(float64(row[next])) / sum
	}, best: func(previous int64) int64 {
		best := 0
		row := logits[previous*tableVocab : (previous+1)*tableVocab]
		for i, x := range row {
			if x > row[best] {
				best = i
			}
		}
		return int64(best)
	}}
	var sequences []sequence
	for length := 2; length <= 201; length++ {
		for range 1 + rng.IntN(3) {
			tokens := make([]int32, length)
			for i := range tokens {
				tokens[i] = rng.Int32N(tableVocab)
				if previous := tokens[max(i-1, 0)]; rng.IntN(2) == 0 {
					tokens[i] = int32(reference.best(int64(previous)))
				}
			}
			sequences = append(sequences, decoders{maxLength: m.maxLength}.passage(tokens, 1+rng.IntN(length-1)))
		}
	}
	for _, budget := range []int{1, 100, 1500} { // each larger than the memory that the one before needed
		scores, w, err := scoreAll(context.Background(), m, decoders{maxLength: m.maxLength}, sequences, Options{BatchTokens: budget})
		if err != nil {
			t.Fatal(err)
		}
		if w.distinct != len(sequences) {
			t.Errorf("%d distinct sequences, want %d", w.distinct, len(sequences))
		}
		for i, s := range sequences {
			want := reference.direct(s)
			if got := scores[i]; got.tokens != want.tokens || got.top != want.top || math.Abs(got.logprob-want.logprob) > 1e-4 {
				t.Fatalf("budget %d, sequence %d: got %+v, want %+v", budget, i, got, want)
			}
		}
		for _, w := range m.workers {
			if len(w.shapes) > maxShapes {
				t.Errorf("%d bindings are kept, want at most %d", len(w.shapes), maxShapes)
			}
		}
	}

	// Shapes that recur cost no memory and no binding.
	w, one, two := m.workers[0], shapeKey{rows: 1, length: 1}, shapeKey{rows: 2, length: 3}
	capacity, kept := w.capacity, w.shapes[one]
	batch := &Batch{}
	batch.reset(Decoder, 2, 3, 0)
	clear(batch.Labels)
	if err := m.Eval(batch); err != nil {
		t.Fatal(err)
	}
	first := w.shapes[two]
	if allocated := testing.AllocsPerRun(20, func() {
		if err := m.Eval(batch); err != nil {
			t.Fatal(err)
		}
	}); allocated > 10 {
		t.Errorf("%v allocations for a shape that recurs", allocated)
	}
	if w.shapes[two] != first || w.capacity != capacity || kept != w.shapes[one] {
		t.Error("a shape that recurs was bound anew")
	}

	// Parameters are read where they lie.
	before := batch.LogProb[0]
	clear(logits)
	if err := runtime.Upload(table, logits); err != nil {
		t.Fatal(err)
	}
	if err := m.Eval(batch); err != nil {
		t.Fatal(err)
	}
	if want := -math.Log(tableVocab); batch.LogProb[0] == before || math.Abs(float64(batch.LogProb[0])-want) > 1e-5 {
		t.Errorf("log-probability %v after the parameters became zero, want %v", batch.LogProb[0], want)
	}

	batch.Tokens[0] = tableVocab + 3
	wantError(t, m.Eval(batch), "2 sequences of 3 tokens")
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	wantError(t, m.Eval(batch), "closed")
	if err := table.Close(); err != nil {
		t.Errorf("the parameter is still bound: %v", err)
	}
}

func TestONNXModelErrors(t *testing.T) {
	rt := openRuntime(t)
	tensor := func(n int64) *runtime.Tensor {
		x, err := rt.NewTensor(runtime.Float32, n, n)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	path := tableModel(t)
	for _, test := range []struct {
		path   string
		params map[string]*runtime.Tensor
		length int
		want   []string
	}{
		{path, map[string]*runtime.Tensor{}, 8, []string{"eval.onnx", "table"}},
		{path, map[string]*runtime.Tensor{"table": tensor(tableVocab), "bias": tensor(2)}, 8, []string{"bias", "another model"}},
		{path, map[string]*runtime.Tensor{"table": tensor(3)}, 8, []string{"table", "3"}},
		{path, map[string]*runtime.Tensor{"table": tensor(tableVocab)}, 0, []string{"0 positions"}},
		{strings.Replace(path, "eval", "gone", 1), nil, 8, []string{"gone.onnx"}},
	} {
		m, err := NewONNXModel(rt, test.path, test.params, test.length)
		if m != nil {
			t.Errorf("want no model beside the error %v", err)
		}
		wantError(t, err, test.want...)
	}
}
