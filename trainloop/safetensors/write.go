package safetensors

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"unicode/utf8"

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
	return write(w, sorted, head)
}

// WriteFile is Write to a file that appears whole or not at all.
func WriteFile(path string, tensors []Tensor, metadata map[string]string) error {
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
	if err := write(w, sorted, head); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Commit()
}

func write(w io.Writer, sorted []Tensor, head []byte) error {
	if _, err := w.Write(head); err != nil {
		return err
	}
	for _, t := range sorted {
		if t.Make != nil {
			var err error
			if t.Data, err = t.made(); err != nil {
				return err
			}
		}
		if _, err := w.Write(t.Data); err != nil {
			return err
		}
	}
	return nil
}

// made is what Make gives, if it has the right size.
func (t Tensor) made() ([]byte, error) {
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
