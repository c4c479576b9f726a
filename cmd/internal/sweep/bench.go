package sweep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"march/results/record"
	"march/trainloop"
	"march/variants"
)

// DefaultBench names the cells of a bench that asks for nothing: the baseline, three ways
// of sharing, one number of heads and one gated feed-forward layer. The latter two keep
// the baseline's size of projections and of parameters at scale tiny.
func DefaultBench() []string {
	return []string{
		"sharing/baseline", "sharing/deep_cycle_rev", "sharing/wide_cycle_rev", "sharing/very_wide_cycle",
		"sharing/baseline+heads=12+qkv_dim=8", "sharing/baseline+act=silu+glu=true+ff=256",
	}
}

// Cells makes the cells of a bench: every variant with every seed, below out.
func Cells(out string, list []variants.Variant, seeds int, batch int) []Cell {
	var cells []Cell
	for seed := range uint64(seeds) {
		for _, v := range list {
			cells = append(cells, Cell{Variant: v, Seed: seed + 1, Batch: batch, Dir: CellDir(out, v, seed+1)})
		}
	}
	return cells
}

// Bench runs the cells that have no finished record yet and returns all records, in the
// cells' order. A cell that breaks is a record with the reason; the bench goes on.
func (l *Lab) Bench(ctx context.Context, cells []Cell, each func(i int, c Cell, r *record.Run)) ([]record.Run, error) {
	// Everything that a later cell would be refused for is found before the first one runs.
	for _, c := range cells {
		if err := l.checkCell(c); err != nil {
			return nil, fmt.Errorf("%s: %w", c, err)
		}
	}
	var list []record.Run
	for i, c := range cells {
		r, err := l.Run(ctx, c)
		if err != nil {
			return list, fmt.Errorf("%s: %w", c, err)
		}
		list = append(list, *r)
		each(i, c, r)
	}
	return list, nil
}

// checkCell finds what would stop a cell before it starts.
func (l *Lab) checkCell(c Cell) error {
	s, err := l.settings(c)
	if err != nil {
		return err
	}
	if err := s.Check(); err != nil {
		return err
	}
	if _, err := l.batches(c, s); err != nil {
		return err
	}
	was, err := trainloop.ReadSettings(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if d := s.Differences(was); len(d) > 0 {
		return fmt.Errorf("%s: %w", c.Dir, &trainloop.SettingsError{Differences: d})
	}
	return nil
}
