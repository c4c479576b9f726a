package variants

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"march/graphgen"
)

// ports describes a graph's inputs or outputs that are no parameters.
func ports(g *Graph) (in, out []string) {
	known := map[string]bool{}
	for _, p := range g.Parameters {
		known[p.Name] = true
	}
	dims := func(t *graphgen.Tensor) string {
		s := make([]string, t.Rank())
		for i, d := range t.Shape() {
			s[i] = fmt.Sprint(max(d, -1))
		}
		return fmt.Sprintf(" %s[%s]", t.DType(), strings.Join(s, ","))
	}
	for _, t := range g.Inputs() {
		if !known[t.Name()] {
			in = append(in, t.Name()+dims(t))
		}
	}
	for _, o := range g.Outputs() {
		out = append(out, o.Name+dims(o.Tensor))
	}
	return in, out
}

// TestInterfaces: what each graph takes and gives, by name, type and shape.
func TestInterfaces(t *testing.T) {
	c := mustFind(t, "baseline", "tiny").Config
	params, err := c.Parameters()
	if err != nil {
		t.Fatal(err)
	}
	each := func(suffixes ...string) (list []string) {
		for _, p := range params {
			for _, s := range suffixes {
				list = append(list, fmt.Sprintf("%s%s float32%s", p.Name, s, strings.ReplaceAll(fmt.Sprint(p.Shape), " ", ",")))
			}
		}
		return list
	}
	text := []string{"tokens int64[2,16]", "labels int64[2,16]"}
	dynamic := []string{"tokens int64[-1,-1]", "labels int64[-1,-1]"}
	loss := []string{"loss_sum float32[]", "count int64[]"}
	update := func(r string) []string {
		return []string{r + " float32[4096]", r + ".grad float32[4096]", r + ".m float32[4096]", r + ".v float32[4096]"}
	}
	for _, g := range []struct {
		name    string
		build   func() (*Graph, error)
		params  bool
		in, out []string
	}{
		{"grad", func() (*Graph, error) { return c.Train(Dims{Batch: 2, Length: 16}) }, true, slices.Concat(text, each(".grad")), slices.Concat(loss, each(".grad.new"))},
		{"step", func() (*Graph, error) { return c.Single(Dims{Batch: 2, Length: 16}) }, true, slices.Concat(text, []string{"lr float32[]", "step int64[]"}, each(".m", ".v")),
			slices.Concat(loss, []string{"grad_norm float32[]"}, each(".new", ".m.new", ".v.new"))},
		{"eval", c.Eval, true, dynamic, []string{"logprob float32[-1,-1]", "top int64[-1,-1]"}},
		{"score", c.Score, true, []string{"tokens int64[-1,-1]", "labels int64[-1]", "scored int64[-1]"}, []string{"logprob float32[-1]", "top int64[-1]"}},
		{"infer", c.Infer, true, dynamic[:1], []string{"logits float32[-1,-1,2048]"}},
		{"update", func() (*Graph, error) {
			return c.Training.Update([]Range{{"decayed", 4096, true}, {"plain", 4096, false}}, false)
		}, false, slices.Concat([]string{"count int64[]", "lr float32[]", "step int64[]"}, update("decayed"), update("plain")),
			[]string{"grad_norm float32[]", "decayed.new float32[4096]", "decayed.m.new float32[4096]", "decayed.v.new float32[4096]",
				"plain.new float32[4096]", "plain.m.new float32[4096]", "plain.v.new float32[4096]"}},
	} {
		built, err := g.build()
		if err != nil {
			t.Fatal(err)
		}
		in, out := ports(built)
		if slices.Sort(in); !slices.Equal(in, slices.Sorted(slices.Values(g.in))) {
			t.Errorf("%s takes\n%v, wanted\n%v", g.name, in, g.in)
		}
		if !slices.Equal(out, g.out) {
			t.Errorf("%s gives\n%v, wanted\n%v", g.name, out, g.out)
		}
		if g.params && len(built.Parameters) != len(params) {
			t.Errorf("%s has %d parameters, the config %d", g.name, len(built.Parameters), len(params))
		}
		for i, p := range built.Parameters {
			if p.Name != params[i].Name {
				t.Errorf("%s: parameter %d is %s, the config's %s", g.name, i, p.Name, params[i].Name)
			}
		}
	}
}

