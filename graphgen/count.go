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
