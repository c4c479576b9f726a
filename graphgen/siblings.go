package graphgen

import "slices"

// widestSibling is the width from which a product keeps a GPU busy by itself.
const widestSibling = 1024

// joinSiblings makes one product of the gradients of several of the same factor, y₁ = x·W₁, y₂ = x·W₂, …, as an attention's queries, keys and
// values are, in a graph for a GPU: dx = [dy₁ dy₂ …]·[W₁ W₂ …]ᵀ and [dW₁ dW₂ …] = xᵀ·[dy₁ dy₂ …]. A product [512,N]·[N,512] leaves most of
// an H100 idle, and the terms of dx would be read and written one by one. The joined dy costs a copy of it.
func joinSiblings(src *Graph) *Graph {
	if !src.gpu {
		return src
	}
	last := map[*Node][]sibling{} // by the node that is the end of dx
	skip := map[*Node]bool{}
	for _, list := range src.siblings() {
		end := list[len(list)-1].dx
		last[end] = list
		for _, s := range list {
			skip[s.dx], skip[s.dw] = true, true
		}
	}
	if len(last) == 0 {
		return src
	}
	c := newCopier(src)
	for _, n := range src.nodes {
		list := last[n]
		if list == nil {
			if !skip[n] {
				c.node(n, func(in []*Tensor) []*Tensor { return c.dst.apply(n.Op.Name, n.Attrs, in...) })
			}
			continue
		}
		c.node(n, func([]*Tensor) []*Tensor {
			var dys, ws []*Tensor
			var widths []int
			for _, s := range list {
				dys, ws, widths = append(dys, c.tensor(s.dx.In[0])), append(ws, c.tensor(s.dx.In[1])), append(widths, s.dx.In[0].Dim(1))
			}
			dy := Concat(1, dys...)
			dw := slices.Clone(Split(gemm(c.tensor(list[0].dw.In[0]), dy, nil, true, false, 1), 1, widths...))
			for i, s := range list {
				if into := c.tensor(s.dw.In[2]); into != nil {
					dw[i] = Add(into, dw[i])
				}
				c.of[s.dw.Out[0]] = dw[i]
			}
			return []*Tensor{gemm(dy, Concat(1, ws...), c.tensor(list[0].dx.In[2]), false, true, 1)}
		})
	}
	return c.finish(src)
}

// sibling is one of several products x·W: the node that adds its share to dx, dy·Wᵀ, and that of dW = xᵀ·dy.
type sibling struct{ dx, dw *Node }

// siblings are the groups of equally wide products of one large factor whose shares of dx are added up one after another.
func (g *Graph) siblings() (groups [][]sibling) {
	readers, place := g.readers(), map[*Node]int{}
	of := map[*Tensor][]sibling{}
	var order []*Tensor
	for i, n := range g.nodes {
		place[n] = i
		if !plainGemm(n, true, false) || n.Out[0].Dim(1) >= widestSibling || !n.In[1].large() || n.In[2] != nil && (n.In[2].node != nil || n.In[2].Rank() != 2) {
			continue
		}
		x, dy := n.In[0], n.In[1]
		for _, r := range readers[dy] {
			if r != nil && plainGemm(r, false, true) && r.In[0] == dy && r.Out[0].Shape().Equal(x.Shape()) {
				if of[x] == nil {
					order = append(order, x)
				}
				of[x] = append(of[x], sibling{r, n})
				break
			}
		}
	}
	for _, x := range order {
		list := of[x]
		slices.SortFunc(list, func(a, b sibling) int { return place[a.dx] - place[b.dx] })
		end, joins := place[list[len(list)-1].dx], len(list) > 1
		for i, s := range list {
			if i > 0 {
				before := list[i-1].dx
				joins = joins && s.dx.In[2] == before.Out[0] && len(readers[before.Out[0]]) == 1 && s.dx.In[0].Dim(1) == before.In[0].Dim(1)
			}
			joins = joins && !slices.ContainsFunc(readers[s.dw.Out[0]], func(r *Node) bool { return r != nil && place[r] < end })
		}
		if joins {
			groups = append(groups, list)
		}
	}
	return groups
}

// plainGemm reports a product of float32 matrices with such transpositions and no factor.
func plainGemm(n *Node, transA, transB bool) bool {
	return n.Op.Name == "Gemm" && n.In[0].DType() == Float32 && n.Out[0].Shape().Static() && n.Attrs.num("alpha") == 1 &&
		n.Attrs.bool("transA") == transA && n.Attrs.bool("transB") == transB
}
