package trainloop

import (
	"path/filepath"
	"testing"

	"march/graphgen"
	"march/variants"
	"march/variants/manifest"
	"march/variants/program"
)

// dropoutProgram is a golden's, written for a GPU or not: the form for a GPU has dropout as all programs had it
// before there were parts.
func dropoutProgram(t *testing.T, g golden, o program.Options) (*manifest.Manifest, string) {
	t.Helper()
	folder := t.TempDir()
	o.Batch, o.Length, o.DecoderLength, o.Graphs = g.Batch, g.Seq, g.DecoderSeq, []string{"grad"}
	m, err := program.Write(folder, variants.Variant{Study: "goldens", Base: g.Case, Config: g.config(t)}, o)
	if err != nil {
		t.Fatal(err)
	}
	return m, folder
}

// Programs say whether they know parts, whatever they are made of.
func TestDropoutParts(t *testing.T) {
	for name, dropped := range map[string]bool{"dropout_decoder": true, "dropout_encoder_linformer": true, "dropout_unified": true, "heads_mixed_act_som_dropout": true, "heads_baseline": false} {
		g, _ := readGolden(t, filepath.Join(goldens, name))
		for _, o := range []program.Options{{Target: graphgen.Portable}, {Target: graphgen.ORT}, {Target: graphgen.ORT, Recompute: "block"}, {Target: graphgen.ORT, LossChunks: 2}} {
			for _, o.GPU = range []bool{false, true} {
				m, folder := dropoutProgram(t, g, o)
				got, err := DropoutParts(folder, m)
				if want := !dropped || !o.GPU; err != nil || got != want {
					t.Errorf("%s, %+v: %v, %v, want %v", name, o, got, err, want)
				}
			}
		}
	}
}

// A program without parts has the masks in a step of several micro-batches that it always had on a CPU: one seed for each.
func TestMasksWithoutParts(t *testing.T) {
	rt := openRuntime(t)
	if rt.GPU() != "" {
		t.Skip("on a GPU no program has parts")
	}
	g, _ := readGolden(t, filepath.Join(goldens, "dropout_decoder"))
	engine := func(gpu bool) *Engine {
		_, folder := dropoutProgram(t, g, program.Options{Target: graphgen.ORT, GPU: gpu})
		e, err := NewEngine(rt, folder, EngineOptions{NoUpdate: true, Seed: 5})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		for _, p := range g.Parameters {
			upload(t, e.views[p.Name], p.values(t))
		}
		return e
	}
	older, newer := engine(true), engine(false)
	const step, first, n = 3, 4, 2
	losses := func(e *Engine) float64 {
		if err := e.Feed(OneBatch{e.Shapes(), g.batch()}); err != nil {
			t.Fatal(err)
		}
		sums, err := e.Accumulate(step, first, n)
		if err != nil {
			t.Fatal(err)
		}
		return sums.Loss
	}
	want := 0.0
	for micro := int64(first); micro < first+n; micro++ {
		sums, err := newer.replicas[0].run(g.batch(), DropoutSeed(5, step, micro)) // the first part of a batch of its own
		if err != nil {
			t.Fatal(err)
		}
		want += sums.Loss
	}
	if got := losses(older); relative(got, want) > 1e-6 {
		t.Errorf("loss %v, with the masks of a seed for each micro-batch %v", got, want)
	}
	if got := losses(newer); relative(got, want) < 1e-4 {
		t.Errorf("loss %v with parts, %v without: the test tells nothing", got, want)
	}
}
