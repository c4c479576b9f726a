package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"march/cmd/internal/perf"
	"march/cmd/internal/sweep"
	"march/cmd/internal/sweep/plan"
	"march/graphgen"
	"march/results"
	"march/results/record"
	"march/runtime"
	"march/trainloop"
	"march/variants"
)

// measured times a few training steps of a model with the micro-batch that it will be trained with: tokens a second. batch is
// the one asked for; 0: the model's own, and a smaller one where memory does not hold it. atOnce is how many such trainings will
// share a GPU, which is measured with one alone; on a CPU each has threads of its own.
func measured(ctx context.Context, l *sweep.Lab, v variants.Variant, batch, atOnce int) (float64, error) {
	c, asked := v.Config, batch > 0
	if !asked {
		batch, _ = l.DefaultBatch(c)
	}
	return fitting(ctx, batch, asked, runtime.IsOutOfMemory, func(batch int) (float64, error) {
		micro := max(1, c.Training.TokensPerStep/(batch*c.Length)) // of a step, which run at once as far as there are threads
		replicas := trainloop.ReplicasOn(l.Runtime, int64(micro))
		list, err := perf.Measure(ctx, l.Runtime, []perf.Workload{{Name: v.FullName(), Variant: v, Batch: batch * replicas, Length: c.Length}},
			perf.Options{Targets: []graphgen.Target{l.Target}, Precision: l.Precision, Recompute: l.Recompute, LossChunks: l.LossChunks, CUDAGraph: l.CUDAGraph, Optimizer: true,
				Replicas: replicas, MicroBatches: micro / replicas, Warmup: 1, Steps: 3, Rounds: 1},
			func(perf.Result) {})
		if err != nil {
			return 0, fmt.Errorf("measuring %s: %w", v.FullName(), err)
		}
		speed := list[0].TokensPerS
		if l.Runtime.GPU() != "" {
			speed /= float64(max(1, atOnce))
		}
		return speed, nil
	})
}

// fitting measures with a micro-batch, and unless that one was asked for, with smaller ones until memory holds it, as training
// goes about it.
func fitting(ctx context.Context, batch int, asked bool, tooLarge func(error) bool, measure func(batch int) (float64, error)) (float64, error) {
	for {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		speed, err := measure(batch)
		if err == nil || asked || !tooLarge(err) {
			return speed, err
		}
		smaller, ok := sweep.SmallerBatch(batch)
		if !ok {
			return 0, err
		}
		batch = smaller
	}
}

// foreseen is what a stage will cost: of models that are not decided yet, between the cheapest and the dearest that it may have.
type foreseen struct {
	Stage   string     `json:"stage"`
	About   string     `json:"about,omitempty"`
	Budget  string     `json:"budget"`
	Known   bool       `json:"known"`
	Cells   int        `json:"cells"`
	Done    int        `json:"done"`
	FLOPs   [2]float64 `json:"flops"`   // of what is not done yet
	Seconds [2]float64 `json:"seconds"` // likewise, of training alone
	Models  []string   `json:"models,omitempty"`
	Takes   string     `json:"takes,omitempty"`
	NotRun  string     `json:"not_run,omitempty"`
}

// oracle estimates costs.
type oracle struct {
	ctx      context.Context
	lab      *sweep.Lab
	batch    int // asked for; 0: each model's own
	atOnce   int
	records  []record.Run
	budgets  map[string]variants.Budget
	speeds   map[string]float64 // of FLOPs a second, by architecture
	measured []string
	used     int // speeds that are of records
}

// foresee prints what would run.
func (b *bench) foresee(ctx context.Context, l *sweep.Lab, atOnce int, p *progress) error {
	o := &oracle{ctx: ctx, lab: l, batch: b.batch, atOnce: atOnce, budgets: map[string]variants.Budget{}, speeds: map[string]float64{}}
	runs, err := results.Load(b.out)
	if err == nil {
		o.records = runs
	}
	steps := []*plan.Step{{Known: true, Cells: b.cells, AtMost: len(b.cells)}}
	if b.study != nil {
		if steps, err = b.study.Steps(ctx, l.Finished); err != nil {
			return err
		}
	}
	var list []foreseen
	for _, step := range steps {
		x, err := o.step(b.study, step)
		if err != nil {
			return err
		}
		list = append(list, x)
	}
	p.clear()
	if b.form == results.JSON {
		return printJSON(b.stdout, list)
	}
	return b.tell(l, o, list)
}

