package kernels

func init() { planners["SoftmaxGrad"] = planSoftmaxGrad }

// planSoftmaxGrad: inputs y = softmax(x) and dy, alike; output dx alike. The softmax is over the last dimension.
func planSoftmaxGrad(n Node) (Plan, error) {
	c := check{n: n}
	y, rows, columns := c.matrix(0, "y", Float32, BFloat16)
	c.in(1, "dy", y.Shape, y.Type)
	c.out(0, "dx", y.Shape, y.Type)
	c.outputs(1)
	c.fit32("rows", rows)
	if columns > maxNormColumns {
		c.fail("rows of %d: a block keeps at most %d in registers", columns, maxNormColumns)
	}
	if c.err != nil {
		return Plan{}, c.err
	}
	l := layoutOf(y.Type, columns, 16)
	return Plan{Steps: []Step{Launch{Source: "softmax.cu", Defines: []string{define("TYPE", y.Type.C()), define("VEC", l.vec), define("ITEMS", l.items), define("LANES", l.lanes)},
		Kernel: "softmax_grad", Grid: [3]int{ceil(rows, l.groups())}, Block: [3]int{l.lanes * l.groups()},
		Args: []Arg{In(0), In(1), Out(0), Int(rows), Int(columns)}}}}, nil
}
