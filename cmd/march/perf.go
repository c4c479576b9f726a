package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"march/cmd/internal/perf"
	"march/cmd/internal/sweep"
	"march/graphgen"
	"march/graphgen/atomicfile"
)

var perfCommand = command{
	name: "perf", group: groupMachine,
	short: "measure training steps",
	long: "Times forward pass, backward pass and gradient accumulation of a micro-batch, without data loading and, unless --optimizer is given, optimizer: the median of the timed steps. Workloads P1, P2 and tiny are the reference workloads that other frameworks are measured on too; --variant measures any model at its own size.\n\n" +
		"With several targets the rounds alternate between them, so that a machine that gets slower slows all of them. --ops shows where the time goes; it runs ONNX Runtime's profiler, which costs time itself. On a GPU it sees when kernels are queued, not how long they run; with CUDA_LAUNCH_BLOCKING=1 in the environment each is waited for. Of target fused --ops times march's own kernels on the GPU itself and holds each to its floor: what a call must read and write at the speed of a large copy here, or multiply at that of a large product, whichever takes longer; a time there is the median of several passes.",
	examples: []example{
		{"march perf --workload P2", "the CPU reference workload"},
		{"march perf --workload P2 --ops", "operator by operator"},
		{"march perf --variant 'deep_*' --target portable,ort --save deep.json", "keep the figures"},
		{"march perf --workload P2 --against p2.json", "compare with figures kept before"},
		{"march perf --workload P1 --device cuda --precision tf32,bf16", "on a GPU"},
	},
	setup: func(f *pflag.FlagSet) action {
		names := f.StringArray("workload", nil, "`NAME` of a reference workload: "+strings.Join(workloadNames(), ", ")+"; repeatable")
		model := selectFlags(f, "tiny")
		targets := f.String("target", autoTarget, "`TARGETS`, joined by commas: "+joined(graphgen.Targets())+"; auto is fused, but ort on a GPU that march's kernels do not run on")
		batch := f.Int("batch", 0, "`SEQUENCES` of a micro-batch (default: the workload's, or a step of the scale)")
		seq := f.Int("seq", 0, "`TOKENS` of a sequence (default: the workload's, or the model's)")
		replicas := f.Int("replicas", 0, "`PARTS` of the batch that run at once, each on its share of the threads, as training runs the micro-batches of a step (default: a thread or more each, as training cuts up to 16,384 tokens, see march train --help on --batch; with --ops one)")
		optimizer := f.Bool("optimizer", false, "clip gradients and take an AdamW step behind each batch, too")
		micro := f.Int("micro-batches", 1, "`NUMBER` of micro-batches whose gradients are added up in a step")
		steps := f.Int("steps", 30, "timed `STEPS`, over all rounds")
		warmup := f.Int("warmup", 5, "`STEPS` before the clock starts")
		ops := f.Bool("ops", false, "show the operators' shares")
		nodes := f.Int("nodes", 0, "show the `NUMBER` of dearest nodes, too")
		save := f.String("save", "", "keep the figures in a JSON `FILE`")
		against := f.String("against", "", "show ratios to the figures in a `FILE` of --save")
		asJSON := jsonFlag(f)
		precisions := f.String("precision", "fp32", "`ARITHMETICS`, joined by commas: "+strings.Join(sweep.Precisions(), ", ")+"; all but fp32 need a GPU")
		deterministic := f.Bool("deterministic", false, "the GPU's reproducible kernels, where there are others")
		cudaGraph := addCUDAGraphFlag(f)
		memory := addMemoryFlags(f)
		device := addDeviceFlags(f)
		return func(ctx context.Context, e *env, _ []string) error {
			if *steps < 1 || *micro < 1 || *warmup < 0 || *replicas < 0 || *nodes < 0 {
				return usagef("--steps %d, --warmup %d, --replicas %d, --micro-batches %d: wanted at least one step and micro-batch, and nothing negative", *steps, *warmup, *replicas, *micro)
			}
			if err := memory.check(); err != nil {
				return err
			}
			if err := checkCUDAGraph(*cudaGraph); err != nil {
				return err
			}
			o := perf.Options{Recompute: memory.recompute, LossChunks: memory.lossChunks, CUDAGraph: *cudaGraph, Replicas: *replicas, Optimizer: *optimizer, MicroBatches: *micro, Warmup: *warmup, Ops: *ops || *nodes > 0, Nodes: *nodes, Rounds: min(5, *steps)}
			o.Steps = *steps
			if o.Ops && *cudaGraph == "on" {
				return usagef("--cuda-graph on, --ops: the kernels of a recorded graph cannot be timed one by one")
			}
			if o.Ops && *replicas > 1 {
				return usagef("--replicas %d, --ops: operators that run at once wait for each other; wanted one replica", *replicas)
			}
			for _, p := range strings.Split(*precisions, ",") {
				if err := (&arithmeticFlags{precision: p}).check(); err != nil {
					return err
				}
			}
			for _, t := range strings.Split(*targets, ",") {
				if t == autoTarget {
					o.Targets = append(o.Targets, autoTarget) // the device decides
					continue
				}
				target, err := graphgen.ParseTarget(t)
				if err != nil {
					return usagef("--target: %w", err)
				}
				o.Targets = append(o.Targets, target)
			}
			list, err := perfWorkloads(*names, model, *batch, *seq)
			if err != nil {
				return err
			}
			old, err := readFigures(*against)
			if err != nil {
				return err
			}
			options, err := device.options()
			if err != nil {
				return err
			}
			width := 24
			for _, w := range list {
				width = max(width, len(w.Name))
			}
			var got []perf.Result
			last := ""
			for i, p := range strings.Split(*precisions, ",") {
				a := arithmeticFlags{p, *deterministic}
				rt, err := a.open(e.logf, options)
				if err != nil {
					return err
				}
				if err := checkRecorded(rt, *cudaGraph); err != nil {
					rt.Close()
					return err
				}
				if i == 0 && !*asJSON {
					fmt.Fprintf(e.stdout, "%-*s %-9s %-5s %8s %8s %10s %9s %7s %7s %7s %6s\n", width, "workload", "target", "prec.", "ms/step", "fastest", "tok/s", "GFLOP/s", "nodes", "load s", "GB", "MFU")
				}
				o.Precision = p
				o := o
				o.Targets = slices.Clone(o.Targets)
				for j, t := range o.Targets {
					if o.Targets[j], err = targetOn(rt, string(t), e.logf); err != nil {
						rt.Close()
						return err
					}
				}
				list, err := perf.Measure(ctx, rt, list, o, func(r perf.Result) {
					if !*asJSON {
						r.Against = before(r, old)
						printFigures(e, r, width)
					}
				})
				for i := range list {
					list[i].Against = before(list[i], old)
				}
				last = fmt.Sprintf("%s, %s, %s, ONNX Runtime %s", rt.Device(), rt.Hardware(), counted(rt.Threads(), "thread"), rt.Version())
				rt.Close()
				got = append(got, list...)
				if err != nil {
					return err
				}
			}
			if old != nil && !slices.ContainsFunc(got, func(r perf.Result) bool { return r.Against > 0 }) {
				e.logf("--against %s: holds no figure of these workloads, targets, precisions and sizes", *against)
			}
			if *save != "" {
				b, err := json.MarshalIndent(got, "", "  ")
				if err != nil {
					return err
				}
				if err := atomicfile.WriteFile(*save, append(b, '\n')); err != nil {
					return fmt.Errorf("--save: %w", err)
				}
			}
			if *asJSON {
				return printJSON(e.stdout, got)
			}
			fmt.Fprintf(e.stdout, "on %s; median of %d steps; the process held %.0f MB at most; GB: the GPU's memory; MFU: the model's FLOPs over what the GPU's matrix units can do\n", last, o.Steps, got[len(got)-1].PeakMB)
			return nil
		}
	},
}

