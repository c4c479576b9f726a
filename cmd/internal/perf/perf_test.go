package perf

import (
	"testing"

	"march/graphgen"
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
