package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"march/runtime/ortlib"
)

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func pin(name string, content []byte) ortlib.File {
	return ortlib.File{Name: name, Size: int64(len(content)), SHA256: digest(content)}
}

func makeTar(t *testing.T, name string, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, f := range []struct {
		name    string
		content []byte
	}{{"package/README.md", []byte("hello")}, {name, content}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.content))}); err != nil {
			t.Fatal(err)
		}
		w.Write(f.content)
	}
	w.Close()
	z.Close()
	return b.Bytes()
}

func makeZip(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, content := range files {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		f.Write(content)
	}
	w.Close()
	return b.Bytes()
}

// world is a fake machine: packages with tiny libraries, and npm and python3
// scripts that hand them out and count their calls.
type world struct {
	*installer
	path       string
	log        bytes.Buffer
	bin, store string
	npmLib     []byte
	wheelLib   []byte
	platform   ortlib.Platform
}

const (
	npmName   = "package/bin/libonnxruntime.so.1"
	wheelName = "onnxruntime/capi/libonnxruntime.so.9"
)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{npmLib: []byte("library by npm"), wheelLib: []byte("another build, by pip"), bin: t.TempDir(), store: t.TempDir()}
	npmArchive, wheel := makeTar(t, npmName, w.npmLib), makeZip(t, map[string][]byte{wheelName: w.wheelLib})
	w.path = filepath.Join(t.TempDir(), "march", "onnxruntime", "9", "lib.so")
	w.platform = ortlib.Platform{OS: "linux", Arch: "amd64",
		NPM: pin(npmName, w.npmLib), Wheel: pin("fake.whl", wheel), WheelLibrary: pin(wheelName, w.wheelLib), WheelTag: "manylinux_9"}
	w.installer = forCPU(w.platform, w.path, &w.log)
	w.sources[0].archive = pin("fake.tgz", npmArchive)
	w.put(t, "fake.tgz", npmArchive)
	w.put(t, "fake.whl", wheel)
	t.Setenv("PATH", w.bin+":/usr/bin:/bin")
	// Programs of the real machine must not be found.
	for _, name := range []string{"npm", "python3", "python", "pip3", "pip"} {
		w.script(t, name, "exit 77")
	}
	return w
}

