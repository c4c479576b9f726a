package graphgen

import (
	"slices"
	"strings"
)

// FLOPs counts the multiplications and additions of the graph's matrix products (two
// for each pair of factors); elementwise work is not counted. Shapes must be static.
func (g *Graph) FLOPs() int64 {
	var sum int64
	for _, n := range g.nodes {
		if n.Op.FLOPs != nil {
			sum += n.Op.FLOPs(n)
		}
	}
	return sum
}

// Anew counts the nodes that compute anew what gradients read ([Graph.Recomputed]).
func (g *Graph) Anew() (count int) {
	for _, n := range g.nodes {
		if n.Scope == anewScope || strings.HasPrefix(n.Scope, anewScope+".") {
			count++
		}
	}
	return count
}

// Histogram counts the graph's operators by name, with the domain in front where it is
// not ai.onnx.
func (g *Graph) Histogram() map[string]int {
	h := map[string]int{}
	for _, n := range g.nodes {
		name := n.Op.Name
		if n.Op.Domain != "" {
			name = n.Op.Domain + "." + name
		}
		h[name]++
	}
	return h
}

// Traffic is the bytes that each kind of operator reads and writes, each input and output
// once, by the operator's name: what a device moves that keeps nothing between two nodes.
// Shapes must be static.
func (g *Graph) Traffic() map[string]int64 {
	t := map[string]int64{}
	for _, n := range g.nodes {
		t[n.Op.Name] += n.traffic()
	}
	return t
}

// Peak is the largest sum of bytes of tensors that are alive at once, inputs and constants
// left out, where nodes run in the graph's order and a tensor dies with its last reader. A
// runtime may take another order. Shapes must be static.
func (g *Graph) Peak() int64 {
	memory := map[*Tensor]*Tensor{} // of tensors that are others seen another way
	owner := func(t *Tensor) *Tensor {
		if of := memory[t]; of != nil {
			return of
		}
		return t
	}
	last := map[*Tensor]int{}
	for i, n := range g.nodes {
		if n.passesMemoryOn() {
			memory[n.Out[0]] = owner(n.In[0])
		}
		for _, t := range slices.Concat(n.In, n.Out) {
			if t != nil {
				last[owner(t)] = i
			}
		}
	}
	for _, o := range g.outputs {
		last[owner(o.Tensor)] = len(g.nodes)
	}
	var live, peak int64
	for i, n := range g.nodes {
		for _, t := range n.Out {
			if owner(t) == t {
				live += t.bytes()
			}
		}
		peak = max(peak, live)
		dead := map[*Tensor]bool{}
		for _, t := range slices.Concat(n.In, n.Out) {
			if t != nil && owner(t).node != nil && last[owner(t)] == i && !dead[owner(t)] {
				dead[owner(t)] = true
				live -= owner(t).bytes()
			}
		}
	}
	return peak
}

// bytes is the size of a tensor of static shape.
func (t *Tensor) bytes() int64 { return int64(t.Shape().Elements()) * int64(t.DType().Size()) }

func (n *Node) traffic() (bytes int64) {
	for _, t := range n.Out {
		bytes += t.bytes()
	}
	switch {
	case n.passesMemoryOn():
		return 0
	case n.Op.Name == "Gather" || n.Op.Name == "GatherElements": // of the data what is given
		return bytes + min(bytes, n.In[0].bytes()) + n.In[1].bytes()
	case n.Op.Name == "Slice":
		return 2 * bytes
	}
	for _, t := range n.In {
		if t != nil {
			bytes += t.bytes()
		}
	}
	return bytes
}
