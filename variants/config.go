package variants

import (
	"math"
	"strconv"
	"strings"

	"march/graphgen"
)

// Config is everything that a model is. Its YAML keys are the axes that --set names,
// nested ones joined by dots (share.uses). Names of values are those of the axes' lists
// in validate.go.
type Config struct {
	Arch          string   `yaml:"arch" json:"arch" doc:"architecture: decoder, encoder, encoder-decoder"`
	Vocab         int      `yaml:"vocab" json:"vocab" doc:"entries of the embedding table, special tokens included"`
	Length        int      `yaml:"length" json:"length" doc:"positions, and the length of training sequences"`
	D             int      `yaml:"d" json:"d" doc:"model width"`
	Share         Share    `yaml:"share" json:"share"`
	Heads         int      `yaml:"heads" json:"heads" doc:"attention heads"`
	HeadsByLayer  string   `yaml:"heads_by_layer" json:"heads_by_layer" doc:"heads of each unique layer in place of heads, such as 12-8-4; empty: all alike"`
	KVHeads       int      `yaml:"kv_heads" json:"kv_heads" doc:"heads of keys and values; 0: as many as heads"`
	QKVDim        int      `yaml:"qkv_dim" json:"qkv_dim" doc:"size of each head's queries, keys and values"`
	QKVDimByLayer string   `yaml:"qkv_dim_by_layer" json:"qkv_dim_by_layer" doc:"qkv_dim of each unique layer, such as 32-64-128; empty: all alike"`
	FF            int      `yaml:"ff" json:"ff" doc:"feed-forward width"`
	Act           string   `yaml:"act" json:"act" doc:"activation of the feed-forward layer"`
	GLU           bool     `yaml:"glu" json:"glu" doc:"gated feed-forward: down(act(x·gate) · (x·up))"`
	Mix           string   `yaml:"mix" json:"mix" doc:"mixed feed-forward, sigmoid(x·slow) + relu(x·fast): none, mean (halved) or sum"`
	Bias          Bias     `yaml:"bias" json:"bias"`
	Norm          Norm     `yaml:"norm" json:"norm"`
	Attn          Attn     `yaml:"attn" json:"attn"`
	Database      Database `yaml:"database" json:"database"`
	Pos           Pos      `yaml:"position" json:"position"`
	Output        Output   `yaml:"output" json:"output"`
	Init          string   `yaml:"init" json:"init" doc:"start values: normal (init_std everywhere) or fan_in (by each matrix's size, study heads')"`
	InitStd       float64  `yaml:"init_std" json:"init_std" doc:"standard deviation of the start values with init normal"`
	Dropout       Dropout  `yaml:"dropout" json:"dropout"`
	Halting       Halting  `yaml:"halting" json:"halting"`

	Training Training `yaml:"training" json:"training"`

	// Teacher is the model of training.distill.teacher, nil without one. It is no axis:
	// [Variant] finds it. Equal teachers are one pointer, so that configs compare.
	Teacher *Config `yaml:"-" json:"-"`
}

// Share assigns Uses layers of a stack's forward pass to Unique sets of parameters.
type Share struct {
	Unique        int    `yaml:"unique" json:"unique" doc:"layers with parameters of their own in a stack (M)"`
	Uses          int    `yaml:"uses" json:"uses" doc:"layers of a stack's forward pass (N, a multiple of M)"`
	Assignment    string `yaml:"assignment" json:"assignment" doc:"which parameters use i has: seq, cycle, cycle_rev"`
	FFUnique      int    `yaml:"ff_unique" json:"ff_unique" doc:"feed-forward layers of their own: uses − uses/2 + 1, one for the first half of the uses; 0: as unique"`
	StepEmbedding bool   `yaml:"step_embedding" json:"step_embedding" doc:"a learned vector is added before each use"`
}

// Bias says what has a bias.
type Bias struct {
	QKV    bool `yaml:"qkv" json:"qkv" doc:"bias of queries, keys and values"`
	Out    bool `yaml:"out" json:"out" doc:"bias of the attention's output"`
	FF     bool `yaml:"ff" json:"ff" doc:"biases of the feed-forward layer"`
	Output bool `yaml:"output" json:"output" doc:"biases of the output projection and of output.transform"`
	Norm   bool `yaml:"norm" json:"norm" doc:"bias of a LayerNorm (an RMS norm has none)"`
}

// Norm is the normalisation around each sub-layer.
type Norm struct {
	Kind  string  `yaml:"kind" json:"kind" doc:"layer (weight and bias) or rms (weight)"`
	Eps   float64 `yaml:"eps" json:"eps" doc:"added to the variance"`
	Place string  `yaml:"place" json:"place" doc:"pre: x + f(norm x) and a norm at the stack's end; post: norm(x + f(x))"`
	Embed bool    `yaml:"embed" json:"embed" doc:"a norm behind the embeddings"`
}

