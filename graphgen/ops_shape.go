package graphgen

import "slices"

// Operators that move elements without computing.

var _ = register(&Op{
	Name: "Reshape", // inputs x, target shape (int64); the type is in _shape
	Infer: func(g *Graph, n *Node) []Type {
		return []Type{{n.In[0].DType(), Shape(n.Attrs.ints("_shape"))}}
	},
	Grad: func(_ *Graph, n *Node, dy []*Tensor) []*Tensor {
		return []*Tensor{Reshape(dy[0], n.In[0].Shape()...), nil}
	},
})

// Reshape gives x another shape with the same elements in the same order. Reshapes of
// reshapes are one; to the same shape is free.
func Reshape(x *Tensor, shape ...int) *Tensor {
	g := x.g
	if x.node != nil && x.node.Op.Name == "Reshape" {
		return Reshape(x.node.In[0], shape...)
	}
	if x.Shape().Equal(shape) {
		return x
	}
	g.wantSizes("Reshape", shape)
	if !slices.Equal(g.factors(x.Shape()), g.factors(shape)) {
		g.fail("Reshape: %s does not have the elements of %s", x, g.formatShape(shape))
	}
	return one("Reshape", Attrs{"_shape": slices.Clone(shape)}, x, g.shapeTensor(shape, true))
}

// factors is a canonical form of the number of elements: the product of the numbers,
// then the symbols in order.
func (g *Graph) factors(s Shape) []int {
	n, symbols := 1, []int{}
	var add func(d int)
	add = func(d int) {
		switch {
		case d >= 0:
			n *= d
		case g.symbols[-d-1].factors != nil:
			for _, f := range g.symbols[-d-1].factors {
				add(f)
			}
		default:
			symbols = append(symbols, d)
		}
	}
	for _, d := range s {
		add(d)
	}
	slices.Sort(symbols)
	return append([]int{n}, symbols...)
}

