package graphgen

import (
	"maps"
	"slices"
	"strings"
)

// March's own kernels, as operators of target fused: what package runtime has CUDA sources for, and of some C. They come
// from decompositions only, so they have no gradients, and their outputs' types are stated by whoever asks for them.
//
// addends names, for an output by its index, the optional input that is added to it.
type kernelOp struct {
	inputs, outputs int
	addends         map[int]int
	on              place
}

// place is where a kernel is there.
type place int

const (
	device     place = iota // on a GPU
	host                    // on a CPU, in float32, where matrix products are ONNX Runtime's
	everywhere              // on both
)

// adds is the output that a node's input i is added to.
func (n *Node) adds(i int) (output int, ok bool) {
	if n.Op.Name == "ProjectionsGrad" {
		return projectionAdds(len(n.In), i)
	}
	for o, slot := range kernelOps[n.Op.Name].addends {
		if slot == i {
			return o, true
		}
	}
	return 0, false
}

var kernelOps = map[string]kernelOp{
	"Linear":             {inputs: 4, outputs: 1, addends: map[int]int{0: 3}},             // A, B, bias, addend
	"LinearGrad":         {inputs: 6, outputs: 3, addends: map[int]int{0: 3, 1: 4, 2: 5}}, // dy, x, w, addends; dx, dw, db
	"Projections":        {inputs: 7, outputs: 3},                                         // x, then w, bias of each; y of each
	"ProjectionsGrad":    {inputs: 14, outputs: 7},                                        // x, addend, then dy, w, addends of each; dx, dw of each, db of each
	"FlashAttention":     {inputs: 6, outputs: 2},                                         // q, k, v, bias, lengths, seed; y, lse
	"FlashAttentionGrad": {inputs: 9, outputs: 4},                                         // … y, lse, dy; dq, dk, dv, dbias
	"Normalize":          {inputs: 4, outputs: 3, on: everywhere},                         // x, weight, bias, residual; y, stats, sum
	"NormalizeGrad":      {inputs: 7, outputs: 3, on: everywhere, addends: map[int]int{0: 4, 1: 5, 2: 6}},
	"SoftmaxGrad":        {inputs: 2, outputs: 1, on: everywhere}, // y, dy; dx
	"MaskedSoftmax":      {inputs: 1, outputs: 1, on: host},       // x; y
	"Activate":           {inputs: 1, outputs: 1, on: everywhere},
	"ActivateGrad":       {inputs: 3, outputs: 2, on: everywhere, addends: map[int]int{1: 2}}, // x, dy, addend; dx, its column sums
	"Gate":               {inputs: 2, outputs: 1, on: everywhere},
	"GateGrad":           {inputs: 5, outputs: 4, on: everywhere, addends: map[int]int{2: 3, 3: 4}},
	"ColumnSum":          {inputs: 2, outputs: 1, on: everywhere, addends: map[int]int{0: 1}},
	"FusedLossHead":      {inputs: 6, outputs: 4, addends: map[int]int{2: 4, 3: 5}}, // h, table, bias, labels; loss, dh, dtable, dbias
	"EmbeddingSum":       {inputs: 3, outputs: 1, addends: map[int]int{0: 2}},
	"DropoutMaskOf":      {inputs: 1, outputs: 1},
	"DropoutApply":       {inputs: 2, outputs: 1}, // x, seed
	"SumSquares":         {inputs: 1, outputs: 1, on: everywhere},
	"AdamWStep":          {inputs: 13, outputs: 4, on: everywhere}, // p, m, v, grad, AdamWStep.shared; p, m, v, a copy in bfloat16
}

// HasKernel reports whether there is a kernel on a GPU, or on a CPU, for an operator as a manifest names it (march.Normalize). Other
// domains' operators are not march's to say.
func HasKernel(operator string, gpu bool) bool {
	name, ours := strings.CutPrefix(operator, "march.")
	return !ours || hasKernel(name, gpu)
}

func hasKernel(name string, gpu bool) bool {
	k, ok := kernelOps[name]
	return ok && (k.on == everywhere || gpu == (k.on == device))
}

