// Package perf measures training steps: a program's forward pass, backward pass and
// gradient accumulation, for any models, targets and numbers of threads. It does not
// measure data loading or the optimizer, and judges nothing. Start at [Measure].
package perf

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"march/cmd/internal/sweep"
	"march/graphgen"
	"march/runtime"
	"march/trainloop"
	"march/trainloop/corpus"
	"march/trainloop/rng"
	"march/variants"
	"march/variants/program"
)

// Workload is what is measured.
type Workload struct {
	Name    string           `json:"workload"`
	Variant variants.Variant `json:"-"`
	Batch   int              `json:"batch"`
	Length  int              `json:"length"`
	Decoder int              `json:"decoder_length,omitempty"` // of an encoder-decoder
}

// Workloads are the reference workloads, defined as benchmarks of other frameworks define
// them too: decoders with biases everywhere, 1/√dk, learned positions, tied embeddings; the
// two studies' baselines; and P1 with one size or activation changed. None drops out.
func Workloads() []Workload {
	of := func(name, variant, arch string, batch, length int, change func(c *variants.Config)) Workload {
		v, err := variants.Find(variant, "paper", arch)
		if err != nil {
			panic(err) // of the catalogue
		}
		c := &v.Config
		c.Length, c.Dropout = length, variants.Dropout{}
		change(c)
		c.Training.TokensPerStep = batch * length
		v.Base, v.Scale = name, "workload"
		w := Workload{Name: name, Variant: v, Batch: batch, Length: length}
		if c.Arch == variants.EncoderDecoder {
			w.Decoder = length
		}
		return w
	}
	plain := func(name string, d, layers, heads, ff, vocab, batch, length int) Workload {
		return of(name, "plain/gpt2", "", batch, length, func(c *variants.Config) {
			c.D, c.Heads, c.QKVDim, c.FF, c.Vocab = d, heads, d/heads, ff, vocab
			c.Share = variants.Share{Unique: layers, Uses: layers, Assignment: "seq"}
		})
	}
	as := func(*variants.Config) {}
	swiglu := plain("P1-swiglu", 512, 8, 8, 1408, 16384, 32, 512)
	swiglu.Variant.Config.Act, swiglu.Variant.Config.GLU = "silu", true
	return []Workload{
		plain("P1", 512, 8, 8, 2048, 16384, 32, 512),
		plain("P1-short", 512, 8, 8, 2048, 16384, 128, 128),
		plain("P1-long", 512, 8, 8, 2048, 16384, 8, 2048),
		plain("P1-heads32", 512, 8, 16, 2048, 16384, 32, 512),
		plain("P1-heads128", 512, 8, 4, 2048, 16384, 32, 512),
		swiglu,
		of("heads", "heads/baseline", "", 64, 512, as),
		of("sharing-decoder", "sharing/baseline", variants.Decoder, 32, 512, as),
		of("sharing-encoder", "sharing/baseline", variants.Encoder, 32, 512, as),
		plain("P2", 128, 4, 4, 512, 2048, 8, 128),
		plain("tiny", 96, 6, 6, 384, 2048, 8, 128),
	}
}

// Options say how long and how closely to look.
type Options struct {
	Targets []graphgen.Target
	// Precision is one of sweep.Precisions; "": fp32. The runtime must be opened for it.
	Precision  string
	Recompute  string // of program.Options
	LossChunks int    // of program.Options
	CUDAGraph  string // of trainloop.EngineOptions
	Optimizer  bool   // clip and take an AdamW step behind each batch
	// Replicas are parts of the batch that run at once, each on its share of the threads; 0: those
	// of trainloop.Parts. Of operators' times: one.
	Replicas int
	// MicroBatches are added up in a step; 0: one.
	MicroBatches int
	Warmup       int  // steps before the clock starts
	Steps        int  // timed steps, over all rounds
	Rounds       int  // how often each target is measured, in turn, so that a drifting machine hits all alike
	Ops          bool // time operators, too
	Nodes        int  // how many of the dearest nodes to name then
}