// Attn is what attention does beside its sizes.
type Attn struct {
	Scaled    bool   `yaml:"scaled" json:"scaled" doc:"logits divided by the square root of qkv_dim"`
	Local     string `yaml:"local" json:"local" doc:"none, or alternate: odd uses see the last length/2 positions only"`
	Residual  bool   `yaml:"residual" json:"residual" doc:"a residual connection around self-attention"`
	CrossKV   string `yaml:"cross_kv" json:"cross_kv" doc:"cross-attention's keys and values: shared (the encoder layer's own) or own (projected once more)"`
	Unified   bool   `yaml:"unified" json:"unified" doc:"decoder layers have one attention over their own and the encoder layer's keys"`
	Role      bool   `yaml:"role" json:"role" doc:"the heads' outputs are multiplied with a projection of the layer's input"`
	Summed    bool   `yaml:"summed" json:"summed" doc:"the outputs of each two neighbouring heads are summed"`
	Linformer int    `yaml:"linformer" json:"linformer" doc:"length that keys and values are projected to; 0: none"`
}

// Database is attention to learned keys and values in every layer.
type Database struct {
	Rows int `yaml:"rows" json:"rows" doc:"rows of the learned tables of keys and values; 0: none"`
}

// Pos is how a model knows positions.
type Pos struct {
	Kind    string  `yaml:"kind" json:"kind" doc:"learned, sinusoidal, rope, alibi, relative (T5's) or none"`
	Std     float64 `yaml:"std" json:"std" doc:"standard deviation of the learned table's start values"`
	Combine string  `yaml:"combine" json:"combine" doc:"how the learned table meets the embedding: sum or average"`
}

// Output is what lies between the last layer and the logits.
type Output struct {
	Scaled    bool `yaml:"scaled" json:"scaled" doc:"the hidden state is divided by the square root of d"`
	Transform bool `yaml:"transform" json:"transform" doc:"a linear layer, the activation and a LayerNorm"`
}

// Dropout rates hold in training only.
type Dropout struct {
	Rate float64 `yaml:"rate" json:"rate" doc:"embeddings, attention probabilities, feed-forward hidden, every sub-layer's output"`
	Slow float64 `yaml:"slow" json:"slow" doc:"further dropout on the sigmoid branch of mix"`
}

// Halting ends the uses of a stack position by position.
type Halting struct {
	Kind      string  `yaml:"kind" json:"kind" doc:"none, or act (adaptive computation time)"`
	Threshold float64 `yaml:"threshold" json:"threshold" doc:"a position halts when its halting probabilities sum to this"`
	Ponder    float64 `yaml:"ponder" json:"ponder" doc:"weight of the ponder cost in the loss"`
}

// Training is the scale's own budget and optimizer; commands may override it.
type Training struct {
	Objective     string  `yaml:"objective" json:"objective" doc:"causal-lm, masked-lm, span-corruption or prefix-lm"`
	DocumentMask  bool    `yaml:"document_mask" json:"document_mask,omitempty" doc:"causal-lm: attention stays within a document; positions run on through the row"`
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
	Distill       Distill `yaml:"distill" json:"distill"`
	Prune         Prune   `yaml:"prune" json:"prune"`
}

// Distill has a trained model's distributions as further labels: see distill.go.
type Distill struct {
	Teacher     string  `yaml:"teacher" json:"teacher" doc:"variant whose trained run teaches, at the same scale and architecture; empty: none"`
	Alpha       float64 `yaml:"alpha" json:"alpha" doc:"weight of the cross-entropy in the loss; the distance to the teacher has the rest"`
	Temperature float64 `yaml:"temperature" json:"temperature" doc:"divides both models' logits where they are compared"`
}

// Prune takes the smallest weights out of the model in training: see prune.go.
type Prune struct {
	Sparsity float64 `yaml:"sparsity" json:"sparsity" doc:"share of each matrix's weights that is masked in the end; 0: none"`
	Start    float64 `yaml:"start" json:"start" doc:"share of the steps after which masking begins"`
	End      float64 `yaml:"end" json:"end" doc:"share of the steps after which it is complete"`
	Every    int     `yaml:"every" json:"every" doc:"steps between new masks"`
}

// kvHeads is the number of key/value heads of unique layer i.
func (c Config) kvHeads(i int) int {
	if c.KVHeads == 0 {
		return c.heads(i)
	}
	return c.KVHeads
}

// heads and qkvDim are those of unique layer i.
func (c Config) heads(i int) int  { return layerValue(c.HeadsByLayer, i, c.Heads) }
func (c Config) qkvDim(i int) int { return layerValue(c.QKVDimByLayer, i, c.QKVDim) }

func layerValue(list string, i, otherwise int) int {
	if list == "" {
		return otherwise
	}
	n, err := strconv.Atoi(strings.Split(list, "-")[i])
	if err != nil {
		panic(err) // Validate has read it
	}
	return n
}

// window is how far use i looks back; 0 is without bound.
func (c Config) window(use int) int {
	if c.Attn.Local == "alternate" && use%2 == 1 {
		return c.Length / 2
	}
	return 0
}

// scale is what the attention logits of unique layer i are multiplied with.
func (c Config) scale(i int) float64 {
	if c.Attn.Scaled {
		return 1 / math.Sqrt(float64(c.qkvDim(i)))
	}
	return 1
}

// AdamW is the optimizer that the config asks for.
func (t Training) AdamW() graphgen.AdamW {
	return graphgen.AdamW{Beta1: t.Beta1, Beta2: t.Beta2, Eps: t.Eps, Decay: t.Decay, Clip: t.Clip}
}