func workloadNames() []string {
	var names []string
	for _, w := range perf.Workloads() {
		names = append(names, w.Name)
	}
	return names
}

// perfWorkloads are the reference workloads and variants that the flags name.
func perfWorkloads(names []string, model *selection, batch, seq int) ([]perf.Workload, error) {
	var list []perf.Workload
	if len(names) == 0 && model.empty() {
		names = []string{"P2"}
	}
	for _, name := range names {
		found := false
		for _, w := range perf.Workloads() {
			if strings.EqualFold(w.Name, name) {
				list, found = append(list, w), true
			}
		}
		if !found {
			return nil, notOneOf("workload", name, workloadNames())
		}
	}
	if !model.empty() {
		vs, err := model.models()
		if err != nil {
			return nil, err
		}
		for _, v := range vs {
			list = append(list, perf.Workload{Name: v.FullName() + " " + v.Config.Arch, Variant: v, Batch: max(1, v.Config.Training.TokensPerStep/v.Config.Length), Length: v.Config.Length})
		}
	}
	for i := range list {
		if batch != 0 {
			list[i].Batch = batch
		}
		if seq != 0 {
			list[i].Length = seq
		}
	}
	return list, nil
}

// before is a time over that of the same measurement in figures kept before; 0 where they have none.
func before(r perf.Result, old map[string]perf.Result) float64 {
	if o, ok := old[figure(r)]; ok && o.MS > 0 {
		return r.MS / o.MS
	}
	return 0
}