// step estimates one.
func (o *oracle) step(s *plan.Study, step *plan.Step) (foreseen, error) {
	x := foreseen{Stage: cmp.Or(step.Name, "bench"), Known: step.Known, Cells: step.AtMost, NotRun: step.Why}
	if s != nil {
		x.About, x.Takes = step.Stage.About, s.Takes(step.Stage)
		x.Budget = fmt.Sprintf("%s %s", grouped(int64(s.Amount(step.Stage))), step.Stage.Budget.Kind)
		switch step.Stage.Budget.Kind {
		case "hours":
			x.Budget = fmt.Sprintf("%g hours", s.Amount(step.Stage))
		case "flops":
			x.Budget = fmt.Sprintf("%.3g FLOPs", s.Amount(step.Stage))
		}
	} else if len(step.Cells) > 0 {
		x.Budget = grouped(int64(step.Cells[0].Variant.Config.Training.Steps)) + " steps"
	}
	if step.Why != "" {
		return x, nil
	}
	var low, high [2]float64 // FLOPs and seconds of one cell
	each := func(v variants.Variant) (cost [2]float64, err error) {
		if s != nil && step.Stage.Budget.Kind == "hours" {
			cost[1] = 3600 * s.Amount(step.Stage)
			perSecond, err := o.speed(v)
			cost[0] = cost[1] * perSecond
			return cost, err
		}
		return o.cell(v)
	}
	if step.Known {
		for _, c := range step.Cells {
			name := fmt.Sprintf("%s (%s)", c.Variant.FullName(), c.Variant.Config.Arch)
			if !slices.Contains(x.Models, name) {
				x.Models = append(x.Models, name)
			}
			if !step.Unmeasured && o.lab.Finished(c) != nil {
				x.Done++
				continue
			}
			cost, err := each(c.Variant)
			if err != nil {
				return x, err
			}
			for i := range cost {
				low[i] += cost[i]
				high[i] += cost[i]
			}
		}
	} else {
		low = [2]float64{math.Inf(1), math.Inf(1)}
		for _, m := range step.Models {
			v, err := s.Budgeted(step.Stage, m.Variant)
			if err != nil {
				return x, err
			}
			cost, err := each(v)
			if err != nil {
				return x, err
			}
			for i := range cost {
				low[i], high[i] = min(low[i], cost[i]), max(high[i], cost[i])
			}
		}
		for i := range low {
			low[i] *= float64(step.AtMost)
			high[i] *= float64(step.AtMost)
		}
		if step.Stage.When != nil {
			low = [2]float64{}
		}
	}
	together := float64(max(1, min(o.atOnce, step.AtMost-x.Done)))
	x.FLOPs, x.Seconds = [2]float64{low[0], high[0]}, [2]float64{low[1] / together, high[1] / together}
	return x, nil
}

// cell estimates FLOPs and seconds of one cell's training.
func (o *oracle) cell(v variants.Variant) (cost [2]float64, err error) {
	b, err := o.budget(v)
	if err != nil {
		return cost, err
	}
	t := v.Config.Training
	cost[0] = float64(b.TrainingFLOPs) * float64(t.TokensPerStep) * float64(t.Steps)
	perSecond, err := o.speed(v)
	cost[1] = cost[0] / perSecond
	return cost, err
}

func (o *oracle) budget(v variants.Variant) (variants.Budget, error) {
	key := v.FullName() + " " + v.Config.Arch + " " + v.Scale
	b, ok := o.budgets[key]
	if !ok {
		if o.ctx.Err() != nil {
			return b, context.Cause(o.ctx)
		}
		var err error
		if b, err = v.Config.Budget(); err != nil {
			return b, err
		}
		o.budgets[key] = b
	}
	return b, nil
}

