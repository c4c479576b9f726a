package nvrtc

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// compiler opens NVRTC with an empty cache, or skips the test where it is not there, saying why.
func compiler(t *testing.T) *Compiler {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	c, err := Open("9.0")
	if err != nil {
		if os.Getenv("MARCH_TEST_NVRTC") != "" {
			t.Fatal(err)
		}
		t.Skip("make test-kernels brings it along: ", err)
	}
	return c
}

const source = `extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= FACTOR; }`

// TestCompile: code for the GPU comes out, another for other macros, and a second time from the cache.
func TestCompile(t *testing.T) {
	c := compiler(t)
	a, err := c.Compile("twice.cu", source, []string{"FACTOR=2"})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(a, []byte("\x7fELF")) || !bytes.Contains(a, []byte("twice")) {
		t.Errorf("%d bytes that are no code with the kernel", len(a))
	}
	b, err := c.Compile("twice.cu", source, []string{"FACTOR=3"})
	if err != nil || bytes.Equal(a, b) {
		t.Errorf("other macros give the same code (%v)", err)
	}
	files, _ := filepath.Glob(filepath.Join(c.cache, "twice-*.cubin"))
	if len(files) != 2 {
		t.Fatalf("the cache holds %v", files)
	}
	for _, f := range files {
		if err := os.WriteFile(f, []byte("kept"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := c.Compile("twice.cu", source, []string{"FACTOR=2"}); err != nil || string(got) != "kept" {
		t.Errorf("the second time: %q (%v), wanted what the cache holds", got, err)
	}
}

// TestErrors of a source name it and say where in it.
func TestErrors(t *testing.T) {
	c := compiler(t)
	_, err := c.Compile("wrong.cu", "__global__ void f() { nothing; }", nil)
	if err == nil || !strings.Contains(err.Error(), "wrong.cu") || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("got %v", err)
	}
}
