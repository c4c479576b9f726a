package perf

import (
	"cmp"
	"context"
	"slices"
	"time"

	"march/runtime"
)

// kernels times march's own kernels on the GPU, each as the median of some passes: a row for each operator, and the dearest of their sizes.
func (r *running) kernels(ctx context.Context, x *Result, o Options, top peak) error {
	const passes, steps = 5, 2 // steps of a pass
	bytes, flops, err := top.rt.Reached()
	if err != nil && !runtime.IsOutOfMemory(err) { // on a full GPU there are no floors
		return err
	}
	all := make([][]runtime.KernelTiming, passes)
	for i := range all {
		if all[i], err = top.rt.ProfileKernels(func() error { return r.run(ctx, steps) }); err != nil {
			return err
		}
	}
	timings := medians(all)
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

// medians has each kernel's median time of passes over the same steps: what disturbs one of them does not show.
func medians(passes [][]runtime.KernelTiming) []runtime.KernelTiming {
	times := map[runtime.KernelTiming][]time.Duration{}
	kernel := func(t runtime.KernelTiming) runtime.KernelTiming { // all but its time
		t.Time = 0
		return t
	}
	for _, list := range passes {
		for _, t := range list {
			times[kernel(t)] = append(times[kernel(t)], t.Time)
		}
	}
	list := slices.Clone(passes[0])
	for i, t := range list {
		at := times[kernel(t)]
		slices.Sort(at)
		list[i].Time = at[len(at)/2]
	}
	return list
}