// TestDocumentInputs: with a document mask the graphs that train and score take documents, and infer.onnx
// does not; a teacher reads the same ones.
func TestDocumentInputs(t *testing.T) {
	taught := mustFind(t, "distill+training.document_mask=true", "tiny").Config
	if !taught.Teacher.Training.DocumentMask {
		t.Error("the teacher has no document mask")
	}
	other := *taught.Teacher
	other.Training.DocumentMask = false
	taught.Teacher = &other
	if err := taught.Validate(); err == nil || !strings.Contains(err.Error(), "has training.document_mask false, the model has training.document_mask true") {
		t.Errorf("a teacher without the mask: error %v", err)
	}
	// Without it a config is written as before there was the axis, so that older runs go on.
	if b := must[[]byte](t)(json.Marshal(mustFind(t, "baseline", "tiny").Config)); strings.Contains(string(b), "document_mask") {
		t.Errorf("a config without the mask: %s", b)
	}
	for _, name := range []string{"baseline", "distill"} {
		c := mustFind(t, name+"+training.document_mask=true", "tiny").Config
		for graph, build := range map[string]func() (*Graph, error){
			"grad": func() (*Graph, error) { return c.Train(Dims{Batch: 2, Length: 16}) }, "step": func() (*Graph, error) { return c.Single(Dims{Batch: 2, Length: 16}) },
			"eval": c.Eval, "score": c.Score, "infer": c.Infer,
		} {
			want := map[string]string{"grad": "documents int64[2,16]", "step": "documents int64[2,16]", "eval": "documents int64[-1,-1]", "score": "documents int64[-1,-1]"}[graph]
			in, _ := ports(must[*Graph](t)(build()))
			in = slices.DeleteFunc(in, func(port string) bool { return !strings.HasPrefix(port, Documents) })
			if strings.Join(in, ", ") != want {
				t.Errorf("%s of %s takes %q, wanted %q", graph, name, in, want)
			}
		}
	}
}

// TestSizes that no graph can have are errors that say which are possible.
func TestSizes(t *testing.T) {
	c := mustFind(t, "baseline", "tiny").Config
	for _, s := range [][2]int{{0, 16}, {-1, 16}, {2, 0}, {2, 129}, {2, -5}} {
		want := fmt.Sprintf("batch %d × length %d: wanted a batch of at least 1 and a length from 1 to 128", s[0], s[1])
		for name, build := range map[string]func(Dims) (*Graph, error){"grad": c.Train, "step": c.Single} {
			if _, err := build(Dims{Batch: s[0], Length: s[1]}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s of %v: error %v, wanted %q", name, s, err, want)
			}
		}
	}
	if _, err := c.Train(Dims{Batch: 1, Length: 1}); err != nil {
		t.Error(err)
	}
}

// TestGraphsOfTheCatalogue compiles every graph of every variant for each target: few
// nodes, nothing twice, accumulators that cost no pass, and safe to update in place.
func TestGraphsOfTheCatalogue(t *testing.T) {
	names := append(Names(""), "gpt2+glu=true+kv_heads=2", "baseline+norm.kind=rms+act=gelu")
	for i, name := range names {
		c := mustFind(t, name, "tiny").Config
		dims := func(batch, length int) Dims { return must[Dims](t)(c.Dims(batch, length)) }
		for kind, build := range map[string]func() (*Graph, error){
			"grad": func() (*Graph, error) { return c.Train(dims(2, c.Length)) }, "short": func() (*Graph, error) { return c.Train(dims(1, 24)) },
			"step": func() (*Graph, error) { return c.Single(dims(2, c.Length)) }, "eval": c.Eval, "score": c.Score, "infer": c.Infer,
		} {
			if kind != "grad" && i > 0 && i < len(names)-3 {
				continue // much the same as the first
			}
			g, err := build()
			if err != nil {
				t.Fatalf("%s, %s: %v", name, kind, err)
			}
			for _, target := range graphgen.Targets() {
				p, err := g.Compile(target)
				if err != nil {
					t.Fatalf("%s, %s, %s: %v", name, kind, target, err)
				}
				checkNodes(t, fmt.Sprintf("%s, %s, %s", name, kind, target), p.Graph, c)
				if kind != "grad" && kind != "short" {
					continue
				}
				for _, q := range g.Parameters {
					if err := p.Graph.SafeInPlace(GradName(q.Name), NewName(GradName(q.Name))); err != nil {
						t.Errorf("%s, %s: %v", name, target, err)
					}
				}
			}
		}
	}
}

// checkNodes looks for what makes a graph slow.
func checkNodes(t *testing.T, name string, g *graphgen.Graph, c Config) {
	t.Helper()
	table, producer := graphgen.Shape{c.Vocab, c.D}, map[*graphgen.Tensor]string{}
	for _, n := range g.Nodes() {
		for _, o := range n.Out {
			producer[o] = n.Op.Name
		}
		switch n.Op.Name {
		case "Reshape", "Transpose", "Cast":
			if producer[n.In[0]] == n.Op.Name {
				t.Errorf("%s: %s reads another of its kind", name, n)
			}
		case "Add":
			if n.Out[0].Shape().Equal(table) && !strings.HasPrefix(n.Scope, "update") {
				t.Errorf("%s: %s adds arrays of the table's size", name, n)
			}
		case "Pow", "Einsum", "Pad":
			t.Errorf("%s: %s", name, n)
		}
	}
	// More nodes than these a layer would be a decomposition that lost what it shares; the
	// optimizer of step.onnx has some for each parameter.
	nodes := 0
	for _, n := range g.Nodes() {
		if !strings.HasPrefix(n.Scope, "update") {
			nodes++
		}
	}
	subLayers := 2 * c.Share.Uses // of both stacks
	if c.Arch == EncoderDecoder {
		subLayers = 5 * c.Share.Uses
	}
	attentions := subLayers - c.Share.Uses
	if c.Database.Rows > 0 {
		subLayers += 2 * c.Share.Uses
		attentions += 2 * c.Share.Uses
	}
	if c.Teacher != nil { // its forward pass, and both models' distributions softened
		subLayers += 2 * c.Teacher.Share.Uses
		attentions += c.Teacher.Share.Uses + 2
	}
	if limit := 90*subLayers + 60; nodes > limit {
		t.Errorf("%s: %d nodes, wanted at most %d", name, nodes, limit)
	}
	h := g.Histogram()
	if n := h["Softmax"]; n > attentions+1 {
		t.Errorf("%s: %d softmaxes for %d attentions and the loss", name, n, attentions)
	}
	if n := h["LayerNormalization"]; n > subLayers+3 {
		t.Errorf("%s: %d layer norms", name, n)
	}
}

