// Command decode reads ONNX files with onnx-go, one job a line of stdin; tools/interop/worker.py has the protocol. It runs nothing:
// onnx-go's backends do not have the operators, and its part is to be a reader that shares no code with march.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"

	"march/variants/program"
)

func main() {
	answer := func(v any) {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // maps of strings alone
		}
		fmt.Println("RESULT", string(b))
	}
	answer(map[string]string{"runtime": "onnx-go", "version": version()})
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := decode(lines.Bytes()); err != nil {
			answer(map[string]string{"error": err.Error()})
			continue
		}
		answer(map[string]bool{"ok": true})
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "decode:", err)
		os.Exit(1)
	}
}

func decode(line []byte) error {
	var job struct{ Model string }
	if err := json.Unmarshal(line, &job); err != nil {
		return err
	}
	b, err := os.ReadFile(job.Model)
	if err != nil {
		return err
	}
	return program.ReadBack(b)
}

// version is that of the module that was linked.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/owulveryck/onnx-go" {
				return m.Version
			}
		}
	}
	return "unknown"
}
