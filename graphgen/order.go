package graphgen

import "container/heap"

// ONNX Runtime does not run nodes in a file's order. It goes from the last node that nothing
// reads backwards, depth first, and where a node has several inputs to the one that stands
// last in the file, and runs nodes as it comes back. In a file that is in the order of the
// graph all gradients of parameters, which nothing reads, would run as late as they can, and keep what
// they read until then: in a model whose blocks are computed anew, behind the rest of the block.

// runtimeOrder is the order of a file from which ONNX Runtime comes to run the nodes about in the graph's
// order: of all nodes whose readers have their place, the first one takes the last place that is free.
func (g *Graph) runtimeOrder() []*Node {
	at, unread := map[*Node]int{}, make([]int, len(g.nodes))
	producers := make([][]int, len(g.nodes))
	for i, n := range g.nodes {
		at[n] = i
		seen := map[int]bool{}
		for _, t := range n.In {
			if t == nil || t.node == nil || seen[at[t.node]] {
				continue
			}
			p := at[t.node]
			seen[p] = true
			producers[i] = append(producers[i], p)
			unread[p]++
		}
	}
	var ready intHeap
	for i, n := range unread {
		if n == 0 {
			ready = append(ready, i) // sorted, so a heap
		}
	}
	order := make([]*Node, len(g.nodes))
	for place := len(order) - 1; place >= 0; place-- {
		i := heap.Pop(&ready).(int)
		order[place] = g.nodes[i]
		for _, p := range producers[i] {
			if unread[p]--; unread[p] == 0 {
				heap.Push(&ready, p)
			}
		}
	}
	return order
}

// intHeap is a heap with the smallest number first.
type intHeap []int

func (h intHeap) Len() int           { return len(h) }
func (h intHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h intHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *intHeap) Push(x any)        { *h = append(*h, x.(int)) }
func (h *intHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