// speed is how many FLOPs of a model's training this machine does in a second: as a record of it in the folder says, made on the
// same machine in the same way, or as measured with the first model of the architecture.
func (o *oracle) speed(v variants.Variant) (float64, error) {
	b, err := o.budget(v)
	if err != nil {
		return 0, err
	}
	for _, r := range o.records {
		m := r.Machine
		if r.Status == record.Done && r.Cell.Study+"/"+r.Cell.Name() == v.FullName() && r.Cell.Arch == v.Config.Arch && r.Cell.Scale == v.Scale &&
			m.Hardware == o.lab.Hardware && m.Threads == o.lab.Runtime.Threads() && max(1, m.AtOnce) == max(1, o.atOnce) && r.Cell.Precision == cmp.Or(o.lab.Precision, "fp32") && r.Training.TokensPerSecond > 0 {
			o.used++
			return r.Training.TokensPerSecond * float64(b.TrainingFLOPs), nil
		}
	}
	if s, ok := o.speeds[v.Config.Arch]; ok {
		return s, nil
	}
	tokens, err := measured(o.ctx, o.lab, v, o.batch, o.atOnce)
	if err != nil {
		return 0, err
	}
	o.speeds[v.Config.Arch] = tokens * float64(b.TrainingFLOPs)
	o.measured = append(o.measured, fmt.Sprintf("%s (%s, %s tokens a second)", v.FullName(), v.Config.Arch, short(tokens)))
	return o.speeds[v.Config.Arch], nil
}

// tell prints the stages as a table, what each trains, and how the times were found.
func (b *bench) tell(l *sweep.Lab, o *oracle, list []foreseen) error {
	var rows [][]string
	var total [2][2]float64
	span := func(x [2]float64, show func(float64) string) string {
		if low, high := show(x[0]), show(x[1]); low != high {
			return low + " to " + high
		}
		return show(x[1])
	}
	flops := func(x float64) string { return fmt.Sprintf("%.2g", x) }
	for _, x := range list {
		cells := fmt.Sprint(x.Cells)
		if !x.Known && x.NotRun == "" {
			cells = "at most " + cells
		}
		row := []string{x.Stage, x.Budget, cells, fmt.Sprint(x.Done), "–", "–"}
		if x.NotRun == "" {
			row[4], row[5] = span(x.FLOPs, flops), span(x.Seconds, seconds)
		}
		for i := range 2 {
			total[0][i] += x.FLOPs[i]
			total[1][i] += x.Seconds[i]
		}
		rows = append(rows, row)
	}
	if len(rows) > 1 {
		rows = append(rows, []string{"all", "", "", "", span(total[0], flops), span(total[1], seconds)})
	}
	if err := printTable(b.stdout, b.width(), []column{{title: "stage"}, {title: "budget"}, {title: "cells", right: true}, {title: "done", right: true}, {title: "FLOPs to do", right: true}, {title: "training time", right: true}}, rows); err != nil {
		return err
	}
	for _, x := range list {
		text := x.Takes
		switch {
		case x.NotRun != "":
			text = "not run: " + x.NotRun
		case x.Known:
			text = strings.Join(x.Models, ", ")
		}
		for i, line := range wrap(fmt.Sprintf("%s: %s", x.Stage, text), max(40, cmp.Or(b.width(), 100)-2)) {
			fmt.Fprintln(b.stdout, strings.Repeat("  ", min(i, 1))+line)
		}
	}
	how := fmt.Sprintf("Time is that of training steps, %s at once on %s with %s each; evaluation comes on top. ", counted(o.atOnce, "cell"), l.Hardware, counted(l.Runtime.Threads(), "thread"))
	if o.used > 0 {
		how += fmt.Sprintf("%s by the records in %s. ", map[bool]string{true: "All", false: "In part"}[len(o.measured) == 0], b.out)
	}
	if len(o.measured) > 0 {
		how += "Measured just now with three steps: " + strings.Join(o.measured, ", ") + "; other models by their FLOPs."
	}
	b.note("%s", strings.TrimSpace(how))
	return nil
}
