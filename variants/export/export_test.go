package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"march/graphgen"
	"march/graphgen/onnxpb"
	"march/trainloop/rng"
	"march/trainloop/safetensors"
	"march/trainloop/tokenizer"
	"march/variants"
)

// micro is a model at sizes that are written in milliseconds.
func micro(t testing.TB, name, arch string, changes ...string) Model {
	t.Helper()
	v, err := variants.Find(name, "tiny", arch)
	if err == nil {
		v, err = v.With(append([]string{"vocab=300", "length=12"}, changes...))
	}
	if err != nil {
		t.Fatal(err)
	}
	return Model{Name: v.FullName(), Config: v.Config, Version: "test", Values: func(p variants.Parameter) ([]float32, error) {
		list, stream := make([]float32, p.Elements()), rng.New(9, rng.Name(p.Name))
		for i := range list {
			list[i] = float32(rng.Unit(stream.At(uint64(i)))) + 0.01 // no bias is zero
		}
		return list, nil
	}}
}

func smallTokenizer(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Train(slices.Values([]string{"the cat sees the dog and the dog sees the cat"}), tokenizer.TrainOptions{VocabSize: 270})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestThereAndBack: what is written as a Hugging Face folder is read back to the bit, for every variant that has a twin; of the
// others the axis is named.
func TestThereAndBack(t *testing.T) {
	tok := smallTokenizer(t)
	without := map[string]string{
		"gqa/decoder": "kv_heads", "mqa/decoder": "kv_heads", "universal/decoder": "share.step_embedding", "universal/encoder": "share.step_embedding",
		"universal_act/decoder": "halting.kind", "universal_act/encoder": "halting.kind", "linformer/encoder": "attn.linformer", "bias_all/decoder": "",
	}
	twins := map[string]int{}
	for _, name := range slices.Concat(variants.Names("sharing"), variants.Names("plain"), []string{"heads/baseline"}) {
		for _, arch := range variants.Archs(name) {
			key := strings.TrimPrefix(name, "sharing/") + "/" + arch
			if strings.Contains(name, "very_") || strings.Contains(name, "wide_deep") {
				continue // as deep and wide
			}
			dir := t.TempDir()
			var changes []string
			if key == "linformer/encoder" {
				changes = []string{"attn.linformer=8"} // of twelve positions
			}
			m := micro(t, name, arch, changes...)
			_, twin, err := HuggingFace(dir, m, tok)
			axis, none := without[key]
			if arch == variants.EncoderDecoder {
				axis, none = "arch is encoder-decoder", true
			}
			if key == "bias_all/decoder" { // GPT-Neo has no such biases, GPT-2 no windows
				axis = "bias.qkv"
			}
			if none {
				if err == nil || !strings.Contains(err.Error(), axis) {
					t.Errorf("%s: %v, wanted an error that names %s", key, err, axis)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", key, err)
				continue
			}
			twins[twin]++
			back, err := Import(dir, m.Config)
			if err != nil {
				t.Errorf("%s: %v", key, err)
				continue
			}
			if back.Twin != twin || back.Tokenizer == nil || back.Tokenizer.SHA256() != tok.SHA256() {
				t.Errorf("%s: came back as %s, tokenizer %v", key, back.Twin, back.Tokenizer)
			}
			params, err := m.Config.Parameters()
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range params {
				want, _ := m.Values(p)
				if got, err := back.Values(p); err != nil || !slices.Equal(got, want) {
					t.Errorf("%s: parameter %s did not come back (%v)", key, p.Name, err)
				}
			}
		}
	}
	if len(twins) != 3 {
		t.Errorf("models by twin: %v, wanted some of each", twins)
	}
}

// TestRefuses names the axis of each change that leaves a decoder or an encoder without a twin.
func TestRefuses(t *testing.T) {
	tok := smallTokenizer(t)
	for change, arch := range map[string]string{
		"position.kind=rope": "", "position.kind=alibi": "", "norm.kind=rms": "", "norm.place=post": "decoder", "norm.place=pre": "encoder", "glu=true": "",
		"mix=mean": "", "attn.residual=false": "", "attn.role=true": "", "attn.summed=true": "", "database.rows=3": "", "output.scaled=true": "",
		"output.transform=true": "decoder", "output.transform=false": "encoder", "attn.scaled=true": "decoder", "attn.scaled=false": "encoder", "act=relu": "encoder",
		"qkv_dim=8": "", "heads_by_layer=6-6-6-6-6-6": "", "qkv_dim_by_layer=16-16-16-16-16-16": "", "position.combine=average": "", "bias.output=true": "decoder",
		"norm.embed=true": "decoder", "norm.embed=false": "encoder",
	} {
		for _, a := range []string{variants.Decoder, variants.Encoder} {
			if arch != "" && a != arch {
				continue
			}
			axis, _, _ := strings.Cut(change, "=")
			_, _, err := HuggingFace(t.TempDir(), micro(t, "sharing/baseline", a, change), tok)
			if err == nil || !strings.Contains(err.Error(), axis+" is ") {
				t.Errorf("%s with %s: %v, wanted an error that names the axis", a, change, err)
			}
		}
	}
}

// rewrite changes a folder's weights.
func rewrite(t *testing.T, dir string, change func(tensors map[string]safetensors.Tensor)) {
	t.Helper()
	path := filepath.Join(dir, WeightsFile)
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	tensors := map[string]safetensors.Tensor{}
	for _, info := range f.Tensors() {
		data := make([]byte, info.Bytes)
		if err := f.ReadInto(info.Name, data); err != nil {
			t.Fatal(err)
		}
		tensors[info.Name] = safetensors.Tensor{Name: info.Name, DType: info.DType, Shape: info.Shape, Data: data}
	}
	f.Close()
	change(tensors)
	if err := safetensors.WriteFile(path, slices.Collect(maps.Values(tensors)), nil); err != nil {
		t.Fatal(err)
	}
}

// TestImportRefuses: what does not fit is named, by tensor or by entry.
func TestImportRefuses(t *testing.T) {
	tok := smallTokenizer(t)
	fresh := func(name, arch string) (string, Model) {
		dir, m := t.TempDir(), micro(t, name, arch)
		if _, _, err := HuggingFace(dir, m, tok); err != nil {
			t.Fatal(err)
		}
		return dir, m
	}
	tensors := func(change func(map[string]safetensors.Tensor)) func(string) {
		return func(dir string) { rewrite(t, dir, change) }
	}
	entry := func(key string, value any) func(string) {
		return func(dir string) {
			path := filepath.Join(dir, configFile)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var file map[string]any
			if err := json.Unmarshal(b, &file); err != nil {
				t.Fatal(err)
			}
			file[key] = value
			b, _ = json.Marshal(file)
			if err := os.WriteFile(path, b, 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	const q = "transformer.h.3.attn.attention.q_proj.weight"
	for _, c := range []struct {
		what, name, arch string
		break_           func(dir string)
		want             []string // "": it is read
	}{
		{"nothing", "deep_cycle", "decoder", func(string) {}, nil},
		{"missing", "baseline", "decoder", tensors(func(x map[string]safetensors.Tensor) { delete(x, q) }), []string{q, "missing"}},
		{"further", "baseline", "decoder", tensors(func(x map[string]safetensors.Tensor) {
			x["adapter.weight"] = safetensors.New("adapter.weight", []int{2}, []float32{1, 2})
		}), []string{"adapter.weight", "no place"}},
		{"masks of older files", "baseline", "decoder", tensors(func(x map[string]safetensors.Tensor) {
			x["transformer.h.0.attn.attention.bias"] = safetensors.Tensor{Name: "transformer.h.0.attn.attention.bias", DType: "BOOL", Shape: []int{1}, Data: []byte{1}}
		}), nil},
		{"without the prefix", "plain/gpt2", "decoder", tensors(func(x map[string]safetensors.Tensor) {
			for _, name := range slices.Collect(maps.Keys(x)) {
				v := x[name]
				delete(x, name)
				v.Name = strings.TrimPrefix(name, "transformer.")
				x[v.Name] = v
			}
		}), nil},
		{"size", "baseline", "decoder", tensors(func(x map[string]safetensors.Tensor) {
			x[q] = safetensors.New(q, []int{3, 2}, make([]float32, 6))
		}), []string{q, "[3 2]", "[96 96]"}},
		{"type", "baseline", "decoder", tensors(func(x map[string]safetensors.Tensor) {
			v := x[q]
			v.DType, v.Data = "F16", v.Data[:len(v.Data)/2]
			x[q] = v
		}), []string{q, "F16"}},
		{"a copy of a shared layer", "deep_cycle", "decoder", tensors(func(x map[string]safetensors.Tensor) {
			v := x["transformer.h.9.mlp.c_fc.weight"]
			v.Data = bytes.Clone(v.Data)
			v.Data[40] ^= 1
			x[v.Name] = v
		}), []string{"transformer.h.9.mlp.c_fc.weight", "transformer.h.3.mlp.c_fc.weight", "decoder.3.ff.up"}},
		{"a bias that the model has not", "no_bias", "decoder", tensors(func(x map[string]safetensors.Tensor) {
			x["transformer.ln_f.bias"] = safetensors.New("transformer.ln_f.bias", []int{96}, slices.Repeat([]float32{0.5}, 96))
		}), []string{"transformer.ln_f.bias", "not zero"}},
		{"heads", "baseline", "decoder", entry("num_heads", 12), []string{"num_heads is 12", "6", "heads"}},
		{"activation", "baseline", "encoder", entry("hidden_act", "relu"), []string{"hidden_act is relu", "act"}},
		{"windows, written another way", "baseline", "decoder", entry("attention_types", []any{[]any{[]any{"global", "local"}, 3}}), nil},
		{"windows", "baseline", "decoder", entry("attention_types", []any{[]any{[]any{"global"}, 6}}), []string{"attention_types", "attn.local"}},
		{"absurd windows", "baseline", "decoder", entry("attention_types", []any{[]any{[]any{"global"}, 1e18}}), []string{"attention_types"}},
		{"kind", "baseline", "decoder", entry("model_type", "bert"), []string{"model_type is bert", "GPT-Neo"}},
		{"scale", "plain/gpt2", "decoder", entry("scale_attn_weights", false), []string{"scale_attn_weights", "attn.scaled"}},
		{"usual", "plain/gpt2", "decoder", entry("n_inner", nil), nil},
		{"usual width of GPT-Neo", "baseline", "decoder", entry("intermediate_size", nil), nil},
		{"no weights", "baseline", "decoder", func(dir string) { os.Remove(filepath.Join(dir, WeightsFile)) }, []string{WeightsFile, "no such file"}},
		{"no folder", "baseline", "decoder", func(dir string) { os.RemoveAll(dir) }, []string{"not a Hugging Face folder"}},
		{"no tokenizer", "baseline", "decoder", func(dir string) { os.Remove(filepath.Join(dir, tokenizerFile)) }, nil},
	} {
		dir, m := fresh(c.name, c.arch)
		c.break_(dir)
		_, err := Import(dir, m.Config)
		switch {
		case c.want == nil && err != nil:
			t.Errorf("%s: %v", c.what, err)
		case c.want != nil && err == nil:
			t.Errorf("%s: was read, wanted an error with %q", c.what, c.want)
		}
		for _, part := range c.want {
			if err != nil && !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v, wanted %q in it", c.what, err, part)
			}
		}
	}
}

func readModel(t *testing.T, path string) *onnxpb.ModelProto {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(b, m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestWeights: every parameter is an initializer of the right type, with its bytes inside or at their place in the
// safetensors file.
func TestWeights(t *testing.T) {
	m := micro(t, "heads/kv_cross_attention", variants.EncoderDecoder)
	params, err := m.Config.Parameters()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]float32{}
	for _, p := range params {
		values[p.Name], _ = m.Values(p)
	}
	types := map[string]graphgen.DType{"fp32": graphgen.Float32, "fp16": graphgen.Float16, "bf16": graphgen.BFloat16}
	for _, precision := range Precisions() {
		for _, limit := range []int64{-1, InsideLimit, 100} {
			dir := t.TempDir()
			files, err := ONNX(dir, m, ONNXOptions{Precision: precision, Cache: true, Limit: limit, Metadata: map[string]string{"model_license": "MIT"}})
			if err != nil {
				t.Fatal(err)
			}
			beside := limit == 100
			var weights []byte
			want := []string{"encoder.onnx", "decoder.onnx"}
			if beside {
				want = slices.Insert(want, 0, WeightsFile)
				if weights, err = os.ReadFile(filepath.Join(dir, WeightsFile)); err != nil {
					t.Fatal(err)
				}
			}
			var names []string
			for _, f := range files {
				names = append(names, f.Name)
			}
			if !slices.Equal(names, want) {
				t.Errorf("%s, limit %d: files %v, wanted %v", precision, limit, names, want)
			}
			found := map[string]bool{}
			for _, graph := range []string{"encoder", "decoder"} {
				x := readModel(t, filepath.Join(dir, graph+".onnx"))
				if x.GetProducerVersion() != "test" || len(x.GetMetadataProps()) != 1 || x.GetMetadataProps()[0].GetValue() != "MIT" {
					t.Errorf("producer %s %s, properties %v", x.GetProducerName(), x.GetProducerVersion(), x.GetMetadataProps())
				}
				for _, i := range x.GetGraph().GetInitializer() {
					v, ok := values[i.GetName()]
					if !ok {
						continue // a constant
					}
					found[i.GetName()] = true
					data := i.GetRawData()
					if beside {
						at := map[string]int64{}
						for _, e := range i.GetExternalData() {
							if e.GetKey() == "location" && e.GetValue() != WeightsFile {
								t.Errorf("%s lies in %s", i.GetName(), e.GetValue())
							}
							var n int64
							fmt.Sscan(e.GetValue(), &n)
							at[e.GetKey()] = n
						}
						data = weights[at["offset"] : at["offset"]+at["length"]]
					}
					if expected, err := graphgen.Narrow(types[precision], v); err != nil || !bytes.Equal(data, expected) {
						t.Errorf("%s, limit %d: initializer %s of %s.onnx has other bytes (%v)", precision, limit, i.GetName(), graph, err)
					}
				}
			}
			if len(found) < len(params)-10 || !found["decoder.0.cross.wk"] {
				t.Errorf("%d of %d parameters are initializers", len(found), len(params))
			}
		}
	}
	if _, err := ONNX(t.TempDir(), m, ONNXOptions{Precision: "fp8"}); err == nil {
		t.Error("fp8 was written")
	}
	m.Values = func(p variants.Parameter) ([]float32, error) {
		return slices.Repeat([]float32{7e4}, p.Elements()), nil
	}
	if _, err := ONNX(t.TempDir(), m, ONNXOptions{Precision: "fp16"}); err == nil || !strings.Contains(err.Error(), ": entry 0 is 70000, beyond float16") {
		t.Errorf("weights beyond float16: %v", err)
	}
}