func printFigures(e *env, r perf.Result, width int) {
	if r.ReachedGB > 0 {
		defer fmt.Fprintf(e.stdout, "    floors: what one call must move at %.0f GB/s, a large copy's speed here, or multiply at %.0f TFLOP/s, a large product's\n", r.ReachedGB, r.ReachedTFLOPS)
	}
	fmt.Fprintf(e.stdout, "%-*s %-9s %-5s %8.2f %8.2f %10s %9.1f %7d %7.2f", width, r.Workload, r.Target, r.Precision, r.MS, r.MinMS, short(r.TokensPerS), r.GFLOPS, r.Nodes, r.LoadS)
	if r.DeviceGB > 0 {
		fmt.Fprintf(e.stdout, " %7.2f", r.DeviceGB)
	} else {
		fmt.Fprintf(e.stdout, " %7s", "–")
	}
	if r.MFU > 0 {
		fmt.Fprintf(e.stdout, " %5.1f%%", 100*r.MFU)
	} else {
		fmt.Fprintf(e.stdout, " %6s", "–")
	}
	if r.CUDAGraph {
		fmt.Fprint(e.stdout, "  as a CUDA graph")
	}
	if r.Against > 0 {
		fmt.Fprintf(e.stdout, "  %.2f × the time before", r.Against)
	}
	fmt.Fprintln(e.stdout)
	if r.Recomputed > 0 {
		fmt.Fprintf(e.stdout, "    %d of the nodes compute layers anew: %.1f GFLOP a micro-batch where the model has %.1f, which GFLOP/s and MFU count\n", r.Recomputed, r.GraphGFLOP, r.ModelGFLOP)
	}
	for _, op := range slices.Concat(r.Ops, r.Dearest) {
		fmt.Fprintf(e.stdout, "    %-40s %5d calls %9.3f ms %6.1f %%", op.Op, op.Calls, op.MS, 100*op.Share)
		if op.Floor > 0 {
			fmt.Fprintf(e.stdout, "  %7.3f GB %7.1f GFLOP  %3.0f %% of its floor", float64(op.Bytes)/1e9, float64(op.FLOPs)/1e9, 100*op.Floor)
		}
		fmt.Fprintln(e.stdout)
	}
}

// figure identifies a measurement: what was run, whatever with.
func figure(r perf.Result) string {
	return fmt.Sprint(r.Workload, " ", r.Target, " ", r.Precision, " ", r.Batch, " ", r.Length, " ", r.Optimizer, " ", max(1, r.MicroBatches))
}

// readFigures reads a file of --save.
func readFigures(file string) (map[string]perf.Result, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--against %w", plain(err))
	}
	var list []perf.Result
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("--against %s: not a file of march perf --save: %w", file, err)
	}
	m := map[string]perf.Result{}
	for _, r := range list {
		m[figure(r)] = r
	}
	return m, nil
}
