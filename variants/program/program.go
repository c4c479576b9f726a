// Package program writes a variant as a program: a folder of ONNX files, start values
// and a manifest that any ONNX tool can open. It neither runs the files nor knows what
// is trained with them. Start at [Write].
package program

import (
	"encoding/json"
	"fmt"
	"slices"

	onnx "github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend/simple"

	"march/graphgen"
	"march/trainloop/safetensors"
	"march/variants"
	"march/variants/manifest"
)

// Options say how a program is emitted.
type Options struct {
	Target graphgen.Target // "": portable
	Opset  int             // version of ai.onnx operators; 0: [graphgen.Opset]
	// Static gives eval.onnx, score.onnx and infer.onnx the sizes of a micro-batch, in place of sizes that are
	// known when the graph runs.
	Static bool
	// Precision is what graphs that train compute in: fp32 or bf16 ([Precisions]); "": fp32.
	Precision string
	Batch     int // sequences of a micro-batch; 0: [DefaultBatch]
	Length    int // tokens of a sequence; 0: the config's
	// Recompute is what gradients compute anew instead of keeping it: none, attention or block
	// ([Recomputes]); "": none.
	Recompute string
	// LossChunks is the number of parts in which the loss head goes over the rows; 0: 1.
	LossChunks int
	// Deterministic adds in a fixed order on GPUs too, at some speed and memory
	// ([graphgen.Reproducible]).
	Deterministic bool
	// GPU has the graphs that train compute large arrays as a GPU does it quickest ([graphgen.Graph.ForGPU]).
	GPU bool
	// DecoderLength is that of decoder_tokens and labels of an encoder-decoder; 0: as the
	// objective has it for sequences of Length.
	DecoderLength int
	Seed          uint64 // of the start values
	// Start gives start values from elsewhere; nil: a pure function of the seed. Init is what tells them from others, the
	// sha256 of the file that they are from; "" without Start.
	Start  func(variants.Parameter) ([]float32, error)
	Init   string
	Graphs []string // which of [Graphs]; nil: all
	// TrainingInfo adds TrainingFile: infer.onnx and step.onnx in one, in ONNX's own form for
	// training.
	TrainingInfo bool
}

// Graphs lists a program's graphs; file NAME.onnx holds graph NAME.
func Graphs() []string { return []string{"grad", "update", "step", "eval", "score", "infer"} }

// precisions are the types that graphs that train can compute in. (TF32 is a way to run
// those of fp32.)
var precisions = map[string]graphgen.DType{"fp32": graphgen.Float32, "bf16": graphgen.BFloat16}

// Precisions lists what graphs that train can compute in.
func Precisions() []string { return []string{"fp32", "bf16"} }

// Recomputes lists what gradients can compute anew: attention is the probabilities of
// attentions, the largest arrays that are kept for them; block all that is inside of a layer.
func Recomputes() []string {
	return []string{"none", string(variants.RecomputeAttention), string(variants.RecomputeBlock)}
}

// TrainingFile is the model with TrainingInfoProto.
const TrainingFile = "training.onnx"

// InitFile holds the start values.
const InitFile = "init.safetensors"

// maxMicroBatch bounds the default micro-batch, in tokens.
const maxMicroBatch = 16_384

// DefaultBatch is the micro-batch that a config's budget asks for: a whole step's
// sequences, or the largest divisor of them within maxMicroBatch tokens.
func DefaultBatch(c variants.Config, length int) int {
	n := max(1, c.Training.TokensPerStep/length)
	for b := n; b > 1; b-- {
		if n%b == 0 && b*length <= maxMicroBatch {
			return b
		}
	}
	return 1
}