// Result is one measurement of one workload and target.
type Result struct {
	Workload     string  `json:"workload"`
	Target       string  `json:"target"`
	Precision    string  `json:"precision"`
	Batch        int     `json:"batch"`
	Length       int     `json:"length"`
	Device       string  `json:"device"`
	Threads      int     `json:"threads"`
	Optimizer    bool    `json:"optimizer,omitempty"`     // a step of it is part of the time
	MicroBatches int     `json:"micro_batches,omitempty"` // of a step, where it has several
	Replicas     int     `json:"replicas"`                // micro-batches at once
	Runtime      string  `json:"onnxruntime"`
	Parameters   int64   `json:"parameters"`
	Nodes        int     `json:"nodes"`
	Recomputed   int     `json:"recomputed_nodes,omitempty"`      // of the nodes, that compute a layer anew
	GraphGFLOP   float64 `json:"graph_gflop"`                     // of the graph's matrix products in a micro-batch, with those computed anew
	ModelGFLOP   float64 `json:"model_gflop"`                     // of the model's, by its budget: what GFLOPS and MFU count
	LoadS        float64 `json:"load_s"`                          // session creation and first step
	MS           float64 `json:"ms"`                              // median step
	MinMS        float64 `json:"min_ms"`                          // fastest step
	Against      float64 `json:"times_the_time_before,omitempty"` // MS over that of figures kept before
	TokensPerS   float64 `json:"tokens_per_s"`
	GFLOPS       float64 `json:"gflop_per_s"`                      // of matrix products
	MFU          float64 `json:"model_flop_utilisation,omitempty"` // GFLOPS over what the GPU's matrix units can do in this precision
	PeakMB       float64 `json:"process_peak_mb,omitempty"`
	CUDAGraph    bool    `json:"cuda_graph,omitempty"`
	DeviceGB     float64 `json:"device_gb,omitempty"` // of the GPU's memory, beyond what was taken before
	Ops          []OpRow `json:"ops,omitempty"`
	Dearest      []OpRow `json:"dearest,omitempty"` // single nodes
	// What the GPU reached in the same minute, in a large copy and a large product in bfloat16: kernels are held to that.
	ReachedGB     float64 `json:"reached_gb_per_s,omitempty"`
	ReachedTFLOPS float64 `json:"reached_tflop_per_s,omitempty"`
}

// OpRow is the time that one kind of operator takes in a step.
type OpRow struct {
	Op    string  `json:"op"`
	Calls int     `json:"calls"`
	MS    float64 `json:"ms"`
	Share float64 `json:"share"`
	// Of march's own kernels: what a step must move and multiply, and the time of that at the GPU's best as a share of the
	// kernel's: the larger one of moving and multiplying.
	Bytes int64   `json:"bytes,omitempty"`
	FLOPs int64   `json:"flops,omitempty"`
	Floor float64 `json:"share_of_floor,omitempty"`
}

// running is a loaded workload with its clock readings.
type running struct {
	w         Workload
	target    graphgen.Target
	e         *trainloop.Engine
	replicas  int
	micro     int
	optimizer bool
	fused     bool // the micro-batch graph has kernels of march's, on a GPU
	times     []float64
	result    Result
}

