package runtime

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"march/runtime/ortlib"
)

// open opens ONNX Runtime with that many threads. Without a library the test
// fails: a test run that leaves these out says nothing.
func open(t testing.TB, threads int) *Runtime {
	t.Helper()
	r, err := Open(Options{Threads: threads, Device: Device{Kind: "cpu"}})
	if err != nil {
		t.Fatalf("this test needs ONNX Runtime: run `%s` first\n%v", ortlib.SetupCommand, err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

func wantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", parts)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q\nlacks %q", err, p)
		}
	}
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestParseDevice(t *testing.T) {
	for _, test := range []struct {
		in   string
		want Device
		back string
	}{
		{"", Device{"auto", 0}, "auto"}, {"auto", Device{"auto", 0}, "auto"}, {"cpu", Device{"cpu", 0}, "cpu"},
		{"cuda", Device{"cuda", 0}, "cuda:0"}, {"cuda:3", Device{"cuda", 3}, "cuda:3"},
	} {
		got, err := ParseDevice(test.in)
		if err != nil || got != test.want || got.String() != test.back {
			t.Errorf("%q: %+v, %v, %q", test.in, got, err, got)
		}
	}
	for _, bad := range []string{"gpu", "cuda:", "cuda:-1", "cuda:x", "cpu:1", "CPU", "cuda:99999999"} {
		_, err := ParseDevice(bad)
		wantError(t, err, bad, "cuda:N")
	}
}

func TestOpenOptions(t *testing.T) {
	for _, test := range []struct {
		o    Options
		want string
	}{
		{Options{Threads: -1}, "threads: -1"},
		{Options{Threads: 100_000}, "threads: 100000"},
		{Options{Device: Device{Kind: "cuda", Index: 1}}, "cuda:1"},
		{Options{Device: Device{Kind: "tpu"}}, "tpu"},
		{Options{Device: Device{Kind: "cpu", Index: 2}}, "index 2"},
	} {
		_, err := Open(test.o)
		wantError(t, err, test.want)
	}
}

func TestOpenAgain(t *testing.T) {
	a := open(t, 1)
	if a.Threads() != 1 || a.Device() != (Device{Kind: "cpu"}) || !slices.Contains(a.Providers(), "CPUExecutionProvider") {
		t.Errorf("%d threads, device %v, providers %v", a.Threads(), a.Device(), a.Providers())
	}
	b := open(t, 2) // at the same time, with other threads
	if a.Library() != b.Library() || a.Version() != b.Version() || b.Threads() != 2 {
		t.Errorf("%s %s, then %s %s", a.Library(), a.Version(), b.Library(), b.Version())
	}
	for range 3 { // one after the other
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		b = open(t, 0)
		if err := b.selfTest(); err != nil {
			t.Fatal(err)
		}
	}
	if b.Threads() < 1 {
		t.Errorf("%d threads by default", b.Threads())
	}
	if err := a.selfTest(); err != nil {
		t.Errorf("the first runtime after others were closed: %v", err)
	}
	// A link to the same library is the same library.
	link := filepath.Join(t.TempDir(), "link.so")
	if err := os.Symlink(a.Library(), link); err != nil {
		t.Fatal(err)
	}
	if c, err := Open(Options{Library: link}); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}

func TestOpenConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			r, err := Open(Options{Threads: 1})
			if err == nil {
				err = r.selfTest()
			}
			if err != nil {
				t.Error(err)
				return
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestClosedRuntime(t *testing.T) {
	r := open(t, 1)
	s := must[*Session](t)(r.SessionBytes(checkModel, SessionOptions{}))
	x := must[*Tensor](t)(r.NewTensor(Float32, 4))
	b := must[*Binding](t)(s.Bind(map[string]*Tensor{"x": x}, map[string]*Tensor{"y": x}))
	for range 2 { // closes everything, and twice is no error
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, b.Run(), "closed")
	_, err := s.Bind(map[string]*Tensor{"x": x}, map[string]*Tensor{"y": x})
	wantError(t, err, "closed")
	wantError(t, Upload(x, make([]float32, 4)), "closed")
	_, err = r.Alloc(10)
	wantError(t, err, "closed")
	_, err = r.SessionBytes(checkModel, SessionOptions{})
	wantError(t, err, "closed")
	for _, c := range []func() error{b.Close, s.Close, x.Close} {
		if err := c(); err != nil {
			t.Errorf("closing what the runtime has closed: %v", err)
		}
	}
}

// fakeLibrary compiles a shared library from C.
func fakeLibrary(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	c, lib := filepath.Join(dir, "fake.c"), filepath.Join(dir, "libfake.so")
	if err := os.WriteFile(c, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-o", lib, c).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return lib
}

// fakeVersion is a library that answers as an ONNX Runtime of that version
// would, and ends the process when any of its interface is asked for.
func fakeVersion(t *testing.T, version string) string {
	return fakeLibrary(t, `#include <stdlib.h>
static const void *api(unsigned v) { abort(); }
static const char *version(void) { return "`+version+`"; }
static const struct { const void *(*api)(unsigned); const char *(*version)(void); } base = {api, version};
const void *OrtGetApiBase(void) { return &base; }`)
}

func TestUnusableLibrary(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.so")
	os.WriteFile(text, []byte("hello"), 0o644)
	tests := []struct {
		name, path string
		want       []string
	}{
		{"missing", filepath.Join(dir, "gone.so"), []string{"gone.so", "no such file"}},
		{"folder", dir, []string{dir, "is a folder"}},
		{"not a library", text, []string{"text.so", "cannot be used"}},
		{"another library", fakeLibrary(t, "int x;"), []string{"not an ONNX Runtime library", "OrtGetApiBase"}},
		{"no version", fakeLibrary(t, "void *OrtGetApiBase(void) { return 0; }"), []string{"not an ONNX Runtime library"}},
		{"too old", fakeVersion(t, "1.23.2"), []string{"1.23.2", "too old", ortlib.MinVersion}},
		{"much too old", fakeVersion(t, "1.9.0"), []string{"1.9.0", "too old", ortlib.MinVersion}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Open(Options{Library: test.path})
			wantError(t, err, append(test.want, "option", ortlib.SetupCommand)...)
			t.Setenv(ortlib.EnvVar, test.path)
			_, err = Open(Options{})
			wantError(t, err, append(test.want, ortlib.EnvVar, ortlib.SetupCommand)...)
			_, source, tried, err := Discover()
			if err == nil || source != "" || len(tried) != 1 {
				t.Errorf("discover: source %q, tried %q, %v", source, tried, err)
			}
			d := Diagnose(Options{})
			if d.OK || d.Library != "" || len(d.Problems) != 1 || d.Problems[0].Fix != "unset "+ortlib.EnvVar {
				t.Errorf("diagnosis: %+v", d)
			}
		})
	}
}

func TestSecondLibrary(t *testing.T) {
	r := open(t, 1)
	other := fakeVersion(t, "1.99.0")
	_, err := Open(Options{Library: other})
	wantError(t, err, r.Library(), other, "as well")
}

func TestDiscover(t *testing.T) {
	library := open(t, 1).Library()
	// In the cache: found there, and the variable goes before it.
	platform := must[ortlib.Platform](t)(ortlib.Current())
	t.Setenv(ortlib.EnvVar, "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	cached := must[string](t)(platform.Path())
	os.MkdirAll(filepath.Dir(cached), 0o755)

	if _, source, tried, err := Discover(); err != nil {
		wantError(t, err, ortlib.SetupCommand, ortlib.EnvVar, cached, "not there")
		if len(tried) < 3 {
			t.Errorf("tried only %q", tried)
		}
		d := Diagnose(Options{})
		if d.OK || len(d.Problems) != 1 || d.Problems[0].Fix != ortlib.SetupCommand || len(d.Tried) != len(tried) {
			t.Errorf("diagnosis: %+v", d)
		}
	} else if source != SourceSystem {
		t.Errorf("found %s with an empty cache", source)
	}

	os.WriteFile(cached, []byte("cut off"), 0o644)
	if _, _, tried, _ := Discover(); len(tried) < 2 || !strings.Contains(tried[1], "incomplete") {
		t.Errorf("tried %q", tried)
	}
	os.Remove(cached)

	t.Setenv(ortlib.EnvVar, library)
	if path, source, _, err := Discover(); err != nil || source != SourceEnvironment || path != library {
		t.Errorf("%s, %s, %v", path, source, err)
	}
	if _, err := platform.Verify(library); err != nil {
		t.Skipf("the rest needs the pinned library: %v", err)
	}
	t.Setenv(ortlib.EnvVar, "")
	if err := os.Symlink(library, cached); err != nil {
		t.Fatal(err)
	}
	path, source, tried, err := Discover()
	if err != nil || source != SourceCache || !sameFile(path, cached) || len(tried) != 1 {
		t.Errorf("%s, %s, %q, %v", path, source, tried, err)
	}
}

func TestDiagnose(t *testing.T) {
	r := open(t, 1)
	d := Diagnose(Options{Threads: 1})
	if !d.OK || len(d.Problems) != 0 || d.Library != r.Library() || d.Version != r.Version() || d.Threads != 1 || d.Device != "cpu" ||
		d.RequiredVersion != ortlib.MinVersion || d.PinnedVersion != ortlib.Version || len(d.Providers) == 0 || d.CPU.Logical < 1 {
		t.Errorf("%+v", d)
	}
	if d.Source == SourceCache && d.Build == "" {
		t.Error("the cached library was not verified")
	}
	d = Diagnose(Options{Device: Device{Kind: "cuda"}})
	if d.OK || len(d.Problems) != 1 || d.Problems[0].Fix != "--device cpu" || d.Device != "cuda:0" {
		t.Errorf("%+v", d)
	}
}

// ONNX Runtime must neither leave files about nor look for a network; both come
// from its usage statistics.
func TestNoTelemetry(t *testing.T) {
	if os.Getenv("MARCH_TEST_TELEMETRY") != "" {
		if err := open(t, 1).selfTest(); err != nil {
			t.Fatal(err)
		}
		return
	}
	home := t.TempDir()
	c := exec.Command(os.Args[0], "-test.run=^TestNoTelemetry$")
	c.Env = []string{"MARCH_TEST_TELEMETRY=1", "HOME=" + home, "PATH=" + os.Getenv("PATH"),
		ortlib.EnvVar + "=" + open(t, 1).Library()}
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	filepath.WalkDir(home, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("ONNX Runtime left %s", path)
		}
		return nil
	})
}
