package ortc

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"
)

// Every position in ortc.h, and in customop's, is compared with ONNX Runtime's header, which lies
// in onnxruntime_go's module.
func TestPositions(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/yalue/onnxruntime_go").Output()
	if err != nil {
		t.Fatal(err)
	}
	header, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "onnxruntime_c_api.h"))
	if err != nil {
		t.Fatal(err)
	}
	names := tableNames(t, string(header))
	ours, err := os.ReadFile("ortc.h")
	if err != nil {
		t.Fatal(err)
	}
	more, err := os.ReadFile("../customop/customop.h")
	if err != nil {
		t.Fatal(err)
	}
	ours = append(ours, more...)
	entries := regexp.MustCompile(`ORTC_(\w+) = (\d+),`).FindAllStringSubmatch(string(ours), -1)
	if len(entries) < 40 {
		t.Fatalf("%d positions found in ortc.h: the test no longer reads it", len(entries))
	}
	for _, e := range entries {
		at, _ := strconv.Atoi(e[2])
		if at >= len(names) || names[at] != e[1] {
			t.Errorf("%s: position %d is %s", e[1], at, names[min(at, len(names)-1)])
		}
	}
}

// tableNames lists the members of struct OrtApi in order.
func tableNames(t *testing.T, header string) []string {
	t.Helper()
	_, body, ok := strings.Cut(header, "\nstruct OrtApi {")
	if !ok {
		t.Fatal("the header has no struct OrtApi")
	}
	body, _, _ = strings.Cut(body, "\n};")
	body = regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*`).ReplaceAllString(body, "")
	member := regexp.MustCompile(`ORT_API2_STATUS\(\s*(\w+)|ORT_CLASS_RELEASE2?\(\s*(\w+)\s*\)|\(\s*ORT_API_CALL\s*\*\s*(\w+)\s*\)`)
	var names []string
	for _, m := range member.FindAllStringSubmatch(body, -1) {
		name := m[1] + m[3]
		if m[2] != "" {
			name = "Release" + m[2]
		}
		names = append(names, name)
	}
	if len(names) < 300 {
		t.Fatalf("%d members found in struct OrtApi: the test no longer reads the header", len(names))
	}
	return names
}

func TestCompareVersions(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"1.30.0", "1.24", 1}, {"1.24.0", "1.24", 0}, {"1.24", "1.24.0", 0}, {"1.23.9", "1.24", -1}, {"1.9.0", "1.24", -1},
		{"2.0", "1.24", 1}, {"1.24.0-dev", "1.24", 0}, {"1.24rc1", "1.24", 0}, {"", "1.24", -1}, {"nonsense", "1.24", -1},
	} {
		got := compareVersions(test.a, test.b)
		if got < 0 && test.want >= 0 || got > 0 && test.want <= 0 || got == 0 && test.want != 0 {
			t.Errorf("compare %q with %q: %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

// onnxruntime_go's unexported fields are where internals.go looks for them.
func TestInternals(t *testing.T) {
	var x int
	pointer := unsafe.Pointer(&x)
	v, err := NewValue(pointer)
	if err != nil {
		t.Fatal(err)
	}
	if got := *(*unsafe.Pointer)(unsafe.Pointer(v.GetInternals())); got != pointer {
		t.Errorf("a value holds %v, want %v", got, pointer)
	}
	var _ ort.Value = v
	if _, err := SessionHandle(new(ort.DynamicAdvancedSession)); err == nil || !strings.Contains(err.Error(), "ortSession") {
		t.Errorf("an empty session: %v", err)
	}
	if _, err := SessionHandle(nil); err == nil {
		t.Error("no session: no error")
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.so")
	os.WriteFile(text, []byte("not a library"), 0o644)
	empty := filepath.Join(dir, "empty.so")
	os.WriteFile(empty, nil, 0o644)
	for _, path := range []string{text, empty, filepath.Join(dir, "missing.so"), dir} {
		if l, err := Open(path); err == nil {
			t.Errorf("%s: opened %+v", path, l)
		}
	}
}

// TestKeepSignals: of calls at the same time each puts Go's handlers back, whatever order they begin and end in.
func TestKeepSignals(t *testing.T) {
	caught := func() bool {
		b, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Skip("the kernel says nowhere which signals are caught: ", err)
		}
		_, rest, _ := strings.Cut(string(b), "SigCgt:")
		mask, err := strconv.ParseUint(strings.Fields(rest)[0], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		return mask>>(uint(syscall.SIGUSR2)-1)&1 == 1
	}
	replace := func() error { signal.Ignore(syscall.SIGUSR2); return nil }
	defer signal.Reset(syscall.SIGUSR2)
	if !caught() {
		t.Fatal("Go catches no SIGUSR2: the test tells nothing")
	}
	inner, end, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	err := KeepSignals(func() error {
		if err := replace(); err != nil || caught() {
			t.Error("the handler was not replaced")
		}
		go func() {
			defer close(done)
			KeepSignals(func() error { close(inner); <-end; return nil }) // begins while another's handlers stand
		}()
		<-inner
		return nil
	})
	if err != nil || !caught() {
		t.Errorf("the first to begin did not put the handlers back (%v)", err)
	}
	close(end)
	if <-done; !caught() {
		t.Error("the last to end put back what it found")
	}
	if err := KeepSignals(replace); err != nil || !caught() {
		t.Errorf("a call by itself did not put the handlers back (%v)", err)
	}
}
