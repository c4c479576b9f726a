package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestInspect reads a program's files as a user does, and refuses what is no such file.
func TestInspect(t *testing.T) {
	t.Chdir(t.TempDir())
	ok(t, "gen", "--variant", "baseline", "--scale", "tiny", "--batch", "2", "--seq", "16", "--out", "a")
	ok(t, "gen", "--variant", "no_bias", "--scale", "tiny", "--batch", "2", "--seq", "16", "--opset", "17", "--out", "b")
	for _, c := range []struct {
		args string
		want []string
	}{
		{"a/step.onnx", []string{"ai.onnx 18", "82 parameters", "82 first moments", "decoder.5.attn", "grad.decoder.5.attn", "update", "at once in the file's order"}},
		{"a/eval.onnx", []string{"int64 [batch,length]", "without a known shape", "--size NAME=NUMBER"}},
		{"a/eval.onnx --size batch=2 --size length=16", []string{"scores", "at once in the file's order"}},
		{"a/infer.onnx", []string{"of the weights in other files"}},
		{"a/infer.onnx b/infer.onnx", []string{"decoder.0.attn.bo", "float32 [96]", "none"}},
		{"a/infer.onnx a/infer.onnx", []string{"are the same"}},
	} {
		out := ok(t, append([]string{"inspect"}, strings.Fields(c.args)...)...)
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("march inspect %s: no %q in\n%s", c.args, want, out)
			}
		}
	}
	var info struct {
		Nodes  int
		Layers []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(ok(t, "inspect", "--json", "a/grad.onnx")), &info); err != nil || info.Nodes == 0 || len(info.Layers) < 10 {
		t.Errorf("as JSON: %+v, %v", info, err)
	}
	for _, c := range []struct {
		args, want string
		code       int
	}{
		{"", "FILE is missing", 2},
		{"a/step.onnx b/step.onnx a/eval.onnx", "", 2},
		{"a/step.onnx --size batch", `--size "batch": wanted NAME=NUMBER`, 2},
		{"a/manifest.json", "a/manifest.json: not an ONNX file", 1},
		{"a/none.onnx", "no such file", 1},
	} {
		code, _, stderr := march(t, append([]string{"inspect"}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("march inspect %s: exit code %d, %q; wanted %d, %q", c.args, code, stderr, c.code, c.want)
		}
	}
}
