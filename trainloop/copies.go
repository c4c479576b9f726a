package trainloop

import (
	"encoding/binary"
	"math"
	"slices"

	"march/runtime"
	"march/variants"
	"march/variants/manifest"
)

// Programs in bfloat16 keep float32 parameters, and beside them a copy that the matrix
// products read. update.onnx writes it anew with every step; what loads parameters writes
// it here.

// allocateCopies makes the copies' buffer and its views, where the micro-batch graph reads
// any.
func (e *Engine) allocateCopies(g *manifest.Graph) error {
	reads := func(p manifest.Parameter) bool {
		return slices.ContainsFunc(g.Inputs, func(x manifest.Port) bool { return x.Name == variants.CopyName(p.Name) })
	}
	if !slices.ContainsFunc(e.Manifest.Parameters, reads) {
		return nil
	}
	// The parameters' layout at half its size: offsets are multiples of 256 bytes.
	b, err := e.rt.Alloc(e.Manifest.BufferBytes() / 2)
	if err != nil {
		return err
	}
	e.buffers[kindCopy] = b
	add := func(name string, offset int, shape ...int64) (err error) {
		e.views[variants.CopyName(name)], err = b.Tensor(offset/2, runtime.BFloat16, shape...)
		return err
	}
	for _, p := range e.Manifest.Parameters {
		shape := make([]int64, len(p.Shape))
		for i, d := range p.Shape {
			shape[i] = int64(d)
		}
		if err := add(p.Name, p.Offset, shape...); err != nil {
			return err
		}
	}
	for _, r := range e.Manifest.Ranges {
		if err := add(r.Name, r.Offset, int64(r.Elements)); err != nil {
			return err
		}
	}
	return nil
}

// uploadCopy writes the copy of a parameter's values.
func (e *Engine) uploadCopy(param string, v []float32) error {
	if e.buffers[kindCopy] == nil {
		return nil
	}
	b := make([]byte, 2*len(v))
	for i, x := range v {
		binary.NativeEndian.PutUint16(b[2*i:], bfloat16(x))
	}
	return e.views[variants.CopyName(param)].UploadBytes(b)
}

// bfloat16 rounds to the nearest, ties to even, as ONNX's Cast does.
func bfloat16(x float32) uint16 {
	bits := math.Float32bits(x)
	if x != x {
		return uint16(bits>>16) | 0x40 // stays no number
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
