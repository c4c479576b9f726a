package perf

import (
	"slices"
	"testing"

	"march/graphgen"
	"march/variants"
)

// TestWorkloads have as many parameters as the peers' models, and graphs.
func TestWorkloads(t *testing.T) {
	want := map[string]int64{
		"P1": 33871872, "P1-short": 33675264, "P1-long": 34658304, "P1-heads32": 33871872, "P1-heads128": 33871872, "P1-swiglu": 34402304,
		"P2": 1072128, "tiny": 880320, "heads": 36078080, "sharing-decoder": 14678016, "sharing-encoder": 14843536,
	}
	for _, w := range Workloads() {
		n, ok := want[w.Name]
		if !ok {
			t.Errorf("workload %s is not one of the peers'", w.Name)
		}
		delete(want, w.Name)
		b, err := w.Variant.Config.Budget()
		if err != nil {
			t.Fatal(err)
		}
		if w.Name != "heads" {
			n -= int64(2 * w.Variant.Config.D) // the peers' models of one stack have a norm that nothing reads
		}
		if b.Total != n {
			t.Errorf("%s has %d parameters, the peer %d", w.Name, b.Total, n)
		}
		d, err := w.Variant.Config.Dims(w.Batch, w.Length)
		if err != nil {
			t.Fatal(err)
		}
		d.Decoder, d.Compute = w.Decoder, graphgen.BFloat16
		g, err := w.Variant.Config.Train(d)
		if err != nil {
			t.Fatalf("%s: %v", w.Name, err)
		}
		if _, err := g.Compile(graphgen.ORT); err != nil {
			t.Fatalf("%s: %v", w.Name, err)
		}
	}
	for name := range want {
		t.Errorf("workload %s is missing", name)
	}
}

// TestMemory: what models hold and move, in GB, with each way to hold less. Of P1 each block's input is 17 MB and the inside of one
// 0.4 GB; the rest is the loss head, or in chunks of it the gradient of the table and what blocks share.
func TestMemory(t *testing.T) {
	for _, c := range []struct {
		workload      string
		recompute     variants.Recompute
		chunks        int
		peak, traffic float64
	}{
		{"P1", "", 1, 4.4, 50.1}, {"P1", variants.RecomputeAttention, 1, 3.3, 56}, {"P1", "", 8, 3.5, 52}, {"P1", variants.RecomputeAttention, 8, 2.5, 58},
		{"P1", variants.RecomputeBlock, 1, 1.3, 62.2}, {"P1", variants.RecomputeBlock, 8, 0.75, 64.1},
		{"heads", "", 1, 8.8, 82.5}, {"heads", variants.RecomputeBlock, 1, 4.5, 107.3}, {"heads", variants.RecomputeBlock, 8, 2, 110.8},
	} {
		i := slices.IndexFunc(Workloads(), func(w Workload) bool { return w.Name == c.workload })
		w := Workloads()[i]
		g, err := w.Variant.Config.Train(variants.Dims{Batch: w.Batch, Length: w.Length, Decoder: w.Decoder, Compute: graphgen.BFloat16, Recompute: c.recompute, LossChunks: c.chunks})
		if err != nil {
			t.Fatal(err)
		}
		p, err := g.Compile(graphgen.ORT)
		if err != nil {
			t.Fatal(err)
		}
		peak, traffic := float64(p.Graph.Peak())/1e9, 0.0
		for _, bytes := range p.Graph.Traffic() {
			traffic += float64(bytes) / 1e9
		}
		if peak > c.peak || traffic > c.traffic {
			t.Errorf("%s, computing %q anew, %d chunks: holds %.2f GB and moves %.1f, wanted at most %v and %v", c.workload, c.recompute, c.chunks, peak, traffic, c.peak, c.traffic)
		}
		t.Logf("%s, computing %q anew, %d chunks: holds %.2f GB and moves %.1f; %d nodes, %d anew; %.0f GFLOP", c.workload, c.recompute, c.chunks, peak, traffic, len(p.Graph.Nodes()), p.Graph.Anew(), float64(g.FLOPs())/1e9)
	}
}

// TestTraffic holds what a step of a workload reads and writes on its way through the graph,
// in GB (docs/performance.md): a pass too many over a large array shows here.
func TestTraffic(t *testing.T) {
	for _, x := range []struct {
		name    string
		compute graphgen.DType
		gpu     bool
		target  graphgen.Target
		most    float64
	}{
		{"P1", graphgen.Float32, false, graphgen.ORT, 114.4},
		{"P1", graphgen.Float32, true, graphgen.ORT, 95.6},
		{"P1", graphgen.Float32, true, graphgen.Fused, 58.5},
		{"P1", graphgen.BFloat16, true, graphgen.ORT, 50.1},
		{"P1-long", graphgen.Float32, false, graphgen.ORT, 167.2},
		{"P1-long", graphgen.BFloat16, true, graphgen.ORT, 76.5},
		{"heads", graphgen.Float32, false, graphgen.ORT, 161},
		{"heads", graphgen.BFloat16, true, graphgen.ORT, 82.5},
		{"P2", graphgen.Float32, false, graphgen.ORT, 0.85},
	} {
		i := slices.IndexFunc(Workloads(), func(w Workload) bool { return w.Name == x.name })
		w := Workloads()[i]
		p, err := w.Variant.Config.Train(variants.Dims{Batch: w.Batch, Length: w.Length, Decoder: w.Decoder, Compute: x.compute, GPU: x.gpu})
		if err != nil {
			t.Fatal(err)
		}
		c, err := p.Compile(x.target)
		if err != nil {
			t.Fatal(err)
		}
		var sum int64
		for _, bytes := range c.Graph.Traffic() {
			sum += bytes
		}
		if gb := float64(sum) / 1e9; gb > x.most || gb < 0.95*x.most {
			t.Errorf("%s in %s for %s (a GPU: %t): %.2f GB, wanted just below %v", x.name, x.compute, x.target, x.gpu, gb, x.most)
		} else {
			t.Logf("%s in %s for %s (a GPU: %t): %.2f GB, %d nodes, holds %.2f GB", x.name, x.compute, x.target, x.gpu, gb, len(c.Graph.Nodes()), float64(c.Graph.Peak())/1e9)
		}
	}
}