// onHost reports whether the graph's kernels are those of a CPU.
func (t Target) onHost(g *Graph) bool { return t == Fused && !g.gpu }

// has reports whether graphs like g have the kernel.
func (t Target) has(g *Graph, name string) bool { return t == Fused && hasKernel(name, g.gpu) }

func init() {
	for name, k := range kernelOps {
		optional := make([]int, k.inputs)
		for i := range optional {
			optional[i] = i
		}
		register(&Op{
			Name: name, Domain: "march", Kernel: true, NoGrad: "only decompositions use it", Optional: optional[1:],
			Infer: func(g *Graph, n *Node) []Type {
				if len(n.In) > k.inputs {
					g.fail("%s: %d inputs, at most %d are possible", name, len(n.In), k.inputs)
				}
				return n.Attrs["_out"].([]Type)
			},
		})
	}
}

// kernel adds a node of one of march's kernels, with outputs of these types.
func kernel(name string, attrs Attrs, out []Type, in ...*Tensor) []*Tensor {
	with := maps.Clone(attrs)
	if with == nil {
		with = Attrs{}
	}
	with["_out"] = out
	for len(in) > 0 && in[len(in)-1] == nil {
		in = in[:len(in)-1]
	}
	return graphOf(in).apply(name, with, in...)
}

// takes reports whether the node may be the kernel of march's: tensors of static shapes in types that kernels compute in.
func (t Target) takes(n *Node, name string) bool {
	if n.In[0] == nil || !t.has(n.In[0].g, name) {
		return false
	}
	computes, onHost := false, t.onHost(n.In[0].g)
	for _, x := range n.In {
		switch {
		case x == nil:
		case !x.Shape().Static(), x.DType().Float() && !hasKernels(x.DType()), onHost && x.DType().Float() && x.DType() != Float32:
			return false
		case x.DType().Float():
			computes = true
		}
	}
	return computes
}

// hasKernels reports whether march's kernels compute in a type.
func hasKernels(d DType) bool { return d == BFloat16 || d == Float32 }

// takesFlat reports whether march's optimizer takes the buffer.
func (t Target) takesFlat(x *Tensor) bool {
	return t == Fused && x.Rank() == 1 && x.Shape().Static() && x.DType() == Float32
}

// withInput is a kernel's node with another input.
func withInput(k *Node, in []*Tensor, at int, x *Tensor) []*Tensor {
	in = slices.Clone(in)
	for len(in) <= at {
		in = append(in, nil)
	}
	in[at] = x
	return in
}

// fuse makes march's kernels of what stands beside them: products with their addends, sums of a gradient's columns with
// the gradient, accumulators with what is added to them.
func fuse(src *Graph) *Graph {
	if !src.gpu {
		return prune(foldAddends(prune(columnSums(src))))
	}
	for _, pass := range []func(*Graph) *Graph{linears, wideProducts, dropouts, columnSums, foldAddends, productGradients, projections, projectionGradients, copies} {
		src = prune(pass(src))
	}
	return src
}

// each copies a graph node by node, but those that replace gives something for.
func each(src *Graph, replace func(c *copier, n *Node, in []*Tensor) []*Tensor) *Graph {
	c := newCopier(src)
	for _, n := range src.nodes {
		c.node(n, func(in []*Tensor) []*Tensor {
			if out := replace(c, n, in); out != nil {
				return out
			}
			return c.dst.apply(n.Op.Name, n.Attrs, in...)
		})
	}
	return c.finish(src)
}

// linears makes Linear of the matrix products whose rows a tensor core can load.
func linears(src *Graph) *Graph {
	return each(src, func(_ *copier, n *Node, in []*Tensor) []*Tensor {
		if n.Op.Name != "Gemm" || !hasKernels(in[0].DType()) || !in[0].Shape().Static() || !in[1].Shape().Static() || in[0].Dim(1)%8 != 0 || in[1].Dim(1)%8 != 0 || n.Out[0].Dim(1)%8 != 0 {
			return nil
		}
		var bias, addend *Tensor
		if c := in[2]; c != nil {
			switch {
			case c.Rank() == 1 && c.Dim(0) == n.Out[0].Dim(1):
				bias = c
			case c.Shape().Equal(n.Out[0].Shape()):
				addend = c
			default:
				return nil
			}
		}
		return kernel("Linear", n.Attrs, []Type{n.Out[0].typ}, in[0], in[1], bias, addend)
	})
}

