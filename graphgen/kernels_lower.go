package graphgen

import (
	"slices"
	"strings"
)

// What march's big operators are as kernels (kernels.go).

// flashes reports whether the attention is a kernel of march's, which compute in bfloat16 only.
func (a Attention) flashes(n *Node, t Target) bool {
	if !t.takes(n, "FlashAttention") || n.In[0].DType() != BFloat16 || n.In[5] != nil && dropSeed(n.In[5]) == nil || n.In[6] != nil || a.Past != 0 {
		return false
	}
	dk, dv := n.In[1].Dim(1)/a.KVHeads, n.In[2].Dim(1)/a.KVHeads
	return dk >= 8 && dk <= 128 && dk%8 == 0 && dv >= 8 && dv <= 128 && dv%8 == 0
}

// dropSeed is the node that makes a dropout mask from its seed, nil of a mask that comes from elsewhere.
func dropSeed(mask *Tensor) *Node {
	if mask.node != nil && mask.node.Op.Name == "DropoutMaskOf" {
		return mask.node
	}
	return nil
}

// flashInputs are an attention's inputs with its dropout's seed in place of the mask, and the attributes of both.
func (a Attention) flashInputs(n *Node) ([]*Tensor, Attrs) {
	in, attrs := slices.Clone(n.In[:6]), a.flashAttrs()
	if in[5] != nil {
		drop := dropSeed(in[5])
		in[5] = drop.In[0]
		for k, v := range drop.Attrs {
			if !strings.HasPrefix(k, "_") {
				attrs[k] = v
			}
		}
	}
	return in, attrs
}

func (a Attention) flashAttrs() Attrs {
	return Attrs{"batch": a.Batch, "queries": a.Queries, "keys": a.Keys, "heads": a.Heads, "kv_heads": a.KVHeads,
		"causal": a.Causal, "window": a.Window, "memory": a.Memory, "scale": a.Scale}
}

// flash gives y [B·Sq,H·dv] and the log-sum-exp of each query's logits [B,H,Sq].
func (a Attention) flash(n *Node) []*Tensor {
	out := []Type{{n.In[0].DType(), Shape{n.In[0].Dim(0), n.In[2].Dim(1) / a.KVHeads * a.Heads}}, {Float32, Shape{a.Batch, a.Heads, a.Queries}}}
	in, attrs := a.flashInputs(n)
	return kernel("FlashAttention", attrs, out, in...)
}

func (a Attention) flashGrad(n *Node) []*Tensor {
	y := a.flash(n)
	out := []Type{n.In[0].typ, n.In[1].typ, n.In[2].typ}
	if n.In[3] != nil {
		out = append(out, Type{Float32, n.In[3].Shape()})
	}
	in, attrs := a.flashInputs(n)
	d := slices.Clone(kernel("FlashAttentionGrad", attrs, out, append(in, y[0], y[1], n.In[7])...))
	if n.In[3] != nil {
		d[3] = Cast(d[3], n.In[3].DType())
	}
	return d
}

// longestNorm is the longest row that a norm's kernel takes.
const longestNorm = 8192 // and a softmax's

// takesNorm reports whether a norm, or its gradient, is a kernel of march's.
func (t Target) takesNorm(n *Node) bool {
	return t.takes(n, "Normalize") && n.In[0].Dim(-1) <= longestNorm
}

func normAttrs(n *Node) Attrs {
	return Attrs{"eps": n.Attrs.num("eps"), "rms": n.Op.Name == "RMSNorm" || n.Op.Name == "RMSNormGrad"}
}

// takesSoftmax reports whether the gradient of the softmax in an attention's gradient is a kernel of march's.
func (t Target) takesSoftmax(n *Node) bool {
	return t.takes(n, "SoftmaxGrad") && n.attention().Keys <= longestNorm
}

// softmaxGrad is p·(dp − Σ p·dp) over the last dimension.
func (a Attention) softmaxGrad(p, dp *Tensor) *Tensor {
	var attrs Attrs
	if p.node != nil && p.node.Op.Name == "MaskedSoftmax" {
		attrs = a.positions()
	}
	return kernel("SoftmaxGrad", attrs, []Type{p.typ}, p, dp)[0]
}

// masks reports whether the softmax of logits s is a kernel that knows which keys a query sees by its position. Where lengths hide all of
// those, it weighs them alike, as others weigh all keys that are hidden once; nobody reads such a row.
func (a Attention) masks(t Target, s *Tensor) bool {
	return t.has(s.g, "MaskedSoftmax") && s.DType() == Float32 && s.Shape().Static() && (a.Causal || a.Window > 0) && a.Memory == 0 && a.Past+a.Queries <= a.Keys
}

// positions are the attributes of such a kernel: query i, at past + i, sees the keys up to its own where it is causal, and those from
// window − 1 before it on.
func (a Attention) positions() Attrs {
	return Attrs{"causal": a.Causal, "window": a.Window, "past": a.Past}
}

// normalize gives the normalised x [N,D] and the mean and 1/standard deviation of each row, [N,2].
func normalize(n *Node) []*Tensor {
	x, attrs := n.In[0], normAttrs(n)
	in := []*Tensor{x, n.In[1]}
	if !attrs.bool("rms") {
		in = append(in, n.In[2])
	}
	return kernel("Normalize", attrs, []Type{x.typ, {Float32, Shape{x.Dim(0), 2}}}, in...)
}

func normalizeGrad(n *Node, dy *Tensor) []*Tensor {
	out := make([]Type, len(n.Out))
	for i, o := range n.Out {
		out[i] = o.typ
	}
	return kernel("NormalizeGrad", normAttrs(n), out, n.In[0], n.In[1], normalize(n)[1], dy)
}

// takesHead reports whether the loss head is a kernel of march's.
func (t Target) takesHead(n *Node) bool {
	return t.takes(n, "FusedLossHead") && n.In[0].Dim(1)%8 == 0
}

// fusedHead gives the loss, and the gradients of h, table and, where there is one, bias for dloss = 1.
func fusedHead(n *Node) []*Tensor {
	h, table, bias := n.In[0], n.In[1], n.In[2]
	out := []Type{{Float32, nil}, h.typ, {Float32, table.Shape()}}
	if bias != nil {
		out = append(out, Type{Float32, bias.Shape()})
	}
	rows := 0
	if c := n.Attrs.int("_chunks"); c > 1 {
		rows = h.Dim(0) / c
	}
	return kernel("FusedLossHead", Attrs{"rows": rows}, out, h, table, bias, n.In[3])
}
