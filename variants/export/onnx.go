// Package export writes a trained model for other tools: as ONNX files with the weights in them or beside them, and as a
// folder that Hugging Face's transformers loads, which it also reads back. It knows no runs and runs no model. Start at
// [ONNX], [HuggingFace] and [Import].
package export

import (
	"fmt"
	"os"
	"path/filepath"

	"march/graphgen"
	"march/graphgen/atomicfile"
	"march/trainloop/safetensors"
	"march/variants"
	"march/variants/program"
)

// WeightsFile holds the weights where they lie beside the graphs, and those of the Hugging Face form.
const WeightsFile = "model.safetensors"

// Model is a trained model.
type Model struct {
	Name   string // of the variant, study/name
	Config variants.Config
	// Values gives a parameter's trained values, row-major.
	Values func(variants.Parameter) ([]float32, error)
	// Version is march's, for the files' producer.
	Version string
}

// InsideLimit is the size of the weights, in bytes, up to which they go into the ONNX file.
const InsideLimit = 16 << 20

// protobufLimit is what a file that is one message can hold: 2 GiB less a margin for the graph.
const protobufLimit = 2<<30 - 16<<20

// ONNXOptions say how a model's ONNX files are made. The zero value is float32, portable, without a cache, weights inside
// up to 16 MiB.
type ONNXOptions struct {
	Target    graphgen.Target // "": portable
	Precision string          // fp32, fp16 or bf16 ([Precisions]); "": fp32
	Cache     bool            // keys and values of earlier tokens as inputs and outputs
	// Limit is the size of the weights, in bytes, above which they lie in [WeightsFile] beside the graphs; 0:
	// [InsideLimit]; negative: they never do.
	Limit    int64
	Metadata map[string]string // further properties of the files
}

// Precisions lists the types that a trained model can be written in.
func Precisions() []string { return []string{"fp32", "fp16", "bf16"} }

var precisions = map[string]struct {
	compute graphgen.DType
	dtype   string // in safetensors
}{"": {graphgen.Float32, "F32"}, "fp32": {graphgen.Float32, "F32"}, "fp16": {graphgen.Float16, "F16"}, "bf16": {graphgen.BFloat16, "BF16"}}

// File is one that was written.
type File struct {
	Name  string `json:"file"`
	Bytes int64  `json:"bytes"`
	// Of a graph: its nodes, operators, and those of them that compute in float32 where the model does not.
	Nodes     int            `json:"nodes,omitempty"`
	Operators map[string]int `json:"operators,omitempty"`
	Float32   map[string]int `json:"float32_operators,omitempty"`
	External  bool           `json:"external,omitempty"` // its weights lie in WeightsFile
}

