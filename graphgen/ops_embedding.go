package graphgen

import "slices"

var _ = register(&Op{
	Name: "Embedding", Domain: "march", // inputs table [V,D], ids int64 [...]
	Infer: func(g *Graph, n *Node) []Type {
		table, ids := n.In[0], n.In[1]
		g.wantRank("Embedding", table, 2)
		if ids.DType() != Int64 {
			g.fail("Embedding: ids are %s, wanted int64", ids)
		}
		return []Type{{table.DType(), append(slices.Clone(ids.Shape()), table.Dim(1))}}
	},
	Lower: func(_ *Graph, n *Node, _ Target) []*Tensor {
		return []*Tensor{one("Gather", Attrs{"axis": 0}, n.In[0], n.In[1])}
	},
	Grad: func(_ *Graph, n *Node, dy []*Tensor) []*Tensor {
		return []*Tensor{one("EmbeddingGrad", Attrs{"_rows": n.In[0].Dim(0)}, n.In[1], dy[0]), nil}
	},
})

var _ = register(&Op{
	Name: "EmbeddingGrad", Domain: "march", NoGrad: secondOrder, // inputs ids [...], dy [...,D]
	Infer: func(_ *Graph, n *Node) []Type {
		return []Type{{summedType(n.In[1].DType()), Shape{n.Attrs.int("_rows"), n.In[1].Dim(-1)}}}
	},
	Lower: func(g *Graph, n *Node, t Target) []*Tensor {
		ids, dy := n.In[0], n.In[1]
		if t.takes(n, "EmbeddingSum") {
			rows := ids.Shape().Elements()
			return kernel("EmbeddingSum", Attrs{"rows": n.Attrs.int("_rows")}, []Type{n.Out[0].typ}, Reshape(ids, rows), Reshape(dy, rows, dy.Dim(-1)))
		}
		rows, d := ids.Shape().Elements(), dy.Dim(-1)
		zeros := g.Fill(n.Out[0].DType(), 0, n.Attrs.int("_rows"), d)
		return []*Tensor{addRows(zeros, Reshape(ids, rows), Reshape(dy, rows, d))}
	},
})

// addRows adds each of rows [N,D] to the row of table [V,D] that ids int64 [N] names.
func addRows(table, ids, rows *Tensor) *Tensor {
	n, d := rows.Dim(0), rows.Dim(1)
	return scatterAdd(table, Expand(Reshape(ids, n, 1), n, d), Cast(rows, table.DType()), 0)
}

// scatterAdd adds updates to data at indices along an axis.
func scatterAdd(data, indices, updates *Tensor, axis int) *Tensor {
	return one("ScatterElements", Attrs{"axis": axis, "reduction": "add"}, data, indices, updates)
}

// Embedding looks up rows of table [V,D]: ids [...] give [...,D].
func Embedding(table, ids *Tensor) *Tensor { return one("Embedding", nil, table, ids) }
