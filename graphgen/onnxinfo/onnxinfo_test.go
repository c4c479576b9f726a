package onnxinfo

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestHostile: what is no ONNX file is an error, whatever its numbers say.
func TestHostile(t *testing.T) {
	for _, b := range [][]byte{nil, []byte("{}"), []byte("\x08\x08"), {0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f}} {
		if _, err := Describe(b, nil); err == nil || !strings.Contains(err.Error(), "not an ONNX file") {
			t.Errorf("%q: error %v", b, err)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("a file that is not there is read")
	}
}