// shapeTensor is an int64 tensor with the dimensions, computed from the inputs' shapes
// where a symbol makes that necessary. With infer, one symbol may stand as -1.
func (g *Graph) shapeTensor(s Shape, infer bool) *Tensor {
	unknown := 0
	for _, d := range s {
		if d < 0 {
			unknown++
		}
	}
	if unknown == 0 || unknown == 1 && infer {
		v := make([]int64, len(s))
		for i, d := range s {
			v[i] = int64(max(d, -1))
		}
		return g.Ints(v)
	}
	var parts []*Tensor
	for i := 0; i < len(s); {
		if s[i] < 0 {
			parts = append(parts, g.dimension(s[i]))
			i++
			continue
		}
		var v []int64
		for ; i < len(s) && s[i] >= 0; i++ {
			v = append(v, int64(s[i]))
		}
		parts = append(parts, g.Ints(v))
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return Concat(0, parts...)
}

// dimension is a symbol's size as an int64 tensor of shape [1].
func (g *Graph) dimension(symbol int) *Tensor {
	if symbol >= 0 {
		return g.Ints([]int64{int64(symbol)})
	}
	for _, in := range g.inputs {
		if i := slices.Index(in.Shape(), symbol); i >= 0 {
			return one("Shape", Attrs{"start": i, "end": i + 1}, in)
		}
	}
	switch s := g.symbols[-symbol-1]; {
	case s.terms != nil:
		return Add(g.dimension(s.terms[0]), g.dimension(s.terms[1]))
	case s.factors != nil:
		return Mul(g.dimension(s.factors[0]), g.dimension(s.factors[1]))
	}
	g.fail("no input has the dimension %s", g.formatDim(symbol))
	return nil
}

// dimensionScalar is a size as an int64 scalar.
func (g *Graph) dimensionScalar(size int) *Tensor {
	if size >= 0 {
		return g.Scalar(Int64, float64(size))
	}
	return Reshape(g.dimension(size))
}

var _ = register(&Op{
	Name: "Shape", NoGrad: "sizes are whole numbers",
	Infer: func(_ *Graph, n *Node) []Type {
		return []Type{{Int64, Shape{n.Attrs.int("end") - n.Attrs.int("start")}}}
	},
})

var _ = register(&Op{
	Name: "Transpose",
	Infer: func(_ *Graph, n *Node) []Type {
		perm, s := n.Attrs.ints("perm"), make(Shape, n.In[0].Rank())
		for i, p := range perm {
			s[i] = n.In[0].Dim(p)
		}
		return []Type{{n.In[0].DType(), s}}
	},
	Grad: func(_ *Graph, n *Node, dy []*Tensor) []*Tensor {
		perm := n.Attrs.ints("perm")
		inverse := make([]int, len(perm))
		for i, p := range perm {
			inverse[p] = i
		}
		return []*Tensor{Transpose(dy[0], inverse...)}
	},
})

// Transpose permutes dimensions: result dimension i is x's dimension perm[i].
// Transposes of transposes are one.
func Transpose(x *Tensor, perm ...int) *Tensor {
	if len(perm) != x.Rank() {
		x.g.fail("Transpose: permutation %v of %s", perm, x)
	}
	for i, p := range slices.Sorted(slices.Values(perm)) {
		if p != i {
			x.g.fail("Transpose: %v is no permutation", perm)
		}
	}
	if x.node != nil && x.node.Op.Name == "Transpose" {
		first := x.node.Attrs.ints("perm")
		both := make([]int, len(perm))
		for i, p := range perm {
			both[i] = first[p]
		}
		return Transpose(x.node.In[0], both...)
	}
	if slices.IsSorted(perm) {
		return x
	}
	return one("Transpose", Attrs{"perm": slices.Clone(perm)}, x)
}

// SwapLast exchanges the last two dimensions.
func SwapLast(x *Tensor) *Tensor {
	x.g.wantAxis("SwapLast", x, x.Rank()-2)
	perm := make([]int, x.Rank())
	for i := range perm {
		perm[i] = i
	}
	n := len(perm)
	perm[n-1], perm[n-2] = n-2, n-1
	return Transpose(x, perm...)
}

var _ = register(&Op{
	Name: "Concat",
	Infer: func(g *Graph, n *Node) []Type {
		axis, s := n.Attrs.int("axis"), slices.Clone(n.In[0].Shape())
		g.wantAxis("Concat", n.In[0], axis)
		for _, t := range n.In[1:] {
			g.same("Concat", n.In[0], t)
			g.wantRank("Concat", t, len(s))
			for i := range s {
				if i != axis && s[i] != t.Dim(i) {
					g.fail("Concat along axis %d: %s and %s", axis, n.In[0], t)
				}
			}
			s[axis] = g.Sum(s[axis], t.Dim(axis))
		}
		return []Type{{n.In[0].DType(), s}}
	},
	Grad: func(_ *Graph, n *Node, dy []*Tensor) []*Tensor {
		axis := n.Attrs.int("axis")
		sizes := make([]int, len(n.In))
		for i, t := range n.In {
			sizes[i] = t.Dim(axis)
		}
		return Split(dy[0], axis, sizes...)
	},
})

// Concat joins tensors along an axis; one alone is itself.
func Concat(axis int, in ...*Tensor) *Tensor {
	if len(in) == 1 {
		return in[0]
	}
	return one("Concat", Attrs{"axis": axis}, in...)
}

var _ = register(&Op{
	Name: "Split", // inputs x, sizes (int64)
	Infer: func(g *Graph, n *Node) []Type {
		axis, sum, types := n.Attrs.int("axis"), 0, []Type(nil)
		g.wantAxis("Split", n.In[0], axis)
		for _, size := range n.Attrs.ints("_sizes") {
			s := slices.Clone(n.In[0].Shape())
			s[axis] = size
			sum += size
			types = append(types, Type{n.In[0].DType(), s})
		}
		if sum != n.In[0].Dim(axis) || slices.Min(append(n.Attrs.ints("_sizes"), sum)) < 1 {
			g.fail("Split: sizes %v do not add up to axis %d of %s", n.Attrs.ints("_sizes"), axis, n.In[0])
		}
		return types
	},
	Grad: func(g *Graph, n *Node, dy []*Tensor) []*Tensor {
		for i, d := range dy {
			if d == nil {
				dy[i] = g.Fill(n.Out[i].DType(), 0, n.Out[i].Shape()...)
			}
		}
		return []*Tensor{Concat(n.Attrs.int("axis"), dy...), nil}
	},
})

// Split cuts x along an axis into pieces of the given sizes.
func Split(x *Tensor, axis int, sizes ...int) []*Tensor {
	if len(sizes) == 1 && sizes[0] == x.Dim(axis) {
		return []*Tensor{x}
	}
	v := make([]int64, len(sizes))
	for i, s := range sizes {
		v[i] = int64(s)
	}
	return x.g.apply("Split", Attrs{"axis": axis, "_sizes": slices.Clone(sizes)}, x, x.g.Ints(v))
}

var _ = register(&Op{
	Name: "Slice", // inputs x, starts, ends, axes (int64): a stretch along one axis
	Infer: func(_ *Graph, n *Node) []Type {
		s := slices.Clone(n.In[0].Shape())
		s[n.Attrs.int("_axis")] = n.Attrs.int("_size")
		return []Type{{n.In[0].DType(), s}}
	},
	Grad: func(g *Graph, n *Node, dy []*Tensor) []*Tensor {
		axis, size := n.Attrs.int("_axis"), n.Attrs.int("_size")
		whole, from := n.In[0].Shape(), n.Attrs.int("_from")
		if size < 0 || whole[axis] < 0 {
			g.fail("the gradient of %s needs sizes that are known before the graph runs", n)
		}
		var parts []*Tensor
		zeros := func(size int) {
			if size > 0 {
				shape := slices.Clone(whole)
				shape[axis] = size
				parts = append(parts, g.Fill(dy[0].DType(), 0, shape...))
			}
		}
		zeros(from)
		parts = append(parts, dy[0])
		zeros(whole[axis] - from - size)
		return []*Tensor{Concat(axis, parts...), nil, nil, nil}
	},
})

// stretch is size entries of x along an axis, from one on; static sizes.
func stretch(x *Tensor, axis, from, size int) *Tensor {
	if from == 0 {
		return First(x, axis, size)
	}
	g := x.g
	if size < 1 || from+size > x.Dim(axis) {
		g.fail("entries %d to %d of axis %d of %s", from, from+size, axis, x)
	}
	return one("Slice", Attrs{"_axis": axis, "_from": from, "_size": size}, x,
		g.Ints([]int64{int64(from)}), g.Ints([]int64{int64(from + size)}), g.Ints([]int64{int64(axis)}))
}

// First is the first size entries of x along an axis.
func First(x *Tensor, axis, size int) *Tensor {
	x.g.wantAxis("First", x, axis)
	if x.Dim(axis) == size {
		return x
	}
	if size == 0 || size > x.Dim(axis) && x.Dim(axis) >= 0 {
		x.g.fail("First: %d entries of axis %d of %s", size, axis, x)
	}
	return one("Slice", Attrs{"_axis": axis, "_size": size}, x, x.g.Ints([]int64{0}), x.g.dimension(size), x.g.Ints([]int64{int64(axis)}))
}

var _ = register(&Op{
	Name: "Unsqueeze", // inputs x, axes (int64)
	Infer: func(_ *Graph, n *Node) []Type {
		return []Type{{n.In[0].DType(), slices.Insert(slices.Clone(n.In[0].Shape()), n.Attrs.int("_axis"), 1)}}
	},
	Grad: func(_ *Graph, n *Node, dy []*Tensor) []*Tensor {
		return []*Tensor{Reshape(dy[0], n.In[0].Shape()...), nil}
	},
})

// Unsqueeze inserts a dimension of size one.
func Unsqueeze(x *Tensor, axis int) *Tensor {
	if axis < 0 || axis > x.Rank() {
		x.g.fail("Unsqueeze: %s has no place for a dimension at %d", x, axis)
	}
	return one("Unsqueeze", Attrs{"_axis": axis}, x, x.g.Ints([]int64{int64(axis)}))
}

var _ = register(&Op{
	Name: "Range", NoGrad: "positions are whole numbers", // inputs start, limit, delta: scalars
	Infer: func(_ *Graph, n *Node) []Type { return []Type{{n.In[0].DType(), Shape{n.Attrs.int("_size")}}} },
})

// maxIota is the largest row of numbers that is written into a file as a constant.
const maxIota = 4096

// Iota is 0, 1, …, size−1 as int64 [size].
func (g *Graph) Iota(size int) *Tensor {
	if size >= 0 && size <= maxIota {
		v := make([]int64, size)
		for i := range v {
			v[i] = int64(i)
		}
		return g.Ints(v)
	}
	limit := Reshape(g.dimension(size))
	return one("Range", Attrs{"_size": size}, g.Scalar(Int64, 0), limit, g.Scalar(Int64, 1))
}

var _ = register(&Op{
	Name: "Gather", // inputs x, indices: entries along axis 0
	Infer: func(g *Graph, n *Node) []Type {
		return []Type{{n.In[0].DType(), append(slices.Clone(n.In[1].Shape()), n.In[0].Shape()[1:]...)}}
	},
	NoGrad: "Embedding is the operator with a gradient",
})

var _ = register(&Op{
	Name: "GatherElements", // inputs x [N,V], indices [N,1]: along axis 1
	Infer: func(_ *Graph, n *Node) []Type {
		return []Type{{n.In[0].DType(), n.In[1].Shape()}}
	},
	NoGrad: "LossHead is the operator with a gradient",
})

var _ = register(&Op{
	Name: "ScatterElements", // inputs data, indices, updates; reduction add
	Infer: func(g *Graph, n *Node) []Type {
		if !n.In[1].Shape().Equal(n.In[2].Shape()) {
			g.fail("ScatterElements: indices %s and updates %s", n.In[1], n.In[2])
		}
		return []Type{n.In[0].typ}
	},
	NoGrad: "only gradients use it",
})

var _ = register(&Op{
	Name: "Expand", // inputs x, shape (int64)
	Infer: func(_ *Graph, n *Node) []Type {
		return []Type{{n.In[0].DType(), Shape(n.Attrs.ints("_shape"))}}
	},
	Grad: func(_ *Graph, n *Node, dy []*Tensor) []*Tensor { return []*Tensor{dy[0], nil} },
})

// Expand broadcasts x to a shape.
func Expand(x *Tensor, shape ...int) *Tensor {
	if x.Shape().Equal(shape) {
		return x
	}
	x.g.wantSizes("Expand", shape)
	if !x.Shape().spreadsTo(shape) {
		x.g.fail("Expand: %s does not broadcast to %s", x, x.g.formatShape(shape))
	}
	return one("Expand", Attrs{"_shape": slices.Clone(shape)}, x, x.g.shapeTensor(shape, false))
}
