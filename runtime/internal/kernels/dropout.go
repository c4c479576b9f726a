package kernels

import "fmt"

func init() {
	planners["DropoutApply"] = func(n Node) (Plan, error) { return planDropout(n, 1) }
	planners["DropoutMaskOf"] = func(n Node) (Plan, error) { return planDropout(n, 0) }
}

// dropoutPrime is 2³¹ − 1, the modulus of the mask's arithmetic.
const dropoutPrime = 1<<31 - 1

// dropArgs are the constants of a place as kernels take them: factors and terms of the key, of a and of b, and the bound
// below which an element is kept, all int attributes, then the float drop_scale.
func (c *check) dropArgs() (args []Arg) {
	for _, name := range []string{"drop_fk", "drop_tk", "drop_fa", "drop_ta", "drop_fb", "drop_tb", "drop_keep"} {
		v, ok := c.n.Ints[name]
		if !ok || v < 0 || v > dropoutPrime {
			c.fail("the attribute %s is %d, wanted a number from 0 to 2³¹ − 1", name, v)
		}
		args = append(args, Arg{Bits: uint64(v), Size: 4})
	}
	return append(args, Float(c.n.Floats["drop_scale"]))
}

// planDropout: inputs x (where there is one) and seed int64; attributes of the place. Output y = x·mask, or the mask.
func planDropout(n Node, inputs int) (Plan, error) {
	c := check{n: n}
	kernel, args := "dropout_mask", []Arg{In(inputs), Out(0)}
	if inputs > 0 {
		x := c.in(0, "x", anyShape, Float32, BFloat16)
		c.out(0, "y", x.Shape, x.Type)
		kernel, args = "dropout", []Arg{In(0), In(1), Out(0)}
	} else {
		c.out(0, "mask", anyShape, Float32, BFloat16)
	}
	c.outputs(1)
	if seed := c.in(inputs, "seed", anyShape, Int64); c.err == nil && seed.Elements() != 1 {
		c.fail("input %d (seed) is %v, wanted a scalar", inputs, seed.Shape)
	}
	place := c.dropArgs()
	if c.err != nil {
		return Plan{}, c.err
	}
	y := n.Out[0]
	count := y.Elements()
	if count >= dropoutPrime {
		return Plan{}, fmt.Errorf("%d elements: a mask has fewer than 2³¹ − 1", count)
	}
	args = append(append(args, Int(count)), place...)
	blocks := min(ceil(ceil(count, y.Type.pack()), 256), 8*multiprocessors)
	return Plan{Steps: []Step{Launch{Source: "dropout.cu", Defines: []string{define("TYPE", y.Type.C()), define("VEC", y.Type.pack())}, Kernel: kernel,
		Grid: [3]int{blocks}, Block: [3]int{256}, Args: args}}}, nil
}