func (w *world) put(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.store, name), content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func (w *world) script(t *testing.T, name, body string) {
	t.Helper()
	text := "#!/bin/sh\necho \"" + name + " $*\" >> " + w.store + "/calls\n" + body + "\n"
	if err := os.WriteFile(filepath.Join(w.bin, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (w *world) giveNPM(t *testing.T) { w.script(t, "npm", "cp "+w.store+"/fake.tgz .") }
func (w *world) givePip(t *testing.T) { w.script(t, "python3", "cp "+w.store+"/fake.whl .") }

func (w *world) calls() string {
	b, _ := os.ReadFile(filepath.Join(w.store, "calls"))
	return string(b)
}

func (w *world) installed(t *testing.T, want []byte) {
	t.Helper()
	got, err := os.ReadFile(w.path)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("installed %q (%v), want %q\nlog:\n%s", got, err, want, w.log.String())
	}
	entries, _ := os.ReadDir(filepath.Dir(w.path))
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func (w *world) notInstalled(t *testing.T) {
	t.Helper()
	entries, _ := os.ReadDir(filepath.Dir(w.path))
	if len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestInstallByNPM(t *testing.T) {
	w := newWorld(t)
	w.giveNPM(t)
	if err := w.install(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	w.installed(t, w.npmLib)
	if c := w.calls(); !strings.Contains(c, "pack ") || !strings.Contains(c, " "+ortlib.NPMPackage+"@"+ortlib.Version+"\n") || strings.Contains(c, "python") {
		t.Errorf("calls: %s", c)
	}
	// In place and right: no client is called.
	os.Remove(filepath.Join(w.store, "calls"))
	if err := w.install(t.Context(), ""); err != nil || w.calls() != "" {
		t.Errorf("second install: %v, calls %q", err, w.calls())
	}
}

func TestPipStandsIn(t *testing.T) {
	w := newWorld(t)
	w.givePip(t)
	if err := w.install(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	w.installed(t, w.wheelLib)
	c := w.calls()
	for _, want := range []string{"-m pip download", "--platform manylinux_9", ortlib.PipPackage + "==" + ortlib.Version, "--no-deps"} {
		if !strings.Contains(c, want) {
			t.Errorf("calls lack %q: %s", want, c)
		}
	}
	if err := w.install(t.Context(), ""); err != nil {
		t.Errorf("a library from pip is not taken as right: %v", err)
	}
}

func TestSecondPip(t *testing.T) {
	w := newWorld(t)
	w.script(t, "python3", "echo No module named pip >&2; exit 1")
	w.script(t, "pip", "cp "+w.store+"/fake.whl .")
	if err := w.install(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	w.installed(t, w.wheelLib)
}

func TestWrongPackage(t *testing.T) {
	w := newWorld(t)
	w.giveNPM(t)
	w.put(t, "fake.tgz", makeTar(t, npmName, []byte("something else")))
	err := w.install(t.Context(), "")
	if err == nil || !strings.Contains(err.Error(), "fake.tgz: sha256") || !strings.Contains(err.Error(), w.sources[0].archive.SHA256) {
		t.Fatalf("got %v", err)
	}
	w.notInstalled(t)
}

// The package is right, but the library pinned is not what it holds: the second
// lock holds by itself.
func TestWrongLibrary(t *testing.T) {
	for _, change := range []struct {
		name  string
		pin   ortlib.File
		wants string
	}{
		{"content", pin(npmName, []byte("LIBRARY BY NPM")), "14 bytes with sha256"},
		{"shorter", pin(npmName, []byte("library")), "8 bytes"},
		{"longer", pin(npmName, []byte("library by npm, and more")), "14 bytes"},
		{"missing", pin("package/bin/other.so", []byte("library by npm")), "holds no package/bin/other.so"},
	} {
		t.Run(change.name, func(t *testing.T) {
			w := newWorld(t)
			w.giveNPM(t)
			w.sources[0].libraries[0].File = change.pin
			err := w.install(t.Context(), "")
			if err == nil || !strings.Contains(err.Error(), change.wants) {
				t.Fatalf("got %v, want %q", err, change.wants)
			}
			w.notInstalled(t)
		})
	}
	t.Run("wheel", func(t *testing.T) {
		w := newWorld(t)
		w.givePip(t)
		w.sources[1].libraries[0].File = pin("onnxruntime/other.so", w.wheelLib)
		if err := w.install(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "holds no onnxruntime/other.so") {
			t.Fatalf("got %v", err)
		}
		w.notInstalled(t)
	})
}

func TestDamagedLibraryIsReplaced(t *testing.T) {
	w := newWorld(t)
	w.giveNPM(t)
	os.MkdirAll(filepath.Dir(w.path), 0o777)
	os.WriteFile(w.path, []byte("library by"), 0o644)
	if err := w.install(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	w.installed(t, w.npmLib)
	if !strings.Contains(w.log.String(), "replacing") {
		t.Errorf("log: %s", w.log.String())
	}
}

func TestNoClientWorks(t *testing.T) {
	w := newWorld(t)
	w.script(t, "npm", "echo no network here >&2; exit 1")
	err := w.install(t.Context(), "")
	for _, want := range []string{"no network here", "exit status 77", "--archive", ortlib.EnvVar} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("lacks %q: %v", want, err)
		}
	}
	w.notInstalled(t)

	t.Setenv("PATH", t.TempDir())
	err = w.install(t.Context(), "")
	if err == nil || !strings.Contains(err.Error(), "npm: not installed") || !strings.Contains(err.Error(), "neither Python nor pip") {
		t.Errorf("got %v", err)
	}
}

func TestArchive(t *testing.T) {
	for _, name := range []string{"fake.tgz", "fake.whl"} {
		w := newWorld(t)
		renamed := filepath.Join(w.store, "renamed") // known by content, not by name
		os.Rename(filepath.Join(w.store, name), renamed)
		if err := w.install(t.Context(), renamed); err != nil {
			t.Fatal(err)
		}
		want := w.npmLib
		if name == "fake.whl" {
			want = w.wheelLib
		}
		w.installed(t, want)
		if w.calls() != "" {
			t.Errorf("clients were called: %s", w.calls())
		}
	}
}

func TestInterrupted(t *testing.T) {
	w := newWorld(t)
	w.script(t, "npm", "echo part > part.tgz; exec sleep 60")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for !strings.Contains(w.calls(), "npm") {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if err := w.install(ctx, ""); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	w.notInstalled(t)
	if strings.Contains(w.calls(), "python") {
		t.Error("went on to pip")
	}
}

func TestSweep(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	long := time.Now().Add(-48 * time.Hour)
	for _, name := range []string{".download-1", ".download-2", ".lib.so.march-tmp-0123456789ab", "lib.so"} {
		p := filepath.Join(dir, name)
		os.MkdirAll(p, 0o755)
		if name != ".download-2" { // a set-up that runs just now
			os.Chtimes(p, long, long)
		}
	}
	w.sweep(dir)
	entries, _ := os.ReadDir(dir)
	if len(entries) != 2 || entries[0].Name() != ".download-2" || entries[1].Name() != "lib.so" {
		t.Errorf("left: %v", entries)
	}
}

// newCUDAWorld is a world whose wheel holds a core with two providers.
func newCUDAWorld(t *testing.T) (*world, map[string][]byte) {
	t.Helper()
	w := newWorld(t)
	content := map[string][]byte{
		"onnxruntime/capi/libcuda_provider.so": []byte("kernels"),
		"onnxruntime/capi/libshared.so":        []byte("bridge"),
		"onnxruntime/capi/libcore.so.9":        []byte("core"),
	}
	wheel := makeZip(t, content)
	build := ortlib.CUDABuild{OS: "linux", Arch: "amd64", WheelTag: "manylinux_9", Wheel: pin("fake.whl", wheel)}
	for _, name := range []string{"libcuda_provider.so", "libshared.so", "libcore.so.9"} {
		name = "onnxruntime/capi/" + name
		build.Libraries = append(build.Libraries, pin(name, content[name]))
	}
	w.installer = forCUDA(build, filepath.Dir(w.path)+"-cuda", &w.log)
	w.path = filepath.Join(w.dir, build.Core())
	w.put(t, "fake.whl", wheel)
	return w, content
}

func (w *world) installedAll(t *testing.T, content map[string][]byte) {
	t.Helper()
	for name, want := range content {
		got, err := os.ReadFile(filepath.Join(w.dir, filepath.Base(name)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %q, %v; log:\n%s", name, got, err, w.log.String())
		}
	}
	if entries, _ := os.ReadDir(w.dir); len(entries) != len(content) {
		t.Errorf("left behind: %v", entries)
	}
}

func TestCUDA(t *testing.T) {
	w, content := newCUDAWorld(t)
	w.giveNPM(t)
	w.givePip(t)
	if err := w.install(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	w.installedAll(t, content)
	c := w.calls()
	for _, want := range []string{"-m pip download", "--platform manylinux_9", ortlib.CUDAPackage + "==" + ortlib.Version, "--no-deps"} {
		if !strings.Contains(c, want) {
			t.Errorf("calls lack %q: %s", want, c)
		}
	}
	if strings.Contains(c, "npm") {
		t.Errorf("npm was called: %s", c)
	}
	os.Remove(filepath.Join(w.store, "calls"))
	if err := w.install(t.Context(), ""); err != nil || w.calls() != "" {
		t.Errorf("second install: %v, calls %q", err, w.calls())
	}

	// One library of three is damaged, or gone: all are put in place again.
	provider := filepath.Join(w.dir, "libcuda_provider.so")
	for _, spoil := range []func() error{
		func() error { return os.WriteFile(provider, []byte("kern"), 0o644) },
		func() error { return os.Remove(provider) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if err := w.install(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		w.installedAll(t, content)
	}
	if !strings.Contains(w.log.String(), "replacing a wrong file") {
		t.Errorf("log: %s", w.log.String())
	}
}

func TestCUDAArchive(t *testing.T) {
	w, content := newCUDAWorld(t)
	if err := w.install(t.Context(), filepath.Join(w.store, "fake.whl")); err != nil {
		t.Fatal(err)
	}
	w.installedAll(t, content)
	if w.calls() != "" {
		t.Errorf("clients were called: %s", w.calls())
	}
}

// All libraries are put in place or none.
func TestCUDAWrongLibrary(t *testing.T) {
	for _, change := range []struct {
		name  string
		pin   ortlib.File
		wants string
	}{
		{"content", pin("onnxruntime/capi/libcore.so.9", []byte("CORE")), "4 bytes with sha256"},
		{"missing", pin("onnxruntime/capi/libcore.so.10", []byte("core")), "holds no onnxruntime/capi/libcore.so.10"},
	} {
		t.Run(change.name, func(t *testing.T) {
			w, _ := newCUDAWorld(t)
			w.givePip(t)
			w.sources[0].libraries[2].File = change.pin
			if err := w.install(t.Context(), ""); err == nil || !strings.Contains(err.Error(), change.wants) {
				t.Fatalf("got %v, want %q", err, change.wants)
			}
			w.notInstalled(t)
		})
	}
}

func TestCUDAInterrupted(t *testing.T) {
	w, _ := newCUDAWorld(t)
	w.script(t, "python3", "echo part > part.whl; exec sleep 60")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for !strings.Contains(w.calls(), "python3") {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if err := w.install(ctx, ""); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	w.notInstalled(t)
}

// The set-up of CPU machines asks for nothing of the other build.
func TestCPUFetchesNoCUDA(t *testing.T) {
	for _, p := range ortlib.Platforms {
		for _, s := range forCPU(p, "lib.so", nil).sources {
			if s.archive.SHA256 == ortlib.CUDA.Wheel.SHA256 || strings.Contains(s.archive.Name, "gpu") {
				t.Errorf("%s/%s: %s", p.OS, p.Arch, s.archive.Name)
			}
		}
	}
}

func TestRun(t *testing.T) {
	own := filepath.Join(t.TempDir(), "own.so")
	os.WriteFile(own, nil, 0o644)
	tests := []struct {
		name   string
		env    string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"help", "", []string{"--help"}, 0, "", "--archive"},
		{"help with CUDA", "", []string{"--help"}, 0, "", "--cuda"},
		{"unknown flag", "", []string{"--nope"}, 2, "", "nope"},
		{"argument", "", []string{"x"}, 2, "", `unexpected argument "x"`},
		{"own library", own, nil, 0, own + "\n", "nothing to install"},
		{"own library missing", own + "x", nil, 1, "", ortlib.EnvVar},
		{"own library with CUDA", own, []string{"--cuda"}, 0, own + "\n", "nothing to install"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(ortlib.EnvVar, test.env)
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), test.args, &stdout, &stderr)
			if code != test.code || stdout.String() != test.stdout || !strings.Contains(stderr.String(), test.stderr) {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
			}
		})
	}
}
