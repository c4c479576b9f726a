package variants

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Diagram draws the forward pass as text: what a layer computes on the left, with which
// parameters on the right. S is the length of a batch's sequences, T the decoder's.
func (c Config) Diagram() string {
	d := &diagram{c: c}
	switch c.Arch {
	case EncoderDecoder:
		d.stack(Encoder, "S", false)
		d.stack(Decoder, "T", true)
	default:
		d.stack(c.Arch, "S", false)
	}
	d.output()
	return d.String()
}

// diagram collects rows of two columns.
type diagram struct {
	c    Config
	rows [][2]string
}

func (d *diagram) row(left, format string, args ...any) {
	d.rows = append(d.rows, [2]string{left, fmt.Sprintf(format, args...)})
}

func (d *diagram) String() string {
	width := 0
	for _, r := range d.rows {
		width = max(width, utf8.RuneCountInString(r[0]))
	}
	var b strings.Builder
	for _, r := range d.rows {
		line := r[0] + strings.Repeat(" ", width-utf8.RuneCountInString(r[0])) + "  " + r[1]
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

func (d *diagram) stack(name, length string, memory bool) {
	c := d.c
	d.row(name, "tokens [B,%s], activations [B·%s,%d]", length, length, c.D)
	d.embed()
	d.row("  "+d.layers(), "")
	same := true // whether all layers have the same sizes
	for i := range c.Share.Unique {
		same = same && c.heads(i) == c.heads(0) && c.qkvDim(i) == c.qkvDim(0)
	}
	sizes := fmt.Sprintf("%d heads of %d", c.heads(0), c.qkvDim(0))
	if !same {
		list := make([]string, c.Share.Unique)
		for i := range list {
			list[i] = fmt.Sprintf("%d of %d", c.heads(i), c.qkvDim(i))
		}
		sizes = "heads by layer: " + strings.Join(list, ", ")
	}
	if c.Share.StepEmbedding {
		d.row("    x = x + steps[use]", "steps [%d,%d]", c.Share.Uses, c.D)
	}
	d.row("    "+d.subLayer(d.join("attention(§)"), c.Attn.Residual), "%s", strings.Join(append([]string{sizes}, d.seen(name, memory)...), "; "))
	kv := c.kvHeads(0) * c.qkvDim(0)
	d.row("", "wq %s, wk and wv %s, wo %s", arrow(c.D, c.heads(0)*c.qkvDim(0)), arrow(c.D, kv), arrow(d.joined(), c.D))
	if memory && !c.Attn.Unified {
		keys := "the encoder layer's keys and values"
		if c.Attn.CrossKV == "own" {
			keys = fmt.Sprintf("wk and wv %s of the encoder layer's keys and values", arrow(kv, kv))
		}
		d.row("    "+d.subLayer(d.join("attention(§, encoder)"), true), "%s; wq %s, wo %s", keys, arrow(c.D, c.heads(0)*c.qkvDim(0)), arrow(d.joined(), c.D))
	}
	if c.Database.Rows > 0 {
		d.row("    "+d.subLayer("wo·attention(§, database)", true), "learned keys and values [%d,%d], the same for all heads and layers; wq %s, wo %s",
			c.Database.Rows, c.qkvDim(0), arrow(c.D, c.heads(0)*c.qkvDim(0)), arrow(c.heads(0)*c.qkvDim(0), c.D))
	}
	d.row("    "+d.subLayer(d.feedForward(), true), "%s", d.feedForwardSizes())
	if c.Halting.Kind == "act" {
		d.row("    p = sigmoid(x·w + b)", "before each use: a position halts when its p sum to %g", c.Halting.Threshold)
		d.row("  x = Σ weight·x of the uses", "")
	}
	if c.Norm.Place == "pre" {
		d.row("  x = norm x", "")
	}
}

func arrow(in, out int) string { return fmt.Sprintf("%d→%d", in, out) }

// layers says which parameters the uses have.
func (d *diagram) layers() string {
	c := d.c
	if c.Share.Uses == c.Share.Unique {
		return fmt.Sprintf("%d layers:", c.Share.Uses)
	}
	uses := make([]string, c.Share.Uses)
	for i := range uses {
		uses[i] = fmt.Sprint(c.Share.Layer(i))
	}
	return fmt.Sprintf("%d uses of %d layers (%s):", c.Share.Uses, c.Share.Unique, strings.Join(uses, " "))
}

func (d *diagram) embed() {
	c := d.c
	left, right := "embed.tokens", fmt.Sprintf("[%d,%d]", c.Vocab, c.D)
	switch c.Pos.Kind {
	case "learned":
		left, right = left+" + embed.positions", right+fmt.Sprintf(", [%d,%d]", c.Length, c.D)
		if c.Pos.Combine == "average" {
			left = "(" + left + ")/2"
		}
	case "sinusoidal":
		left += " + sinusoids"
	}
	if c.Norm.Embed {
		left = "norm(" + left + ")"
	}
	d.row("  x = "+left, "%s", right)
}

// subLayer is a formula with what stands around each part of a layer; § in it is the part's
// input.
func (d *diagram) subLayer(f string, residual bool) string {
	norm := d.c.Norm.Place == "pre"
	input := "x"
	if norm {
		input = "norm x"
	}
	f = strings.ReplaceAll(f, "§", input)
	if residual {
		f = "x + " + f
	}
	if !norm {
		f = "norm(" + f + ")"
	}
	return "x = " + f
}

// join is what makes one output of the heads'.
func (d *diagram) join(attention string) string {
	if d.c.Attn.Role {
		attention = "(wr·§ * " + attention + ")"
	}
	if d.c.Attn.Summed {
		attention = "pairs(" + attention + ")"
	}
	return "wo·" + attention
}

// joined is the width of what wo reads.
func (d *diagram) joined() int {
	n := d.c.heads(0) * d.c.qkvDim(0)
	if d.c.Attn.Summed {
		n /= 2
	}
	return n
}

// seen says which keys a query of self-attention sees and how it knows where they are.
func (d *diagram) seen(stack string, memory bool) (list []string) {
	c := d.c
	if c.kvHeads(0) != c.heads(0) {
		list = append(list, fmt.Sprintf("%d of keys and values", c.kvHeads(0)))
	}
	switch {
	case stack == Decoder && c.Attn.Local == "alternate":
		list = append(list, fmt.Sprintf("causal, odd uses see %d", c.Length/2))
	case stack == Decoder:
		list = append(list, "causal")
	}
	if c.Training.DocumentMask {
		list = append(list, "within a document")
	}
	if memory && c.Attn.Unified {
		list = append(list, "over own keys and the encoder layer's")
	}
	if c.Attn.Linformer > 0 {
		list = append(list, fmt.Sprintf("keys and values projected %s along the length", arrow(c.Length, c.Attn.Linformer)))
	}
	switch c.Pos.Kind {
	case "rope":
		list = append(list, "rotary positions")
	case "alibi":
		list = append(list, "bias −slope·distance")
	case "relative":
		list = append(list, fmt.Sprintf("bias of %d buckets of distances", relativeBuckets))
	}
	if c.Attn.Scaled {
		list = append(list, "logits/√qkv_dim")
	}
	return list
}

func (d *diagram) feedForward() string {
	c := d.c
	switch {
	case c.Mix == "mean":
		return "down·(sigmoid(slow·§) + relu(fast·§))/2"
	case c.Mix == "sum":
		return "down·(sigmoid(slow·§) + relu(fast·§))"
	case c.GLU:
		return fmt.Sprintf("down·(%s(gate·§) * up·§)", c.Act)
	}
	return fmt.Sprintf("down·%s(up·§)", c.Act)
}

func (d *diagram) feedForwardSizes() string {
	c, in := d.c, "up"
	switch {
	case c.Mix != "none":
		in = "slow and fast"
	case c.GLU:
		in = "gate and up"
	}
	text := fmt.Sprintf("%s %s, down %s", in, arrow(c.D, c.FF), arrow(c.FF, c.D))
	if c.Share.FFUnique != 0 {
		text += fmt.Sprintf("; one for the first %d uses", c.Share.Uses/2)
	}
	return text
}

func (d *diagram) output() {
	c := d.c
	if c.Output.Transform {
		d.row(fmt.Sprintf("x = norm(%s(dense·x))", c.Act), "dense %s", arrow(c.D, c.D))
	}
	if c.Output.Scaled {
		d.row("x = x/√d", "")
	}
	left := "logits = x·embed.tokensᵀ"
	if c.Bias.Output {
		left += " + bias"
	}
	d.row(left, "%s", arrow(c.D, c.Vocab))
	if s := c.Training.Prune.Sparsity; s > 0 {
		d.row("w = mask * w", "%g %% of each matrix's weights are masked in the end, embeddings aside", 100*s)
	}
	if x := c.Training.Distill; x.Teacher != "" {
		d.row(fmt.Sprintf("loss = %g·CE + %g·%g²·KL", x.Alpha, 1-x.Alpha, x.Temperature), "to the distributions of %s, both at temperature %g", x.Teacher, x.Temperature)
	}
}
