package kernels

import "fmt"

// Cost is what a node must read, write and multiply, however it does it.
type Cost struct {
	Op     string
	Detail string // sizes, where an operator's nodes differ much in them
	Bytes  int64  // of inputs and outputs, each once
	FLOPs  int64  // of matrix products; of attention those that the mask leaves
}

// CostOf is a node's cost.
func CostOf(n Node) Cost {
	c := Cost{Op: n.Op}
	for _, list := range [][]Tensor{n.In, n.Out} {
		for _, t := range list {
			if t.Type != Absent {
				c.Bytes += int64(t.Elements() * t.Type.Size())
			}
		}
	}
	switch n.Op {
	case "Linear":
		m, k := n.Out[0].Shape[0], n.In[0].Elements()/n.Out[0].Shape[0]
		c.FLOPs = 2 * int64(n.Out[0].Elements()) * int64(k)
		c.Detail = fmt.Sprintf("[%d,%d]·[%d,%d]", m, k, k, n.Out[0].Shape[1])
		if n.Out[0].Type == Float32 && n.In[0].Type != Float32 {
			c.Detail += " to float32"
		}
	case "LinearGrad":
		m, k, columns := n.In[1].Shape[0], n.In[1].Shape[1], n.In[0].Last()
		c.FLOPs = 4 * int64(m) * int64(k) * int64(columns)
		c.Detail = fmt.Sprintf("[%d,%d]·[%d,%d]", m, k, k, columns)
	case "Projections":
		m, k := n.In[0].Rows(), n.In[0].Last()
		for _, y := range n.Out {
			c.FLOPs += 2 * int64(y.Elements()) * int64(k)
			c.Detail += fmt.Sprintf("+%d", y.Last())
		}
		c.Detail = fmt.Sprintf("[%d,%d]·[%d,%s]", m, k, k, c.Detail[1:])
	case "ProjectionsGrad":
		m, k := n.In[0].Rows(), n.In[0].Last()
		for i := 2; i < len(n.In); i += 4 {
			c.FLOPs += 4 * int64(n.In[i].Elements()) * int64(k)
			c.Detail += fmt.Sprintf("+%d", n.In[i].Last())
		}
		c.Detail = fmt.Sprintf("[%d,%d]·[%d,%s]", m, k, k, c.Detail[1:])
	case "FusedLossHead":
		c.FLOPs = 6 * int64(n.In[0].Elements()) * int64(n.In[1].Shape[0])
	case "FlashAttention":
		c.FLOPs = 2 * n.seen() * int64(n.head(1)+n.head(2))
	case "FlashAttentionGrad":
		c.FLOPs = 2 * n.seen() * int64(3*n.head(1)+2*n.head(2))
	}
	return c
}

// head is the size of a head of keys (1) or values (2).
func (n Node) head(input int) int { return n.In[input].Last() / n.Ints["kv_heads"] }

// seen is how many pairs of query and key there are under the position mask, over batch and heads.
func (n Node) seen() int64 {
	queries, own := n.Ints["queries"], n.Ints["keys"]-n.Ints["memory"]
	sum := int64(queries * n.Ints["memory"])
	for q := range queries {
		first, end := 0, own
		if n.Ints["causal"] != 0 {
			end = min(own, q+1)
		}
		if w := n.Ints["window"]; w > 0 {
			first = max(0, q-w+1)
		}
		sum += int64(max(0, end-first))
	}
	return sum * int64(n.Ints["batch"]*n.Ints["heads"])
}
