package sweep

import (
	"strconv"

	"march/trainloop"
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
	from, err := l.imported(c, &s)
	if err != nil {
		return 0, err
	}
	release, err := hold(c.Dir)
	if err != nil {
		return 0, err
	}
	defer release()
	if err := l.program(c, s, from); err != nil {
		return 0, err
	}
	n := int(s.Steps) * s.MicroBatches()
	return n, trainloop.WriteBatches(file, batches, 0, int64(n), map[string]string{"producer": "march", "micro_batches_per_step": strconv.Itoa(s.MicroBatches())})
}
