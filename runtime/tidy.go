package runtime

import (
	"errors"
	"regexp"
	"strings"
)

// tidy reduces an error of ONNX Runtime to what helps whoever reads it: the
// node and what is wrong with it, without source files, C++ signatures and the
// names of calls in between.
func tidy(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(tidyText(err.Error()))
}

// tidy also tells where a GPU's memory ran out.
func (r *Runtime) tidy(err error) error {
	if err = tidy(err); r.gpu != nil {
		return outOfMemory(err)
	}
	return err
}

// rewrites are applied in order, after C++ places are cut out.
var rewrites = []struct {
	pattern *regexp.Regexp
	with    string
}{
	// What onnxruntime_go and ONNX Runtime put in front.
	{regexp.MustCompile(`Error creating C session(?: from file)?: `), ""},
	{regexp.MustCompile(`Load model from .*? failed: ?`), ""},
	{regexp.MustCompile(`\[ONNXRuntimeError\] : \d+ : \w+ : `), ""},
	{regexp.MustCompile(`Fatal error: `), ""},
	// Run: name the node first.
	{regexp.MustCompile(`Non-zero status code returned while running (\S+) node\. Name:'([^']*)' Status Message: `), "$1 node '$2': "},
	// Load: the same; the types of all inputs and outputs stand in between.
	{regexp.MustCompile(`This is an invalid model\. In Node, \("([^"]*)", (\w+), "([^"]*)", -?\d+\) : .* , Error:? ?`), "invalid model: $2 node '$1': "},
	{regexp.MustCompile(`This is an invalid model\. (?:Error: )?`), "invalid model: "},
	// Advice for programmers that follows a plain statement.
	{regexp.MustCompile(` When calling Run\(\) with pre-allocated .*`), ""},
	{regexp.MustCompile(`The output OrtValue provided for output`), "the tensor bound to output"},
	{regexp.MustCompile(` but the computed output shape for this run is `), ", but the run gives "},
	{regexp.MustCompile(`\s+`), " "},
}

// place is where ONNX Runtime's source says that something went wrong; a
// function's signature and, for a failed check, its condition follow.
var (
	place     = regexp.MustCompile(`\S+\.(?:cc|cpp|cu|cuh|h):\d+ `)
	condition = regexp.MustCompile(`^[^.'"]{1,300} was false\. *`)
)

const maxMessage = 600 // bytes

func tidyText(s string) string {
	for {
		at := place.FindStringIndex(s)
		if at == nil {
			break
		}
		rest := strings.TrimSpace(afterSignature(s[at[1]:]))
		if plain := condition.ReplaceAllString(rest, ""); plain != "" {
			rest = plain // the sentence after the condition says it in words
		}
		s = s[:at[0]] + rest
	}
	for _, r := range rewrites {
		s = r.pattern.ReplaceAllString(s, r.with)
	}
	s = strings.TrimSpace(s)
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + " …"
	}
	return s
}

// afterSignature skips a C++ function's name and parameters, such as
// "void a::B<c>::D(int) const [with T = float] ".
func afterSignature(s string) string {
	open := strings.IndexByte(s, '(')
	if open < 0 {
		return s
	}
	rest := s
	for open >= 0 {
		end := matching(rest, open)
		if end < 0 {
			return s // not a signature after all
		}
		rest = rest[end+1:]
		// operator()(int), f(int)::<lambda(int)>: parameters follow once more.
		if open = -1; strings.HasPrefix(rest, "(") || strings.HasPrefix(rest, "::") {
			open = strings.IndexByte(rest, '(')
		}
	}
	rest = strings.TrimPrefix(rest, ">")
	for _, qualifier := range []string{" const", " noexcept"} {
		rest = strings.TrimPrefix(rest, qualifier)
	}
	if strings.HasPrefix(rest, " [with ") {
		if end := matching(rest, 1); end >= 0 {
			rest = rest[end+1:]
		}
	}
	return rest
}

// matching is the position of the bracket that closes the one at open.
func matching(s string, open int) int {
	depth := 0
	for i := open; i < len(s); i++ {
		switch s[i] {
		case '(', '[':
			depth++
		case ')', ']':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}