// check refuses what no program can be made of.
func (o Options) check(c variants.Config) error {
	if _, err := graphgen.ParseTarget(string(o.Target)); err != nil {
		return err
	}
	if err := graphgen.CheckOpset(o.Opset); err != nil {
		return err
	}
	if !slices.Contains(Precisions(), o.Precision) {
		return fmt.Errorf("precision %q is not one of %v", o.Precision, Precisions())
	}
	if !slices.Contains(Recomputes(), o.Recompute) {
		return fmt.Errorf("recompute %q is not one of %v", o.Recompute, Recomputes())
	}
	if o.Batch < 1 || o.Length < 1 || o.Length > c.Length {
		return fmt.Errorf("batch %d × length %d: wanted a batch of at least 1 and a length from 1 to %d (the model's positions)", o.Batch, o.Length, c.Length)
	}
	for _, name := range o.Graphs {
		if !slices.Contains(Graphs(), name) {
			return fmt.Errorf("graph %q is not one of %v", name, Graphs())
		}
	}
	return nil
}

// describe fills in what the manifest says of the model itself.
func describe(v variants.Variant, o Options) (*manifest.Manifest, error) {
	c := v.Config
	params, err := c.Parameters()
	if err != nil {
		return nil, err
	}
	budget, err := c.Budget()
	if err != nil {
		return nil, err
	}
	m := &manifest.Manifest{
		Producer: "march", Study: v.Study, Variant: v.Name(), About: v.Doc, Source: v.Source, Scale: v.Scale, Arch: c.Arch,
		Target: string(o.Target), Precision: o.Precision, Deterministic: o.Deterministic, GPU: o.GPU, Recompute: recomputed(o.Recompute), LossChunks: chunked(o.LossChunks), Opset: o.Opset, Batch: o.Batch, Length: o.Length, MaxLength: c.Length,
		Vocab: c.Vocab, Seed: o.Seed, Init: o.Init, Graphs: map[string]*manifest.Graph{}, Files: map[string]manifest.Digest{},
	}
	if m.Config, err = json.Marshal(c); err != nil {
		return nil, err
	}
	if m.Budget, err = json.Marshal(budget); err != nil {
		return nil, err
	}
	for _, p := range params {
		m.Parameters = append(m.Parameters, manifest.Parameter{Name: p.Name, Shape: p.Shape, Decay: p.Decay})
	}
	if m.Ranges, err = manifest.Layout(m.Parameters); err != nil {
		return nil, err
	}
	teacher, err := c.TeacherParameters()
	for _, p := range teacher {
		m.Teacher = append(m.Teacher, manifest.Parameter{Name: p.Name, Shape: p.Shape})
	}
	manifest.Place(m.Teacher)
	return m, err
}

// startOf are a parameter's start values.
func (w *writer) startOf(p variants.Parameter) ([]byte, error) {
	if w.options.Start == nil {
		return safetensors.Bytes(p.Start(w.options.Seed)), nil
	}
	v, err := w.options.Start(p)
	return safetensors.Bytes(v), err
}

// compile builds, compiles and checks one graph; flops are counted of those that have gradients.
func (w *writer) compile(name string) (p *graphgen.Program, flops int64, err error) {
	c, o := w.variant.Config, w.options
	d, err := c.Dims(o.Batch, o.Length)
	if err != nil {
		return nil, 0, err
	}
	d.Compute, d.Recompute = precisions[o.Precision], variants.Recompute(recomputed(o.Recompute))
	d.LossChunks, d.GPU = o.LossChunks, o.GPU
	if d.Decoder != 0 && o.DecoderLength != 0 {
		d.Decoder = o.DecoderLength
	}
	var g *variants.Graph
	switch name {
	case "grad":
		g, err = c.Train(d)
	case "update":
		g, err = c.Training.Update(updateRanges(w.m.Ranges), d.Compute == graphgen.BFloat16)
	case "step":
		g, err = c.Single(d)
	case "eval":
		g, err = c.EvalOf(w.served(d))
	case "score":
		sizes := w.served(d)
		sizes.GPU = d.GPU
		g, err = c.ScoreOf(sizes)
	case "infer":
		g, err = c.InferOf(w.served(d))
	default:
		err = fmt.Errorf("no such graph; wanted one of %v", Graphs())
	}
	if err != nil {
		return nil, 0, err
	}
	var passes []func(*graphgen.Graph) *graphgen.Graph
	target, trains := o.Target, name == "grad" || name == "step" || name == "update"
	if o.Deterministic && trains {
		passes = append(passes, graphgen.Reproducible)
	}
	if target == graphgen.Fused && !trains { // these run wherever ONNX Runtime does
		target = graphgen.ORT
	}
	if name == "grad" || name == "step" {
		flops = g.FLOPs()
	}
	p, err = g.Compile(target, passes...)
	if err != nil {
		return nil, 0, err
	}
	if err := checkInPlace(name, p.Graph); err != nil {
		return nil, 0, err
	}
	return p, flops, nil
}

