package graphgen

// Elementwise operators of ai.onnx. Binary ones broadcast as NumPy does; the driver
// sums a gradient down to the shape of a broadcast input, so the rules here ignore it.

func binaryOp(name string, grad func(a, b, y, dy *Tensor) (da, db *Tensor)) *Op {
	return register(&Op{
		Name: name, Elementwise: true,
		Infer: func(g *Graph, n *Node) []Type {
			a, b := n.In[0], n.In[1]
			return []Type{{g.same(name, a, b), g.broadcast(name, a.Shape(), b.Shape())}}
		},
		Grad: func(_ *Graph, n *Node, dy []*Tensor) []*Tensor {
			da, db := grad(n.In[0], n.In[1], n.Out[0], dy[0])
			return []*Tensor{da, db}
		},
	})
}

func unaryOp(name string, grad func(x, y, dy *Tensor) *Tensor) *Op {
	return register(&Op{
		Name: name, Elementwise: true,
		Infer: func(_ *Graph, n *Node) []Type { return []Type{n.In[0].typ} },
		Grad: func(_ *Graph, n *Node, dy []*Tensor) []*Tensor {
			return []*Tensor{grad(n.In[0], n.Out[0], dy[0])}
		},
	})
}

func compareOp(name string) *Op {
	return register(&Op{
		Name: name, Elementwise: true, NoGrad: "the result is a truth value",
		Infer: func(g *Graph, n *Node) []Type {
			g.same(name, n.In[0], n.In[1])
			return []Type{{Bool, g.broadcast(name, n.In[0].Shape(), n.In[1].Shape())}}
		},
	})
}

var (
	_ = binaryOp("Add", func(_, _, _, dy *Tensor) (*Tensor, *Tensor) { return dy, dy })
	_ = binaryOp("Sub", func(_, _, _, dy *Tensor) (*Tensor, *Tensor) { return dy, Neg(dy) })
	_ = binaryOp("Mul", func(a, b, _, dy *Tensor) (*Tensor, *Tensor) { return Mul(dy, b), Mul(dy, a) })
	_ = binaryOp("Div", func(_, b, y, dy *Tensor) (*Tensor, *Tensor) {
		da := Div(dy, b)
		return da, Neg(Mul(da, y))
	})
	_ = binaryOp("Max", func(a, b, _, dy *Tensor) (*Tensor, *Tensor) { return routed(dy, Greater(a, b)) })
	_ = binaryOp("Min", func(a, b, _, dy *Tensor) (*Tensor, *Tensor) { return routed(dy, Less(a, b)) })

	_ = unaryOp("Neg", func(_, _, dy *Tensor) *Tensor { return Neg(dy) })
	_ = unaryOp("Exp", func(_, y, dy *Tensor) *Tensor { return Mul(dy, y) })
	_ = unaryOp("Log", func(x, _, dy *Tensor) *Tensor { return Div(dy, x) })
	_ = unaryOp("Sqrt", func(_, y, dy *Tensor) *Tensor { return Div(dy, Scale(y, 2)) })
	_ = unaryOp("Tanh", func(_, y, dy *Tensor) *Tensor { return Mul(dy, OneMinus(Mul(y, y))) })
	_ = unaryOp("Sigmoid", func(_, y, dy *Tensor) *Tensor { return Mul(dy, Mul(y, OneMinus(y))) })
	_ = unaryOp("Relu", func(x, _, dy *Tensor) *Tensor { return Where(positive(x), dy, x.like(0)) })
	_ = unaryOp("Sin", func(x, _, dy *Tensor) *Tensor { return Mul(dy, one("Cos", nil, x)) })
	_ = unaryOp("Cos", func(x, _, dy *Tensor) *Tensor { return Neg(Mul(dy, one("Sin", nil, x))) })
	_ = unaryOp("Erf", func(x, _, dy *Tensor) *Tensor {
		return Mul(dy, Scale(Exp(Neg(Mul(x, x))), 1.1283791670955126)) // 2/√π
	})
	_ = unaryOp("Identity", func(_, _, dy *Tensor) *Tensor { return dy })

	_ = compareOp("Less")
	_ = compareOp("LessOrEqual")
	_ = compareOp("Greater")
	_ = compareOp("Equal")
	_ = compareOp("GreaterOrEqual")
)

