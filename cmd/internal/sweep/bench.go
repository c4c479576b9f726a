package sweep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

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

// DefaultSteps is the budget of a bench that asks for nothing: fewer than scale tiny's own,
// and enough to learn the embedded corpus's grammar.
const DefaultSteps = 750

// MaxSeeds is the largest number of seeds of a variant.
const MaxSeeds = 1000

// Cells makes the cells of a bench: every variant with every seed, below out.
func Cells(out string, list []variants.Variant, seeds int, batch int) []Cell {
	var cells []Cell
	for seed := range uint64(seeds) {
		for _, v := range list {
			cells = append(cells, Cell{Variant: v, Seed: seed + 1, Batch: batch, Dir: CellDir(out, v, seed+1), Teacher: teacherDir(out, v, seed+1)})
		}
	}
	return cells
}

// Bench runs the cells that have no finished record yet, so many at once, and returns all
// records in the cells' order. A cell that breaks is a record with the reason; the bench
// goes on. What concerns the whole comparison ends it, and the error comes with the
// records of the cells that were finished. each hears of every finished cell, one at a time.
func (l *Lab) Bench(ctx context.Context, cells []Cell, atOnce int, each func(i int, c Cell, r *record.Run)) ([]record.Run, error) {
	// Everything that a later cell would be refused for is found before the first one runs.
	for _, c := range cells {
		if err := l.checkCell(c); err != nil {
			return nil, fmt.Errorf("%s: %w", c, err)
		}
	}
	l.AtOnce = atOnce
	done, ended := make([]*record.Run, len(cells)), make([]chan struct{}, len(cells))
	for i := range cells {
		ended[i] = make(chan struct{})
	}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(atOnce)
	var hear sync.Mutex
	for _, i := range order(cells, atOnce) {
		c := cells[i]
		work.Go(func() error {
			defer close(ended[i])
			if t := slices.IndexFunc(cells, func(x Cell) bool { return x.Dir == c.Teacher }); t >= 0 {
				<-ended[t] // it began before this one, and stops with ctx
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			r, err := l.Run(ctx, c)
			if err != nil {
				return fmt.Errorf("%s: %w", c, err)
			}
			hear.Lock()
			defer hear.Unlock()
			done[i] = r
			each(i, c, r)
			return nil
		})
	}
	err := work.Wait()
	var list []record.Run
	for _, r := range done {
		if r != nil {
			list = append(list, *r)
		}
	}
	return list, err
}

// order is that in which cells begin: as given, or several at once the dearest first, so
// that they end at about the same time; behind all others those that learn from another.
func order(cells []Cell, atOnce int) []int {
	list := make([]int, len(cells))
	for i := range list {
		list[i] = i
	}
	if atOnce > 1 {
		cost := make([]float64, len(cells))
		for i, c := range cells {
			if b, err := c.Variant.Config.Budget(); err == nil {
				t := c.Variant.Config.Training
				cost[i] = float64(b.TrainingFLOPs) * float64(t.TokensPerStep) * float64(t.Steps)
			}
		}
		slices.SortStableFunc(list, func(a, b int) int { return cmp.Compare(cost[b], cost[a]) })
	}
	slices.SortStableFunc(list, func(a, b int) int {
		return cmp.Compare(min(1, len(cells[a].Teacher)), min(1, len(cells[b].Teacher)))
	})
	return list
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
	s.Teacher = l.teacherOr(c, was.Teacher)
	if d := s.Differences(was); len(d) > 0 {
		return fmt.Errorf("%s: %w", c.Dir, &trainloop.SettingsError{Differences: d})
	}
	return nil
}
