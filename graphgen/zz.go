package graphgen
func (n *Node) TrafficZZ() int64 { return n.traffic() }
