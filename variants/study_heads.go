package variants

import (
	"fmt"
	"math"
	"strings"

	"march/trainloop/objective"
)

const (
	headsSource  = "study heads (a T5-like encoder-decoder of 36M parameters and what was changed in it)"
	beyondSource = "beyond study heads, on its baseline: "
)

// headsSizes are the sizes of study heads at each scale.
var headsSizes = map[string]struct {
	d, qkv        int
	vocab, length int
	tokens, steps int
	rate, dropout float64
}{
	"paper": {512, 64, 30_000, 1024, 1 << 20, 1_000, 1e-4, 0.1},
	"small": {256, 32, 8_192, 256, 8_192, 2_000, 5e-4, 0.1},
	"tiny":  {64, 8, 2_048, 128, 512, 900, 1e-3, 0},
}

// headsBaseline is a T5-like encoder-decoder without biases whose cross-attention reads the
// encoder's own keys and values.
func headsBaseline(scale string) Config {
	z := headsSizes[scale]
	return Config{
		Arch: EncoderDecoder, Vocab: z.vocab, Length: z.length, D: z.d,
		Share: Share{Unique: 3, Uses: 3, Assignment: "seq"},
		Heads: 8, QKVDim: z.qkv, FF: 4 * z.d, Act: "relu", Mix: "none",
		Norm:    Norm{Kind: "rms", Eps: 1e-6, Place: "pre"},
		Attn:    Attn{Local: "none", Residual: true, CrossKV: "shared"},
		Pos:     Pos{Kind: "learned", Std: positionStd(z.d), Combine: "average"},
		Output:  Output{Scaled: true},
		Init:    "fan_in",
		InitStd: 0.02,
		Dropout: Dropout{Rate: z.dropout},
		Halting: noHalting,
		Training: Training{
			Objective: objective.SpanCorruption, TokensPerStep: z.tokens, Steps: z.steps, Rate: z.rate,
			Schedule: "constant", Warmup: 0, FinalRate: 0.1, Cooldown: 0.2,
			Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Clip: 1, Distill: noDistill, Prune: noPrune,
		},
	}
}

// positionStd is d^(−1/2), to the digits that a name can carry.
func positionStd(d int) float64 { return math.Round(1e6/math.Sqrt(float64(d))) / 1e6 }

// headsChange is a variant of study heads as a change of its baseline.
type headsChange struct {
	name, doc string
	change    func(c *Config)
}

