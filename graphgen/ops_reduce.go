package graphgen

import "slices"

// Reductions and softmax.

func reduceType(g *Graph, n *Node) []Type {
	axes, keep := n.Attrs.ints("_axes"), n.Attrs.int("keepdims") == 1
	var s Shape
	for i, d := range n.In[0].Shape() {
		switch {
		case !slices.Contains(axes, i):
			s = append(s, d)
		case keep:
			s = append(s, 1)
		}
	}
	return []Type{{n.In[0].DType(), s}}
}

// unreduced is the shape of a reduction's result had it kept its dimensions.
func unreduced(n *Node) Shape {
	s := slices.Clone(n.In[0].Shape())
	for _, a := range n.Attrs.ints("_axes") {
		s[a] = 1
	}
	return s
}

var _ = register(&Op{
	Name: "ReduceSum", Infer: reduceType, // inputs x, axes (int64)
	Grad: func(_ *Graph, n *Node, dy []*Tensor) []*Tensor {
		return []*Tensor{Expand(Reshape(dy[0], unreduced(n)...), n.In[0].Shape()...), nil}
	},
})

var _ = register(&Op{
	Name: "ReduceMax", Infer: reduceType, // inputs x, axes (int64)
	NoGrad: "used for numerical range and for predictions only",
})

func reduce(op string, x *Tensor, keep bool, axes []int) *Tensor {
	var v []int64
	axes = slices.Clone(axes)
	for i, a := range axes {
		if a < 0 {
			axes[i] = a + x.Rank()
		}
		x.g.wantAxis(op, x, axes[i])
	}
	slices.Sort(axes)
	if len(slices.Compact(slices.Clone(axes))) < len(axes) {
		x.g.fail("%s: axes %v of %s name one twice", op, axes, x)
	}
	for _, a := range axes {
		v = append(v, int64(a))
	}
	k := 0
	if keep {
		k = 1
	}
	return one(op, Attrs{"keepdims": k, "_axes": axes}, x, x.g.Ints(v))
}

// ReduceSum sums over axes; keep leaves them as dimensions of size one.
func ReduceSum(x *Tensor, keep bool, axes ...int) *Tensor {
	if len(axes) == 0 {
		return x
	}
	return reduce("ReduceSum", x, keep, axes)
}

// ReduceMean is the mean over axes.
func ReduceMean(x *Tensor, keep bool, axes ...int) *Tensor {
	n := 1
	for _, a := range axes {
		if x.Dim(a) < 0 {
			x.g.fail("ReduceMean: the size of axis %d of %s is known only when the graph runs", a, x)
		}
		n *= x.Dim(a)
	}
	return Scale(ReduceSum(x, keep, axes...), 1/float64(n))
}

// ReduceMax is the largest entry over axes.
func ReduceMax(x *Tensor, keep bool, axes ...int) *Tensor {
	if len(axes) == 0 { // to ONNX, no axes are all axes
		return x
	}
	return reduce("ReduceMax", x, keep, axes)
}

var _ = register(&Op{
	Name: "ArgMax", NoGrad: "an index", // over the last axis
	Infer: func(g *Graph, n *Node) []Type {
		g.wantAxis("ArgMax", n.In[0], n.In[0].Rank()-1)
		return []Type{{Int64, n.In[0].Shape()[:n.In[0].Rank()-1]}}
	},
})

// ArgMax is the index of the largest entry of the last dimension (the first at a tie).
func ArgMax(x *Tensor) *Tensor { return one("ArgMax", Attrs{"axis": -1, "keepdims": 0}, x) }

var _ = register(&Op{
	Name: "Softmax", // over the last axis
	Infer: func(g *Graph, n *Node) []Type {
		g.wantAxis("Softmax", n.In[0], n.In[0].Rank()-1)
		return []Type{n.In[0].typ}
	},
	Grad: func(_ *Graph, n *Node, dy []*Tensor) []*Tensor {
		p := n.Out[0]
		return []*Tensor{Mul(p, Sub(dy[0], ReduceSum(Mul(p, dy[0]), true, -1)))}
	},
})

// Softmax is eˣ / Σeˣ over the last dimension.
func Softmax(x *Tensor) *Tensor { return one("Softmax", Attrs{"axis": -1}, x) }