// TestUpdateIsSmall: the optimizer's graph does not grow with the model.
func TestUpdateIsSmall(t *testing.T) {
	c := mustFind(t, "baseline", "tiny").Config
	for _, elements := range []int{4096, 4096 * 1000} {
		g, err := c.Training.Update([]Range{{"decayed", elements, true}, {"plain", 4096, false}}, false)
		if err != nil {
			t.Fatal(err)
		}
		p, err := g.Compile(graphgen.Portable)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(p.Graph.Nodes()); n > 75 {
			t.Errorf("%d nodes over %d entries", n, elements)
		}
		for _, name := range []string{"decayed", "plain", "decayed.m", "decayed.v", "plain.m", "plain.v"} {
			if err := p.Graph.SafeInPlace(name, NewName(name)); err != nil {
				t.Error(err)
			}
		}
	}
}

// must stops the test at an error.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestMemoryOptions: with a loss head in chunks no array has all logits, with attentions computed
// anew each has a second softmax, and accumulators stay safe; what cannot be is an error.
func TestMemoryOptions(t *testing.T) {
	for _, name := range []string{"baseline", "gpt2", "very_wide_cycle"} {
		c := mustFind(t, name, "tiny").Config
		for _, compute := range []graphgen.DType{graphgen.Float32, graphgen.BFloat16} {
			for _, on := range []struct {
				target graphgen.Target
				gpu    bool
			}{{graphgen.Portable, false}, {graphgen.ORT, false}, {graphgen.ORT, true}, {graphgen.Fused, false}, {graphgen.Fused, true}} {
				target, softmaxes := on.target, map[bool]int{}
				kernels := target == graphgen.Fused && on.gpu
				for _, less := range []bool{false, true} {
					d := Dims{Batch: 4, Length: 16, Compute: compute, GPU: on.gpu, Recompute: map[bool]Recompute{true: RecomputeAttention}[less]}
					if less {
						d.LossChunks = 4
					}
					g := must[*Graph](t)(c.Train(d))
					p := must[*graphgen.Program](t)(g.Compile(target))
					for _, n := range p.Graph.Nodes() {
						if n.Op.Name == "Softmax" || n.Op.Name == "MaskedSoftmax" {
							softmaxes[less]++
						}
						if s := n.Out[0].Shape(); less && s.Elements() >= 4*16*c.Vocab && s[len(s)-1] == c.Vocab {
							t.Errorf("%s, %s: %s has all logits", name, target, n)
						}
					}
					for _, q := range g.Parameters {
						if err := p.Graph.SafeInPlace(GradName(q.Name), NewName(GradName(q.Name))); err != nil {
							t.Errorf("%s, %s: %v", name, target, err)
						}
					}
				}
				attentions, chunks := c.Share.Uses, 4
				if kernels {
					chunks = 0 // the loss head has a kernel, which keeps no probabilities
					if compute == graphgen.BFloat16 {
						attentions = 0 // nor does attention's
					}
				}
				if softmaxes[false] != attentions+min(1, chunks) || softmaxes[true] != 2*attentions+chunks {
					t.Errorf("%s, %s: %d softmaxes, with less memory %d, of %d attentions", name, target, softmaxes[false], softmaxes[true], attentions)
				}
			}
		}
	}
	c := mustFind(t, "baseline", "tiny").Config
	for chunks, want := range map[int]string{-1: "wanted a divisor of its 64 rows", 3: "3 chunks of the loss head: wanted a divisor of its 64 rows"} {
		if _, err := c.Train(Dims{Batch: 4, Length: 16, LossChunks: chunks}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d chunks: error %v, wanted %q", chunks, err, want)
		}
	}
	if _, err := mustFind(t, "distill", "tiny").Config.Train(Dims{Batch: 4, Length: 16, LossChunks: 4}); err == nil || !strings.Contains(err.Error(), "with training.distill.teacher it is whole") {
		t.Errorf("chunks of two losses: error %v", err)
	}
}