// encoding is what goes into a graph's file beside it.
func (w *writer) encoding(name string) graphgen.EncodeOptions {
	c, o := w.variant.Config, w.options
	enc := graphgen.EncodeOptions{Opset: o.Opset, Name: w.variant.FullName() + "/" + name, Metadata: map[string]string{
		"variant": w.variant.FullName(), "arch": c.Arch, "scale": w.variant.Scale, "graph": name, "target": string(o.Target), "precision": o.Precision, "config": string(w.m.Config)}}
	if name == "infer" || name == "training" {
		enc.Weights = w.weights
	}
	return enc
}

// served are the sizes of the graphs that do not train.
func (w *writer) served(d variants.Dims) variants.Dims {
	if !w.options.Static {
		return variants.Dims{}
	}
	return variants.Dims{Batch: d.Batch, Length: d.Length, Decoder: d.Decoder}
}

func updateRanges(ranges []manifest.Range) []variants.Range {
	list := make([]variants.Range, len(ranges))
	for i, r := range ranges {
		list[i] = variants.Range{Name: r.Name, Elements: r.Elements, Decay: r.Decay}
	}
	return list
}

// checkInPlace makes sure that every output that replaces an input of the graphs that
// train (grad, update) may be bound to that input's memory: the training loop does so.
func checkInPlace(name string, g *graphgen.Graph) error {
	if name != "grad" && name != "update" {
		return nil
	}
	for _, in := range g.Inputs() {
		out := variants.NewName(in.Name())
		if !slices.ContainsFunc(g.Outputs(), func(o graphgen.Output) bool { return o.Name == out }) {
			continue
		}
		if err := g.SafeInPlace(in.Name(), out); err != nil {
			return err
		}
	}
	return nil
}

func describeGraph(file string, g *graphgen.Graph, weights map[string]graphgen.External) *manifest.Graph {
	d := &manifest.Graph{File: file, Nodes: len(g.Nodes()), Recomputed: g.Anew(), Operators: g.Histogram(), Inputs: []manifest.Port{}}
	for _, t := range g.Inputs() {
		if _, ok := weights[t.Name()]; !ok {
			d.Inputs = append(d.Inputs, port(t.Name(), t))
		}
	}
	for _, o := range g.Outputs() {
		d.Outputs = append(d.Outputs, port(o.Name, o.Tensor))
	}
	return d
}

func port(name string, t *graphgen.Tensor) manifest.Port {
	shape := make([]int, t.Rank()) // [] rather than null for a scalar
	for i, n := range t.Shape() {
		shape[i] = max(n, -1)
	}
	return manifest.Port{Name: name, DType: t.DType().String(), Shape: shape}
}

// ReadBack decodes an ONNX model with onnx-go, a reader that shares no code with march,
// and reports whatever it does not understand.
func ReadBack(model []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("onnx-go, reading the model back: %v", r)
		}
	}()
	if err := onnx.NewModel(simple.NewSimpleGraph()).UnmarshalBinary(model); err != nil {
		return fmt.Errorf("onnx-go, reading the model back: %w", err)
	}
	return nil
}

// recomputed and chunked are the options as a manifest has them, where what is usual is left out.
func recomputed(what string) string {
	if what == "none" {
		return ""
	}
	return what
}

func chunked(n int) int {
	if n <= 1 {
		return 0
	}
	return n
}

// SameMemory reports whether a program was made to use memory and add numbers up as the options say. Other
// options of the kind change no result but its rounding.
func SameMemory(m *manifest.Manifest, o Options) bool {
	return m.Deterministic == o.Deterministic && m.GPU == o.GPU && m.Recompute == recomputed(o.Recompute) && m.LossChunks == chunked(o.LossChunks)
}