// sumRows is the sum of the rows of x [N,D], [D] in the type of sums.
//
// Rows in bfloat16 are first summed to some rows that stand side by side, and those in
// float32. Of few columns ONNX Runtime's CUDA provider has many blocks of threads sum, and each adds
// its part to the result, in bfloat16, in whatever order; of as many as sumColumns a single one does.
func sumRows(x *Tensor) *Tensor {
	if !hasKernels(x.DType()) || !x.Shape().Static() {
		return ReduceSum(x, false, 0)
	}
	return one("SumRows", nil, x)
}

var _ = register(&Op{
	Name: "SumRows", Domain: "march", NoGrad: secondOrder, // x [N,D] in bfloat16 or float32
	Infer: func(_ *Graph, n *Node) []Type { return []Type{{Float32, Shape{n.In[0].Dim(1)}}} },
	Lower: func(_ *Graph, n *Node, t Target) []*Tensor {
		if t.takes(n, "ColumnSum") {
			return kernel("ColumnSum", nil, []Type{n.Out[0].typ}, n.In[0])
		}
		if x := n.In[0]; x.DType() == Float32 {
			if t != ORT || x.g.gpu { // elsewhere a product may have its factors rounded
				return []*Tensor{ReduceSum(x, false, 0)}
			}
			// On a CPU a row of ones times x takes a third of the time, and what is added to the sum goes along.
			ones := x.g.Fill(Float32, 1, 1, x.Dim(0))
			return []*Tensor{Reshape(one("Gemm", Attrs{"transA": false, "transB": false, "alpha": 1.0, "_sum": true}, ones, x, nil), x.Dim(1))}
		}
		return []*Tensor{sumBF16Rows(n.In[0])}
	},
})

func sumBF16Rows(x *Tensor) *Tensor {
	const sumColumns, leastRows = 16384, 64
	n, d, f := x.Dim(0), x.Dim(1), 1
	for f*d < sumColumns && n%(2*f) == 0 && n/(2*f) >= leastRows {
		f *= 2
	}
	part := Cast(ReduceSum(Reshape(x, n/f, f*d), f > 1, 0), Float32)
	if f == 1 {
		return part
	}
	return ReduceSum(Reshape(part, f, d), false, 0)
}

// sumTo undoes broadcasting: it sums x down to the shape, in bfloat16 to sums in float32
// where it sums rows.
func sumTo(x *Tensor, shape Shape) *Tensor {
	if x.Shape().Equal(shape) {
		return x
	}
	lead := x.Rank() - len(shape)
	if x.DType() == BFloat16 && lead > 0 && x.Shape().Static() && x.Shape()[lead:].Equal(shape) {
		d := shape.Elements()
		return Reshape(sumRows(Reshape(x, x.Shape().Elements()/d, d)), shape...)
	}
	if x.Rank() == 2 && len(shape) == 1 && x.Dim(1) == shape[0] {
		return sumRows(x)
	}
	var axes []int
	for i := range x.Shape() {
		if i < lead || shape[i-lead] == 1 && x.Dim(i) != 1 {
			axes = append(axes, i)
		}
	}
	return Reshape(ReduceSum(x, false, axes...), shape...)
}

// argMaxBlocks is ArgMax of x [N,V] in two steps, where V has a divisor for it: the first block that has the largest entry,
// and the entry in it. ONNX Runtime's ArgMax goes through a row an entry at a time on a CPU, its ReduceMax sixteen.
func argMaxBlocks(x *Tensor) *Tensor {
	n, v := x.Dim(0), x.Dim(1)
	size := 0
	for b := argMaxLeast; b <= argMaxMost; b++ {
		if v%b == 0 && v > b {
			size = b
			break
		}
	}
	if size == 0 {
		return ArgMax(x)
	}
	blocks := Reshape(x, n, v/size, size)
	first := ArgMax(Reshape(ReduceMax(blocks, true, 2), n, v/size)) // [N]
	at := Add(Mul(x.g.Iota(n), first.like(float64(v/size))), first)
	block := Embedding(Reshape(x, x.g.Product(n, v/size), size), at)
	return Add(Mul(first, first.like(float64(size))), ArgMax(block))
}

// Bounds of a block's entries.
const argMaxLeast, argMaxMost = 32, 256
