package variants

import (
	"testing"

	"march/graphgen"
)

// TestRecomputeBlock: with layers computed anew the graphs of the whole catalogue, dropout on, hold less, have their
// accumulators safe, and for target fused as many gradients' kernels as without; nothing of a teacher is repeated.
func TestRecomputeBlock(t *testing.T) {
	compile := func(name string, c Config, compute graphgen.DType, target graphgen.Target, what Recompute) (*Graph, *graphgen.Graph) {
		d := must[Dims](t)(c.Dims(16, 48))
		d.Compute, d.Recompute = compute, what
		d.GPU = target == graphgen.Fused
		g := must[*Graph](t)(c.Train(d))
		p, err := g.Compile(target)
		if err != nil {
			t.Fatalf("%s, %s, %s: %v", name, compute, target, err)
		}
		return g, p.Graph
	}
	for _, name := range Names("") {
		for _, arch := range Archs(name) {
			c := must[Variant](t)(Find(name, "tiny", arch)).Config
			c.Dropout.Rate = 0.1
			name := name + "/" + arch
			whole, plain := compile(name, c, graphgen.BFloat16, graphgen.Fused, "")
			g, p := compile(name, c, graphgen.BFloat16, graphgen.Fused, RecomputeBlock)
			for _, q := range g.Parameters {
				if err := p.SafeInPlace(GradName(q.Name), NewName(GradName(q.Name))); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			without, with := plain.Histogram(), p.Histogram()
			for _, op := range []string{"march.LinearGrad", "march.NormalizeGrad", "march.FlashAttentionGrad", "march.ActivateGrad", "march.GateGrad", "march.FusedLossHead"} {
				if with[op] != without[op] {
					t.Errorf("%s: %d nodes %s, without %d", name, with[op], op, without[op])
				}
			}
			if more := with["march.FlashAttention"] - without["march.FlashAttention"]; more > without["march.FlashAttentionGrad"] || without["march.FlashAttention"] > 0 && more == 0 {
				t.Errorf("%s: %d attentions computed anew of %d", name, more, without["march.FlashAttentionGrad"])
			}
			if p.Anew() == 0 || p.Peak() >= plain.Peak() {
				t.Errorf("%s: %d nodes computed anew hold %d bytes, %d without", name, p.Anew(), p.Peak(), plain.Peak())
			}
			if a, b := whole.FLOPs(), g.FLOPs(); b <= a || b > a*4/3 {
				t.Errorf("%s: %d FLOPs, %d without", name, b, a)
			}
		}
	}
}
