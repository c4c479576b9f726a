package graphgen

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

func (n *Node) traffic() (bytes int64) {
	size := func(t *Tensor) int64 { return int64(t.Shape().Elements()) * int64(t.DType().Size()) }
	for _, t := range n.Out {
		bytes += size(t)
	}
	switch {
	case n.passesMemoryOn():
		return 0
	case n.Op.Name == "Gather" || n.Op.Name == "GatherElements": // of the data what is given
		return bytes + min(bytes, size(n.In[0])) + size(n.In[1])
	case n.Op.Name == "Slice":
		return 2 * bytes
	}
	for _, t := range n.In {
		if t != nil {
			bytes += size(t)
		}
	}
	return bytes
}
