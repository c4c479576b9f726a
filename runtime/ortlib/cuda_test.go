package ortlib

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever changes Version must change these pins too.
func TestCUDAPins(t *testing.T) {
	python := "cp" + strings.ReplaceAll(WheelPython, ".", "")
	name := strings.ReplaceAll(CUDAPackage, "-", "_") + "-" + Version + "-" + python + "-" + python + "-" + CUDA.WheelTag + ".whl"
	if CUDA.Wheel.Name != name {
		t.Errorf("wheel is named %s, want %s", CUDA.Wheel.Name, name)
	}
	seen := map[string]string{}
	for _, f := range append([]File{CUDA.Wheel}, CUDA.Libraries...) {
		if len(f.SHA256) != 64 || f.Size <= 0 {
			t.Errorf("incomplete: %+v", f)
		}
		if other, ok := seen[f.SHA256]; ok {
			t.Errorf("%s has the digest of %s", f.Name, other)
		}
		seen[f.SHA256] = f.Name
	}
	if want := "libonnxruntime.so." + Version; CUDA.Core() != want {
		t.Errorf("the core, to be written last, is %s, want %s", CUDA.Core(), want)
	}
	if got := CUDA.FileName(CUDA.Libraries[0]); got != CUDAProvider {
		t.Errorf("the provider is %s, want %s", got, CUDAProvider)
	}
}

func TestCUDAFolder(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "/c")
	build, err := findCUDA("linux", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := build.Folder(); err != nil || got != "/c/march/onnxruntime/"+Version+"/linux-amd64-cuda" {
		t.Errorf("got %s, %v", got, err)
	}
	for _, other := range [][2]string{{"linux", "arm64"}, {"darwin", "arm64"}, {"windows", "amd64"}} {
		if _, err := findCUDA(other[0], other[1]); !errors.Is(err, ErrPlatform) || !strings.Contains(err.Error(), other[0]+"/"+other[1]) {
			t.Errorf("%v: %v", other, err)
		}
	}
}

func TestCUDAVerify(t *testing.T) {
	dir := t.TempDir()
	var b CUDABuild
	put := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"provider.so", "core.so"} {
		sum := sha256.Sum256([]byte(name))
		b.Libraries = append(b.Libraries, File{"inside/" + name, int64(len(name)), hex.EncodeToString(sum[:])})
	}
	if err := b.Verify(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
	put("core.so", "core.so")
	if err := b.Verify(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one missing: %v", err)
	}
	if err := b.Plausible(dir); err == nil || !strings.Contains(err.Error(), "provider.so: not there") {
		t.Errorf("one missing: %v", err)
	}
	put("provider.so", "provider.so")
	if err := errors.Join(b.Verify(dir), b.Plausible(dir)); err != nil {
		t.Error(err)
	}
	put("provider.so", "provider.SO")
	if err := b.Verify(dir); err == nil || !strings.Contains(err.Error(), "provider.so: sha256") {
		t.Errorf("changed: %v", err)
	}
	put("core.so", "cor")
	if err := b.Plausible(dir); err == nil || !strings.Contains(err.Error(), "3 bytes, want 7") {
		t.Errorf("shorter: %v", err)
	}
}
