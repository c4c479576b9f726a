package graphgen

import "maps"

// Reproducible rewrites a compiled graph so that equal runs give equal bits on a GPU as well.
// ONNX Runtime's CUDA provider adds with atomic operations, in whatever order threads come,
// in two places: ScatterElements, and sums over the rows of an array. Both become matrix
// products here, with a matrix of zeros and ones that says which row goes where, and with a
// row of ones. That costs, for each scatter of N rows into V, an array [N,V]. March's own kernels have a way each that
// adds in a fixed order.
func Reproducible(src *Graph) *Graph {
	c := newCopier(src)
	for _, n := range src.nodes {
		c.node(n, func(in []*Tensor) []*Tensor {
			var t *Tensor
			switch n.Op.Name {
			case "ScatterElements":
				t = scatterAsProduct(n, in)
			case "ReduceSum":
				t = rowSumAsProduct(n, in)
			}
			if n.Op.Name == "EmbeddingSum" || n.Op.Name == "FlashAttentionGrad" {
				attrs := maps.Clone(n.Attrs)
				attrs["deterministic"] = true
				return c.dst.apply(n.Op.Name, attrs, in...)
			}
			if t == nil {
				return c.dst.apply(n.Op.Name, n.Attrs, in...)
			}
			return []*Tensor{t}
		})
	}
	return prune(c.finish(src))
}

// scatterAsProduct is data + hotᵀ·updates for data [V,D], or [V]; hot [N,V] has a one where an
// update's index says.
func scatterAsProduct(n *Node, in []*Tensor) *Tensor {
	data, index, updates := in[0], in[1], in[2]
	if n.Attrs.int("axis") != 0 || n.Attrs.str("reduction") != "add" || !data.Shape().Static() {
		return nil
	}
	if index.node != nil && index.node.Op.Name == "Expand" {
		index = index.node.In[0] // [N,1], spread over the columns
	}
	rows := updates.Dim(0)
	if index.Shape().Elements() != rows {
		return nil // each column has indices of its own
	}
	d, shape := updates.DType(), data.Shape()
	places := Reshape(data.g.Iota(data.Dim(0)), 1, data.Dim(0))
	hot := Cast(Equal(Reshape(index, rows, 1), places), d)
	flat := func(t *Tensor) *Tensor { return Reshape(t, t.Dim(0), t.Shape().Elements()/t.Dim(0)) }
	return Reshape(gemm(hot, flat(updates), flat(data), true, false, 1), shape...)
}

// rowSumAsProduct is 1ᵀ·x for a sum over the first dimensions of x.
func rowSumAsProduct(n *Node, in []*Tensor) *Tensor {
	x, axes := in[0], n.Attrs.ints("_axes")
	if !x.Shape().Static() || len(axes) == x.Rank() || !x.DType().Float() {
		return nil
	}
	rows := 1
	for i, a := range axes {
		if a != i {
			return nil
		}
		rows *= x.Dim(a)
	}
	x = Reshape(x, rows, x.Shape().Elements()/rows)
	return Reshape(gemm(x.g.Fill(x.DType(), 1, 1, rows), x, nil, false, false, 1), n.Out[0].Shape()...)
}
