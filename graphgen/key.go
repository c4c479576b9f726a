package graphgen

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// keyBuilder gathers what makes a node or a constant the equal of another. Each part says where it ends, so that
// different parts never make the same key. Every node of every pass has one, so it is bytes and no text.
type keyBuilder []byte

func (k *keyBuilder) number(n int) { *k = binary.AppendVarint(*k, int64(n)) }

func (k *keyBuilder) numbers(list []int) {
	k.number(len(list))
	for _, n := range list {
		k.number(n)
	}
}

func (k *keyBuilder) text(s string) {
	k.number(len(s))
	*k = append(*k, s...)
}

func (k *keyBuilder) attrs(a Attrs) {
	k.number(len(a))
	var few [16]string // keeps them off the heap
	names := few[:0]
	for name := range a {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		k.text(name)
		switch v := a[name].(type) {
		case int:
			*k = append(*k, 'i')
			k.number(v)
		case float64:
			*k = append(*k, 'f')
			*k = binary.LittleEndian.AppendUint64(*k, math.Float64bits(v))
		case string:
			*k = append(*k, 's')
			k.text(v)
		case []int:
			*k = append(*k, 'l')
			k.numbers(v)
		case bool:
			if v {
				*k = append(*k, 't')
			} else {
				*k = append(*k, 'u')
			}
		case []Type:
			*k = append(*k, 'y')
			k.number(len(v))
			for _, t := range v {
				k.number(int(t.DType))
				k.numbers(t.Shape)
			}
		default:
			*k = append(*k, 'x')
			k.text(fmt.Sprintf("%T %v", v, v))
		}
	}
}

// bits are a constant's numbers, for the sharing of equal ones. They are put together once: constants go from pass
// to pass, and some have tens of thousands of numbers. The first graph that a value is put into does so, which no other
// knows yet.
func (v *Value) bits() string {
	if v.key == "" {
		b := make([]byte, 0, 1+8*(len(v.Floats)+len(v.Ints)))
		b = append(b, 'f')
		for _, x := range v.Floats {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
		}
		for _, x := range v.Ints {
			b = binary.LittleEndian.AppendUint64(b, uint64(x))
		}
		if v.Ints != nil {
			b[0] = 'i'
		}
		v.key = string(b)
	}
	return v.key
}
