package graphgen

import "slices"

// Products that share a factor x, such as an attention's of queries, keys and values: one kernel reads x once for all.

const maxProjections = 3

// projectionAdds is the output that input i of a ProjectionsGrad of so many inputs is added to.
func projectionAdds(inputs, i int) (output int, ok bool) {
	products := (inputs + 1) / 4 // the last inputs may be left out
	switch {
	case i == 1:
		return 0, true
	case i >= 2 && i%4 == 0: // of dw
		return 1 + (i-2)/4, true
	case i >= 2 && i%4 == 1: // of db
		return 1 + products + (i-2)/4, true
	}
	return 0, false
}

// order is the place of each node in the graph.
func (g *Graph) order() map[*Node]int {
	at := map[*Node]int{}
	for i, n := range g.nodes {
		at[n] = i
	}
	return at
}

// optional is input i, nil where it is left out.
func (n *Node) optional(i int) *Tensor {
	if i < len(n.In) {
		return n.In[i]
	}
	return nil
}

// apart reports whether a kernel other than these stands between two places of the graph: what it reads and makes would be in memory
// longer if nodes came together across it.
func (g *Graph) apart(from, to int, names ...string) bool {
	return slices.ContainsFunc(g.nodes[from:to], func(n *Node) bool { return n.Op.Kernel && !slices.Contains(names, n.Op.Name) })
}

// together copies a graph with one node in place of each group, where its last member stands. with gives the outputs of all
// members, one member's after the other's.
func together(src *Graph, groups [][]*Node, with func(c *copier, group []*Node) [][]*Tensor) *Graph {
	last, skipped := map[*Node][]*Node{}, map[*Node]bool{}
	for _, group := range groups {
		last[group[len(group)-1]] = group
		for _, n := range group[:len(group)-1] {
			skipped[n] = true
		}
	}
	c := newCopier(src)
	for _, n := range src.nodes {
		switch group := last[n]; {
		case skipped[n]:
		case group == nil:
			c.node(n, func(in []*Tensor) []*Tensor { return c.dst.apply(n.Op.Name, n.Attrs, in...) })
		default:
			c.node(n, func([]*Tensor) []*Tensor {
				outputs := with(c, group)
				for i, member := range group {
					for j, o := range outputs[i] {
						c.of[member.Out[j]] = o
					}
				}
				return outputs[len(group)-1]
			})
		}
	}
	return c.finish(src)
}

// grouping collects nodes that come together, each in one group.
type grouping struct {
	groups [][]*Node
	taken  map[*Node]bool
}

func (g *grouping) add(group []*Node) {
	if len(group) < 2 {
		return
	}
	g.groups = append(g.groups, group)
	for _, n := range group {
		g.taken[n] = true
	}
}

// projections makes one node of the products x·w + b that share x and stand beside each other.
func projections(src *Graph) *Graph {
	at, readers := src.order(), src.readers()
	plain := func(n *Node) bool {
		return n.Op.Name == "Linear" && n.In[0].DType() == BFloat16 && !n.Attrs.bool("transA") && !n.Attrs.bool("transB") && n.Attrs.num("alpha") == 1 && n.optional(3) == nil
	}
	found := grouping{taken: map[*Node]bool{}}
	for i, n := range src.nodes {
		if !plain(n) || found.taken[n] {
			continue
		}
		group, first := []*Node{n}, len(src.nodes) // the first that reads a result
		for _, m := range readers[n.In[0]] {
			if m == nil || m == n || len(group) == maxProjections || !plain(m) || found.taken[m] || m.In[0] != n.In[0] || at[m] < i || m.Out[0].DType() != n.Out[0].DType() {
				continue
			}
			before := group[len(group)-1]
			for _, r := range readers[before.Out[0]] {
				if r != nil {
					first = min(first, at[r])
				}
			}
			if at[m] <= at[before] || first < at[m] || src.apart(i, at[m], "Linear") {
				continue
			}
			group = append(group, m)
		}
		found.add(group)
	}
	return together(src, found.groups, func(c *copier, group []*Node) (outputs [][]*Tensor) {
		in, types := []*Tensor{c.tensor(group[0].In[0])}, []Type{}
		for _, n := range group {
			in, types = append(in, c.tensor(n.In[1]), c.tensor(n.optional(2))), append(types, n.Out[0].typ)
		}
		for _, y := range kernel("Projections", nil, types, in...) {
			outputs = append(outputs, []*Tensor{y})
		}
		return outputs
	})
}

// projectionGradients makes one node of the gradients of products that share x, each of which adds to the last one's dx.
func projectionGradients(src *Graph) *Graph {
	at, readers := src.order(), src.readers()
	// next is the node that goes on where n's dx ends, if both may be one.
	next := func(n *Node) *Node {
		r := readers[n.Out[0]]
		if len(r) != 1 || r[0] == nil {
			return nil
		}
		m := r[0]
		if m.Op.Name != "LinearGrad" || m.optional(3) != n.Out[0] || m.In[1] != n.In[1] || len(m.Out) != len(n.Out) || m.Out[0].DType() != n.Out[0].DType() {
			return nil
		}
		if m.In[0].DType() != BFloat16 || m.Out[1].DType() != Float32 || n.Out[1].DType() != Float32 {
			return nil
		}
		return m
	}
	found := grouping{taken: map[*Node]bool{}}
	for i, n := range src.nodes {
		if n.Op.Name != "LinearGrad" || found.taken[n] {
			continue
		}
		group := []*Node{n}
		first := len(src.nodes) // that reads what is no sum for the next
		for m := next(n); m != nil && len(group) < maxProjections; m = next(m) {
			for _, o := range group[len(group)-1].Out[1:] {
				for _, r := range readers[o] {
					if r != nil {
						first = min(first, at[r])
					}
				}
			}
			if found.taken[m] || first <= at[m] || src.apart(i, at[m], "LinearGrad", "ColumnSum") {
				break
			}
			group = append(group, m)
		}
		found.add(group)
	}
	return together(src, found.groups, func(c *copier, group []*Node) [][]*Tensor {
		in, types := []*Tensor{c.tensor(group[0].In[1]), c.tensor(group[0].optional(3))}, []Type{group[0].Out[0].typ}
		for o := 1; o < len(group[0].Out); o++ { // all dw, then all db
			for _, n := range group {
				types = append(types, n.Out[o].typ)
			}
		}
		for _, n := range group {
			in = append(in, c.tensor(n.In[0]), c.tensor(n.In[2]), c.tensor(n.optional(4)), c.tensor(n.optional(5)))
		}
		made := kernel("ProjectionsGrad", nil, types, in...)
		outputs := make([][]*Tensor, len(group))
		for i := range group {
			outputs[i] = []*Tensor{made[0]}
			for o := 1; o < len(group[0].Out); o++ {
				outputs[i] = append(outputs[i], made[1+(o-1)*len(group)+i])
			}
		}
		return outputs
	})
}
