package variants

import (
	"fmt"
	"math"
)

// Budget is what a model costs. Shared layers count once among the parameters and at
// each use among the FLOPs.
type Budget struct {
	Total     int64 `json:"total"`
	Embedding int64 `json:"embedding"`
	Norm      int64 `json:"norm"`
	Other     int64 `json:"other"`
	Effective int64 `json:"effective,omitempty"` // of all, those that are not masked after pruning; 0: nothing is pruned
	// FLOPs of matrix products per token at the configured length: the forward pass, and
	// a training step's forward and backward pass.
	ForwardFLOPs  int64 `json:"forward_flops_per_token"`
	TrainingFLOPs int64 `json:"training_flops_per_token"`
}

// Parameters lists the model's parameters in manifest order.
func (c Config) Parameters() ([]Parameter, error) {
	m := newModel(c)
	err := build(func() error {
		m.forward(m.dynamic()).logits()
		return nil
	})
	return m.sorted(), err
}

// count is the number of unique parameters.
func (c Config) count() (int64, error) {
	params, err := c.Parameters()
	var n int64
	for _, p := range params {
		n += int64(p.Elements())
	}
	return n, err
}

// Budget counts parameters and FLOPs from the graphs themselves. A teacher's forward pass
// is part of a training step's; masked weights are multiplied like others.
func (c Config) Budget() (Budget, error) {
	var b Budget
	params, err := c.Parameters()
	if err != nil {
		return b, err
	}
	for _, p := range params {
		n := int64(p.Elements())
		b.Total += n
		switch p.Part() {
		case "embedding":
			b.Embedding += n
		case "norm":
			b.Norm += n
		default:
			b.Other += n
		}
		if c.Training.Prune.Sparsity > 0 {
			b.Effective += n
			if p.Prunable() {
				b.Effective -= int64(Masked(p.Elements(), c.Training.Prune.Sparsity))
			}
		}
	}
	d, err := c.Dims(1, c.Length)
	if err != nil {
		return b, err
	}
	train, err := c.Train(d)
	if err != nil {
		return b, err
	}
	b.TrainingFLOPs = train.FLOPs() / int64(c.Length)
	forward, err := c.forwardFLOPs(d)
	b.ForwardFLOPs = forward / int64(c.Length)
	return b, err
}

// forwardFLOPs counts one sequence's forward pass.
func (c Config) forwardFLOPs(d Dims) (int64, error) {
	m := newModel(c)
	err := build(func() error {
		m.g.Output("logits", m.forward(d).logits())
		m.g.Trim()
		return nil
	})
	return m.g.FLOPs(), err
}

// solveFF gives c the feed-forward width, a multiple of step, that brings its parameter
// count nearest to base's.
func (c Config) solveFF(base Config, step int) (Config, error) {
	return c.solve(base, "parameters", step, Config.count)
}

// Matches lists what Match can bring to the baseline's.
func Matches() []string { return []string{"params", "flops"} }

// Match gives c the feed-forward width that brings its parameters (params) or the FLOPs of
// its training (flops) nearest to base's.
func (c Config) Match(base Config, what string) (Config, error) {
	if what == "params" {
		return c.solveFF(base, 1)
	}
	return c.solve(base, "FLOPs", 1, func(c Config) (int64, error) {
		b, err := c.Budget()
		return b.TrainingFLOPs, err
	})
}

// solve gives c the feed-forward width, a multiple of step, that brings a measure nearest
// to base's. The measure is a straight line in the width: two points give it.
func (c Config) solve(base Config, name string, step int, measure func(Config) (int64, error)) (Config, error) {
	want, err := measure(base)
	if err != nil {
		return c, err
	}
	at := func(ff int) (int64, error) { c.FF = ff; return measure(c) }
	one, err := at(step)
	if err != nil {
		return c, err
	}
	const far = 1000 // steps between the points, so that measures that are rounded give the slope
	two, err := at((1 + far) * step)
	if err != nil {
		return c, err
	}
	n := math.Round(float64(want-one)*far/float64(two-one)) + 1
	if n < 1 {
		return c, fmt.Errorf("no feed-forward width brings %d %s down to the baseline's %d", one, name, want)
	}
	c.FF = int(n) * step
	return c, c.Validate()
}
