package customop

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestLayout: the structure that ONNX Runtime reads an operator from has the members of its header, in their order.
func TestLayout(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/yalue/onnxruntime_go").Output()
	if err != nil {
		t.Fatal(err)
	}
	header, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "onnxruntime_c_api.h"))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile("customop.c")
	if err != nil {
		t.Fatal(err)
	}
	between := func(text, from, to string) string {
		_, rest, ok := strings.Cut(text, from)
		body, _, ok2 := strings.Cut(rest, to)
		if !ok || !ok2 {
			t.Fatalf("nothing between %q and %q", from, to)
		}
		return regexp.MustCompile(`(?m)//.*$`).ReplaceAllString(body, "")
	}
	members := func(body string, pattern string) (names []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(body, -1) {
			names = append(names, m[1])
		}
		return names
	}
	want := members(between(string(header), "\nstruct OrtCustomOp {", "\n};"), `ORT_API_CALL\*\s*(\w+)\)`)
	got := members(between(string(ours), "typedef struct custom_op {", "customop_api api;"), `\(\*(\w+)\)\(`)
	if len(want) < 25 || !slices.Equal(got, want) {
		t.Errorf("the members are\n%v, in the header\n%v", got, want)
	}
}
