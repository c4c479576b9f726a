package graphgen

import "slices"

// Matrix products.

// matrixShape is the shape [m,k] of a possibly transposed matrix operand.
func matrixShape(t *Tensor, transposed bool) (rows, cols int) {
	rows, cols = t.Dim(-2), t.Dim(-1)
	if transposed {
		rows, cols = cols, rows
	}
	return rows, cols
}

var _ = register(&Op{
	Name: "Gemm", Optional: []int{2}, // alpha·A'·B' + C, matrices of rank 2; ' transposes where transA, transB say so
	Infer: func(g *Graph, n *Node) []Type {
		a, b := n.In[0], n.In[1]
		g.wantRank("Gemm", a, 2)
		g.wantRank("Gemm", b, 2)
		m, k := matrixShape(a, n.Attrs.bool("transA"))
		k2, c := matrixShape(b, n.Attrs.bool("transB"))
		if k != k2 {
			g.fail("Gemm: %s and %s do not fit (transA %t, transB %t)", a, b, n.Attrs.bool("transA"), n.Attrs.bool("transB"))
		}
		out := Shape{m, c}
		if n.In[2] != nil && !g.broadcast("Gemm", out, n.In[2].Shape()).Equal(out) {
			g.fail("Gemm: the addend %s does not fit the product %s", n.In[2], g.formatShape(out))
		}
		return []Type{{g.same("Gemm", a, b), out}}
	},
	Grad: func(_ *Graph, n *Node, dys []*Tensor) []*Tensor {
		a, b, dy := n.In[0], n.In[1], dys[0]
		ta, tb, alpha := n.Attrs.bool("transA"), n.Attrs.bool("transB"), n.Attrs.num("alpha")
		var da, db *Tensor
		if ta {
			da = gemm(b, dy, nil, tb, true, alpha)
		} else {
			da = gemm(dy, b, nil, false, !tb, alpha)
		}
		if tb {
			db = gemm(dy, a, nil, true, ta, alpha)
		} else {
			db = gemm(a, dy, nil, !ta, false, alpha)
		}
		if n.In[2] == nil {
			return []*Tensor{da, db, nil}
		}
		return []*Tensor{da, db, dy}
	},
	FLOPs: func(n *Node) int64 {
		if n.Attrs.bool("_sum") {
			return 0 // no product of the model's
		}
		m, k := matrixShape(n.In[0], n.Attrs.bool("transA"))
		return 2 * int64(m) * int64(k) * int64(n.Out[0].Dim(1))
	},
})

func gemm(a, b, c *Tensor, transA, transB bool, alpha float64) *Tensor {
	return one("Gemm", Attrs{"transA": transA, "transB": transB, "alpha": alpha}, a, b, c)
}

// Linear is x·w + b for x [N,in], w [in,out] and b [out]; b may be nil.
func Linear(x, w, b *Tensor) *Tensor { return gemm(x, w, b, false, false, 1) }

// LinearT is x·wᵀ + b for w [out,in].
func LinearT(x, w, b *Tensor) *Tensor { return gemm(x, w, b, false, true, 1) }

var _ = register(&Op{
	Name: "MatMul", // batched: [..., m, k] · [..., k, n]
	Infer: func(g *Graph, n *Node) []Type {
		a, b := n.In[0], n.In[1]
		if a.Rank() < 2 || b.Rank() < 2 || a.Dim(-1) != b.Dim(-2) {
			g.fail("MatMul: %s and %s do not fit", a, b)
		}
		s := g.broadcast("MatMul", a.Shape()[:a.Rank()-2], b.Shape()[:b.Rank()-2])
		return []Type{{g.same("MatMul", a, b), append(slices.Clone(s), a.Dim(-2), b.Dim(-1))}}
	},
	Grad: func(_ *Graph, n *Node, dy []*Tensor) []*Tensor {
		return []*Tensor{MatMul(dy[0], SwapLast(n.In[1])), MatMul(SwapLast(n.In[0]), dy[0])}
	},
	FLOPs: func(n *Node) int64 { return 2 * int64(n.Out[0].Shape().Elements()) * int64(n.In[0].Dim(-1)) },
})

// MatMul is the batched matrix product; leading dimensions broadcast.
func MatMul(a, b *Tensor) *Tensor { return one("MatMul", nil, a, b) }

var _ = register(&Op{
	Name: "FusedMatMul", Domain: "com.microsoft", // alpha·A'·B'
	NoGrad: "only decompositions use it",
	Infer: func(g *Graph, n *Node) []Type {
		a, b := n.In[0], n.In[1]
		m, k := matrixShape(a, n.Attrs.bool("transA"))
		k2, c := matrixShape(b, n.Attrs.bool("transB"))
		if k != k2 {
			g.fail("FusedMatMul: %s and %s do not fit", a, b)
		}
		s := g.broadcast("FusedMatMul", a.Shape()[:a.Rank()-2], b.Shape()[:b.Rank()-2])
		return []Type{{g.same("FusedMatMul", a, b), append(slices.Clone(s), m, c)}}
	},
	FLOPs: func(n *Node) int64 {
		_, k := matrixShape(n.In[0], n.Attrs.bool("transA"))
		return 2 * int64(n.Out[0].Shape().Elements()) * int64(k)
	},
})

// product is alpha·A'·B' for batches, in the cheapest way that the target has.
func (t Target) product(a, b *Tensor, transA, transB bool, alpha float64) *Tensor {
	if t.contrib() {
		if !transA && !transB && alpha == 1 {
			return MatMul(a, b)
		}
		return one("FusedMatMul", Attrs{"transA": transA, "transB": transB, "alpha": alpha}, a, b)
	}
	// Plain MatMul: the operand that is read transposed is copied, so where that would be
	// the large one, A'·B = (B'·A)' copies the small one and the result instead.
	if transA && !transB && a.Shape().Static() && a.Dim(-1)*a.Dim(-2) > b.Dim(-1)*b.Dim(-2) {
		return SwapLast(t.product(b, a, true, false, alpha))
	}
	if transA {
		a = SwapLast(a)
	}
	if transB {
		b = SwapLast(b)
	}
	if alpha != 1 {
		a = Scale(a, alpha)
	}
	return MatMul(a, b)
}
