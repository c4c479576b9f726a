package main

import (
	"context"
	goruntime "runtime"
	"sync"

	"march/variants"
)

// costed is a model with what it costs beside its study's baseline; err says why it
// cannot exist.
type costed struct {
	name     string // study/name
	arch     string
	variant  variants.Variant
	budget   variants.Budget
	baseline baseline
	err      error
}

// baseline is what a study compares with.
type baseline struct {
	name   string // "" where the study has none of this architecture
	config variants.Config
	budget variants.Budget
}

// distance is how far the parameters are from the baseline's.
func (c costed) distance() string {
	switch c.baseline.name {
	case "":
		return "–"
	case c.variant.FullName():
		return "baseline"
	}
	return percent(c.budget.Total, c.baseline.budget.Total)
}

// costs counts models, some at a time: each is compiled for it.
func costs(ctx context.Context, n int, find func(int) (variants.Variant, error)) []costed {
	list := make([]costed, n)
	baselines := &baselineCache{of: map[[3]string]func() baseline{}}
	next := make(chan int)
	var wait sync.WaitGroup
	for range min(n, goruntime.GOMAXPROCS(0)) {
		wait.Go(func() {
			for i := range next {
				c := &list[i]
				c.err = guarded(func() (err error) {
					if c.variant, err = find(i); err != nil {
						return err
					}
					c.name, c.arch = c.variant.FullName(), c.variant.Config.Arch
					c.baseline = baselines.get(c.variant)
					if c.baseline.config == c.variant.Config {
						c.budget = c.baseline.budget
						return nil
					}
					c.budget, err = c.variant.Config.Budget()
					return err
				})
			}
		})
	}
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wait.Wait()
	return list
}

// baselineCache counts each study's baseline once.
type baselineCache struct {
	mu sync.Mutex
	of map[[3]string]func() baseline // by study, scale and architecture
}

func (b *baselineCache) get(v variants.Variant) baseline {
	key := [3]string{v.Study, v.Scale, v.Config.Arch}
	b.mu.Lock()
	count, ok := b.of[key]
	if !ok {
		count = sync.OnceValue(func() baseline {
			base, err := variants.Find(variants.Baseline(v.Study), v.Scale, v.Config.Arch)
			if err != nil {
				return baseline{}
			}
			budget, err := base.Config.Budget()
			if err != nil {
				return baseline{}
			}
			return baseline{base.FullName(), base.Config, budget}
		})
		b.of[key] = count
	}
	b.mu.Unlock()
	return count()
}

// change is an axis in which a model differs from its baseline.
type change struct {
	Axis     string `json:"axis"`
	Value    string `json:"value"`
	Baseline string `json:"baseline"`
}
