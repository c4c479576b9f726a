package kernels

import "fmt"

func init() { planners["Linear"] = planLinear }

// planLinear is alpha·A'·B' + bias + addend, ' transposing where transA, transB say so: A [M,K], B [K,N], bias [N] of A's type,
// addend [M,N] of the output's type, all rank 2 but the bias.
func planLinear(n Node) (Plan, error) {
	a, b, d := n.In[0], n.In[1], n.Out[0]
	if len(a.Shape) != 2 || len(b.Shape) != 2 || len(d.Shape) != 2 || a.Type != b.Type {
		return Plan{}, fmt.Errorf("wanted two matrices of one type, got %v %v and %v %v", a.Type, a.Shape, b.Type, b.Shape)
	}
	p := Product{A: In(0), B: In(1), D: Out(0), TypeA: a.Type, TypeD: d.Type, M: d.Shape[0], N: d.Shape[1], K: a.Shape[1],
		LDA: a.Shape[1], LDB: b.Shape[1], LDD: d.Shape[1], TransA: n.Ints["transA"] != 0, TransB: n.Ints["transB"] != 0, Alpha: 1}
	if alpha, ok := n.Floats["alpha"]; ok {
		p.Alpha = alpha
	}
	if p.TransA {
		p.K = a.Shape[0]
	}
	if n.Has(2) {
		if n.In[2].Type != d.Type || n.In[2].Elements() != p.N {
			return Plan{}, fmt.Errorf("the bias %v %v does not fit an output %v %v", n.In[2].Type, n.In[2].Shape, d.Type, d.Shape)
		}
		p.Bias = In(2)
	}
	if n.Has(3) {
		if n.In[3].Type != d.Type || n.In[3].Elements() != d.Elements() {
			return Plan{}, fmt.Errorf("the addend %v %v does not fit an output %v %v", n.In[3].Type, n.In[3].Shape, d.Type, d.Shape)
		}
		p.C = In(3)
	}
	return Plan{Steps: []Step{p}}, nil
}

func init() { planners["LinearGrad"] = planLinearGrad }

// planLinearGrad is the gradients of y = x·w + b: inputs dy [M,N], x [M,K], w [K,N], of one type; addends of the outputs, in
// their types (optional). Outputs dx = dy·wᵀ [M,K], dw = xᵀ·dy [K,N] and, where the node has it, db = the sum of dy's rows
// float32 [N].
func planLinearGrad(n Node) (Plan, error) {
	c := check{n: n}
	dy, m, columns := c.matrix(0, "dy", Float32, BFloat16)
	_, _, k := c.matrix(1, "x", dy.Type)
	c.in(1, "x", []int{m, k}, dy.Type)
	c.in(2, "w", []int{k, columns}, dy.Type)
	c.out(0, "dx", []int{m, k}, dy.Type, Float32)
	c.out(1, "dw", []int{k, columns}, dy.Type, Float32)
	if c.err != nil {
		return Plan{}, c.err
	}
	c.may(3, "addend of dx", []int{m, k}, n.Out[0].Type)
	c.may(4, "addend of dw", []int{k, columns}, n.Out[1].Type)
	p := projection{columns: columns, w: In(2), dy: In(0), dw: Out(1), addDW: n.optional(4), db: null, addDB: null}
	if len(n.Out) > 2 {
		c.out(2, "db", []int{columns}, Float32)
		c.may(5, "addend of db", []int{columns}, Float32)
		p.db, p.addDB = Out(2), n.optional(5)
	}
	if c.err != nil {
		return Plan{}, c.err
	}
	return shared{x: In(1), m: m, k: k, list: []projection{p}}.gradientPlan(dy.Type, Out(0), n.Out[0].Type, n.Out[1].Type, n.optional(3)), nil
}
