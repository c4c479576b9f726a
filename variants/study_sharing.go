package variants

import (
	"fmt"

	"march/trainloop/objective"
)

const sharingSource = "study sharing (two architectures, six shapes, three assignments); the assignments after Takase and Kiyono, \"Lessons on Parameter Sharing across Layers in Transformers\" (2021); architecture and sizes are march's choice"

// shape is a row of study sharing's table: deep has the baseline's parameters and twice
// its depth, very_deep three times; wide keeps the depth, and half the layers pay for
// width, very_wide more so; wide_deep is both.
type shape struct {
	name         string
	unique, uses int
	width        int // 0, 1, 2: which of the scale's widths
}

var shapes = []shape{
	{"deep", 6, 12, 0},
	{"very_deep", 6, 18, 0},
	{"wide", 3, 6, 1},
	{"very_wide", 2, 6, 2},
	{"wide_deep", 3, 12, 1},
}

func (s shape) doc(assignment string) string {
	wider := ""
	if s.width > 0 {
		wider = "wider "
	}
	return fmt.Sprintf("%d %slayers, %d uses, %s", s.unique, wider, s.uses, assignment)
}

var assignments = []struct{ name, doc string }{
	{"seq", "in blocks"},
	{"cycle", "cycled"},
	{"cycle_rev", "reversed end"},
}

// sharingSizes are the sizes of study sharing at each scale.
var sharingSizes = map[string]struct {
	widths        [3]int
	ffStep        int
	vocab, length int
	tokens, steps int
	rate, dropout float64
}{
	"paper": {[3]int{384, 512, 576}, 64, 10_000, 512, 16_384, 10_000, 1e-3, 0.1},
	"small": {[3]int{192, 256, 288}, 32, 8_192, 256, 4_096, 3_000, 2e-3, 0.1},
	"tiny":  {[3]int{96, 128, 144}, 16, 2_048, 128, 512, 900, 3e-3, 0},
}

// sharingHeads are the heads that go with the widths.
var sharingHeads = [3]int{6, 8, 9}

// sharingStudy lists the baseline, the five shapes with each assignment, and the axes
// that the study's notes name.
func sharingStudy() []entry {
	both := []string{Decoder, Encoder}
	add := func(name, doc string, archs []string, config func(scale, arch string) (Config, error)) entry {
		return entry{"sharing", name, doc, sharingSource, archs, config}
	}
	list := []entry{add("baseline", "GPT-Neo-like or RoBERTa-like, nothing shared", both, sharingBaseline)}
	for _, s := range shapes {
		for _, a := range assignments {
			list = append(list, add(s.name+"_"+a.name, s.doc(a.doc), both,
				func(scale, arch string) (Config, error) { return shared(scale, arch, s, a.name) }))
		}
	}
	axis := func(name, doc string, archs []string, change func(c *Config)) {
		list = append(list, add(name, doc, archs, func(scale, arch string) (Config, error) {
			c, err := sharingBaseline(scale, arch)
			change(&c)
			return c, err
		}))
	}
	axis("share_ffn", "one feed-forward layer for the first half of the layers: two fewer are left to count", both,
		func(c *Config) { c.Share.FFUnique = c.ffUnique() })
	axis("no_bias", "no bias vector anywhere", both, func(c *Config) { c.Bias = Bias{} })
	axis("bias_all", "a bias in every linear layer", []string{Decoder},
		func(c *Config) { c.Bias = Bias{QKV: true, Out: true, FF: true, Norm: true} })
	axis("gqa", "a third of the key/value heads: narrower wk and wv", []string{Decoder}, func(c *Config) { c.KVHeads = c.Heads / 3 })
	axis("mqa", "one key/value head: narrower wk and wv", []string{Decoder}, func(c *Config) { c.KVHeads = 1 })
	axis("linformer", "keys and values projected along the length: two matrices more for each layer", []string{Encoder},
		func(c *Config) { c.Attn.Linformer = max(16, c.Length/4) })
	universal := func(c *Config) {
		c.Share.Unique, c.Share.StepEmbedding = 1, true
	}
	axis("universal", "one layer used by all, with step embeddings: a sixth of the layers' parameters", both, universal)
	axis("universal_act", "universal with adaptive halting for each position: a sixth of the layers' parameters", both,
		func(c *Config) { universal(c); c.Halting.Kind = "act" })
	from := func(source string) {
		list[len(list)-1].source = source + "; the baseline and its sizes as in " + sharingSource
	}
	axis("distill", "taught by the trained baseline: half the loss is the distance to its distributions", both,
		func(c *Config) { c.Training.Distill.Teacher = "baseline" })
	from("Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network (2015)")
	axis("prune", "half of each matrix's weights masked by magnitude, on a cubic schedule: the count has the masked ones too", both,
		func(c *Config) { c.Training.Prune.Sparsity = 0.5 })
	from("Zhu and Gupta, To Prune, or Not to Prune (2017)")
	return list
}

