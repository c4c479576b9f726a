package variants

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"march/graphgen"
)

// TestBFloat16 compiles the graph of a micro-batch of every variant in bfloat16: it takes
// copies of the parameters, keeps float32 sums, has no operator that the provider lacks, and
// leaves no large array in float32.
func TestBFloat16(t *testing.T) {
	names := append(Names(""), "gpt2+dropout.rate=0.1", "gpt2+glu=true+kv_heads=2", "gpt2+position.kind=rope", "gpt2+position.kind=alibi",
		"gpt2+position.kind=relative", "gpt2+position.kind=sinusoidal", "gpt2+act=gelu+norm.kind=rms", "gpt2+act=squared_relu", "gpt2+act=silu")
	for i, name := range names {
		for _, arch := range []string{Decoder, Encoder, EncoderDecoder} {
			v, err := Find(name, "tiny", arch)
			if err != nil {
				continue // another study's architecture
			}
			c := v.Config
			d := must[Dims](t)(c.Dims(2, c.Length))
			d.Compute = graphgen.BFloat16
			g := must[*Graph](t)(c.Train(d))
			for _, target := range graphgen.Targets() {
				if target == graphgen.Portable && i%4 != 0 {
					continue // the two differ little
				}
				p, err := g.Compile(target)
				if err != nil {
					t.Fatalf("%s, %s, %s: %v", name, arch, target, err)
				}
				checkBFloat16(t, fmt.Sprintf("%s, %s, %s", name, arch, target), p.Graph, g.Parameters, c, d)
			}
		}
	}
}

func checkBFloat16(t *testing.T, name string, g *graphgen.Graph, params []Parameter, c Config, d Dims) {
	t.Helper()
	inputs := map[string]*graphgen.Tensor{}
	for _, in := range g.Inputs() {
		inputs[in.Name()] = in
	}
	for _, p := range params {
		if made := inputs[CopyName(p.Name)]; made == nil || made.DType() != graphgen.BFloat16 || !made.Shape().Equal(p.Shape) || inputs[p.Name] != nil {
			t.Errorf("%s: parameter %s has the copy %v", name, p.Name, made)
		}
		if err := g.SafeInPlace(GradName(p.Name), NewName(GradName(p.Name))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, o := range g.Outputs() {
		if o.Tensor.DType() == graphgen.BFloat16 {
			t.Errorf("%s: output %s is %s", name, o.Name, o.Tensor)
		}
	}
	large := d.Batch * d.labelled() * min(c.Vocab, c.FF) // the smallest of what must not be widened
	for _, n := range g.Nodes() {
		for _, x := range slices.Concat(n.In, n.Out) {
			if x == nil {
				continue
			}
			if x.DType() == graphgen.BFloat16 && !graphgen.HasBF16(n.Op.Name) && !n.Op.Kernel {
				t.Errorf("%s: %s is in bfloat16", name, n)
			}
			activation := x.Rank() == 4 || x.Rank() == 2 && x.Dim(0) == d.Batch*d.labelled()
			if x.DType() == graphgen.Float32 && activation && x.Shape().Elements() >= large {
				t.Errorf("%s: %s has %s", name, n, x)
			}
		}
		if n.Op.Name == "Gemm" && n.In[0].DType() != graphgen.BFloat16 {
			t.Errorf("%s: %s is a product of %s", name, n, n.In[0].DType())
		}
	}
}

// TestCopyBesideParameter: a graph takes a parameter and its copy where it reads both, and
// what is no parameter keeps its casts.
func TestCopyBesideParameter(t *testing.T) {
	c := mustFind(t, "prune", "tiny").Config
	d := Dims{Batch: 1, Length: 8, Compute: graphgen.BFloat16}
	step := must[*Graph](t)(c.Single(d))
	for _, g := range []struct {
		*Graph
		copies bool
	}{{step, false}, {must[*Graph](t)(c.Train(d)), true}} {
		for _, in := range g.Inputs() {
			if is := strings.HasSuffix(in.Name(), ".bf16"); is && !g.copies || is && strings.HasSuffix(in.Name(), ".mask.bf16") {
				t.Errorf("input %s", in)
			}
		}
	}
	for _, o := range step.Outputs() {
		if o.Tensor.DType() == graphgen.BFloat16 {
			t.Errorf("step.onnx gives %s as %s", o.Name, o.Tensor)
		}
	}
	if _, err := c.Train(Dims{Batch: 1, Length: 8, Compute: graphgen.Int64}); err == nil || !strings.Contains(err.Error(), "wanted float32 or bfloat16") {
		t.Errorf("error %v", err)
	}
}

// TestUpdateMakesCopies of each range behind its parameters.
func TestUpdateMakesCopies(t *testing.T) {
	c := mustFind(t, "baseline", "tiny").Config
	g := must[*Graph](t)(c.Training.Update([]Range{{"decayed", 4096, true}, {"plain", 4096, false}}, true))
	p := must[*graphgen.Program](t)(g.Compile(graphgen.ORT))
	_, out := ports(&Graph{p.Graph, nil})
	for _, r := range []string{"decayed", "plain"} {
		if !slices.Contains(out, r+".bf16.new bfloat16[4096]") {
			t.Errorf("update.onnx gives %v", out)
		}
		for _, name := range []string{r, r + ".m", r + ".v"} {
			if err := p.Graph.SafeInPlace(name, NewName(name)); err != nil {
				t.Error(err)
			}
		}
	}
}
