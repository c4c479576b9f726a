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
