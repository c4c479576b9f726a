package graphgen

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Narrow rounds values to the nearest of a type, ties to even, and returns their little-endian bytes: float32 as it is,
// bfloat16, or float16, beyond whose range (65,504) it is an error that names the first such value.
func Narrow(d DType, values []float32) ([]byte, error) {
	b := make([]byte, d.Size()*len(values))
	for i, v := range values {
		switch d {
		case Float32:
			binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
		case BFloat16:
			binary.LittleEndian.PutUint16(b[2*i:], bfloat16(v))
		case Float16:
			h := float16(v)
			if h&0x7fff == 0x7c00 && !math.IsInf(float64(v), 0) {
				return nil, fmt.Errorf("entry %d is %g, beyond float16's 65,504", i, v)
			}
			binary.LittleEndian.PutUint16(b[2*i:], h)
		default:
			return nil, fmt.Errorf("values cannot be rounded to %s", d)
		}
	}
	return b, nil
}

// float16 rounds to the nearest IEEE half, ties to even; what is too large becomes infinite.
func float16(f float32) uint16 {
	u := math.Float32bits(f)
	sign, exp, mantissa := uint16(u>>16)&0x8000, int(u>>23&0xff)-127, u&0x7fffff
	switch {
	case exp == 128 && mantissa != 0: // not a number
		return sign | 0x7e00
	case exp > 15:
		return sign | 0x7c00
	case exp < -25: // less than half of the smallest
		return sign
	}
	shift := 13
	mantissa |= 1 << 23
	if exp < -14 { // subnormal
		shift += -14 - exp
	}
	half := mantissa >> shift
	if rest, middle := mantissa&(1<<shift-1), uint32(1)<<(shift-1); rest > middle || rest == middle && half&1 == 1 {
		half++
	}
	if exp < -14 {
		return sign | uint16(half) // one that rounds up to 1<<10 is the smallest normal number
	}
	return sign | uint16(uint32(exp+14)<<10+half) // half has the leading bit, which adds one to the exponent
}
