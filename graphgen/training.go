package graphgen

import (
	"encoding/binary"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"march/graphgen/onnxpb"
)

// maxState bounds the moments that a file holds inside, in bytes: a protobuf ends at 2 GiB.
const maxState = 1 << 30

// The suffix of an output that replaces what has its name without it, of an initializer with
// start values, and the input that counts steps.
const (
	newSuffix   = ".new"
	startSuffix = ".start"
	stepInput   = "step"
)

// EncodeTraining writes a model in ONNX's own form for training (TrainingInfoProto): its graph
// is infer, whose weights are initializers; the algorithm is one training step, which reads
// those weights by name; outputs X.new are bound to X. Moments and the number of the step are
// initializers of the algorithm. The initialization gives all of them start values: the
// weights', which lie where o.Weights says, zeros, and step 1.
func EncodeTraining(infer, step *Program, o EncodeOptions) ([]byte, error) {
	model, err := infer.Encode(o)
	if err != nil {
		return nil, err
	}
	encoded, err := step.Encode(EncodeOptions{Name: o.Name + "/algorithm", Opset: o.Opset})
	if err != nil {
		return nil, err
	}
	m := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(encoded, m); err != nil {
		return nil, err
	}
	t := &training{algorithm: m.Graph, start: &onnxpb.GraphProto{Name: proto.String(o.Name + "/initialization")}, weights: o.Weights}
	if err := t.build(); err != nil {
		return nil, err
	}
	return t.append(model)
}

type training struct {
	algorithm, start *onnxpb.GraphProto
	weights          map[string]External
	starts, updates  []*onnxpb.StringStringEntryProto
}

func (t *training) build() error {
	renameConstants(t.algorithm)
	replaced := map[string]bool{stepInput: true}
	for _, o := range t.algorithm.Output {
		if name, ok := strings.CutSuffix(o.GetName(), newSuffix); ok {
			replaced[name] = true
		}
	}
	var inputs []*onnxpb.ValueInfoProto
	state := 0
	for _, v := range t.algorithm.Input {
		name := v.GetName()
		if !replaced[name] {
			inputs = append(inputs, v)
			continue
		}
		t.updates = append(t.updates, entry(name, name+newSuffix))
		t.starts = append(t.starts, entry(name, name+startSuffix))
		x := initializer(v)
		switch w, weight := t.weights[name]; {
		case weight: // an initializer of the model's graph already
			x.RawData, x.DataLocation, x.ExternalData = nil, onnxpb.TensorProto_EXTERNAL.Enum(), w.entries()
			t.begin(v, x)
			continue
		case name == stepInput:
			binary.LittleEndian.PutUint64(x.RawData, 1)
			t.count(v)
		}
		if state += len(x.RawData); state > maxState {
			return fmt.Errorf("training information would hold %d MB of moments and more, wanted at most %d", state>>20, maxState>>20)
		}
		t.algorithm.Initializer = append(t.algorithm.Initializer, x)
		t.begin(v, x)
	}
	t.algorithm.Input = inputs
	return nil
}

// begin has the initialization give a start value: x, under another name.
func (t *training) begin(v *onnxpb.ValueInfoProto, x *onnxpb.TensorProto) {
	out := proto.Clone(v).(*onnxpb.ValueInfoProto)
	out.Name = proto.String(v.GetName() + startSuffix)
	t.start.Output = append(t.start.Output, out)
	node := &onnxpb.NodeProto{Name: out.Name, Output: []string{out.GetName()}}
	if t.weights[v.GetName()] == (External{}) && v.GetName() != stepInput { // zeros need no values of their own
		shape := &onnxpb.TensorProto{Name: proto.String(v.GetName() + "/shape"), DataType: proto.Int32(int32(onnxpb.TensorProto_INT64)), Dims: []int64{int64(len(x.Dims))}}
		for _, d := range x.Dims {
			shape.RawData = binary.LittleEndian.AppendUint64(shape.RawData, uint64(d))
		}
		t.start.Initializer = append(t.start.Initializer, shape)
		node.OpType, node.Input = proto.String("ConstantOfShape"), []string{shape.GetName()}
	} else {
		value := proto.Clone(x).(*onnxpb.TensorProto)
		value.Name = proto.String(v.GetName() + "/value")
		t.start.Initializer = append(t.start.Initializer, value)
		node.OpType, node.Input = proto.String("Identity"), []string{value.GetName()}
	}
	t.start.Node = append(t.start.Node, node)
}

// count adds the output that is the next step's number.
func (t *training) count(v *onnxpb.ValueInfoProto) {
	out := proto.Clone(v).(*onnxpb.ValueInfoProto)
	out.Name = proto.String(stepInput + newSuffix)
	one := &onnxpb.TensorProto{Name: proto.String("training/one"), DataType: proto.Int32(int32(onnxpb.TensorProto_INT64)), RawData: []byte{1, 0, 0, 0, 0, 0, 0, 0}}
	t.algorithm.Initializer = append(t.algorithm.Initializer, one)
	t.algorithm.Output = append(t.algorithm.Output, out)
	t.algorithm.Node = append(t.algorithm.Node, &onnxpb.NodeProto{
		OpType: proto.String("Add"), Name: proto.String("update/" + out.GetName()), Input: []string{stepInput, one.GetName()}, Output: []string{out.GetName()}})
}

// append puts the training information behind a model: fields of a message may come in any
// order, and onnxpb has but those that inference needs.
func (t *training) append(model []byte) ([]byte, error) {
	const trainingInfo, initialization, algorithm, initializationBinding, updateBinding = 20, 1, 2, 3, 4
	var info []byte
	add := func(field protowire.Number, m proto.Message) error {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		info = protowire.AppendBytes(protowire.AppendTag(info, field, protowire.BytesType), b)
		return err
	}
	err := add(initialization, t.start)
	if err == nil {
		err = add(algorithm, t.algorithm)
	}
	for _, e := range t.starts {
		if err == nil {
			err = add(initializationBinding, e)
		}
	}
	for _, e := range t.updates {
		if err == nil {
			err = add(updateBinding, e)
		}
	}
	return protowire.AppendBytes(protowire.AppendTag(model, trainingInfo, protowire.BytesType), info), err
}

// renameConstants gives a graph's constants names that no other graph of the model has.
func renameConstants(g *onnxpb.GraphProto) {
	rename := func(name string) string {
		if strings.HasPrefix(name, "const_") {
			return "training/" + name
		}
		return name
	}
	for _, x := range g.Initializer {
		x.Name = proto.String(rename(x.GetName()))
	}
	for _, n := range g.Node {
		n.Name = proto.String(rename(n.GetName()))
		for i := range n.Input {
			n.Input[i] = rename(n.Input[i])
		}
		for i := range n.Output {
			n.Output[i] = rename(n.Output[i])
		}
	}
}

// initializer is a tensor of zeros of an input's type.
func initializer(v *onnxpb.ValueInfoProto) *onnxpb.TensorProto {
	typ := v.GetType().GetTensorType()
	x := &onnxpb.TensorProto{Name: v.Name, DataType: proto.Int32(typ.GetElemType())}
	n := 4
	if typ.GetElemType() == int32(onnxpb.TensorProto_INT64) {
		n = 8
	}
	for _, d := range typ.GetShape().GetDim() {
		x.Dims = append(x.Dims, d.GetDimValue())
		n *= int(d.GetDimValue())
	}
	x.RawData = make([]byte, n)
	return x
}

func entry(k, v string) *onnxpb.StringStringEntryProto {
	return &onnxpb.StringStringEntryProto{Key: proto.String(k), Value: proto.String(v)}
}
