package trainloop

import (
	"path/filepath"
	"testing"

	"march/graphgen"
	"march/variants"
	"march/variants/program"
)

// TestCUDAGraph: a recorded graph adds each micro-batch to the sums once, whatever thread asks for
// it, and starts from sums of zero.
func TestCUDAGraph(t *testing.T) {
	rt := openGPU(t)
	g, _ := readGolden(t, filepath.Join(goldens, "sharing_decoder_baseline"))
	sums := map[string][]float32{}
	for _, mode := range []string{"off", "on", "auto"} {
		folder := t.TempDir()
		if _, err := program.Write(folder, variants.Variant{Study: "goldens", Base: g.Case, Config: g.config(t)},
			program.Options{Target: graphgen.ORT, Batch: g.Batch, Length: g.Seq, Graphs: []string{"grad", "update"}}); err != nil {
			t.Fatal(err)
		}
		e, err := NewEngine(rt, folder, EngineOptions{CUDAGraph: mode})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if err := e.LoadStart(folder); err != nil {
			t.Fatal(err)
		}
		for range 20 { // each from a goroutine of its own
			if _, err := micro(e, g.batch()); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range e.Manifest.Parameters {
			v, err := e.tensor(kindGrads, p)
			if err != nil {
				t.Fatal(err)
			}
			if mode == "off" {
				sums[p.Name] = v
				continue
			}
			largest := largestOf(sums[p.Name])
			for i, x := range v {
				if d := float64(x - sums[p.Name][i]); d > 1e-3*largest || d < -1e-3*largest {
					t.Fatalf("%s: %s entry %d is %v, without a recorded graph %v", mode, p.Name, i, x, sums[p.Name][i])
				}
			}
		}
	}
}
