package variants

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// closedFormula is what the config costs, by hand.
func closedFormula(c Config) (b Budget) {
	d, ff, hk, kvk := int64(c.D), int64(c.FF), int64(c.Heads*c.QKVDim), int64(c.kvHeads(0)*c.QKVDim)
	vocab, length, m, n := int64(c.Vocab), int64(c.Length), int64(c.Share.Unique), int64(c.Share.Uses)
	ups := int64(1) // matrices into the feed-forward width
	if c.GLU {
		ups = 2
	}
	norm := 2 * d // weight and bias
	if c.Norm.Kind == "rms" || !c.Bias.Norm {
		norm = d
	}
	matrices := d*(hk+2*kvk) + hk*d + ups*d*ff + ff*d
	biases := int64(0)
	if c.Bias.QKV {
		biases += hk + 2*kvk
	}
	if c.Bias.Out {
		biases += d
	}
	if c.Bias.FF {
		biases += ups*ff + d
	}
	b.Embedding = vocab * d
	if c.Pos.Kind == "learned" {
		b.Embedding += length * d
	}
	b.Norm = m*2*norm + norm
	b.Other = m * (matrices + biases)
	b.Total = b.Embedding + b.Norm + b.Other
	// Two for each pair of factors: every use of a layer, logits and values of its
	// attention over all positions, and the output table.
	b.ForwardFLOPs = n*(2*matrices+2*2*hk*length) + 2*vocab*d
	b.TrainingFLOPs = 3 * b.ForwardFLOPs // backward each product has two, for either factor
	if c.Teacher != nil {
		b.TrainingFLOPs += closedFormula(*c.Teacher).ForwardFLOPs
	}
	if s := c.Training.Prune.Sparsity; s == 0.5 { // matrices of an even number of weights, biases stay
		b.Effective = b.Total - m*matrices/2
	}
	return b
}

// TestBudget compares counts from the graphs with closed formulas.
func TestBudget(t *testing.T) {
	check := func(name string, c Config) {
		t.Helper()
		got, err := c.Budget()
		if err != nil {
			t.Fatal(err)
		}
		if want := closedFormula(c); got != want {
			t.Errorf("%s: %+v, by hand %+v", name, got, want)
		}
	}
	for _, name := range append(Names("sharing"), "gpt2") {
		if c := mustFind(t, name, "tiny").Config; c.Arch == Decoder && c.Share.FFUnique == 0 && !c.Share.StepEmbedding { // what the formula knows
			check(name, c)
		}
	}
	for _, name := range []string{"baseline", "very_wide_cycle", "gpt2"} {
		check(name+" at paper", mustFind(t, name, "paper").Config)
	}
	for _, changes := range []string{
		"heads=12+qkv_dim=8", "glu=true+act=silu", "glu=true+act=gelu+ff=256", "kv_heads=2", "kv_heads=1", "norm.kind=rms", "bias.qkv=true",
		"bias.out=false+bias.ff=false", "position.kind=none", "share.unique=3+share.uses=9+share.assignment=cycle_rev", "share.unique=1", "attn.local=none+length=64",
	} {
		check(changes, mustFind(t, "baseline+"+changes, "tiny").Config)
	}
}