// headsStudy lists the study's table, then what came second, then what goes beyond it.
func headsStudy() []entry {
	layers := func(c *Config, n int) { c.Share.Unique, c.Share.Uses = n, n }
	glu := func(act string) func(c *Config) {
		return func(c *Config) { c.GLU, c.Act, c.FF = true, act, gatedWidth(c.D) }
	}
	mix := func(kind string, dropout float64) func(c *Config) {
		return func(c *Config) { c.Mix, c.FF, c.Dropout.Slow = kind, gatedWidth(c.D), dropout }
	}
	position := func(kind string) func(c *Config) { return func(c *Config) { c.Pos.Kind = kind } }
	narrow := func(c *Config) { c.D = c.D * 7 / 8; c.Pos.Std = positionStd(c.D) }
	bigHeads := func(c *Config) { narrow(c); c.QKVDim = 2 * c.D / c.Heads }
	study := []headsChange{
		{"baseline", "T5-like encoder-decoder, 3+3 layers, no biases", func(*Config) {}},
		{"more_heads_less_layers", "2+2 layers, twice the heads: wider layers, and fewer of them, do not add up to the same", func(c *Config) { layers(c, 2); c.Heads *= 2 }},
		{"more_heads_less_qkv_dim", "twice the heads of half the size", func(c *Config) { c.Heads *= 2; c.QKVDim /= 2 }},
		{"more_heads_less_qkv_dim_less_layers", "2+2 layers, three times the heads of half the size, unit-variance positions: a layer less in each stack", func(c *Config) {
			layers(c, 2)
			c.Heads, c.QKVDim, c.Pos.Std = 3*c.Heads, c.QKVDim/2, 1
		}},
		{"less_heads_more_qkv_dim", "half the heads of twice the size", func(c *Config) { c.Heads /= 2; c.QKVDim *= 2 }},
		{"scaling_heads", "1.5, 1 and 0.5 times the heads in the three layers of a stack", func(c *Config) { scaleHeads(c, false, 3, 2, 1) }},
		{"inverse_scaling_heads", "0.5, 1 and 1.5 times the heads", func(c *Config) { scaleHeads(c, false, 1, 2, 3) }},
		{"scaling_heads_constant", "2, 1 and 0.5 times the heads, of size d / heads", func(c *Config) { scaleHeads(c, true, 4, 2, 1) }},
		{"inverse_scaling_heads_constant", "0.5, 1 and 2 times the heads, of size d / heads", func(c *Config) { scaleHeads(c, true, 1, 2, 4) }},
		{"ape_sum_over_average", "embedding plus position, not their mean", func(c *Config) { c.Pos.Combine = "sum" }},
		{"ape_unit_variance", "positions start with standard deviation 1", func(c *Config) { c.Pos.Std = 1 }},
		{"relu_glu", "gated feed-forward, ReLU", glu("relu")},
		{"gelu_glu", "gated feed-forward, GELU", glu("gelu")},
		{"silu_glu", "gated feed-forward, SiLU", glu("silu")},
		{"mixed_act", "mean of a sigmoid and a ReLU branch", mix("mean", 0)},
		{"mixed_act_sum_over_mean", "sum of a sigmoid and a ReLU branch", mix("sum", 0)},
		{"mixed_act_som_dropout", "the sum, with dropout 0.5 on the sigmoid branch", mix("sum", 0.5)},
		{"no_self_attention_residual", "no residual connection around self-attention", func(c *Config) { c.Attn.Residual = false }},
		{"database", "attention to d learned keys and values in every layer: its wq and wo come on top", func(c *Config) { c.Database.Rows = c.D }},
		{"database_from_heads", "a database of 3·d rows paid for with half the heads: overpaid", func(c *Config) { c.Database.Rows, c.Heads = 3*c.D, c.Heads/2 }},
		{"database_from_heads_2", "a database of d rows paid for with one head: not paid in full", func(c *Config) { c.Database.Rows, c.Heads = c.D, c.Heads-1 }},
		{"database_from_layers", "a database of 2·d rows paid for with two layers: overpaid", func(c *Config) { layers(c, 2); c.Database.Rows = 2 * c.D }},
		{"database_from_dim", "a database of 3·d rows paid for with an eighth of the width: overpaid", func(c *Config) {
			narrow(c)
			c.Heads, c.FF, c.Database.Rows = c.Heads-1, 4*c.D, 3*c.D
		}},
		{"unified_attention", "one attention over own and encoder's keys in the decoder, 1.5 times the heads: they cost more than cross-attention did", func(c *Config) {
			c.Attn.Unified, c.Heads = true, c.Heads*3/2
		}},
		{"kv_cross_attention", "cross-attention projects the encoder's keys and values once more: two more matrices in each decoder layer", func(c *Config) { c.Attn.CrossKV = "own" }},
		{"more_dim_less_layers", "2+2 layers, width solved to the baseline's count", nil},
		{"tp_weights", "heads' outputs times a projection of the input: one more matrix in each attention", func(c *Config) { c.Attn.Role = true }},
		{"big_heads", "an eighth less width, heads of size 2·d / heads", bigHeads},
		{"big_heads_summed", "big heads, two neighbours summed: half of wo is gone", func(c *Config) { bigHeads(c); c.Attn.Summed = true }},
	}
	beyond := []struct {
		source string
		headsChange
	}{
		{"Shazeer, GLU Variants Improve Transformer (2020)", headsChange{"bilinear_glu", "gated feed-forward without activation", glu("identity")}},
		{"Dauphin et al., Language Modeling with Gated Convolutional Networks (2017)", headsChange{"sigmoid_glu", "gated feed-forward, sigmoid", glu("sigmoid")}},
		{"So et al., Primer (2021)", headsChange{"squared_relu", "the square of ReLU", func(c *Config) { c.Act = "squared_relu" }}},
		{"Raffel et al., T5 (2020)", headsChange{"t5_relative_bias", "a learned bias for each distance in place of positions", position("relative")}},
		{"Su et al., RoFormer (2021)", headsChange{"rope", "rotary positions in self-attention", position("rope")}},
		{"Press et al., Train Short, Test Long (2022)", headsChange{"alibi", "a fixed bias that falls with the distance", position("alibi")}},
		{"Vaswani et al., Attention Is All You Need (2017)", headsChange{"sinusoidal", "fixed sines and cosines in place of the table", position("sinusoidal")}},
		{"Haviv et al., Transformer Language Models without Positional Encodings Still Learn Positional Information (2022)", headsChange{"no_position", "no positions at all", position("none")}},
		{"Vaswani et al., Attention Is All You Need (2017)", headsChange{"post_norm", "norms behind the residual connections", func(c *Config) { c.Norm.Place = "post" }}},
		{"Ba et al., Layer Normalization (2016)", headsChange{"layernorm", "LayerNorm with weight and bias", func(c *Config) {
			c.Norm.Kind, c.Norm.Eps, c.Bias.Norm = "layer", 1e-5, true
		}}},
		{"Vaswani et al., Attention Is All You Need (2017)", headsChange{"scaled_attention", "logits divided by the root of the head's size", func(c *Config) { c.Attn.Scaled = true }}},
	}
	var list []entry
	for _, v := range study {
		list = append(list, v.entry(headsSource))
	}
	for _, v := range beyond {
		list = append(list, v.entry(beyondSource+v.source))
	}
	return list
}

