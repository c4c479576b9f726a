package variants

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"march/graphgen"
	"march/trainloop/objective"
)

// The values that an axis of names can take.
var choices = map[string][]string{
	"arch":               {Decoder, Encoder, EncoderDecoder},
	"share.assignment":   {"seq", "cycle", "cycle_rev"},
	"act":                graphgen.ActivationNames(),
	"mix":                {"none", "mean", "sum"},
	"norm.kind":          {"layer", "rms"},
	"norm.place":         {"pre", "post"},
	"attn.local":         {"none", "alternate"},
	"attn.cross_kv":      {"shared", "own"},
	"position.kind":      {"learned", "sinusoidal", "rope", "alibi", "relative", "none"},
	"position.combine":   {"sum", "average"},
	"init":               {"normal", "fan_in"},
	"halting.kind":       {"none", "act"},
	"training.schedule":  {"constant", "cosine", "wsd"},
	"training.objective": objective.All(),
}

// The architectures.
const (
	Decoder        = "decoder"
	Encoder        = "encoder"
	EncoderDecoder = "encoder-decoder"
)

// objectives lists what each architecture can be trained for, its default first.
var objectives = map[string][]string{
	Decoder:        {objective.CausalLM},
	Encoder:        {objective.MaskedLM},
	EncoderDecoder: {objective.SpanCorruption, objective.PrefixLM},
}

// Validate reports the first field that makes no sense, or the two that make none together.
func (c Config) Validate() error {
	for _, f := range fieldsOf(&c) {
		if err := f.valid(); err != nil {
			return err
		}
	}
	if err := c.validLayers(); err != nil {
		return err
	}
	for _, r := range c.conflicts() {
		if r.wrong {
			return fmt.Errorf("%s", r.text)
		}
	}
	if c.Teacher != nil {
		return c.fits(*c.Teacher)
	}
	return nil
}

// validLayers checks the sizes that may differ from layer to layer.
func (c Config) validLayers() error {
	if c.Share.Uses%c.Share.Unique != 0 {
		return fmt.Errorf("share.uses %d is not a multiple of share.unique %d", c.Share.Uses, c.Share.Unique)
	}
	for axis, list := range map[string]string{"heads_by_layer": c.HeadsByLayer, "qkv_dim_by_layer": c.QKVDimByLayer} {
		if list == "" {
			continue
		}
		parts := strings.Split(list, "-")
		for _, p := range parts {
			if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 1<<12 {
				return fmt.Errorf("%s %q: wanted numbers joined by hyphens, such as 12-8-4", axis, list)
			}
		}
		if len(parts) != c.Share.Unique {
			return fmt.Errorf("%s %q has %d numbers for share.unique %d", axis, list, len(parts), c.Share.Unique)
		}
	}
	for i := range c.Share.Unique {
		h := c.heads(i)
		switch {
		case h%c.kvHeads(i) != 0:
			return fmt.Errorf("kv_heads %d does not divide heads %d", c.KVHeads, h)
		case c.Attn.Summed && h%2 != 0:
			return fmt.Errorf("attn.summed needs an even number of heads, found heads %d", h)
		case c.Pos.Kind == "rope" && c.qkvDim(i)%2 != 0:
			return fmt.Errorf("position.kind rope needs an even qkv_dim, found qkv_dim %d", c.qkvDim(i))
		case c.Pos.Kind == "relative" && h != c.heads(0):
			return fmt.Errorf("position.kind relative has one table for all layers, heads_by_layer %s differs", c.HeadsByLayer)
		}
	}
	return nil
}

// conflict is a rule on two axes or more.
type conflict struct {
	wrong bool
	text  string
}

