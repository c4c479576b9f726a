package evalsuite

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"unicode/utf8"
)

// maxLine is the longest line that a data file may have.
const maxLine = 1 << 20

// readLines calls each with every line of a text file that is not blank; lines are numbered from 1.
// Its errors name the file and the line, and so do those of each.
func readLines(path string, each func(number int, line []byte) error) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%s is a folder: want a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 0, 1<<16), maxLine)
	number := 0
	for lines.Scan() {
		number++
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		if !utf8.Valid(line) {
			return fmt.Errorf("%s:%d: not UTF-8", path, number)
		}
		if err := each(number, line); err != nil {
			return fmt.Errorf("%s:%d: %w", path, number, err)
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("%s:%d: longer than %d bytes: not a file of one item a line", path, number+1, maxLine)
	} else if err != nil {
		return fmt.Errorf("%s:%d: %w", path, number+1, err)
	}
	return nil
}

// decodeObject reads a JSON object from a line and nothing after it; keys that v does not know are
// left alone.
func decodeObject(line []byte, v any) error {
	if line[0] != '{' {
		return fmt.Errorf("not a JSON object: it begins with %q", line[0])
	}
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("not the JSON object it should be: %w", err)
	}
	return nil
}