// TestSharedLayersCost: a shared layer counts once among the parameters and at each use
// among the FLOPs.
func TestSharedLayersCost(t *testing.T) {
	budget := func(name string) Budget {
		b, err := mustFind(t, name, "tiny").Config.Budget()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	six, twelve, eighteen := budget("baseline"), budget("deep_cycle"), budget("very_deep_seq")
	if six.Total != twelve.Total || six.Total != eighteen.Total {
		t.Errorf("parameters %d, %d, %d, wanted the same", six.Total, twelve.Total, eighteen.Total)
	}
	if layer := twelve.ForwardFLOPs - six.ForwardFLOPs; layer <= 0 || eighteen.ForwardFLOPs-twelve.ForwardFLOPs != layer {
		t.Errorf("FLOPs %d, %d, %d, wanted equal steps", six.ForwardFLOPs, twelve.ForwardFLOPs, eighteen.ForwardFLOPs)
	}
}

// TestParameters: names, order and start values of a model that has everything.
func TestParameters(t *testing.T) {
	c := mustFind(t, "gpt2+glu=true+share.unique=2+share.uses=4+share.assignment=cycle+kv_heads=2", "tiny").Config
	params, err := c.Parameters()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	plain := false
	for _, p := range params {
		names = append(names, p.Name)
		matrix := len(p.Shape) == 2
		if p.Decay != matrix || p.Decay && plain {
			t.Errorf("%s %v: decayed %t, behind one that is not %t", p.Name, p.Shape, p.Decay, plain)
		}
		plain = plain || !p.Decay
		want := "zeros"
		switch {
		case matrix:
			want = "normal"
		case strings.HasSuffix(p.Name, "norm.weight"):
			want = "ones"
		}
		if p.Init != want || matrix && p.Std != 0.02 {
			t.Errorf("%s starts with %s, std %g", p.Name, p.Init, p.Std)
		}
		part := map[bool]string{true: "norm", false: "other"}[strings.Contains(p.Name, "norm")]
		if strings.HasPrefix(p.Name, "embed.") {
			part = "embedding"
		}
		if p.Part() != part {
			t.Errorf("%s counts under %s", p.Name, p.Part())
		}
	}
	want := []string{"embed.tokens", "embed.positions"}
	for l := range 2 {
		for _, p := range []string{"attn.wq", "attn.wk", "attn.wv", "attn.wo", "ff.gate", "ff.up", "ff.down"} {
			want = append(want, fmt.Sprintf("decoder.%d.%s", l, p))
		}
	}
	for l := range 2 {
		for _, p := range []string{"attn.norm.weight", "attn.norm.bias", "attn.bq", "attn.bk", "attn.bv", "attn.bo", "ff.norm.weight", "ff.norm.bias", "ff.gate_bias", "ff.up_bias", "ff.down_bias"} {
			want = append(want, fmt.Sprintf("decoder.%d.%s", l, p))
		}
	}
	want = append(want, "decoder.norm.weight", "decoder.norm.bias")
	if !slices.Equal(names, want) {
		t.Errorf("parameters\n%v, wanted\n%v", names, want)
	}
	for _, p := range params {
		if shape := map[string][]int{"decoder.0.attn.wk": {96, 32}, "decoder.1.attn.wo": {96, 96}, "decoder.0.ff.down": {384, 96}, "decoder.1.attn.bv": {32}}[p.Name]; shape != nil && !slices.Equal(p.Shape, shape) {
			t.Errorf("%s is %v, wanted %v", p.Name, p.Shape, shape)
		}
	}
}

// TestSolveFF: the width found is the nearest multiple of the step, on either side.
func TestSolveFF(t *testing.T) {
	base := mustFind(t, "baseline", "tiny").Config
	want, err := base.count()
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []int{1, 16, 100} {
		c := mustFind(t, "wide_seq", "tiny").Config
		c, err := c.solveFF(base, step)
		if err != nil {
			t.Fatal(err)
		}
		off := func(ff int) int64 {
			c.FF = ff
			n, err := c.count()
			if err != nil {
				t.Fatal(err)
			}
			return max(n-want, want-n)
		}
		ff := c.FF
		if ff%step != 0 || off(ff) > off(ff+step) || ff > step && off(ff) > off(ff-step) {
			t.Errorf("step %d: %d, off by %d", step, ff, off(ff))
		}
	}
	c := base
	c.D = 512
	if _, err := c.solveFF(base, 16); err == nil || !strings.Contains(err.Error(), "no feed-forward width") {
		t.Errorf("a model that is too wide already: error %v", err)
	}
}

// TestHeadsParameters: study heads at scale paper has exactly the published counts,
// without norms.
func TestHeadsParameters(t *testing.T) {
	want := map[string]int64{
		"baseline": 36_331_520, "more_heads_less_layers": 34_758_656, "more_heads_less_qkv_dim": 36_331_520,
		"more_heads_less_qkv_dim_less_layers": 32_137_216, "less_heads_more_qkv_dim": 36_331_520,
		"scaling_heads": 36_331_520, "inverse_scaling_heads": 36_331_520, "scaling_heads_constant": 36_331_520, "inverse_scaling_heads_constant": 36_331_520,
		"ape_sum_over_average": 36_331_520, "ape_unit_variance": 36_331_520, "relu_glu": 36_328_448, "gelu_glu": 36_328_448, "silu_glu": 36_328_448,
		"mixed_act": 36_328_448, "mixed_act_sum_over_mean": 36_328_448, "mixed_act_som_dropout": 36_328_448, "no_self_attention_residual": 36_331_520,
		"database": 39_542_784, "database_from_heads": 34_168_832, "database_from_heads_2": 38_166_528, "database_from_layers": 31_744_000,
		"database_from_dim": 32_134_144, "unified_attention": 37_904_384,
	}
	if len(want) != 24 {
		t.Fatalf("%d rows", len(want))
	}
	for name, n := range want {
		b, err := mustFind(t, "heads/"+name, "paper").Config.Budget()
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Total - b.Norm; got != n {
			t.Errorf("%s: %d parameters without norms, published %d", name, got, n)
		}
	}
}

// TestDistance: a variant whose parameters are more than 2 % from its baseline's says why
// in its text.
func TestDistance(t *testing.T) {
	for _, name := range Names("") {
		for _, arch := range Archs(name) {
			v, err := Find(name, "paper", arch)
			if err != nil {
				t.Fatal(err)
			}
			base, err := Find(Baseline(v.Study), "paper", arch)
			if err != nil {
				t.Fatal(err)
			}
			n, err := v.Config.count()
			if err != nil {
				t.Fatal(err)
			}
			m, err := base.Config.count()
			if err != nil {
				t.Fatal(err)
			}
			far := 50*max(n-m, m-n) > m
			if reason := strings.Contains(v.Doc, ": "); far && !reason {
				t.Errorf("%s (%s) has %d parameters, its baseline %d: %q does not say why", name, arch, n, m, v.Doc)
			}
		}
	}
}

// TestMatched: the solved width is the best, and the baseline itself stays.
func TestMatched(t *testing.T) {
	base := mustFind(t, "baseline", "tiny")
	for _, what := range Matches() {
		measure := func(c Config) int64 {
			b, err := c.Budget()
			if err != nil {
				t.Fatal(err)
			}
			if what == "params" {
				return b.Total
			}
			return b.TrainingFLOPs
		}
		want := measure(base.Config)
		for _, name := range []string{"mqa", "universal", "baseline+glu=true", "share_ffn"} {
			v, err := mustFind(t, name, "tiny").Matched(what)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, what, err)
			}
			apart := func(ff int) int64 {
				c := v.Config
				c.FF = ff
				n := measure(c) - want
				return max(n, -n)
			}
			if ff := v.Config.FF; apart(ff) > apart(ff-1) || apart(ff) > apart(ff+1) {
				t.Errorf("%s, %s: width %d is %d apart, %d and %d beside it are %d and %d", name, what, ff, apart(ff), ff-1, ff+1, apart(ff-1), apart(ff+1))
			}
		}
		if same, err := base.Matched(what); err != nil || same.Name() != "baseline" {
			t.Errorf("the baseline became %s (%v)", same.Name(), err)
		}
	}
	if _, err := mustFind(t, "very_deep_seq", "tiny").Matched("flops"); err == nil || !strings.Contains(err.Error(), "no feed-forward width brings") {
		t.Errorf("three times the depth at the same FLOPs: error %v", err)
	}
}