// Measure times every workload for every target, until ctx ends.
func Measure(ctx context.Context, rt *runtime.Runtime, list []Workload, o Options, done func(Result)) ([]Result, error) {
	dir, err := os.MkdirTemp("", "march-perf-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var results []Result
	_, flops := rt.Peak()
	for i, w := range list {
		var group []*running
		err := func() error {
			defer func() {
				for _, r := range group {
					r.e.Close()
				}
			}()
			for j, t := range o.Targets {
				r, err := start(ctx, rt, fmt.Sprintf("%s/%d-%d", dir, i, j), w, t, o)
				if err != nil {
					return fmt.Errorf("workload %s, target %s: %w", w.Name, t, err)
				}
				group = append(group, r)
			}
			rounds := max(1, o.Rounds)
			for round := range rounds {
				steps := o.Steps / rounds
				if round < o.Steps%rounds {
					steps++
				}
				for _, r := range group {
					if err := r.run(ctx, steps); err != nil {
						return err
					}
				}
			}
			for _, r := range group {
				res, err := r.finish(ctx, o, peak{rt, flops})
				if err != nil {
					return err
				}
				results = append(results, res)
				done(res)
			}
			return nil
		}()
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

// start loads a workload and warms it up.
func start(ctx context.Context, rt *runtime.Runtime, dir string, w Workload, t graphgen.Target, o Options) (r *running, err error) {
	replicas := o.Replicas
	switch {
	case replicas == 0 && o.Ops:
		replicas = 1 // operators of two at once wait for each other
	case replicas == 0:
		replicas = trainloop.PartsOn(rt, w.Batch, w.Length)
	}
	if w.Batch%replicas != 0 {
		return nil, fmt.Errorf("a batch of %d sequences does not divide into %d replicas", w.Batch, replicas)
	}
	graphs := []string{"grad"}
	if o.Optimizer {
		graphs = append(graphs, "update")
	}
	m, err := program.Write(dir, w.Variant, program.Options{Target: t, Precision: sweep.GraphPrecision(o.Precision), Deterministic: rt.Deterministic(), GPU: rt.GPU() != "", Recompute: o.Recompute, LossChunks: o.LossChunks, Batch: w.Batch / replicas, Length: w.Length, DecoderLength: w.Decoder, Graphs: graphs})
	if err != nil {
		return nil, err
	}
	parameters, err := w.Variant.Config.Budget()
	if err != nil {
		return nil, err
	}
	c := w.Variant.Config
	c.Length = w.Length
	b, err := c.Budget() // of FLOPs, which depend on the length that runs
	if err != nil {
		return nil, err
	}
	fused := false
	for op := range m.Graphs["grad"].Operators {
		fused = fused || rt.GPU() != "" && strings.HasPrefix(op, "march.")
	}
	eo := trainloop.EngineOptions{CUDAGraph: o.CUDAGraph, NoUpdate: !o.Optimizer, Replicas: replicas}
	if o.Ops {
		eo.CUDAGraph = "off"
		if !fused {
			eo.ProfilePrefix = dir + "/profile"
		}
	}
	before, err := rt.GPUMemoryInUse()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	e, err := trainloop.NewEngine(rt, dir, eo)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			e.Close()
		}
	}()
	r = &running{w: w, target: t, e: e, replicas: replicas, micro: replicas * max(1, o.MicroBatches), optimizer: o.Optimizer, fused: fused}
	if err := e.LoadStart(dir); err != nil {
		return nil, err
	}
	if err := e.Feed(noise(e.Shapes(), r.micro, w.Variant.Config.Vocab)); err != nil {
		return nil, err
	}
	if err := r.run(ctx, 1); err != nil {
		return nil, err
	}
	r.result = Result{
		Workload: w.Name, Batch: w.Batch, Length: w.Length, Target: string(t), Precision: cmp.Or(o.Precision, m.Precision), Device: rt.Device().String(), Threads: rt.Threads(), Optimizer: o.Optimizer, MicroBatches: o.MicroBatches, Replicas: replicas, Runtime: rt.Version(), CUDAGraph: e.Recorded(),
		Parameters: parameters.Total, Nodes: m.Graphs["grad"].Nodes, Recomputed: m.Graphs["grad"].Recomputed, LoadS: time.Since(began).Seconds(),
		GraphGFLOP: float64(m.Graphs["grad"].FLOPs) * float64(replicas) / 1e9,
		ModelGFLOP: float64(b.TrainingFLOPs) * float64(w.Batch*w.Length) / 1e9,
		GFLOPS:     float64(b.TrainingFLOPs) * float64(w.Batch*w.Length*max(1, o.MicroBatches)) / 1e9,
	}
	if err := r.run(ctx, o.Warmup); err != nil {
		return nil, err
	}
	r.times = nil
	inUse, err := rt.GPUMemoryInUse() // before another is loaded
	if err != nil {
		return nil, err
	}
	r.result.DeviceGB = float64(inUse-before) / 1e9
	return r, nil
}

func (r *running) run(ctx context.Context, steps int) error {
	for range steps {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		began := time.Now()
		sums, err := r.e.Accumulate(1, 0, int64(r.micro))
		if err != nil {
			return err
		}
		if r.optimizer {
			_, err = r.e.Update(1e-4, int64(len(r.times)+1), sums.Count)
		} else {
			err = r.e.Merge()
		}
		if err != nil {
			return err
		}
		r.times = append(r.times, time.Since(began).Seconds())
	}
	return nil
}

// fixed are batches made beforehand.
type fixed struct {
	shapes  corpus.Shapes
	batches []*corpus.Batch
}

func (f fixed) Shapes() corpus.Shapes { return f.shapes }

func (f fixed) Fill(micro int64, b *corpus.Batch) {
	for _, name := range corpus.Arrays() {
		copy(b.Array(name), f.batches[micro].Array(name))
	}
}

// noise is n batches of random tokens and labels, all of full length.
func noise(shapes corpus.Shapes, n, vocab int) fixed {
	f := fixed{shapes: shapes}
	r := rng.New(1, rng.Name("perf"))
	for range n {
		b := shapes.New()
		for _, x := range [][]int64{b.Tokens, b.Labels, b.DecoderTokens} {
			for i := range x {
				x[i] = int64(r.Below(uint64(vocab)))
			}
		}
		for i := range b.Lengths {
			b.Lengths[i] = int64(shapes.Length)
		}
		f.batches = append(f.batches, b)
	}
	return f
}

// peak is what a runtime's GPU can do at most.
type peak struct {
	rt    *runtime.Runtime
	flops float64 // a second, in bfloat16
}

// of is a precision's floating-point operations a second.
func (p peak) of(precision string) float64 {
	switch precision {
	case "bf16":
		return p.flops
	case "tf32":
		return p.flops / 2
	}
	return 0 // not the matrix units
}

func (r *running) finish(ctx context.Context, o Options, top peak) (Result, error) {
	slices.Sort(r.times)
	median := r.times[len(r.times)/2]
	x := r.result
	x.MS, x.MinMS = 1e3*median, 1e3*r.times[0]
	x.TokensPerS = float64(r.w.Batch/r.replicas*r.micro*r.w.Length) / median
	x.GFLOPS /= median
	if f := top.of(x.Precision); f > 0 {
		x.MFU = 1e9 * x.GFLOPS / f
	}
	x.PeakMB = peakMB()
	if !o.Ops {
		return x, nil
	}
	if r.fused {
		err := r.kernels(ctx, &x, o, top)
		return x, err
	}
	file, err := r.e.Profile()
	if err != nil {
		return x, err
	}
	p, err := runtime.SummarizeProfile(file, (o.Warmup+1)*r.micro)
	if err != nil {
		return x, err
	}
	runs := float64(p.Runs) / float64(r.micro) // steps
	for _, op := range p.Ops {
		x.Ops = append(x.Ops, OpRow{Op: op.Name, Calls: int(float64(op.Count)/runs + 0.5), MS: 1e3 * op.Time.Seconds() / runs, Share: op.Share})
	}
	for _, n := range p.Nodes[:min(o.Nodes, len(p.Nodes))] {
		x.Dearest = append(x.Dearest, OpRow{Op: n.Name, Calls: int(float64(n.Count)/runs + 0.5), MS: 1e3 * n.Time.Seconds() / runs, Share: n.Share})
	}
	return x, nil
}