// conflicts lists what makes no sense together; each text names the axes and what was found.
func (c Config) conflicts() []conflict {
	seq2seq := c.Arch == EncoderDecoder
	biased := c.Pos.Kind == "alibi" || c.Pos.Kind == "relative"
	return []conflict{
		{!slices.Contains(objectives[c.Arch], c.Training.Objective),
			fmt.Sprintf("training.objective %s does not train arch %s; wanted %s", c.Training.Objective, c.Arch, strings.Join(objectives[c.Arch], " or "))},
		{c.Training.DocumentMask && c.Training.Objective != objective.CausalLM,
			fmt.Sprintf("training.document_mask true needs training.objective %s, found %s", objective.CausalLM, c.Training.Objective)},
		{seq2seq && c.Length < 3, fmt.Sprintf("arch encoder-decoder needs a length of at least 3, found length %d", c.Length)},
		{c.GLU && c.Mix != "none", "glu true and mix " + c.Mix + " are two forms of one layer: set one of them"},
		{c.Dropout.Slow > 0 && c.Mix == "none", fmt.Sprintf("dropout.slow %g needs the sigmoid branch of mix, found mix none", c.Dropout.Slow)},
		{c.Attn.Local == "alternate" && c.Length < 2, fmt.Sprintf("attn.local alternate needs a length of at least 2, found length %d", c.Length)},
		{c.Attn.Local == "alternate" && c.Arch != Decoder, "attn.local alternate looks back and needs arch decoder, found arch " + c.Arch},
		{c.KVHeads != 0 && c.Arch == Encoder, fmt.Sprintf("kv_heads %d makes decoding cheap and needs a decoder, found arch encoder", c.KVHeads)},
		{c.Attn.Linformer > 0 && c.Arch != Encoder, fmt.Sprintf("attn.linformer %d mixes positions and needs arch encoder, found arch %s", c.Attn.Linformer, c.Arch)},
		{c.Attn.Linformer > 0 && biased, fmt.Sprintf("attn.linformer %d leaves no distances for position.kind %s", c.Attn.Linformer, c.Pos.Kind)},
		{c.Attn.Linformer > c.Length, fmt.Sprintf("attn.linformer %d is longer than length %d", c.Attn.Linformer, c.Length)},
		{c.Attn.CrossKV == "own" && !seq2seq, "attn.cross_kv own needs arch encoder-decoder, found arch " + c.Arch},
		{c.Attn.Unified && !seq2seq, "attn.unified needs arch encoder-decoder, found arch " + c.Arch},
		{c.Attn.Unified && c.Attn.CrossKV == "own", "attn.unified has no cross-attention for attn.cross_kv own"},
		{c.Attn.Unified && c.Pos.Kind == "rope", "attn.unified meets own and foreign keys with one query: position.kind rope turns only the own ones"},
		{c.Database.Rows > 0 && c.QKVDimByLayer != "", fmt.Sprintf("database.rows %d: one table for all layers needs one qkv_dim, found qkv_dim_by_layer %s", c.Database.Rows, c.QKVDimByLayer)},
		{c.Pos.Kind == "sinusoidal" && c.D%2 != 0, fmt.Sprintf("position.kind sinusoidal needs an even d, found d %d", c.D)},
		{c.Share.FFUnique != 0 && c.Share.FFUnique != c.ffUnique(), fmt.Sprintf("share.ff_unique %d: wanted 0, or share.uses − share.uses/2 + 1 = %d", c.Share.FFUnique, c.ffUnique())},
		{c.Share.FFUnique != 0 && c.Share.Unique != c.Share.Uses, fmt.Sprintf("share.ff_unique %d needs attention layers of their own: share.unique %d is not share.uses %d", c.Share.FFUnique, c.Share.Unique, c.Share.Uses)},
		{c.Halting.Kind != "none" && seq2seq, "halting.kind " + c.Halting.Kind + " needs arch decoder or encoder: cross-attention reads every use of the encoder"},
		{c.Training.Prune.Start >= c.Training.Prune.End,
			fmt.Sprintf("training.prune.start %g is not before training.prune.end %g", c.Training.Prune.Start, c.Training.Prune.End)},
		{c.Teacher != nil && c.Training.Distill.Teacher == "", "a model without training.distill.teacher has a teacher"},
		{c.Training.Schedule == "wsd" && c.Training.Warmup+c.Training.Cooldown > 1,
			fmt.Sprintf("training.warmup %g and training.cooldown %g together exceed all steps", c.Training.Warmup, c.Training.Cooldown)},
	}
}

// minEps keeps what is added to a denominator a normal number in float32. Zero would turn
// AdamW's step where no gradient ever came (0/0: unused rows, the buffers' padding) into NaN.
const minEps = 1e-20

// limits bound the numeric axes, every one of them.
var limits = map[string][2]float64{
	"kv_heads":                 {0, 1 << 12},
	"share.ff_unique":          {0, 1 << 12},
	"attn.linformer":           {0, 1 << 20},
	"database.rows":            {0, 1 << 24},
	"dropout.rate":             {0, 0.99},
	"dropout.slow":             {0, 0.99},
	"halting.threshold":        {0.01, 1},
	"halting.ponder":           {0, 1e3},
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

	"training.distill.alpha":       {0, 1},
	"training.distill.temperature": {0.05, 1e3},
	"training.prune.sparsity":      {0, 0.9999},
	"training.prune.start":         {0, 1},
	"training.prune.end":           {0, 1},
	"training.prune.every":         {1, 1e12},
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
		return nil // a truth value, or a list that Validate reads
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