// sharingBaseline is the study's decoder (GPT-Neo-like) or encoder (RoBERTa-like).
func sharingBaseline(scale, arch string) (Config, error) {
	z := sharingSizes[scale]
	d := z.widths[0]
	c := Config{
		Arch: arch, Vocab: z.vocab, Length: z.length, D: d,
		Share: Share{Unique: 6, Uses: 6, Assignment: "seq"},
		Heads: sharingHeads[0], QKVDim: d / sharingHeads[0], FF: 4 * d, Act: "gelu_tanh", Mix: "none",
		Bias:    Bias{Out: true, FF: true, Norm: true},
		Norm:    Norm{Kind: "layer", Eps: 1e-5, Place: "pre"},
		Attn:    Attn{Local: "alternate", Residual: true, CrossKV: "shared"},
		Pos:     Pos{Kind: "learned", Std: 0.02, Combine: "sum"},
		Init:    "normal",
		InitStd: 0.02,
		Dropout: Dropout{Rate: z.dropout},
		Halting: noHalting,
		Training: Training{
			Objective: objective.CausalLM, TokensPerStep: z.tokens, Steps: z.steps, Rate: z.rate,
			Schedule: "cosine", Warmup: 0.1, FinalRate: 0.1, Cooldown: 0.2,
			Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Clip: 1, Distill: noDistill, Prune: noPrune,
		},
	}
	if arch == Encoder {
		c.Act = "gelu"
		c.Bias = Bias{QKV: true, Out: true, FF: true, Output: true, Norm: true}
		c.Norm = Norm{Kind: "layer", Eps: 1e-12, Place: "post", Embed: true}
		c.Attn = Attn{Scaled: true, Local: "none", Residual: true, CrossKV: "shared"}
		c.Output.Transform = true
		c.Training.Objective = objective.MaskedLM
		if scale == "tiny" {
			c.Training.Rate = 1e-3 // behind post-norms the decoder's rate learns less (docs/performance.md)
		}
	}
	return c, nil
}

// noHalting has the numbers that halting starts from.
var noHalting = Halting{Kind: "none", Threshold: 0.99, Ponder: 0.01}

// noDistill and noPrune have the numbers that their variants start from.
var (
	noDistill = Distill{Alpha: 0.5, Temperature: 2}
	noPrune   = Prune{Start: 0.2, End: 0.8, Every: 10}
)

// shared is a shape of study sharing: wider layers get the feed-forward width that
// brings the parameters nearest to the baseline's.
func shared(scale, arch string, s shape, assignment string) (Config, error) {
	base, err := sharingBaseline(scale, arch)
	if err != nil {
		return base, err
	}
	z, c := sharingSizes[scale], base
	c.Share = Share{Unique: s.unique, Uses: s.uses, Assignment: assignment}
	c.D, c.Heads = z.widths[s.width], sharingHeads[s.width]
	c.QKVDim = c.D / c.Heads
	if s.width == 0 {
		return c, nil
	}
	return c.solveFF(base, z.ffStep)
}
