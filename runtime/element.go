package runtime

import (
	"fmt"
	"strconv"
	"unsafe"
)

// ElementType is the type of a tensor's elements. The numbers are those of
// ONNX's TensorProto.DataType.
type ElementType int

// The element types that tensors can have. The half-precision types are stored
// and bound; only UploadBytes and DownloadBytes read and write them.
const (
	Float32  ElementType = 1
	Uint8    ElementType = 2
	Int8     ElementType = 3
	Uint16   ElementType = 4
	Int16    ElementType = 5
	Int32    ElementType = 6
	Int64    ElementType = 7
	Bool     ElementType = 9
	Float16  ElementType = 10
	Float64  ElementType = 11
	Uint32   ElementType = 12
	Uint64   ElementType = 13
	BFloat16 ElementType = 16
)

var elementTypes = map[ElementType]struct {
	name string // as ONNX writes it
	size int    // bytes
}{
	Float32: {"float32", 4}, Float64: {"float64", 8}, Float16: {"float16", 2}, BFloat16: {"bfloat16", 2},
	Int8: {"int8", 1}, Int16: {"int16", 2}, Int32: {"int32", 4}, Int64: {"int64", 8},
	Uint8: {"uint8", 1}, Uint16: {"uint16", 2}, Uint32: {"uint32", 4}, Uint64: {"uint64", 8},
	Bool: {"bool", 1},
}

// String is the type's name, such as "float32".
func (t ElementType) String() string {
	if e, ok := elementTypes[t]; ok {
		return e.name
	}
	return "element type " + strconv.Itoa(int(t))
}

// Size is an element's size in bytes; 0 for a type that tensors cannot have.
func (t ElementType) Size() int { return elementTypes[t].size }

// Element is a Go type that tensors are uploaded from and downloaded to.
type Element interface {
	float32 | float64 | int64 | int32 | uint8 | bool
}

func elementTypeOf[T Element]() ElementType {
	switch any(*new(T)).(type) {
	case float32:
		return Float32
	case float64:
		return Float64
	case int64:
		return Int64
	case int32:
		return Int32
	case uint8:
		return Uint8
	default:
		return Bool
	}
}

// asBytes is the memory of a slice.
func asBytes[T Element](s []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(*new(T))))
}

// countElements multiplies the dimensions, all of which must be positive: march
// has no use for empty tensors, and a zero is nearly always a slip. An empty
// shape is a scalar.
func countElements(shape []int64) (int, error) {
	n := int64(1)
	for i, d := range shape {
		if d <= 0 {
			return 0, fmt.Errorf("shape %v: dimension %d is %d, want at least 1", shape, i, d)
		}
		if n > maxElements/d {
			return 0, fmt.Errorf("shape %v: too large", shape)
		}
		n *= d
	}
	return int(n), nil
}

// maxElements keeps a tensor's size in bytes inside an int.
const maxElements = 1 << 59
