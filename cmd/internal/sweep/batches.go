package sweep

import (
	"encoding/binary"
	"strconv"

	"march/trainloop/corpus"
	"march/trainloop/safetensors"
)

// SaveBatches writes the micro-batches that a cell trains on, in their order, and the cell's program with
// its start values, so that another implementation can be given the same: a safetensors file with each
// of a batch's arrays, int32 [micro-batches, rows, length] (lengths [micro-batches, rows]). It
// returns the number of micro-batches.
func (l *Lab) SaveBatches(c Cell, file string) (int, error) {
	s, err := l.settings(c)
	if err != nil {
		return 0, err
	}
	batches, err := l.batches(c, s)
	if err != nil {
		return 0, err
	}
	if err := s.Check(); err != nil {
		return 0, err
	}
	if err := l.program(c, s); err != nil {
		return 0, err
	}
	n := int(s.Steps) * s.MicroBatches()
	shapes := batches.Shapes()
	b := shapes.New()
	data := map[string][]byte{}
	for micro := range n {
		batches.Fill(int64(micro), b)
		for _, name := range corpus.Arrays() {
			for _, x := range b.Array(name) {
				data[name] = binary.LittleEndian.AppendUint32(data[name], uint32(int32(x)))
			}
		}
	}
	var tensors []safetensors.Tensor
	for name, d := range data {
		tensors = append(tensors, safetensors.Tensor{Name: name, DType: "I32", Shape: append([]int{n}, shapes.Of(name)...), Data: d})
	}
	return n, safetensors.WriteFile(file, tensors, map[string]string{"producer": "march", "micro_batches_per_step": strconv.Itoa(s.MicroBatches())})
}
