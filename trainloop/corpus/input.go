package corpus

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
)

// input is a text file.
type input struct {
	path string
	FileID
}

// FileID is what a file is recognised by: not its contents, which would have to be read.
type FileID struct {
	Name    string `json:"name"` // without its folder
	Size    int64  `json:"size"`
	ModTime int64  `json:"mtime"` // nanoseconds since 1970
}

// How documents are told apart in plain text.
const (
	DocumentsMarked = "marked" // lines that hold only EndOfText stand between them
	DocumentsBlank  = "blank"  // blank lines
	DocumentsLines  = "lines"  // each line is one
)

// DefaultField is the field of JSONL records, and the column of Parquet files, that holds the text.
const DefaultField = "text"

// reading says how files are read.
type reading struct {
	documents     string
	field, column string
	size          int                   // of pieces
	cut           func(text string) int // as tokenizer.LastCut
	progress      func(n int)
}

// resolve turns paths and glob patterns into files, in the order given, those of one pattern by
// name. A file that is named twice is read once.
func resolve(patterns []string) ([]input, error) {
	var inputs []input
	for _, pattern := range patterns {
		paths := []string{pattern}
		// A file is itself, even where its name could be a pattern.
		if _, err := os.Stat(pattern); err != nil {
			if paths, err = filepath.Glob(pattern); err != nil {
				return nil, fmt.Errorf("corpus: input %q: not a valid pattern: %w", pattern, err)
			}
			if len(paths) == 0 {
				return nil, fmt.Errorf("corpus: input %q: no such file, and no file matches it", pattern)
			}
		}
		for _, path := range paths {
			stat, err := os.Stat(path)
			if err != nil {
				return nil, fmt.Errorf("corpus: input: %w", err)
			}
			if !stat.Mode().IsRegular() {
				return nil, fmt.Errorf("corpus: input %s: not a regular file; of a folder name the files, such as %s", path, filepath.Join(path, "*.txt"))
			}
			if stat.Size() == 0 {
				return nil, fmt.Errorf("corpus: input %s: empty", path)
			}
			path = filepath.Clean(path)
			if !slices.ContainsFunc(inputs, func(in input) bool { return in.path == path }) {
				inputs = append(inputs, input{path, FileID{filepath.Base(path), stat.Size(), stat.ModTime().UnixNano()}})
			}
		}
	}
	return inputs, nil
}

// readPieces reads the documents of files. A file without a single document is an error. Every read
// of n bytes from the disk is reported as progress(n).
func readPieces(inputs []input, how reading) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		for _, in := range inputs {
			if !in.read(how, yield) {
				return
			}
		}
	}
}

func (in input) read(how reading, yield func(piece, error) bool) bool {
	f, err := os.Open(in.path)
	if err != nil {
		yield(piece{}, fmt.Errorf("corpus: input: %w", err))
		return false
	}
	defer f.Close()
	return in.readFrom(f, how, yield)
}

// readable is a file, or bytes in memory.
type readable interface {
	io.Reader
	io.ReaderAt
}

func (in input) readFrom(f readable, how reading, yield func(piece, error) bool) bool {
	fail := func(err error) bool {
		yield(piece{}, err)
		return false
	}
	documents := 0
	count := func(p piece, err error) bool {
		documents++
		return yield(p, err)
	}
	name, r, done, err := unpack(in.path, &meter{f, how.progress})
	if err != nil {
		return fail(readError(in.path, err))
	}
	defer done()
	more := false
	switch filepath.Ext(name) {
	case ".parquet":
		if name != in.path {
			return fail(fmt.Errorf("corpus: input %s: Parquet files compress their columns themselves: unpack it first", in.path))
		}
		more = parquetPieces(in.path, f, in.Size, how, count)
	case ".jsonl", ".ndjson":
		more = recordPieces(in.path, r, how, count)
	default:
		more = filePieces(in.path, r, how, count)
	}
	if more && documents == 0 {
		return fail(fmt.Errorf("corpus: input %s: holds no text", in.path))
	}
	return more
}

// unpack undoes the compression that a file's name tells of; name is what it is called without.
func unpack(path string, r io.Reader) (name string, unpacked io.Reader, done func(), err error) {
	switch filepath.Ext(path) {
	case ".gz":
		z, err := gzip.NewReader(r)
		return strings.TrimSuffix(path, ".gz"), z, func() {}, err
	case ".zst":
		// The window is what a hostile frame could make large; zstd's own --long=27 needs 128 MiB.
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderLowmem(true))
		if err != nil {
			return "", nil, nil, err
		}
		return strings.TrimSuffix(path, ".zst"), z, z.Close, nil
	}
	return path, r, func() {}, nil
}

// maxRecord bounds one line of a JSONL file, and one value of a Parquet column.
const maxRecord = 64 << 20

// recordPieces reads JSONL: an object a line, whose field is a document, taken as it is.
func recordPieces(name string, r io.Reader, how reading, yield func(piece, error) bool) bool {
	lines := bufio.NewReaderSize(r, 256<<10)
	var long []byte // a line that is longer than the buffer
	for number := 1; ; number++ {
		line, err := lines.ReadSlice('\n')
		long = long[:0]
		for err == bufio.ErrBufferFull && len(long) <= maxRecord {
			long = append(long, line...)
			line, err = lines.ReadSlice('\n')
		}
		if len(long) > 0 {
			long = append(long, line...)
			line = long
		}
		place := fmt.Sprintf("%s:%d", name, number)
		if len(line) > maxRecord {
			yield(piece{}, fmt.Errorf("corpus: %s: a record of more than %d MiB", place, maxRecord>>20))
			return false
		}
		if err != nil && err != io.EOF {
			yield(piece{}, readError(place, err))
			return false
		}
		if number == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if len(bytes.TrimSpace(line)) > 0 {
			text, problem := field(line, how.field)
			if problem != nil {
				yield(piece{}, fmt.Errorf("corpus: %s: %w", place, problem))
				return false
			}
			if !documentPieces(place, text, how, yield) {
				return false
			}
		}
		if err == io.EOF {
			return true
		}
	}
}

// field returns the text of one record.
func field(line []byte, name string) (string, error) {
	// The JSON reader would put U+FFFD for what is not UTF-8.
	if !utf8.Valid(line) {
		return "", errors.New("not UTF-8: convert it first")
	}
	var record map[string]json.RawMessage
	if err := json.Unmarshal(line, &record); err != nil {
		return "", fmt.Errorf("not a JSON object: %w", err)
	}
	raw, ok := record[name]
	if !ok {
		names := slices.Sorted(maps.Keys(record))
		return "", fmt.Errorf("no field %q; it has %.200q", name, names)
	}
	var text *string
	if err := json.Unmarshal(raw, &text); err != nil || text == nil {
		return "", fmt.Errorf("field %q is %.40s, want a string", name, raw)
	}
	return *text, nil
}

// documentPieces cuts one document that is at hand.
func documentPieces(name, text string, how reading, yield func(piece, error) bool) bool {
	c := cutter{reading: how, yield: yield, name: name}
	for ; len(text) > how.size; text = text[how.size:] {
		if !c.add([]byte(text[:how.size])) {
			return false
		}
	}
	return c.add([]byte(text)) && c.end()
}

// meter reports what is read through it.
type meter struct {
	r        io.Reader
	progress func(n int)
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.progress(n)
	return n, err
}

var errChanged = errors.New("corpus: the text changed between two readings: prepare it again when nothing writes it (a Texts sequence must give the same documents each time)")