// readers are the nodes that read each tensor; a graph's output counts as one, nil.
func (g *Graph) readers() map[*Tensor][]*Node {
	list := map[*Tensor][]*Node{}
	for _, n := range g.nodes {
		for _, t := range n.In {
			if t != nil {
				list[t] = append(list[t], n)
			}
		}
	}
	for _, o := range g.outputs {
		list[o.Tensor] = append(list[o.Tensor], nil)
	}
	return list
}

// wideProducts gives the products that are only cast to float32 that type: what they add up in.
func wideProducts(src *Graph) *Graph {
	readers := src.readers()
	return each(src, func(_ *copier, n *Node, in []*Tensor) []*Tensor {
		if n.Op.Name != "Cast" || n.Out[0].DType() != Float32 || n.In[0].node == nil || n.In[0].node.Op.Name != "Linear" || len(readers[n.In[0]]) != 1 {
			return nil
		}
		p := in[0].node
		if len(p.In) > 2 {
			return nil
		}
		return kernel("Linear", p.Attrs, []Type{n.Out[0].typ}, p.In...)
	})
}

// columnSums takes the sums of a gradient's columns from the kernel that makes the gradient.
func columnSums(src *Graph) *Graph {
	readers := src.readers()
	sumOf := func(x *Tensor) *Node {
		for _, r := range readers[x] {
			if r != nil && r.Op.Name == "ColumnSum" && len(r.In) == 1 {
				return r
			}
		}
		return nil
	}
	done := map[*Node]*Tensor{} // what ColumnSum nodes became
	return each(src, func(_ *copier, n *Node, in []*Tensor) []*Tensor {
		if made := done[n]; made != nil {
			return []*Tensor{made}
		}
		if n.Op.Name != "ActivateGrad" && n.Op.Name != "GateGrad" {
			return nil
		}
		types, sums := slices.Clone(n.Attrs["_out"].([]Type)), make([]*Node, len(n.Out))
		for i, o := range n.Out {
			if sums[i] = sumOf(o); sums[i] == nil {
				return nil
			}
			types = append(types, sums[i].Out[0].typ)
		}
		out := kernel(n.Op.Name, n.Attrs, types, in...)
		for i, s := range sums {
			done[s] = out[len(n.Out)+i]
		}
		return out[:len(n.Out)]
	})
}

// foldAddends has kernels add what their outputs are added to, where that is there before them.
func foldAddends(src *Graph) *Graph {
	readers, done := src.readers(), map[*Node]*Tensor{}
	return each(src, func(c *copier, n *Node, in []*Tensor) []*Tensor {
		if made := done[n]; made != nil {
			return []*Tensor{made}
		}
		if !n.Op.Kernel {
			return nil
		}
		folded := map[int]*Node{}
		for i, o := range n.Out {
			slot, ok := kernelOps[n.Op.Name].addends[i]
			if !ok || len(readers[o]) != 1 || readers[o][0] == nil || slot < len(in) && in[slot] != nil {
				continue
			}
			add := readers[o][0]
			if add.Op.Name != "Add" || !add.In[0].Shape().Equal(add.In[1].Shape()) || add.In[0] == add.In[1] {
				continue
			}
			other := add.In[0]
			if other == o {
				other = add.In[1]
			}
			x := c.of[other]
			if x == nil || other.value != nil {
				continue // not there yet
			}
			in, folded[i] = withInput(n, in, slot, x), add
		}
		if len(folded) == 0 {
			return nil
		}
		out := kernel(n.Op.Name, n.Attrs, n.Attrs["_out"].([]Type), in...)
		for i, add := range folded {
			done[add], c.of[add.Out[0]] = out[i], out[i]
		}
		return out
	})
}

