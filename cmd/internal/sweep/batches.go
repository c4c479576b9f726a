package sweep

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"march/trainloop"
)

// SaveBatches writes the micro-batches that a cell trains on, in their order, and the cell's program with
// its start values, so that another implementation can be given the same: a safetensors file with each
// of a batch's arrays, int32 [micro-batches, rows, length] (lengths [micro-batches, rows]). It
// returns the number of micro-batches. A folder that holds a run with other settings stays as it is.
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
	was, err := trainloop.ReadSettings(c.Dir)
	started := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if s.Teacher = l.teacherOr(c, was.Teacher); started && len(s.Differences(was)) > 0 {
		return 0, fmt.Errorf("run %s: %w", c.Dir, &trainloop.SettingsError{Differences: s.Differences(was)})
	}
	dir, p, err := l.program(c, s, from, started)
	if err != nil {
		return 0, err
	}
	if _, err := p.Wait(); err != nil {
		return 0, err
	}
	if err := adoptProgram(c.Dir, dir); err != nil {
		return 0, err
	}
	n := int(s.Steps) * s.MicroBatches()
	return n, trainloop.WriteBatches(file, batches, 0, int64(n), map[string]string{"producer": "march", "micro_batches_per_step": strconv.Itoa(s.MicroBatches())})
}
