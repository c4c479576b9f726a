package safetensors

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// File is an open, fully checked file. Its methods may be called by several goroutines at once.
type File struct {
	name     string
	r        io.ReaderAt
	close    func() error
	tensors  []Info         // in the order of their bytes
	index    map[string]int // into tensors
	metadata map[string]string
	expected map[string]string // digests, see Expect
}

// Open opens and checks a file: the header's length and JSON, names, dtypes, shapes, and that the
// tensors' ranges follow one another without gap or overlap up to the file's last byte. Tensor data
// is read only when asked for; memory stays below ten times the header, itself bounded by MaxHeader
// and by the file's size. Errors name the file.
func Open(path string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	stat, err := file.Stat()
	if err == nil && !stat.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", path)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	f, err := NewFile(path, file, stat.Size())
	if err != nil {
		file.Close()
		return nil, err
	}
	f.close = file.Close
	return f, nil
}

// NewFile is Open for the size bytes of r; name stands in errors.
func NewFile(name string, r io.ReaderAt, size int64) (*File, error) {
	f := &File{name: name, r: r, index: map[string]int{}, metadata: map[string]string{}}
	if err := f.parse(size); err != nil {
		return nil, fmt.Errorf("%s: not a valid safetensors file: %w", name, err)
	}
	return f, nil
}

// Tensors lists the tensors in the order of their bytes.
func (f *File) Tensors() []Info {
	out := slices.Clone(f.tensors)
	for i := range out {
		out[i].Shape = slices.Clone(out[i].Shape)
	}
	return out
}

// Lookup finds a tensor by name.
func (f *File) Lookup(name string) (Info, bool) {
	i, ok := f.index[name]
	if !ok {
		return Info{}, false
	}
	info := f.tensors[i]
	info.Shape = slices.Clone(info.Shape)
	return info, true
}

// Metadata returns the texts under "__metadata__", an empty map if there are none.
func (f *File) Metadata() map[string]string { return maps.Clone(f.metadata) }

// ReadInto reads the bytes of the tensor called name; dst must have exactly their number. Read does
// the same for typed values.
func (f *File) ReadInto(name string, dst []byte) error {
	i, ok := f.index[name]
	if !ok {
		return f.missing(name)
	}
	info := f.tensors[i]
	if int64(len(dst)) != info.Bytes {
		return fmt.Errorf("%s: tensor %q has %d bytes (%s %v), want %d", f.name, name, info.Bytes, info.DType, info.Shape, len(dst))
	}
	n, err := f.r.ReadAt(dst, info.Offset)
	if n == len(dst) { // ReadAt may return io.EOF with the last byte
		if want, ok := f.expected[name]; ok && Digest(dst) != want {
			return fmt.Errorf("%s: tensor %q is damaged: its sha256 is not the one that was saved", f.name, name)
		}
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the file has become shorter since it was opened")
	}
	return fmt.Errorf("%s: read tensor %q: %w", f.name, name, err)
}

// Digest is the sha256 of a tensor's bytes, in lower-case hexadecimal.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Expect says what the tensors were when they were saved: their digests by name. A file that lacks one of
// them, or has another one, is an error now; a tensor whose bytes differ is one when it is read. To be
// called before the file is shared between goroutines.
func (f *File) Expect(digests map[string]string) error {
	for _, t := range f.tensors {
		if _, ok := digests[t.Name]; !ok {
			return fmt.Errorf("%s: tensor %q was not there when the file was saved", f.name, t.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(digests)) {
		if _, ok := f.index[name]; !ok {
			return f.missing(name)
		}
	}
	f.expected = maps.Clone(digests)
	return nil
}

// Close closes the file. Reading fails afterwards; the lists stay.
func (f *File) Close() error {
	if f.close == nil {
		return nil
	}
	return f.close()
}

func (f *File) missing(name string) error {
	return fmt.Errorf("%s: no tensor %q among its %d", f.name, name, len(f.tensors))
}

func (f *File) parse(size int64) error {
	if size < 8+2 {
		return fmt.Errorf("%d bytes are too few for a header", size)
	}
	var prefix [9]byte
	if err := readFull(f.r, prefix[:], 0); err != nil {
		return err
	}
	length := binary.LittleEndian.Uint64(prefix[:8])
	if length > MaxHeader {
		return fmt.Errorf("header of %d bytes, at most %d are allowed", length, MaxHeader)
	}
	if length > uint64(size-8) {
		return fmt.Errorf("header of %d bytes in a file of %d", length, size)
	}
	if prefix[8] != '{' {
		return fmt.Errorf("header begins with %q, want '{'", prefix[8])
	}
	header := make([]byte, length)
	if err := readFull(f.r, header, 8); err != nil {
		return err
	}
	if !utf8.Valid(header) {
		return errors.New("header is not UTF-8")
	}
	p := parser{json.NewDecoder(bytes.NewReader(header))}
	p.UseNumber()
	if err := p.header(f); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	return f.place(8+int64(length), size)
}

// place checks the ranges, makes the offsets absolute and builds the index. Until then Offset holds
// the range's begin and Bytes its length, both from the file.
func (f *File) place(start, size int64) error {
	slices.SortFunc(f.tensors, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Bytes, b.Bytes), cmp.Compare(a.Name, b.Name))
	})
	var end int64
	for i := range f.tensors {
		t := &f.tensors[i]
		switch {
		case t.Offset < end:
			return fmt.Errorf("tensor %s begins at byte %d, inside the one before it, which ends at %d", quote(t.Name), t.Offset, end)
		case t.Offset > end:
			return fmt.Errorf("bytes %d to %d, before tensor %s, belong to no tensor", end, t.Offset, quote(t.Name))
		case t.Bytes > size-start-end:
			return fmt.Errorf("tensor %s ends at byte %d of %d", quote(t.Name), t.Offset+t.Bytes, size-start)
		}
		end += t.Bytes
		t.Offset += start
		f.index[t.Name] = i
	}
	if end != size-start {
		return fmt.Errorf("%d bytes of tensors are followed by %d more bytes", end, size-start-end)
	}
	return nil
}