// copies takes the new parameters' copies in bfloat16 from the optimizer's kernel.
func copies(src *Graph) *Graph {
	readers, done := src.readers(), map[*Node]*Tensor{}
	return each(src, func(_ *copier, n *Node, in []*Tensor) []*Tensor {
		if made := done[n]; made != nil {
			return []*Tensor{made}
		}
		if n.Op.Name != "AdamWStep" {
			return nil
		}
		for _, r := range readers[n.Out[0]] {
			if r != nil && r.Op.Name == "Cast" && r.Out[0].DType() == BFloat16 {
				out := kernel(n.Op.Name, n.Attrs, append(slices.Clone(n.Attrs["_out"].([]Type)), r.Out[0].typ), in...)
				done[r] = out[3]
				return out[:3]
			}
		}
		return nil
	})
}

// dropouts multiplies with a mask where it is made, which is then never there as a whole.
func dropouts(src *Graph) *Graph {
	return each(src, func(_ *copier, n *Node, in []*Tensor) []*Tensor {
		if n.Op.Name != "Mul" {
			return nil
		}
		for i, m := range in {
			x := in[1-i]
			for m.node != nil && m.node.Op.Name == "Reshape" {
				m = m.node.In[0]
			}
			if m.node == nil || m.node.Op.Name != "DropoutMaskOf" || m.Shape().Elements() != x.Shape().Elements() || !x.Shape().Equal(n.Out[0].Shape()) {
				continue
			}
			return kernel("DropoutApply", m.node.Attrs, []Type{n.Out[0].typ}, x, m.node.In[0])
		}
		return nil
	})
}

// productGradients makes one node of the gradients of a product x·w + b: what they read may be forgotten once it is
// through, wherever a runtime would have put the weight's gradient.
func productGradients(src *Graph) *Graph {
	readers, done := src.readers(), map[*Node]*Tensor{}
	input := func(n *Node, i int) *Tensor {
		if i < len(n.In) {
			return n.In[i]
		}
		return nil
	}
	return each(src, func(c *copier, n *Node, in []*Tensor) []*Tensor {
		if made := done[n]; made != nil {
			return []*Tensor{made}
		}
		// dx = dy·wᵀ + addend
		if n.Op.Name != "Linear" || !n.Attrs.bool("transB") || n.Attrs.bool("transA") || n.Attrs.num("alpha") != 1 || input(n, 2) != nil {
			return nil
		}
		dy, w := n.In[0], n.In[1]
		var dw, db *Node
		for _, r := range readers[dy] {
			switch {
			case r == nil || c.of[r.Out[0]] != nil:
			case r.Op.Name == "Linear" && r.In[1] == dy && r.Attrs.bool("transA") && !r.Attrs.bool("transB") && r.Attrs.num("alpha") == 1 &&
				input(r, 2) == nil && r.Out[0].Shape().Equal(w.Shape()) && c.of[r.In[0]] != nil && (input(r, 3) == nil || c.of[r.In[3]] != nil):
				dw = r
			case r.Op.Name == "ColumnSum" && (input(r, 1) == nil || c.of[r.In[1]] != nil):
				db = r
			}
		}
		if dw == nil {
			return nil
		}
		types := []Type{n.Out[0].typ, dw.Out[0].typ}
		of := func(t *Tensor) *Tensor {
			if t == nil {
				return nil
			}
			return c.of[t]
		}
		args := []*Tensor{in[0], c.of[dw.In[0]], in[1], nil, of(input(dw, 3)), nil}
		if len(in) > 3 {
			args[3] = in[3]
		}
		if db != nil {
			types, args[5] = append(types, db.Out[0].typ), of(input(db, 1))
		}
		out := kernel("LinearGrad", nil, types, args...)
		done[dw], c.of[dw.Out[0]] = out[1], out[1]
		if db != nil {
			done[db], c.of[db.Out[0]] = out[2], out[2]
		}
		return out[:1]
	})
}
