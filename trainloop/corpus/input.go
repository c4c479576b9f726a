package corpus

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// readPieces reads the documents of files, .gz ones unpacked. A file without a single document is
// an error. Every read of n bytes from the disk is reported as progress(n).
func readPieces(inputs []input, size int, progress func(n int)) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		for _, in := range inputs {
			if !in.read(size, progress, yield) {
				return
			}
		}
	}
}

func (in input) read(size int, progress func(n int), yield func(piece, error) bool) bool {
	fail := func(err error) bool {
		yield(piece{}, err)
		return false
	}
	f, err := os.Open(in.path)
	if err != nil {
		return fail(fmt.Errorf("corpus: input: %w", err))
	}
	defer f.Close()
	var r io.Reader = &meter{f, progress}
	if strings.HasSuffix(in.path, ".gz") {
		z, err := gzip.NewReader(r)
		if err != nil {
			return fail(readError(in.path, err))
		}
		defer z.Close()
		r = z
	}
	documents := 0
	more := filePieces(in.path, r, size, func(p piece, err error) bool {
		documents++
		return yield(p, err)
	})
	if more && documents == 0 {
		return fail(fmt.Errorf("corpus: input %s: holds no text", in.path))
	}
	return more
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
