package perf

import (
	"cmp"
	"context"
	"slices"
	"time"

	"march/runtime"
)

// kernels times march's own kernels on the GPU over some steps: a row for each operator, and the dearest of their sizes.
func (r *running) kernels(ctx context.Context, x *Result, o Options, top peak) error {
	const steps = 5
	bytes, flops, err := top.rt.Reached()
	if err != nil && !runtime.IsOutOfMemory(err) { // on a full GPU there are no floors
		return err
	}
	timings, err := top.rt.ProfileKernels(func() error { return r.run(ctx, steps) })
	if err != nil {
		return err
	}
	row := func(name string, list []runtime.KernelTiming) OpRow {
		w := OpRow{Op: name}
		var spent, floor time.Duration
		for _, t := range list {
			w.Calls += t.Calls
			spent += t.Time
			w.Bytes += int64(t.Calls) * t.Bytes / steps
			w.FLOPs += int64(t.Calls) * t.FLOPs / steps
			if bytes == 0 || flops == 0 {
				continue
			}
			floor += time.Duration(1e9 * float64(t.Calls) * max(float64(t.Bytes)/bytes, float64(t.FLOPs)/flops))
		}
		w.Calls /= steps
		w.MS = 1e3 * spent.Seconds() / steps
		w.Share = w.MS / x.MS
		w.Floor = float64(floor) / float64(max(1, spent))
		return w
	}
	byOp := map[string][]runtime.KernelTiming{}
	for _, t := range timings {
		byOp[t.Op] = append(byOp[t.Op], t)
		if name := t.Op + " " + t.Detail; t.Detail != "" {
			x.Dearest = append(x.Dearest, row(name, []runtime.KernelTiming{t}))
		}
	}
	rest := x.MS
	for name, list := range byOp {
		w := row(name, list)
		x.Ops, rest = append(x.Ops, w), rest-w.MS
	}
	x.ReachedGB, x.ReachedTFLOPS = bytes/1e9, flops/1e12
	dearer := func(a, b OpRow) int { return cmp.Compare(b.MS, a.MS) }
	slices.SortFunc(x.Ops, dearer)
	slices.SortFunc(x.Dearest, dearer)
	x.Dearest = x.Dearest[:min(o.Nodes, len(x.Dearest))]
	x.Ops = append(x.Ops, OpRow{Op: "ONNX Runtime's own, and gaps", MS: max(0, rest), Share: max(0, rest) / x.MS})
	return nil
}