// ONNX writes the graphs of [variants.Config.Inference] into the folder dir, which must exist: infer.onnx, or with a cache
// and an encoder encoder.onnx and decoder.onnx. Weights are initializers, inside or as external data in [WeightsFile].
func ONNX(dir string, m Model, o ONNXOptions) ([]File, error) {
	if o.Target == "" {
		o.Target = graphgen.Portable
	}
	kind, ok := precisions[o.Precision]
	if !ok {
		return nil, fmt.Errorf("precision %q is not one of %v", o.Precision, Precisions())
	}
	graphs, err := m.Config.Inference(variants.InferOptions{Compute: kind.compute, Cache: o.Cache})
	if err != nil {
		return nil, err
	}
	if o.Limit == 0 {
		o.Limit = InsideLimit
	}
	w := &weights{model: m, compute: kind.compute, dtype: kind.dtype}
	for _, g := range graphs {
		w.add(g.Parameters)
	}
	var files []File
	external := o.Limit >= 0 && w.bytes() > o.Limit
	if !external && w.bytes() > protobufLimit {
		return nil, fmt.Errorf("%d MiB of weights: an ONNX file holds less than 2 GiB, so that they must lie beside it", w.bytes()>>20)
	}
	if external {
		f, err := w.write(dir)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	for _, g := range graphs {
		f, err := w.graph(dir, g, o)
		if err != nil {
			return nil, fmt.Errorf("%s.onnx: %w", g.Name, err)
		}
		files = append(files, f)
	}
	return files, nil
}

// weights are a model's parameters in the type that it is written in.
type weights struct {
	model   Model
	compute graphgen.DType
	dtype   string
	params  []variants.Parameter // that some graph reads
	places  map[string]graphgen.External
}

// add notes the parameters that a graph reads.
func (w *weights) add(params []variants.Parameter) {
	known := map[string]bool{}
	for _, p := range w.params {
		known[p.Name] = true
	}
	for _, p := range params {
		if !known[p.Name] {
			w.params = append(w.params, p)
		}
	}
}

func (w *weights) bytes() (n int64) {
	for _, p := range w.params {
		n += int64(w.compute.Size()) * int64(p.Elements())
	}
	return n
}

// data are a parameter's bytes.
func (w *weights) data(p variants.Parameter) ([]byte, error) {
	v, err := w.model.Values(p)
	if err != nil {
		return nil, err
	}
	if len(v) != p.Elements() {
		return nil, fmt.Errorf("parameter %s has %d entries, wanted %d", p.Name, len(v), p.Elements())
	}
	b, err := graphgen.Narrow(w.compute, v)
	if err != nil {
		return nil, fmt.Errorf("parameter %s: %w; --precision bf16 or fp32 has the range", p.Name, err)
	}
	return b, nil
}

// write puts all parameters into a file and notes where each lies.
func (w *weights) write(dir string) (File, error) {
	path := filepath.Join(dir, WeightsFile)
	tensors := make([]safetensors.Tensor, len(w.params))
	for i, p := range w.params {
		tensors[i] = safetensors.Tensor{Name: p.Name, DType: w.dtype, Shape: p.Shape, Make: func() ([]byte, error) { return w.data(p) }}
	}
	err := safetensors.WriteFile(path, tensors, map[string]string{"format": "pt", "producer": "march " + w.model.Version, "variant": w.model.Name})
	if err != nil {
		return File{}, err
	}
	f, err := safetensors.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	w.places = map[string]graphgen.External{}
	for _, t := range f.Tensors() {
		w.places[t.Name] = graphgen.External{File: WeightsFile, Offset: t.Offset, Length: t.Bytes}
	}
	return fileOf(path)
}

func fileOf(path string) (File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return File{}, err
	}
	return File{Name: filepath.Base(path), Bytes: info.Size()}, nil
}

// graph compiles and writes one graph.
func (w *weights) graph(dir string, g variants.NamedGraph, o ONNXOptions) (File, error) {
	p, err := g.Compile(o.Target)
	if err != nil {
		return File{}, err
	}
	inside := map[string][]byte{}
	if w.places == nil {
		for _, x := range g.Parameters {
			if inside[x.Name], err = w.data(x); err != nil {
				return File{}, err
			}
		}
	}
	b, err := p.Encode(graphgen.EncodeOptions{Name: w.model.Name + "/" + g.Name, Version: w.model.Version, Metadata: o.Metadata, Weights: w.places, Inside: inside})
	if err != nil {
		return File{}, err
	}
	if err := program.ReadBack(b); err != nil {
		return File{}, err
	}
	path := filepath.Join(dir, g.Name+".onnx")
	if err := atomicfile.WriteFile(path, b); err != nil {
		return File{}, err
	}
	f, err := fileOf(path)
	f.Nodes, f.Operators, f.External = len(p.Graph.Nodes()), p.Graph.Histogram(), w.places != nil
	if w.compute != graphgen.Float32 {
		f.Float32 = inFloat32(p.Graph)
	}
	return f, err
}

// inFloat32 counts the operators that compute in float32. Casts only go there and back, and reshapes compute nothing.
func inFloat32(g *graphgen.Graph) map[string]int {
	counts := map[string]int{}
	for _, n := range g.Nodes() {
		if n.Op.Name != "Cast" && n.Op.Name != "Reshape" && n.Out[0].DType() == graphgen.Float32 {
			counts[n.Op.Name]++
		}
	}
	return counts
}
