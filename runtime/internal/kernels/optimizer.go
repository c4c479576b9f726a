package kernels

func init() { planners["AdamWStep"] = planAdamW }

// planAdamW: inputs p, m, v, grad float32 [n], then the scalars scale, beta1, beta2, new1, new2, rate, eps float32, finite
// bool and keep float32; attribute decay; outputs p, m, v, which may lie in the inputs' memory, and, if wanted, p in bfloat16.
func planAdamW(n Node) (Plan, error) {
	c := check{n: n}
	p := c.in(0, "p", anyShape, Float32)
	for i, name := range []string{"p", "m", "v", "grad"} {
		c.in(i, name, p.Shape, Float32)
		if i < 3 {
			c.out(i, name, p.Shape, Float32)
		}
	}
	args := []Arg{In(0), In(1), In(2), In(3)}
	for i, name := range []string{"scale", "beta1", "beta2", "new1", "new2", "rate", "eps", "finite", "keep"} {
		t := Float32
		if name == "finite" {
			t = Bool
		}
		if s := c.in(4+i, name, anyShape, t); c.err == nil && s.Elements() != 1 {
			c.fail("input %d (%s) is %v, wanted a scalar", 4+i, name, s.Shape)
		}
		args = append(args, In(4+i))
	}
	half := null
	if n.gives(3) {
		c.out(3, "p in bfloat16", p.Shape, BFloat16)
		half = Out(3)
	}
	c.outputs(4)
	if c.err != nil {
		return Plan{}, c.err
	}
	decay := 0
	if n.Ints["decay"] != 0 {
		decay = 1
	}
	args = append(args, Out(0), Out(1), Out(2), half, Long(p.Elements()))
	return Plan{Steps: []Step{elementwise("optimizer.cu", "adamw_step", []string{define("DECAY", decay)}, p.Elements(), 4, args...)}}, nil
}