func readFull(r io.ReaderAt, dst []byte, at int64) error {
	n, err := r.ReadAt(dst, at)
	if n == len(dst) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parser reads the header token by token: encoding/json alone would let duplicate keys pass and
// would build any value, however nested, before it is looked at.
type parser struct{ *json.Decoder }

func (p parser) header(f *File) error {
	names := map[string]bool{}
	err := p.object(func(name string) error {
		if names[name] {
			return fmt.Errorf("%s appears twice", quote(name))
		}
		names[name] = true
		if name == metadataKey {
			return p.metadata(f.metadata)
		}
		info, err := p.tensor(name)
		if err != nil {
			return fmt.Errorf("tensor %s: %w", quote(name), err)
		}
		f.tensors = append(f.tensors, info)
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := p.Token(); err != io.EOF {
		return errors.New("more text after its closing brace")
	}
	return nil
}

func (p parser) metadata(into map[string]string) error {
	return p.object(func(key string) error {
		if _, ok := into[key]; ok {
			return fmt.Errorf("metadata %s appears twice", quote(key))
		}
		if len(into) == maxMetadata {
			return fmt.Errorf("more than %d metadata texts", maxMetadata)
		}
		value, err := p.text()
		if err != nil {
			return fmt.Errorf("metadata %s: %w", quote(key), err)
		}
		into[key] = value
		return nil
	})
}

func (p parser) tensor(name string) (Info, error) {
	info := Info{Name: name, Shape: []int{}}
	var offsets []int64
	seen := map[string]bool{}
	err := p.object(func(key string) (err error) {
		if seen[key] {
			return fmt.Errorf("%q appears twice", key)
		}
		seen[key] = true
		switch key {
		case "dtype":
			info.DType, err = p.text()
		case "shape":
			var dims []int64
			dims, err = p.integers(maxRank)
			for _, dim := range dims {
				if int64(int(dim)) != dim {
					return fmt.Errorf("dimension %d is too large for this machine", dim)
				}
				info.Shape = append(info.Shape, int(dim))
			}
		case "data_offsets":
			offsets, err = p.integers(2)
		default:
			return fmt.Errorf("unknown key %s", quote(key))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	if err != nil {
		return Info{}, err
	}
	for _, key := range []string{"dtype", "shape", "data_offsets"} {
		if !seen[key] {
			return Info{}, fmt.Errorf("%q is missing", key)
		}
	}
	if len(offsets) != 2 || offsets[0] > offsets[1] {
		return Info{}, fmt.Errorf("data_offsets %v, want [begin, end] with begin ≤ end", offsets)
	}
	info.Offset, info.Bytes = offsets[0], offsets[1]-offsets[0]
	want, err := byteCount(info.DType, info.Shape)
	if err != nil {
		return Info{}, err
	}
	if info.Bytes != want {
		return Info{}, fmt.Errorf("data_offsets %v span %d bytes, but %s %v is %d bytes", offsets, info.Bytes, info.DType, info.Shape, want)
	}
	return info, nil
}

// object calls value for each key of an object; value must consume the key's value.
func (p parser) object(value func(key string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	for p.More() {
		key, err := p.text()
		if err != nil {
			return err
		}
		if err := value(key); err != nil {
			return err
		}
	}
	return p.delim('}')
}

func (p parser) integers(most int) ([]int64, error) {
	if err := p.delim('['); err != nil {
		return nil, err
	}
	var out []int64
	for p.More() {
		if len(out) == most {
			return nil, fmt.Errorf("more than %d numbers", most)
		}
		token, err := p.Token()
		if err != nil {
			return nil, broken(err)
		}
		number, ok := token.(json.Number)
		if !ok {
			return nil, fmt.Errorf("found %s, want a number", describe(token))
		}
		n, err := strconv.ParseUint(number.String(), 10, 63)
		if err != nil {
			return nil, fmt.Errorf("found %s, want a whole number from 0 to 2^63-1", describe(number))
		}
		out = append(out, int64(n))
	}
	return out, p.delim(']')
}

func (p parser) text() (string, error) {
	token, err := p.Token()
	if err != nil {
		return "", broken(err)
	}
	s, ok := token.(string)
	if !ok {
		return "", fmt.Errorf("found %s, want a string", describe(token))
	}
	return s, nil
}

func (p parser) delim(want json.Delim) error {
	token, err := p.Token()
	if err != nil {
		return broken(err)
	}
	if token != want {
		return fmt.Errorf("found %s, want %s", describe(token), want)
	}
	return nil
}

func describe(token json.Token) string {
	switch t := token.(type) {
	case nil:
		return "null"
	case string:
		return quote(t)
	case json.Number:
		return shorten(t.String())
	default:
		return fmt.Sprint(t)
	}
}

func quote(s string) string { return strconv.Quote(shorten(s)) }

// shorten keeps a hostile file's strings out of messages.
func shorten(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

func broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("ends too early")
	}
	return err
}
