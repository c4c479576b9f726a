package variants

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"march/graphgen"
)

// Config is everything that a model is. Its YAML keys are the axes that --set names,
// nested ones joined by dots (share.uses). Names of values are those of the axes' lists
// in this file.
type Config struct {
	Arch    string  `yaml:"arch" json:"arch" doc:"architecture: decoder"`
	Vocab   int     `yaml:"vocab" json:"vocab" doc:"entries of the embedding table, special tokens included"`
	Length  int     `yaml:"length" json:"length" doc:"positions, and the length of training sequences"`
	D       int     `yaml:"d" json:"d" doc:"model width"`
	Share   Share   `yaml:"share" json:"share"`
	Heads   int     `yaml:"heads" json:"heads" doc:"attention heads"`
	KVHeads int     `yaml:"kv_heads" json:"kv_heads" doc:"heads of keys and values; 0: as many as heads"`
	QKVDim  int     `yaml:"qkv_dim" json:"qkv_dim" doc:"size of each head's queries, keys and values"`
	FF      int     `yaml:"ff" json:"ff" doc:"feed-forward width"`
	Act     string  `yaml:"act" json:"act" doc:"activation of the feed-forward layer"`
	GLU     bool    `yaml:"glu" json:"glu" doc:"gated feed-forward: down(act(x·gate) · (x·up))"`
	Bias    Bias    `yaml:"bias" json:"bias"`
	Norm    Norm    `yaml:"norm" json:"norm"`
	Attn    Attn    `yaml:"attn" json:"attn"`
	Pos     Pos     `yaml:"position" json:"position"`
	InitStd float64 `yaml:"init_std" json:"init_std" doc:"standard deviation of the normal start values"`

	Training Training `yaml:"training" json:"training"`
}

// Share assigns Uses layers of the forward pass to Unique sets of parameters.
type Share struct {
	Unique     int    `yaml:"unique" json:"unique" doc:"layers with parameters of their own (M)"`
	Uses       int    `yaml:"uses" json:"uses" doc:"layers of the forward pass (N, a multiple of M)"`
	Assignment string `yaml:"assignment" json:"assignment" doc:"which parameters use i has: seq, cycle, cycle_rev"`
}

// Bias says which linear layers have a bias.
type Bias struct {
	QKV bool `yaml:"qkv" json:"qkv" doc:"bias of queries, keys and values"`
	Out bool `yaml:"out" json:"out" doc:"bias of the attention's output"`
	FF  bool `yaml:"ff" json:"ff" doc:"biases of the feed-forward layer"`
}

// Norm is the normalisation before each sub-layer and at the stack's end.
type Norm struct {
	Kind string  `yaml:"kind" json:"kind" doc:"layer (weight and bias) or rms (weight)"`
	Eps  float64 `yaml:"eps" json:"eps" doc:"added to the variance"`
}

// Attn is what attention does beside its sizes.
type Attn struct {
	Scaled bool   `yaml:"scaled" json:"scaled" doc:"logits divided by the square root of qkv_dim"`
	Local  string `yaml:"local" json:"local" doc:"none, or alternate: odd uses see the last length/2 positions only"`
}

// Pos is how a model knows positions.
type Pos struct {
	Kind string  `yaml:"kind" json:"kind" doc:"learned (one table, added) or none"`
	Std  float64 `yaml:"std" json:"std" doc:"standard deviation of the table's start values"`
}

// Training is the scale's own budget and optimizer; commands may override it.
type Training struct {
	TokensPerStep int     `yaml:"tokens_per_step" json:"tokens_per_step" doc:"tokens of one optimizer step"`
	Steps         int     `yaml:"steps" json:"steps" doc:"optimizer steps"`
	Rate          float64 `yaml:"rate" json:"rate" doc:"peak learning rate"`
	Schedule      string  `yaml:"schedule" json:"schedule" doc:"constant, cosine, or wsd (warm-up, stable, decay)"`
	Warmup        float64 `yaml:"warmup" json:"warmup" doc:"share of the steps in which the rate rises"`
	FinalRate     float64 `yaml:"final_rate" json:"final_rate" doc:"rate at the end as a share of the peak"`
	Cooldown      float64 `yaml:"cooldown" json:"cooldown" doc:"wsd: share of the steps in which the rate falls"`
	Beta1         float64 `yaml:"beta1" json:"beta1" doc:"AdamW"`
	Beta2         float64 `yaml:"beta2" json:"beta2" doc:"AdamW"`
	Eps           float64 `yaml:"eps" json:"eps" doc:"AdamW"`
	Decay         float64 `yaml:"decay" json:"decay" doc:"weight decay of all but norms and biases"`
	Clip          float64 `yaml:"clip" json:"clip" doc:"largest global gradient norm; 0: no clipping"`
}

