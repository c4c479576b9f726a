package graphgen

import (
	"encoding/binary"
	"math"
	"testing"
)

// TestFloat16 has values of the standard, and every half goes there and back.
func TestFloat16(t *testing.T) {
	for f, want := range map[float32]uint16{
		0: 0, 1: 0x3c00, -2: 0xc000, 65504: 0x7bff, 65519: 0x7bff, 65520: 0x7c00, 1e9: 0x7c00, 0x1p-14: 0x0400, 0x1p-24: 0x0001,
		0x1p-25: 0, 0x1.8p-25: 1, 0x1p-26: 0, 0x1.ffcp-15: 0x0400, 0.333333343: 0x3555, 1 + 0x1p-11: 0x3c00, 1 + 0x3p-11: 0x3c02,
		float32(math.Inf(-1)): 0xfc00,
	} {
		if got := float16(f); got != want {
			t.Errorf("%g is %#04x, wanted %#04x", f, got, want)
		}
	}
	if got := float16(float32(math.NaN())); got&0x7c00 != 0x7c00 || got&0x3ff == 0 {
		t.Errorf("NaN is %#04x", got)
	}
	for h := range 1 << 16 {
		exp, mantissa := h>>10&31, h&0x3ff
		if exp == 31 {
			continue
		}
		v := math.Ldexp(float64(mantissa), -24)
		if exp > 0 {
			v = math.Ldexp(float64(mantissa|0x400), exp-25)
		}
		if h>>15 == 1 {
			v = -v
		}
		if got := float16(float32(v)); got != uint16(h) && v != 0 {
			t.Fatalf("half %#04x is %g and comes back as %#04x", h, v, got)
		}
	}
}

// TestNarrow: bytes are little-endian, and what float16 cannot hold is named.
func TestNarrow(t *testing.T) {
	for d, want := range map[DType]uint16{BFloat16: 0x3f80, Float16: 0x3c00} {
		if b, err := Narrow(d, []float32{0, 1}); err != nil || len(b) != 4 || binary.LittleEndian.Uint16(b[2:]) != want {
			t.Errorf("1 in %s is %x, %v", d, b, err)
		}
	}
	if _, err := Narrow(Float16, []float32{1, 7e4}); err == nil || err.Error() != "entry 1 is 70000, beyond float16's 65,504" {
		t.Errorf("70,000 in float16: %v", err)
	}
	if _, err := Narrow(Int64, []float32{1}); err == nil {
		t.Error("values were rounded to int64")
	}
}
