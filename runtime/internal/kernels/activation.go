package kernels

func init() {
	planners["Activate"] = planActivate
	planners["ActivateGrad"] = planActivateGrad
	planners["Gate"] = planGate
	planners["GateGrad"] = planGateGrad
}

// activations are the kinds that activation.cu has.
var activations = []string{"relu", "squared_relu", "gelu_tanh", "gelu", "silu", "sigmoid", "tanh", "identity"}

func activationDefines(t Type, vec int, kind string) []string {
	return []string{define("TYPE", t.C()), define("VEC", vec), define("KIND", kind)}
}

// like wants inputs and outputs of x's type and shape.
func (c *check) like(x Tensor, inputs, outputs []string) {
	for i, name := range inputs {
		c.in(1+i, name, x.Shape, x.Type)
	}
	for i, name := range outputs {
		c.out(i, name, x.Shape, x.Type)
	}
}

// elementwise launches a thread for each pack of a tensor and for each element after the last.
func elementwise(source, kernel string, defines []string, count, vec int, args ...Arg) Launch {
	return Launch{Source: source, Defines: defines, Kernel: kernel, Grid: [3]int{ceil(count/vec+count%vec, 256)}, Block: [3]int{256}, Args: args}
}

func (c *check) activation() (x Tensor, rows, columns int, kind string) {
	x, rows, columns = c.matrix(0, "x", Float32, BFloat16)
	kind = c.n.Strings["kind"]
	if err := wantKind(kind, activations); err != nil {
		c.fail("%w", err)
	}
	if x.Elements()/4/256 > 1<<31-1 {
		c.fail("%d elements are too many", x.Elements())
	}
	return
}

// planActivate: x of any shape gives f(x); attribute kind.
func planActivate(n Node) (Plan, error) {
	c := check{n: n}
	x, _, _, kind := c.activation()
	c.like(x, nil, []string{"y"})
	c.outputs(1)
	if c.err != nil {
		return Plan{}, c.err
	}
	return Plan{Steps: []Step{elementwise("activation.cu", "activate", activationDefines(x.Type, x.Type.pack(), kind), x.Elements(), x.Type.pack(),
		In(0), Out(0), Long(x.Elements()))}}, nil
}

// planActivateGrad: inputs x, dy [N,F], addend float32 [F] (optional); attribute kind; outputs dx = dy·f'(x) [N,F] and, if
// wanted, float32 [F], the sums of its columns before it is rounded, in a fixed order, plus the addend.
func planActivateGrad(n Node) (Plan, error) {
	c := check{n: n}
	x, rows, columns, kind := c.activation()
	c.like(x, []string{"dy"}, []string{"dx"})
	c.outputs(2)
	if c.err == nil && !n.gives(1) {
		if n.Has(2) {
			return Plan{}, c.unread(2)
		}
		return Plan{Steps: []Step{elementwise("activation.cu", "activate_grad", activationDefines(x.Type, x.Type.pack(), kind), x.Elements(), x.Type.pack(),
			In(0), In(1), Out(0), Long(x.Elements()))}}, nil
	}
	c.may(2, "addend", []int{columns}, Float32)
	c.out(1, "sums", []int{columns}, Float32)
	c.fit32("rows", rows)
	if c.err != nil {
		return Plan{}, c.err
	}
	vec := x.Type.vec(columns)
	s := cut(rows, columns, vec, 12)
	return Plan{Steps: []Step{
		Launch{Source: "activation.cu", Defines: activationDefines(x.Type, vec, kind), Kernel: "activate_grad_sum", Grid: s.grid(), Block: [3]int{32, 8},
			Args: []Arg{In(0), In(1), Out(0), Scratch(0), Int(rows), Int(columns), Int(s.span)}},
		fold(Scratch(0), s.down, columns, columns, n.optional(2), Out(1), null, null),
	}, Scratch: s.down * columns * 4}, nil
}

// unread refuses an addend whose sum is not wanted.
func (c *check) unread(i int) error {
	c.fail("input %d (addend) belongs to an output that the node does not have", i)
	return c.err
}

// planGate: inputs gate, up of one shape give f(gate)·up; attribute kind.
func planGate(n Node) (Plan, error) {
	c := check{n: n}
	x, _, _, kind := c.activation()
	c.like(x, []string{"up"}, []string{"y"})
	c.outputs(1)
	if c.err != nil {
		return Plan{}, c.err
	}
	return Plan{Steps: []Step{elementwise("activation.cu", "gate", activationDefines(x.Type, x.Type.pack(), kind), x.Elements(), x.Type.pack(),
		In(0), In(1), Out(0), Long(x.Elements()))}}, nil
}

// planGateGrad: inputs gate, up, dy [N,F], addends float32 [F] of the two sums (optional); attribute kind; outputs dgate =
// dy·up·f'(gate), dup = dy·f(gate) [N,F] and, if wanted, both, the sums of their columns float32 [F] in a fixed order.
func planGateGrad(n Node) (Plan, error) {
	c := check{n: n}
	x, rows, columns, kind := c.activation()
	c.like(x, []string{"up", "dy"}, []string{"dgate", "dup"})
	c.outputs(4)
	if c.err == nil && !n.gives(2) && !n.gives(3) {
		for i := 3; i < 5; i++ {
			if n.Has(i) {
				return Plan{}, c.unread(i)
			}
		}
		return Plan{Steps: []Step{elementwise("activation.cu", "gate_grad", activationDefines(x.Type, x.Type.pack(), kind), x.Elements(), x.Type.pack(),
			In(0), In(1), In(2), Out(0), Out(1), Long(x.Elements()))}}, nil
	}
	c.may(3, "addend", []int{columns}, Float32)
	c.may(4, "addend", []int{columns}, Float32)
	c.out(2, "sums of dgate", []int{columns}, Float32)
	c.out(3, "sums of dup", []int{columns}, Float32)
	c.fit32("rows", rows)
	if c.err != nil {
		return Plan{}, c.err
	}
	vec := x.Type.vec(columns)
	s := cut(rows, columns, vec, 8)
	return Plan{Steps: []Step{
		Launch{Source: "activation.cu", Defines: activationDefines(x.Type, vec, kind), Kernel: "gate_grad_sum", Grid: s.grid(), Block: [3]int{32, 8},
			Args: []Arg{In(0), In(1), In(2), Out(0), Out(1), Scratch(0), Int(rows), Int(columns), Int(s.span)}},
		fold(Scratch(0), s.down, 2*columns, columns, n.optional(3), Out(2), n.optional(4), Out(3)),
	}, Scratch: s.down * 2 * columns * 4}, nil
}