// kvHeads is the number of key/value heads.
func (c Config) kvHeads() int {
	if c.KVHeads == 0 {
		return c.Heads
	}
	return c.KVHeads
}

// window is how far use i looks back; 0 is without bound.
func (c Config) window(use int) int {
	if c.Attn.Local == "alternate" && use%2 == 1 {
		return c.Length / 2
	}
	return 0
}

// AdamW is the optimizer that the config asks for.
func (t Training) AdamW() graphgen.AdamW {
	return graphgen.AdamW{Beta1: t.Beta1, Beta2: t.Beta2, Eps: t.Eps, Decay: t.Decay, Clip: t.Clip}
}

// The values that an axis of names can take.
var choices = map[string][]string{
	"arch":              {"decoder"},
	"share.assignment":  {"seq", "cycle", "cycle_rev"},
	"act":               graphgen.ActivationNames(),
	"norm.kind":         {"layer", "rms"},
	"attn.local":        {"none", "alternate"},
	"position.kind":     {"learned", "none"},
	"training.schedule": {"constant", "cosine", "wsd"},
}

// Validate reports the first field that makes no sense, or the two that make none together.
func (c Config) Validate() error {
	for _, f := range fieldsOf(&c) {
		if err := f.valid(); err != nil {
			return err
		}
	}
	switch {
	case c.Share.Uses%c.Share.Unique != 0:
		return fmt.Errorf("share.uses %d is not a multiple of share.unique %d", c.Share.Uses, c.Share.Unique)
	case c.Heads%c.kvHeads() != 0:
		return fmt.Errorf("kv_heads %d does not divide heads %d", c.KVHeads, c.Heads)
	case c.Attn.Local == "alternate" && c.Length < 2:
		return fmt.Errorf("attn.local alternate needs a length of at least 2, found length %d", c.Length)
	case c.Training.Schedule == "wsd" && c.Training.Warmup+c.Training.Cooldown > 1:
		return fmt.Errorf("training.warmup %g and training.cooldown %g together exceed all steps", c.Training.Warmup, c.Training.Cooldown)
	}
	return nil
}

// minEps keeps what is added to a denominator a normal number in float32. Zero would turn
// AdamW's step where no gradient ever came (0/0: unused rows, the buffers' padding) into NaN.
const minEps = 1e-20

// limits bound the numeric axes, every one of them.
var limits = map[string][2]float64{
	"kv_heads":                 {0, 1 << 16},
	"vocab":                    {4, 1 << 24},
	"length":                   {1, 1 << 20},
	"training.warmup":          {0, 1},
	"training.cooldown":        {0, 1},
	"training.final_rate":      {0, 1},
	"training.beta1":           {0, 1 - 1e-9},
	"training.beta2":           {0, 1 - 1e-9},
	"training.eps":             {minEps, 1},
	"training.decay":           {0, 1e3},
	"training.clip":            {0, math.MaxFloat32},
	"training.rate":            {1e-12, 1e3},
	"norm.eps":                 {minEps, 1},
	"position.std":             {0, 1e3},
	"init_std":                 {0, 1e3},
	"training.steps":           {1, 1e12},
	"d":                        {1, 1 << 20},
	"ff":                       {1, 1 << 24},
	"share.unique":             {1, 1 << 12},
	"share.uses":               {1, 1 << 12},
	"heads":                    {1, 1 << 12},
	"qkv_dim":                  {1, 1 << 16},
	"training.tokens_per_step": {1, 1 << 40},
}

// valid checks one axis by itself.
func (f field) valid() error {
	if list, ok := choices[f.axis]; ok {
		if v := f.value.String(); !slices.Contains(list, v) {
			return fmt.Errorf("%s %q is not one of %s%s", f.axis, v, strings.Join(list, ", "), suggest(v, list))
		}
		return nil
	}
	bound, ok := limits[f.axis]
	if !ok {
		return nil // a truth value
	}
	v := f.number()
	if math.IsNaN(v) || v < bound[0] || v > bound[1] {
		return fmt.Errorf("%s is %v, wanted a number from %s to %s", f.axis, f.value.Interface(), plain(bound[0]), plain(bound[1]))
	}
	return nil
}

// plain prints whole numbers without an exponent.
func plain(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
