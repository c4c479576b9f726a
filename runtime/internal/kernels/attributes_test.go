package kernels

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestAttributes: every attribute that a planner reads is asked for; one that is not would be zero without a word.
func TestAttributes(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	host, err := filepath.Glob("../hostkernels/*.go")
	if err != nil || len(host) == 0 {
		t.Fatalf("%d planners of a CPU: %v", len(host), err)
	}
	files = append(files, host...)
	read, lists := 0, map[string][]string{"Ints": IntAttributes, "Floats": FloatAttributes, "Strings": StringAttributes}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || file == "attributes.go" {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?:\b(Ints|Floats|Strings)|\b(ints))\["(\w+)"\]`).FindAllStringSubmatch(string(b), -1) {
			kind := m[1]
			if kind == "" {
				kind = "Ints"
			}
			if read++; !slices.Contains(lists[kind], m[3]) {
				t.Errorf("%s reads %s %q, which nobody asks ONNX Runtime for", file, kind, m[3])
			}
		}
		for _, name := range regexp.MustCompile(`"drop_\w+"`).FindAllString(string(b), -1) {
			name = strings.Trim(name, `"`)
			if read++; !slices.Contains(IntAttributes, name) && !slices.Contains(FloatAttributes, name) {
				t.Errorf("%s reads %q, which nobody asks ONNX Runtime for", file, name)
			}
		}
	}
	if read < 20 {
		t.Errorf("%d attributes found: the test no longer reads the planners", read)
	}
}
