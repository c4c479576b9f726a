package program_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"march/graphgen/onnxinfo"
	"march/variants"
	"march/variants/manifest"
	"march/variants/program"
)

// written is a micro program of a variant, with sizes that are fixed.
func written(t testing.TB, name, arch string, o program.Options) (string, *manifest.Manifest) {
	v, err := variants.Find(name+"+d=16+heads=2+qkv_dim=8+ff=32+vocab=64+length=16", "tiny", arch)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o.Batch = 2
	m, err := program.Write(dir, v, o)
	if err != nil {
		t.Fatal(err)
	}
	return dir, m
}

// TestInspectShapes: of programs that differ much every tensor's shape is found, and outputs'
// shapes are those that graphgen's own rules give.
func TestInspectShapes(t *testing.T) {
	for _, c := range []struct{ name, arch string }{{"baseline", "decoder"}, {"universal_act", "encoder"}, {"linformer+attn.linformer=5", "encoder"}, {"heads/t5_relative_bias", ""}, {"heads/rope", ""}, {"gqa", "decoder"}} {
		for _, static := range []bool{true, false} {
			dir, m := written(t, c.name, c.arch, program.Options{Static: static})
			for name, g := range m.Graphs {
				info, err := onnxinfo.Read(filepath.Join(dir, g.File), map[string]int64{"batch": 2, "length": 12, "decoder_length": 10, "scored": 7})
				if err != nil {
					t.Fatal(err)
				}
				if info.Unknown > 0 {
					t.Errorf("%s, static %t, %s: %d shapes are unknown", c.name, static, name, info.Unknown)
				}
				if info.Peak <= 0 || info.Peak > info.Sum {
					t.Errorf("%s %s: %d bytes at once of %d", c.name, name, info.Peak, info.Sum)
				}
				for i, p := range info.Outputs {
					if want := fmt.Sprintf("%s %s", g.Outputs[i].DType, strings.ReplaceAll(fmt.Sprint(g.Outputs[i].Shape), " ", ",")); p.Name != g.Outputs[i].Name || static && p.Type() != want {
						t.Errorf("%s %s: output %s is %s, the manifest's %s %s", c.name, name, p.Name, p.Type(), g.Outputs[i].Name, want)
					}
				}
			}
		}
	}
}

// TestInspectLayers: names tell the layer, and every node stands in one.
func TestInspectLayers(t *testing.T) {
	dir, _ := written(t, "baseline", "decoder", program.Options{})
	for file, want := range map[string][]string{
		"infer.onnx": {"decoder.embed", "decoder.0.attn", "decoder.0.ff", "decoder.5.ff", "decoder.norm", "output"},
		"eval.onnx":  {"decoder.embed", "decoder.0.attn", "output", "scores"},
		"score.onnx": {"decoder.embed", "decoder.0.attn", "output", "scores"},
		"step.onnx":  {"decoder.3.attn", "loss", "grad.loss", "grad.decoder.3.attn", "grad.decoder.embed", "update"},
	} {
		info, err := onnxinfo.Read(filepath.Join(dir, file), nil)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		nodes := 0
		for _, l := range info.Layers {
			names = append(names, l.Name)
			nodes += l.Nodes
		}
		for _, name := range want {
			if !slices.Contains(names, name) {
				t.Errorf("%s has no layer %s: %v", file, name, names)
			}
		}
		if slices.Contains(names, "") || nodes != info.Nodes {
			t.Errorf("%s: layers %q with %d of %d nodes", file, names, nodes, info.Nodes)
		}
	}
}

// TestInspectCompare: a file is as itself; another number of heads shows where it is.
func TestInspectCompare(t *testing.T) {
	a, _ := written(t, "baseline", "decoder", program.Options{})
	b, _ := written(t, "no_bias", "decoder", program.Options{Opset: 17})
	read := func(dir string) *onnxinfo.Info {
		info, err := onnxinfo.Read(filepath.Join(dir, "infer.onnx"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	if d := onnxinfo.Compare(read(a), read(a)); len(d) != 0 {
		t.Errorf("a file differs from itself: %v", d)
	}
	list := onnxinfo.Compare(read(a), read(b))
	for _, want := range []onnxinfo.Difference{
		{What: "opset", Name: "ai.onnx", A: "18", B: "17"},
		{What: "weight", Name: "decoder.0.attn.bo", A: "float32 [16]"},
	} {
		if !slices.Contains(list, want) {
			t.Errorf("%v is not among %v", want, list)
		}
	}
}
