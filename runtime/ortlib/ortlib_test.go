package ortlib

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Whoever changes Version must change every pin; these catch a half-done
// change, and a slip in copying.
func TestPins(t *testing.T) {
	hex := regexp.MustCompile(`^[0-9a-f]{64}$`)
	seen := map[string]string{}
	check := func(what string, f File) {
		t.Helper()
		if !hex.MatchString(f.SHA256) || f.Size <= 0 || f.Name == "" {
			t.Errorf("%s: incomplete: %+v", what, f)
		}
		if other, ok := seen[f.SHA256]; ok {
			t.Errorf("%s has the digest of %s", what, other)
		}
		seen[f.SHA256] = what
	}
	check("npm archive", NPMArchive)
	if want := NPMPackage + "-" + Version + ".tgz"; NPMArchive.Name != want {
		t.Errorf("npm archive is named %s, want %s", NPMArchive.Name, want)
	}
	for _, p := range Platforms {
		name := p.OS + "/" + p.Arch
		check(name+" npm library", p.NPM)
		check(name+" wheel", p.Wheel)
		check(name+" wheel library", p.WheelLibrary)
		python := "cp" + strings.ReplaceAll(WheelPython, ".", "")
		if want := PipPackage + "-" + Version + "-" + python + "-" + python + "-" + p.WheelTag + ".whl"; p.Wheel.Name != want {
			t.Errorf("%s: wheel is named %s, want %s", name, p.Wheel.Name, want)
		}
		if !strings.Contains(p.WheelLibrary.Name, Version) {
			t.Errorf("%s: wheel library %s is not of version %s", name, p.WheelLibrary.Name, Version)
		}
	}
	for _, name := range []string{"linux/amd64", "linux/arm64", "darwin/arm64"} {
		goos, goarch, _ := strings.Cut(name, "/")
		if _, err := find(goos, goarch); err != nil {
			t.Error(err)
		}
	}
}

func TestUnknownPlatform(t *testing.T) {
	_, err := find("plan9", "mips")
	if !errors.Is(err, ErrPlatform) || !strings.Contains(err.Error(), "plan9/mips") || !strings.Contains(err.Error(), EnvVar) {
		t.Errorf("got %v", err)
	}
}

func TestPath(t *testing.T) {
	p := Platform{OS: "linux", Arch: "amd64", Library: "lib.so"}
	for _, test := range []struct{ xdg, home, want string }{
		{"/c", "/h", "/c/march/onnxruntime/" + Version + "/linux-amd64/lib.so"},
		{"", "/h", "/h/.cache/march/onnxruntime/" + Version + "/linux-amd64/lib.so"},
		{"relative", "/h", "/h/.cache/march/onnxruntime/" + Version + "/linux-amd64/lib.so"},
		{"", "", ""},
	} {
		t.Setenv("XDG_CACHE_HOME", test.xdg)
		t.Setenv("HOME", test.home)
		got, err := p.Path()
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("XDG_CACHE_HOME=%q HOME=%q: %q, %v, want %q", test.xdg, test.home, got, err, test.want)
		}
	}
}

func TestVerify(t *testing.T) {
	const hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" // sha256 of "hello"
	dir := t.TempDir()
	path := filepath.Join(dir, "lib.so")
	p := Platform{NPM: File{Size: 5, SHA256: hello}, WheelLibrary: File{Size: 7, SHA256: "other"}}
	if _, err := p.Verify(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if err := p.Plausible(path); err == nil || !strings.Contains(err.Error(), "not there") {
		t.Errorf("missing file: %v", err)
	}
	if err := p.Plausible(dir); err == nil {
		t.Error("a folder is plausible")
	}
	os.WriteFile(path, []byte("hello"), 0o644)
	if origin, err := p.Verify(path); origin != "npm" || err != nil {
		t.Errorf("right file: %q, %v", origin, err)
	}
	if err := p.Plausible(path); err != nil {
		t.Error(err)
	}
	p.NPM, p.WheelLibrary = p.WheelLibrary, p.NPM
	if origin, err := p.Verify(path); origin != "pip" || err != nil {
		t.Errorf("wheel's file: %q, %v", origin, err)
	}
	os.WriteFile(path, []byte("hell"), 0o644)
	if _, err := p.Verify(path); err == nil || !strings.Contains(err.Error(), hello) {
		t.Errorf("wrong file: %v", err)
	}
	if err := p.Plausible(path); err == nil || !strings.Contains(err.Error(), "4 bytes") {
		t.Errorf("wrong size: %v", err)
	}
}
