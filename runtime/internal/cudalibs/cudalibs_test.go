package cudalibs

import (
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"march/runtime/ortlib"
)

// compile makes a shared library with the C compiler that cgo uses as well.
func compile(t *testing.T, dir, name, source string, args ...string) string {
	t.Helper()
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	if _, err := exec.LookPath(cc); err != nil {
		t.Skip("no C compiler")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path, c := filepath.Join(dir, name), filepath.Join(t.TempDir(), "x.c")
	if err := os.WriteFile(c, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"-shared", "-fPIC", "-Wl,-soname," + name, "-o", path, c}, args...)
	if out, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// provider makes a library that needs empty ones of these names, which it leaves
// in dir.
func provider(t *testing.T, dir, source string, needed ...string) string {
	t.Helper()
	args := []string{"-Wl,--no-as-needed"}
	for _, name := range needed {
		args = append(args, compile(t, dir, name, "int unused;"))
	}
	return compile(t, t.TempDir(), ortlib.CUDAProvider, source, args...)
}

func linuxOnly(t *testing.T) {
	t.Helper()
	if goruntime.GOOS != "linux" {
		t.Skip("the CUDA provider is looked into on Linux only")
	}
}

func named(t *testing.T, list []Library, name string) Library {
	t.Helper()
	for _, l := range list {
		if l.Name == name {
			return l
		}
	}
	t.Fatalf("no %s in %+v", name, list)
	return Library{}
}

// The names are of a CUDA that does not exist, so that a machine with a GPU
// gives the same result.
func TestLook(t *testing.T) {
	linuxOnly(t)
	env := t.TempDir()
	t.Setenv("VIRTUAL_ENV", env)
	dir := filepath.Join(env, "lib", "python3.12", "site-packages", "nvidia", "cu99", "lib")
	p := provider(t, dir, "int x;", "libcudart.so.99", "libcublas.so.99", "libgone.so.99")
	for _, gone := range []string{"libcublas.so.99", "libgone.so.99"} {
		if err := os.Remove(filepath.Join(dir, gone)); err != nil {
			t.Fatal(err)
		}
	}
	list, err := Look(p)
	if err != nil {
		t.Fatal(err)
	}
	if l := named(t, list, "libcudart.so.99"); !l.Needed || l.Path != "" || l.Error == "" || l.Elsewhere != filepath.Join(dir, l.Name) {
		t.Errorf("%+v", l)
	}
	if l := named(t, list, "libcublas.so.99"); !l.Needed || l.Elsewhere != "" || l.Package != "nvidia-cublas==99.*" {
		t.Errorf("%+v", l)
	}
	if l := named(t, list, "libgone.so.99"); l.Error == "" || l.Package != "" {
		t.Errorf("%+v", l)
	}
	if slices.ContainsFunc(list, func(l Library) bool { return strings.HasPrefix(l.Name, "libc.") }) {
		t.Errorf("lists what is always there: %+v", list)
	}
	if got := SearchPath(list); got != dir {
		t.Errorf("search path %q, want %q", got, dir)
	}
	if needed, others := Install(list); !slices.Equal(needed, []string{"nvidia-cublas==99.*"}) || len(others) != 0 {
		t.Errorf("install %q, %q", needed, others)
	}
}

// The loader reads LD_LIBRARY_PATH when a process starts.
func TestFound(t *testing.T) {
	linuxOnly(t)
	const name = "libcudart.so.99"
	if p := os.Getenv("MARCH_TEST_PROVIDER"); p != "" {
		list, err := Look(p)
		if err != nil {
			t.Fatal(err)
		}
		if l := named(t, list, name); l.Error != "" || l.Path != filepath.Join(os.Getenv("LD_LIBRARY_PATH"), name) || l.Elsewhere != "" {
			t.Errorf("%+v", l)
		}
		return
	}
	dir := t.TempDir()
	p := provider(t, dir, "int x;", name)
	c := exec.Command(os.Args[0], "-test.run=^TestFound$")
	c.Env = append(os.Environ(), "MARCH_TEST_PROVIDER="+p, "LD_LIBRARY_PATH="+dir)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// A provider may bring folders of its own.
func TestOwnFolders(t *testing.T) {
	linuxOnly(t)
	dir := t.TempDir()
	lib := compile(t, filepath.Join(dir, "nvidia"), "libcudart.so.97", "int unused;")
	p := compile(t, dir, ortlib.CUDAProvider, "int x;", "-Wl,--no-as-needed", lib, "-Wl,-rpath,/nowhere:$ORIGIN/nvidia")
	list, err := Look(p)
	if err != nil {
		t.Fatal(err)
	}
	if l := named(t, list, "libcudart.so.97"); l.Path != lib || l.Error != "" {
		t.Errorf("%+v", l)
	}
}

func TestExpected(t *testing.T) {
	names := func(needed ...string) (list []string) {
		for _, l := range expected(needed) {
			list = append(list, l.Name+" "+l.Package)
		}
		return list
	}
	for _, test := range []struct {
		needed, want []string
	}{
		{[]string{"libcublasLt.so.13", "libcurand.so.10", "libcudart.so.13", "libcuda.so.1"}, []string{
			"libcublasLt.so.13 nvidia-cublas==13.*", "libcurand.so.10 nvidia-curand==10.*", "libcudart.so.13 nvidia-cuda-runtime==13.*", "libcuda.so.1 ",
			"libcudnn.so.9 nvidia-cudnn-cu13==9.*", "libnvrtc.so.13 nvidia-cuda-nvrtc==13.*", "libcufft.so.12 nvidia-cufft==12.*"}},
		{[]string{"libcudart.so.12", "libcudnn.so.9", "libcufft.so.11"}, []string{
			"libcudart.so.12 nvidia-cuda-runtime-cu12==12.*", "libcudnn.so.9 nvidia-cudnn-cu12==9.*", "libcufft.so.11 nvidia-cufft-cu12==11.*",
			"libnvrtc.so.12 nvidia-cuda-nvrtc-cu12==12.*"}},
	} {
		if got := names(test.needed...); !slices.Equal(got, test.want) {
			t.Errorf("%q:\n got %q\nwant %q", test.needed, got, test.want)
		}
	}
}

func TestVersion(t *testing.T) {
	linuxOnly(t)
	for _, test := range []struct{ source, want string }{
		{`const char a[] = "\0" "1.30.0";`, "1.30.0"},
		{`const char a[] = "\0" "1.30.0\0" "1.29.1";`, ""},
		{`const char a[] = "version 1.30.0";`, ""},
	} {
		p := compile(t, t.TempDir(), "p.so", test.source)
		if got, err := Version(p); got != test.want || err != nil {
			t.Errorf("%s: %q, %v", test.source, got, err)
		}
	}
	text := filepath.Join(t.TempDir(), "text.so")
	os.WriteFile(text, []byte("hello"), 0o644)
	if _, err := Version(text); err == nil {
		t.Error("a text has a version")
	}
	if _, err := Look(text); err == nil {
		t.Error("a text needs libraries")
	}
}

// What the pinned provider says of itself.
func TestPinnedProvider(t *testing.T) {
	build, err := ortlib.CurrentCUDA()
	if err != nil {
		t.Skip(err)
	}
	folder, err := build.Folder()
	if err == nil {
		err = build.Plausible(folder)
	}
	if err != nil {
		t.Skipf("needs `%s`: %v", ortlib.SetupCUDACommand, err)
	}
	p := filepath.Join(folder, ortlib.CUDAProvider)
	if got, err := Version(p); got != ortlib.Version || err != nil {
		t.Errorf("version %q, %v", got, err)
	}
	list, err := Look(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10", "libcudart.so.13", "libcuda.so.1"} {
		if l := named(t, list, name); !l.Needed || l.Path == "" == (l.Error == "") {
			t.Errorf("%+v", l)
		}
	}
	if l := named(t, list, "libcudnn.so.9"); l.Needed || l.For == "" {
		t.Errorf("%+v", l)
	}
}
