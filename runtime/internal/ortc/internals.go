package ortc

import (
	"fmt"
	"reflect"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"
)

// onnxruntime_go keeps its C pointers in unexported fields. The functions
// here are the only ones that know which; they look before they reach, so that
// another version of onnxruntime_go gives an error and not a crash.

// SessionHandle returns the OrtSession inside an onnxruntime_go session. It is
// nil once the session is destroyed.
func SessionHandle(s *ort.DynamicAdvancedSession) (unsafe.Pointer, error) {
	return handle("session", s, "s", "ortSession")
}

// OptionsHandle returns the OrtSessionOptions inside onnxruntime_go's.
func OptionsHandle(o *ort.SessionOptions) (unsafe.Pointer, error) {
	return handle("session option", o, "o")
}

// handle follows fields of structures to a pointer.
func handle(what string, x any, fields ...string) (unsafe.Pointer, error) {
	v := reflect.ValueOf(x)
	for _, field := range fields {
		if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
			return nil, fmt.Errorf("onnxruntime_go: a %s without its field %s", what, field)
		}
		if v = v.Elem().FieldByName(field); !v.IsValid() {
			return nil, fmt.Errorf("onnxruntime_go: %ss have no field %s in this version", what, field)
		}
	}
	if v.Kind() != reflect.Pointer {
		return nil, fmt.Errorf("onnxruntime_go: a %s's handle is %s in this version", what, v.Type())
	}
	return v.UnsafePointer(), nil
}

// Value makes an OrtValue bindable through onnxruntime_go, whose own tensors
// cannot be scalars over given memory, nor lie on a device. It can do nothing
// but be bound.
type Value struct {
	ort.Value // nil: gives the interface its other methods, which binding does not call
	internals *ort.ValueInternalData
}

// NewValue wraps an OrtValue. It does not take ownership.
func NewValue(value unsafe.Pointer) (Value, error) {
	t := reflect.TypeFor[ort.ValueInternalData]()
	if t.NumField() != 1 || t.Field(0).Type.Kind() != reflect.Pointer || t.Size() != unsafe.Sizeof(value) {
		return Value{}, fmt.Errorf("onnxruntime_go: %s is not a single pointer in this version", t)
	}
	internals := new(ort.ValueInternalData)
	*(*unsafe.Pointer)(unsafe.Pointer(internals)) = value
	return Value{internals: internals}, nil
}

// GetInternals is what binding calls.
func (v Value) GetInternals() *ort.ValueInternalData { return v.internals }