func (v headsChange) entry(source string) entry {
	return entry{"heads", v.name, v.doc, source, []string{EncoderDecoder}, func(scale, _ string) (Config, error) {
		c := headsBaseline(scale)
		if v.change == nil {
			return c.solveWidth(2)
		}
		v.change(&c)
		return c, nil
	}}
}

// gatedWidth is the feed-forward width that pays for a second matrix: floor(4·d·2/3).
func gatedWidth(d int) int { return 8 * d / 3 }

// scaleHeads gives the layers of each stack half so many times the baseline's heads, and
// with fit the size that makes each layer's heads fill the width.
func scaleHeads(c *Config, fit bool, halves ...int) {
	heads, dims := make([]string, len(halves)), make([]string, len(halves))
	for i, h := range halves {
		heads[i], dims[i] = fmt.Sprint(c.Heads*h/2), fmt.Sprint(c.D/(c.Heads*h/2))
	}
	c.HeadsByLayer = strings.Join(heads, "-")
	if fit {
		c.QKVDimByLayer = strings.Join(dims, "-")
	}
}

// solveWidth gives a model of so many layers a stack the width, a multiple of the number
// of heads, that brings its parameter count nearest to the baseline's.
func (c Config) solveWidth(layers int) (Config, error) {
	want, err := c.count()
	if err != nil {
		return c, err
	}
	best, distance := c, int64(math.MaxInt64)
	for d := c.D; d <= 2*c.D; d += c.Heads {
		x := c
		x.Share.Unique, x.Share.Uses = layers, layers
		x.D, x.QKVDim, x.FF, x.Pos.Std = d, d/c.Heads, 4*d, positionStd(d)
		n, err := x.count()
		if err != nil {
			return c, err
		}
		if apart := max(n-want, want-n); apart < distance {
			best, distance = x, apart
		}
	}
	return best, nil
}