var _ = register(&Op{
	Name: "Sum", Elementwise: true, NoGrad: "only a rewrite of additions makes it", // any number of inputs of one shape
	Infer: func(g *Graph, n *Node) []Type {
		for _, t := range n.In[1:] {
			if !t.Shape().Equal(n.In[0].Shape()) {
				g.fail("Sum: shapes of %s and %s differ", n.In[0], t)
			}
		}
		return []Type{{g.same("Sum", n.In...), n.In[0].Shape()}}
	},
})

// routed sends a gradient to a where first holds, else to b (all of it to b at a tie).
func routed(dy, first *Tensor) (da, db *Tensor) {
	zero := dy.like(0)
	return Where(first, dy, zero), Where(first, zero, dy)
}

var _ = register(&Op{
	Name: "Mod", Elementwise: true, NoGrad: "only whole numbers use it", // the result has the sign of the divisor
	Infer: func(g *Graph, n *Node) []Type {
		if d := g.same("Mod", n.In...); d != Int64 && d != Int32 {
			g.fail("Mod: %s and %s, wanted whole numbers", n.In[0], n.In[1])
		}
		return []Type{{n.In[0].DType(), g.broadcast("Mod", n.In[0].Shape(), n.In[1].Shape())}}
	},
})

func logicOp(name string) *Op {
	return register(&Op{
		Name: name, Elementwise: true, NoGrad: "the result is a truth value",
		Infer: func(g *Graph, n *Node) []Type {
			if d := g.same(name, n.In...); d != Bool {
				g.fail("%s: %s and %s, wanted bool", name, n.In[0], n.In[1])
			}
			return []Type{{Bool, g.broadcast(name, n.In[0].Shape(), n.In[1].Shape())}}
		},
	})
}

var (
	_ = logicOp("And")
	_ = logicOp("Or")
)

var _ = register(&Op{
	Name: "Where", Elementwise: true,
	Infer: func(g *Graph, n *Node) []Type {
		c, a, b := n.In[0], n.In[1], n.In[2]
		if c.DType() != Bool {
			g.fail("Where: the condition is %s, wanted bool", c)
		}
		s := g.broadcast("Where", a.Shape(), b.Shape())
		return []Type{{g.same("Where", a, b), g.broadcast("Where", c.Shape(), s)}}
	},
	Grad: func(_ *Graph, n *Node, dy []*Tensor) []*Tensor {
		da, db := routed(dy[0], n.In[0])
		return []*Tensor{nil, da, db}
	},
})

var _ = register(&Op{
	Name: "Cast", Elementwise: true,
	Infer: func(_ *Graph, n *Node) []Type { return []Type{{n.Attrs["to"].(DType), n.In[0].Shape()}} },
	Grad: func(_ *Graph, n *Node, dy []*Tensor) []*Tensor {
		if !n.In[0].DType().Float() {
			return []*Tensor{nil}
		}
		return []*Tensor{Cast(dy[0], n.In[0].DType())}
	},
})

// like is a scalar constant of t's element type.
func (t *Tensor) like(v float64) *Tensor { return t.g.Scalar(t.DType(), v) }

// isConst reports whether t is a constant filled with v.
func isConst(t *Tensor, v float64) bool {
	if t == nil {
		return false
	}
	s, ok := t.value.splat()
	return ok && s == v
}

// neutral reports whether other is a constant filled with v that leaves the type of x as
// it is, so that an operator to which v is neutral may return x.
func neutral(x, other *Tensor, v float64) bool {
	return x != nil && isConst(other, v) && other.DType() == x.DType() && other.Shape().spreadsTo(x.Shape())
}

// Add is a + b; adding zero is free.
func Add(a, b *Tensor) *Tensor {
	if neutral(a, b, 0) {
		return a
	}
	if neutral(b, a, 0) {
		return b
	}
	return one("Add", nil, a, b)
}

// Sub is a − b.
func Sub(a, b *Tensor) *Tensor {
	if neutral(a, b, 0) {
		return a
	}
	return one("Sub", nil, a, b)
}

