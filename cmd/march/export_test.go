package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"march/runtime"
	"march/trainloop/tokenizer"
)

// logitsOf runs infer.onnx over tokens.
func logitsOf(t *testing.T, folder string, vocab int, tokens []int64) []float32 {
	t.Helper()
	rt, err := runtime.Open(runtime.Options{Device: runtime.Device{Kind: "cpu"}, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	s, err := rt.Session(filepath.Join(folder, "infer.onnx"), runtime.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]*runtime.Tensor{}
	for _, info := range s.Inputs() {
		var x *runtime.Tensor
		switch info.Name {
		case "tokens", "decoder_tokens":
			x, err = rt.NewTensor(runtime.Int64, 1, int64(len(tokens)))
		case "lengths":
			x, err = rt.NewTensor(runtime.Int64, 1)
		default: // the keys or values of no tokens
			b, e := rt.Alloc(8)
			if e != nil {
				t.Fatal(e)
			}
			x, err = b.Empty(info.Type, 1, info.Shape[1], 0, info.Shape[3])
		}
		if err != nil {
			t.Fatal(err)
		}
		in[info.Name] = x
	}
	y, err := rt.NewTensor(runtime.Float32, 1, int64(len(tokens)), int64(vocab))
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Bind(in, map[string]*runtime.Tensor{"logits": y})
	if err != nil {
		t.Fatal(err)
	}
	v := make([]float32, len(tokens)*vocab)
	for name, values := range map[string][]int64{"tokens": tokens, "decoder_tokens": tokens, "lengths": {int64(len(tokens)) - 2}} {
		if x := in[name]; x != nil {
			if err := runtime.Upload(x, values); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := b.Run(); err != nil {
		t.Fatal(err)
	}
	if err := runtime.Download(y, v); err != nil {
		t.Fatal(err)
	}
	return v
}

// farthest is the largest difference, in units of the largest entry.
func farthest(want, got []float32) float64 {
	worst, largest := 0.0, 0.0
	for i := range want {
		d := math.Abs(float64(want[i]) - float64(got[i]))
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		worst, largest = max(worst, d), max(largest, math.Abs(float64(want[i])))
	}
	return worst / largest
}

// TestExportHalf: in fp16 the logits are those of fp32 to what eleven bits hold, whatever norms, positions and activations; a
// program's start values and parameters from elsewhere are written too.
func TestExportHalf(t *testing.T) {
	inFolder(t)
	for name, args := range map[string][]string{
		"rms":      {"--variant", "heads/silu_glu"},
		"unified":  {"--variant", "heads/unified_attention"},
		"relative": {"--variant", "heads/t5_relative_bias"},
		"encoder":  {"--variant", "baseline", "--arch", "encoder"},
		"act":      {"--variant", "universal_act", "--set", "position.kind=rope", "--set", "kv_heads=2"},
		"alibi":    {"--variant", "baseline", "--set", "position.kind=alibi", "--set", "act=gelu"},
	} {
		ok(t, append([]string{"gen", "--scale", "tiny", "--set", "vocab=400", "--set", "length=32", "--out", name}, args...)...)
		ok(t, "export", "--program", name, "--out", name+"-32")
		ok(t, "export", "--program", name, "--precision", "fp16", "--params", filepath.Join(name, "init.safetensors"), "--out", name+"-16")
		tokens := []int64{0, 17, 300, 5, 42, 42, 7, 399, 1, 12}
		if d := farthest(logitsOf(t, name+"-32", 400, tokens), logitsOf(t, name+"-16", 400, tokens)); !(d < 0.01) || d == 0 {
			t.Errorf("%s: fp16's logits differ by %g of the largest", name, d)
		}
	}
	if code, _, log := march(t, "export", "--program", "encoder", "--cache", "--out", "no"); code != 1 || !strings.Contains(log, "arch encoder") {
		t.Errorf("an encoder with a cache: exit code %d, %s", code, log)
	}
	if code, _, log := march(t, "export", "--program", "rms", "--params", filepath.Join("unified", "init.safetensors"), "--out", "no"); code != 1 || !strings.Contains(log, "decoder.0.ff.gate") && !strings.Contains(log, "tensor") {
		t.Errorf("another model's parameters: exit code %d, %s", code, log)
	}
}

// TestExportAndGenerate trains a small model, writes it in every form, holds the forms against each other, generates from it,
// and starts another run from it.
func TestExportAndGenerate(t *testing.T) {
	inFolder(t)
	data := smallData(t)
	ok(t, smallRun(data, "run", "--steps", "30", "--suite", "none", "--validate-every", "10")...)
	tok, err := tokenizer.Load(filepath.Join("run", "tokenizer.json"))
	if err != nil {
		t.Fatalf("the run's own tokenizer: %v", err)
	}
	for _, c := range []struct {
		folder string
		args   []string
		files  []string
		bound  float64
	}{
		{"plain", nil, []string{"infer.onnx", "tokenizer.json"}, 0},
		{"beside", []string{"--weights", "beside"}, []string{"model.safetensors", "infer.onnx", "tokenizer.json"}, 0},
		{"limit", []string{"--inside", "0"}, []string{"model.safetensors", "infer.onnx", "tokenizer.json"}, 0},
		{"cache", []string{"--cache", "--target", "ort"}, []string{"infer.onnx", "tokenizer.json"}, 1e-5},
		{"half", []string{"--precision", "fp16", "--cache"}, []string{"infer.onnx", "tokenizer.json"}, 5e-3},
	} {
		var w exported
		if err := json.Unmarshal([]byte(ok(t, append([]string{"export", "--run", "run", "--json", "--licence", "MIT", "--out", c.folder}, c.args...)...)), &w); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range w.Files {
			if names = append(names, f.Name); f.Bytes == 0 {
				t.Errorf("%s: %s has no bytes", c.folder, f.Name)
			}
		}
		if got := strings.Join(names, " "); got != strings.Join(c.files, " ") || w.Step != 30 || w.Valid == nil {
			t.Errorf("%s: %+v", c.folder, w)
		}
		copied, err := tokenizer.Load(filepath.Join(c.folder, "tokenizer.json"))
		if err != nil || copied.SHA256() != tok.SHA256() {
			t.Errorf("%s: the tokenizer: %v", c.folder, err)
		}
		tokens := []int64{0, 17, 300, 5, 42, 42, 7}
		want, got := logitsOf(t, "plain", 400, tokens), logitsOf(t, c.folder, 400, tokens)
		if d := farthest(want, got); !(d <= c.bound) {
			t.Errorf("%s: logits differ by %g of the largest", c.folder, d)
		}
	}

	text := func(args ...string) string { return ok(t, append([]string{"generate", "--run", "run"}, args...)...) }
	a := text("--prompt", "the cat", "--tokens", "40", "--seed", "3")
	if b := text("--prompt", "the cat", "--tokens", "40", "--seed", "3", "--threads", "1"); a != b || !strings.HasPrefix(a, "the cat") || len(a) < 20 {
		t.Errorf("seed 3 gave %q and %q", a, b)
	}
	if b := text("--prompt", "the cat", "--tokens", "40", "--seed", "4"); a == b {
		t.Errorf("seeds 3 and 4 both gave %q", a)
	}
	if a, b := text("--top-k", "1", "--tokens", "9"), text("--temperature", "0", "--tokens", "9", "--seed", "8"); a != b {
		t.Errorf("the most likely text is %q or %q", a, b)
	}
	text("--checkpoint", "best", "--tokens", "3")
	text("--checkpoint", "30", "--tokens", "3")

	hf := ok(t, "export", "--run", "run", "--hf", "--licence", "CC-BY-4.0", "--out", "hf")
	card, err := os.ReadFile(filepath.Join("hf", "README.md"))
	if err != nil || !strings.Contains(string(card), "license: cc-by-4.0") || !strings.Contains(hf, "GPT-Neo") {
		t.Errorf("the card %q (%v); %s", card, err, hf)
	}
	from := func(out string, more ...string) []string {
		return smallRun(data, out, append([]string{"--steps", "10", "--suite", "none", "--init", "hf"}, more...)...)
	}
	ok(t, from("on")...)
	first := func(run string) float64 {
		b, err := os.ReadFile(filepath.Join(run, "metrics.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		var m struct{ Loss float64 }
		if err := json.Unmarshal([]byte(strings.SplitN(string(b), "\n", 2)[0]), &m); err != nil {
			t.Fatal(err)
		}
		return m.Loss
	}
	if new, on := first("run"), first("on"); on > new-0.5 {
		t.Errorf("the first step's loss is %.3f from new and %.3f from what was learned", new, on)
	}
	ok(t, append(from("on"), "--resume")...)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{append(smallRun(data, "on", "--steps", "10", "--suite", "none"), "--resume"), 1, "init_sha256"},
		{from("other", "--set", "share.assignment=seq"), 1, "one parameter for both"},
		{from("other", "--set", "heads=6", "--set", "qkv_dim=4"), 1, "num_heads is 3"},
		{[]string{"export", "--run", "run", "--out", "hf"}, 1, "holds files already"},
		{[]string{"export", "--run", "run", "--checkpoint", "7", "--out", "no"}, 1, "no checkpoint of step 7; it has those of"},
		{[]string{"export", "--run", "nowhere", "--out", "no"}, 1, "nowhere holds no run"},
		{[]string{"generate", "--run", "run", "--data", data + "x"}, 1, "tokenizer.json"},
	} {
		if code, _, log := march(t, c.args...); code != c.code || !strings.Contains(log, c.want) {
			t.Errorf("%v: exit code %d, %s; wanted %d with %q", c.args, code, log, c.code, c.want)
		}
	}
	if _, err := os.Stat("no"); err == nil {
		t.Error("a refused export left a folder")
	}
}
