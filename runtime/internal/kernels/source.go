package kernels

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed *.cu *.cuh
var sources embed.FS

// Source is a kernels' source with what all share before it, and in place of each line #include "FILE" that file, once.
func Source(file string) (string, error) {
	seen := map[string]bool{}
	common, err := expand("common.cuh", seen)
	if err != nil {
		return "", err
	}
	text, err := expand(file, seen)
	return common + text, err
}

// expand is a file with those that it includes, but none that was seen.
func expand(file string, seen map[string]bool) (string, error) {
	seen[file] = true
	text, err := sources.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("there is no kernels' source %s", file)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "#line 1 %q\n", file)
	for i, line := range strings.SplitAfter(string(text), "\n") {
		name, ok := strings.CutPrefix(line, "#include \"")
		if !ok {
			b.WriteString(line)
			continue
		}
		if name, _, _ = strings.Cut(name, "\""); !seen[name] {
			part, err := expand(name, seen)
			if err != nil {
				return "", fmt.Errorf("%s: %w", file, err)
			}
			b.WriteString(part)
		}
		fmt.Fprintf(&b, "\n#line %d %q\n", i+2, file)
	}
	return b.String(), nil
}
