package graphgen

import "slices"

// Activation recomputation (Chen et al., Training Deep Nets with Sublinear Memory Cost,
// 2016). Of a block the backward pass keeps what nodes outside of it read, its output
// first of all, and computes everything else once more from what the block reads, directly before
// the block's gradients. So there is never more than one block's inside.
//
// Kept, beside what lies outside of blocks, are a block's tensors that do not depend on a
// sequence's activations: copies of parameters, masks by position or document, position
// biases. They are shared by blocks, or small. Dropout masks are as large as what they drop:
// they are made anew from the seed.

// Recomputed builds a block. Blocks do not nest.
func (g *Graph) Recomputed(build func()) {
	if g.block != 0 {
		g.fail("a block that is computed anew within another")
	}
	g.blocks++
	g.block = g.blocks
	defer func() { g.block = 0 }()
	build()
}

// anewScope is the first part of the places of nodes that compute a block anew: anew.decoder.3.attn.
const anewScope = "anew"

// recomputation has the block that is being differentiated computed anew.
type recomputation struct {
	g       *Graph
	nodes   []*Node          // of the forward pass
	needed  map[*Tensor]bool // depends on a target
	data    map[*Tensor]bool // depends on the batch
	kept    map[*Tensor]bool // read outside of its block
	block   int              // the one that is there anew
	of      map[*Tensor]*Tensor
	reached []*Tensor // whose gradients, outside of blocks, were added to since the last block was computed anew
}

func newRecomputation(g *Graph, needed map[*Tensor]bool) *recomputation {
	r := &recomputation{g: g, nodes: g.nodes, needed: needed, data: map[*Tensor]bool{}, kept: map[*Tensor]bool{}}
	for _, n := range g.nodes {
		of := false
		for _, t := range n.In {
			if t == nil {
				continue
			}
			of = of || r.data[t] || t.name != "" && !t.DType().Float()
			if t.node != nil && t.node.block != n.block {
				r.kept[t] = true
			}
		}
		for _, o := range n.Out {
			r.data[o] = of
		}
	}
	for _, o := range g.outputs {
		r.kept[o.Tensor] = true
	}
	return r
}

// outside reports a tensor that is there when a block is computed anew.
func (r *recomputation) outside(t *Tensor) bool {
	return t.node == nil || t.node.block == 0 || r.kept[t]
}

// note takes down that a gradient of x was added to.
func (r *recomputation) note(x *Tensor) {
	if r.outside(x) && !slices.Contains(r.reached, x) {
		r.reached = append(r.reached, x)
	}
}

// anew is the node that a gradient rule is to see in place of n: of a block, reading and
// giving what is computed anew. dy and sum are the gradients of its outputs and those so far.
func (r *recomputation) anew(n *Node, dy []*Tensor, sum map[*Tensor]*Tensor) *Node {
	if n.block == 0 {
		return n
	}
	if n.block != r.block {
		first := slices.DeleteFunc(slices.Clone(dy), func(t *Tensor) bool { return t == nil })
		for _, x := range r.reached {
			if !slices.Contains(first, sum[x]) {
				first = append(first, sum[x])
			}
		}
		r.block, r.reached = n.block, nil
		r.compute(first)
	}
	m := *n
	m.In, m.Out = r.all(n.In), r.all(n.Out)
	return &m
}

func (r *recomputation) all(ts []*Tensor) []*Tensor {
	out := slices.Clone(ts)
	for i, t := range ts {
		if made := r.of[t]; made != nil {
			out[i] = made
		}
	}
	return out
}

// compute adds the block's nodes once more, which run when the first tensors are there. The activations
// that they read from outside are copied for it, so that they are not equal to the nodes that they repeat, nor is
// what their decompositions make of one input alone.
func (r *recomputation) compute(first []*Tensor) {
	var block []*Node
	fresh, copied := map[*Tensor]bool{}, map[*Tensor]bool{}
	for _, n := range r.nodes {
		if n.block != r.block || !slices.ContainsFunc(n.Out, func(o *Tensor) bool { return !r.kept[o] }) {
			continue
		}
		again := false
		for _, t := range n.In {
			copied[t] = copied[t] || r.copies(n, t)
			again = again || copied[t] || fresh[t]
		}
		if !again {
			continue
		}
		block = append(block, n)
		for _, o := range n.Out {
			fresh[o] = !r.kept[o]
		}
	}
	saved := r.g.scope
	defer func() { r.g.scope = saved }()
	r.of = map[*Tensor]*Tensor{}
	for _, n := range block {
		r.g.scope = []string{anewScope}
		if n.Scope != "" {
			r.g.scope = append(r.g.scope, n.Scope)
		}
		for _, t := range n.In {
			if copied[t] && r.of[t] == nil {
				r.of[t] = one("After", nil, append([]*Tensor{t}, first...)...)
			}
		}
		out := r.g.apply(n.Op.Name, n.Attrs, r.all(n.In)...)
		for i, o := range n.Out {
			if fresh[o] {
				r.of[o] = out[i]
			}
		}
	}
}

// copies reports whether a node's repetition reads a copy of t: of the activations that the block
// begins with, and of a dropout mask's seed.
func (r *recomputation) copies(n *Node, t *Tensor) bool {
	if n.Op.Name == "DropoutMask" {
		return true
	}
	return t != nil && r.outside(t) && t.node != nil && r.data[t] && r.needed[t]
}

// forget drops the repetitions that no gradient reads.
func (r *recomputation) forget(grads []*Tensor) {
	if r.block == 0 {
		return
	}
	live := map[*Node]bool{}
	for _, n := range r.nodes {
		live[n] = true
	}
	for _, t := range grads {
		if t.node != nil {
			live[t.node] = true
		}
	}
	for i := len(r.g.nodes) - 1; i >= 0; i-- {
		if n := r.g.nodes[i]; live[n] {
			for _, t := range n.In {
				if t != nil && t.node != nil {
					live[t.node] = true
				}
			}
		}
	}
	r.g.drop(live)
}

var _ = register(&Op{
	Name: "After", Domain: "march", NoGrad: "only gradients use it", // inputs x, and what must be there before
	Infer: func(_ *Graph, n *Node) []Type { return []Type{n.In[0].typ} },
	Lower: func(_ *Graph, n *Node, t Target) []*Tensor {
		first := n.In[1:]
		if t.has(first[0].g, "LinearGrad") && first[0].DType() == BFloat16 { // whose kernels give a product's gradients together
			first = first[:1]
		}
		return []*Tensor{after(n.In[0], first...)}
	},
})