// Mul is a · b, elementwise; multiplying by one is free.
func Mul(a, b *Tensor) *Tensor {
	if neutral(a, b, 1) {
		return a
	}
	if neutral(b, a, 1) {
		return b
	}
	return one("Mul", nil, a, b)
}

// Div is a / b.
func Div(a, b *Tensor) *Tensor {
	if neutral(a, b, 1) {
		return a
	}
	return one("Div", nil, a, b)
}

// Scale is c · x.
func Scale(x *Tensor, c float64) *Tensor { return Mul(x, x.like(c)) }

// Shift is x + c.
func Shift(x *Tensor, c float64) *Tensor { return Add(x, x.like(c)) }

// OneMinus is 1 − x.
func OneMinus(x *Tensor) *Tensor { return Sub(x.like(1), x) }

// Max is the larger of a and b, elementwise.
func Max(a, b *Tensor) *Tensor { return one("Max", nil, a, b) }

// Min is the smaller of a and b, elementwise.
func Min(a, b *Tensor) *Tensor { return one("Min", nil, a, b) }

// Neg is −x; twice is free.
func Neg(x *Tensor) *Tensor {
	if x.node != nil && x.node.Op.Name == "Neg" {
		return x.node.In[0]
	}
	return one("Neg", nil, x)
}

// Exp is eˣ.
func Exp(x *Tensor) *Tensor { return one("Exp", nil, x) }

// Log is the natural logarithm.
func Log(x *Tensor) *Tensor { return one("Log", nil, x) }

// Sqrt is the square root.
func Sqrt(x *Tensor) *Tensor { return one("Sqrt", nil, x) }

// Tanh is the hyperbolic tangent.
func Tanh(x *Tensor) *Tensor { return one("Tanh", nil, x) }

// Sigmoid is 1/(1+e⁻ˣ).
func Sigmoid(x *Tensor) *Tensor { return one("Sigmoid", nil, x) }

// Relu is max(x, 0).
func Relu(x *Tensor) *Tensor { return one("Relu", nil, x) }

// Erf is the error function.
func Erf(x *Tensor) *Tensor { return one("Erf", nil, x) }

// Identity copies x; it keeps a graph input from being directly a graph output.
func Identity(x *Tensor) *Tensor { return one("Identity", nil, x) }

// Less is a < b.
func Less(a, b *Tensor) *Tensor { return one("Less", nil, a, b) }

// LessOrEqual is a ≤ b.
func LessOrEqual(a, b *Tensor) *Tensor { return one("LessOrEqual", nil, a, b) }

// Greater is a > b.
func Greater(a, b *Tensor) *Tensor { return one("Greater", nil, a, b) }

// GreaterOrEqual is a ≥ b.
func GreaterOrEqual(a, b *Tensor) *Tensor { return one("GreaterOrEqual", nil, a, b) }

// Equal is a = b.
func Equal(a, b *Tensor) *Tensor { return one("Equal", nil, a, b) }

// And is the conjunction of two truth values.
func And(a, b *Tensor) *Tensor { return one("And", nil, a, b) }

// Or is the disjunction of two truth values.
func Or(a, b *Tensor) *Tensor { return one("Or", nil, a, b) }

// Where is a where the condition holds and b elsewhere.
func Where(cond, a, b *Tensor) *Tensor { return one("Where", nil, cond, a, b) }

// Cast converts the element type; to its own type is free, as is the way back from
// float32 to the narrower type that it was and the conversion of a floating-point constant.
func Cast(x *Tensor, to DType) *Tensor {
	if x.DType() == to {
		return x
	}
	if x.value != nil && x.DType().Float() && to.Float() {
		return x.g.constant(Type{to, x.Shape()}, x.value)
	}
	if n := x.node; n != nil && n.Op.Name == "Cast" && n.In[0].DType() == to && to.narrow() && x.DType() == Float32 {
		return n.In[0]
	}
	return one("Cast", Attrs{"to": to}, x)
}

// Mod is the remainder of a / b, both whole numbers, with the sign of b.
func Mod(a, b *Tensor) *Tensor { return one("Mod", nil, a, b) }

// Sin is the sine.
func Sin(x *Tensor) *Tensor { return one("Sin", nil, x) }

// Cos is the cosine.
func Cos(x *Tensor) *Tensor { return one("Cos", nil, x) }
