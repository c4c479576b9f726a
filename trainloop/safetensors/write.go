package safetensors

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"march/graphgen/atomicfile"
)

// Write writes the tensors to w, larger element types first and then by name, whatever their order
// in the argument, so that equal tensors give equal files. It checks everything before it writes
// the first byte: names (UTF-8, each once), dtypes, and that Data has the bytes of its Shape.
func Write(w io.Writer, tensors []Tensor, metadata map[string]string) error {
	sorted, head, err := arrange(tensors, metadata)
	if err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	return write(sorted, head, w)
}

// WriteFile is Write to a file that appears whole or not at all.
func WriteFile(path string, tensors []Tensor, metadata map[string]string) error {
	return writeFile(path, tensors, metadata)
}

// WriteFileDigest is WriteFile, and gives the file's size and its sha256 in hexadecimal, of what was written and not of what
// is read back.
func WriteFileDigest(path string, tensors []Tensor, metadata map[string]string) (bytes int64, digest string, err error) {
	h, n := sha256.New(), new(counter)
	if err := writeFile(path, tensors, metadata, io.MultiWriter(h, n)); err != nil {
		return 0, "", err
	}
	return int64(*n), hex.EncodeToString(h.Sum(nil)), nil
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func writeFile(path string, tensors []Tensor, metadata map[string]string, also ...io.Writer) error {
	sorted, head, err := arrange(tensors, metadata)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	w := bufio.NewWriterSize(f, 1<<20) // gathers small tensors; large ones pass through
	if err := write(sorted, head, append(also, w)...); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Commit()
}

// write gives all of the file to each writer. While they take one tensor, the next one is made.
func write(sorted []Tensor, head []byte, to ...io.Writer) error {
	work, ctx := errgroup.WithContext(context.Background())
	pipes := make([]chan []byte, len(to))
	for i, w := range to {
		pipes[i] = make(chan []byte)
		work.Go(func() error {
			for data := range pipes[i] {
				if _, err := w.Write(data); err != nil {
					return err
				}
			}
			return nil
		})
	}
	work.Go(func() error {
		defer func() {
			for _, p := range pipes {
				close(p)
			}
		}()
		for i := -1; i < len(sorted); i++ {
			data := head
			if i >= 0 {
				var err error
				if data, err = sorted[i].data(); err != nil {
					return err
				}
			}
			for _, p := range pipes {
				select {
				case p <- data:
				case <-ctx.Done(): // a writer failed, which says why
					return nil
				}
			}
		}
		return nil
	})
	return work.Wait()
}

// data are the tensor's bytes: what Make gives, if it has the right size.
func (t Tensor) data() ([]byte, error) {
	if t.Make == nil {
		return t.Data, nil
	}
	data, err := t.Make()
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	if size, _ := byteCount(t.DType, t.Shape); size != int64(len(data)) {
		return nil, fmt.Errorf("tensor %q: %d bytes were made, but %s %v is %d bytes", t.Name, len(data), t.DType, t.Shape, size)
	}
	return data, nil
}

func arrange(tensors []Tensor, metadata map[string]string) (sorted []Tensor, head []byte, err error) {
	sorted = slices.Clone(tensors)
	slices.SortStableFunc(sorted, byLayout)
	head, err = header(sorted, metadata)
	return sorted, head, err
}

// header returns the length, the JSON and the padding that puts the first tensor at a multiple of
// 8 bytes.
func header(tensors []Tensor, metadata map[string]string) ([]byte, error) {
	var b bytes.Buffer
	b.Write(make([]byte, 8)) // the length, known at the end
	b.WriteByte('{')
	if len(metadata) > 0 {
		if len(metadata) > maxMetadata {
			return nil, fmt.Errorf("%d metadata texts, at most %d are supported", len(metadata), maxMetadata)
		}
		writeString(&b, metadataKey)
		b.WriteString(":{")
		for i, key := range slices.Sorted(maps.Keys(metadata)) {
			if !utf8.ValidString(key) || !utf8.ValidString(metadata[key]) {
				return nil, fmt.Errorf("metadata %q: not UTF-8", key)
			}
			if i > 0 {
				b.WriteByte(',')
			}
			writeString(&b, key)
			b.WriteByte(':')
			writeString(&b, metadata[key])
		}
		b.WriteByte('}')
	}
	var offset int64
	seen := make(map[string]bool, len(tensors))
	for i, t := range tensors {
		switch {
		case t.Name == metadataKey:
			return nil, fmt.Errorf("tensor name %q is reserved", t.Name)
		case !utf8.ValidString(t.Name):
			return nil, fmt.Errorf("tensor name %q is not UTF-8", t.Name)
		case seen[t.Name]:
			return nil, fmt.Errorf("two tensors are named %q", t.Name)
		}
		seen[t.Name] = true
		size, err := byteCount(t.DType, t.Shape)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if t.Make == nil && size != int64(len(t.Data)) {
			return nil, fmt.Errorf("tensor %q: %d bytes of data, but %s %v is %d bytes", t.Name, len(t.Data), t.DType, t.Shape, size)
		}
		if i > 0 || len(metadata) > 0 {
			b.WriteByte(',')
		}
		writeString(&b, t.Name)
		fmt.Fprintf(&b, `:{"dtype":%q,"shape":[`, t.DType)
		for j, dim := range t.Shape {
			if j > 0 {
				b.WriteByte(',')
			}
			fmt.Fprint(&b, dim)
		}
		fmt.Fprintf(&b, `],"data_offsets":[%d,%d]}`, offset, offset+size)
		offset += size
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	if b.Len()-8 > MaxHeader {
		return nil, fmt.Errorf("the header of %d tensors is %d bytes, at most %d are allowed", len(tensors), b.Len()-8, MaxHeader)
	}
	binary.LittleEndian.PutUint64(b.Bytes(), uint64(b.Len()-8))
	return b.Bytes(), nil
}

func writeString(b *bytes.Buffer, s string) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false) // as the reference library: only what JSON demands
	enc.Encode(s)            // cannot fail for a string and a bytes.Buffer
	b.Truncate(b.Len() - 1)  // Encode ends with a newline
}
