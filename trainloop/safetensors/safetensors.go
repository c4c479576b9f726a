// Package safetensors reads and writes the safetensors format (Hugging Face): named tensors as raw
// little-endian bytes behind a small JSON header. It does not convert or interpret values, and it
// never trusts a file: whatever a header claims is checked against the file's size before memory is
// taken. Start with New and WriteFile to write, with Open and Read to read.
//
// The format: 8 bytes, the header's length as a little-endian unsigned integer; the header, a JSON
// object {"name": {"dtype": …, "shape": […], "data_offsets": [begin, end]}, …} that may be padded
// with spaces at its end and may hold texts under "__metadata__"; then the tensors' bytes, row-major,
// without holes. https://huggingface.co/docs/safetensors
package safetensors

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"unsafe"
)

// MaxHeader is the longest header in bytes, the same bound as in the reference library.
const MaxHeader = 100_000_000

// maxRank bounds the number of dimensions; numpy has the same bound.
const maxRank = 64

// maxMetadata bounds the number of metadata texts, which would take many times their own bytes.
const maxMetadata = 1 << 16

const metadataKey = "__metadata__"

// dtypes lists the format's element types of whole bytes in the order in which the reference
// library lays them out. Its types of 4 and 6 bits are not supported.
var dtypes = []struct {
	name  string
	bytes int
}{
	{"U64", 8}, {"I64", 8}, {"F64", 8}, {"C64", 8},
	{"F32", 4}, {"U32", 4}, {"I32", 4},
	{"BF16", 2}, {"F16", 2}, {"U16", 2}, {"I16", 2},
	{"F8_E5M2FNUZ", 1}, {"F8_E4M3FNUZ", 1}, {"F8_E8M0", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1},
	{"I8", 1}, {"U8", 1}, {"BOOL", 1},
}

// layout returns a dtype's rank in the file and its size in bytes; ok is false if it is unknown.
func layout(dtype string) (rank, bytes int, ok bool) {
	for i, d := range dtypes {
		if d.name == dtype {
			return i, d.bytes, true
		}
	}
	return 0, 0, false
}

// Tensor is one tensor to be written.
type Tensor struct {
	Name  string
	DType string // "F32", "F64", "I64", …
	Shape []int  // empty for a scalar; a dimension may be 0
	Data  []byte // row-major, little-endian; exactly the bytes that DType and Shape ask for
	// Make, if not nil, gives Data when its turn to be written comes, so that not all tensors are in memory at once.
	Make func() ([]byte, error)
}

// Info describes one tensor of a file.
type Info struct {
	Name   string
	DType  string
	Shape  []int
	Offset int64 // of the first byte, from the file's start
	Bytes  int64
}

// Bytes are values as a tensor has them: row-major, little-endian. They may share the memory of values.
func Bytes[T Element](values []T) []byte { return New("", nil, values).Data }

// Element lists the Go types that New and Read convert.
type Element interface {
	float32 | float64 | int64 | int32 | uint8
}

func dtypeOf[T Element]() string {
	var zero T
	switch any(zero).(type) {
	case float32:
		return "F32"
	case float64:
		return "F64"
	case int64:
		return "I64"
	case int32:
		return "I32"
	default:
		return "U8"
	}
}

// New makes a Tensor of values in row-major order. The Tensor may share the memory of values, so
// those must not change before it is written.
func New[T Element](name string, shape []int, values []T) Tensor {
	data := bytesOf(values)
	if !littleEndian {
		data = slices.Clone(data)
		reverseEach(data, int(unsafe.Sizeof(*new(T))))
	}
	return Tensor{Name: name, DType: dtypeOf[T](), Shape: shape, Data: data}
}

// Read reads the tensor called name into dst, in row-major order. Its dtype must be T's and its
// number of values len(dst).
func Read[T Element](f *File, name string, dst []T) error {
	info, ok := f.Lookup(name)
	if !ok {
		return f.missing(name)
	}
	if want := dtypeOf[T](); info.DType != want {
		return fmt.Errorf("%s: tensor %q is %s, want %s", f.name, name, info.DType, want)
	}
	size := int64(unsafe.Sizeof(*new(T)))
	if info.Bytes/size != int64(len(dst)) {
		return fmt.Errorf("%s: tensor %q has %d values (shape %v), want %d", f.name, name, info.Bytes/size, info.Shape, len(dst))
	}
	data := bytesOf(dst)
	if err := f.ReadInto(name, data); err != nil {
		return err
	}
	if !littleEndian {
		reverseEach(data, int(size))
	}
	return nil
}

var littleEndian = func() bool {
	x := uint16(1)
	return *(*byte)(unsafe.Pointer(&x)) == 1
}()

// bytesOf views the memory of values: parameters are large, so they are not copied to be saved.
func bytesOf[T Element](values []T) []byte {
	if len(values) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), len(values)*int(unsafe.Sizeof(values[0])))
}

func reverseEach(data []byte, size int) {
	for part := range slices.Chunk(data, size) {
		slices.Reverse(part)
	}
}

// byteCount multiplies a shape out; it fails where the product leaves int64, or a dimension int.
func byteCount(dtype string, shape []int) (int64, error) {
	_, size, ok := layout(dtype)
	if !ok {
		return 0, fmt.Errorf("unknown dtype %s", quote(dtype))
	}
	if len(shape) > maxRank {
		return 0, fmt.Errorf("%d dimensions, at most %d are supported", len(shape), maxRank)
	}
	total := int64(size)
	for _, dim := range shape {
		if dim < 0 {
			return 0, fmt.Errorf("negative dimension in shape %v", shape)
		}
		if dim > 0 && total > math.MaxInt64/int64(dim) {
			return 0, fmt.Errorf("shape %v of %s is more bytes than can be counted", shape, dtype)
		}
		total *= int64(dim)
	}
	return total, nil
}

// byLayout orders tensors as the reference library does: larger elements first, so that every
// tensor is aligned to its element, then by name.
func byLayout(a, b Tensor) int {
	ra, _, _ := layout(a.DType)
	rb, _, _ := layout(b.DType)
	return cmp.Or(cmp.Compare(ra, rb), cmp.Compare(a.Name, b.Name))
}
