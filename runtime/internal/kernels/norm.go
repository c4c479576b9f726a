package kernels

func init() {
	planners["Normalize"] = planNormalize
	planners["NormalizeGrad"] = planNormalizeGrad
}

// maxNormColumns is the longest row that a block keeps in registers.
const maxNormColumns = 8192

// rowLayout is how the threads of norm.cu lie over a row: a warp each row, eight rows a block, or a block each row.
type rowLayout struct {
	vec, items, lanes int
}

// layoutOf gives a warp rows of at most most elements a thread; longer ones get a block.
func layoutOf(t Type, columns, most int) rowLayout {
	l := rowLayout{vec: t.vec(columns)}
	accesses := ceil(columns, l.vec)
	if l.items = ceil(accesses, 32); l.items*l.vec <= most {
		l.lanes = 32
		return l
	}
	for l.items = 1; ; l.items++ {
		if l.lanes = Round(ceil(accesses, l.items), 32); l.lanes <= 1024 {
			return l
		}
	}
}

// groups is the rows that a block has at a time.
func (l rowLayout) groups() int {
	if l.lanes == 32 {
		return 8
	}
	return 1
}

func (l rowLayout) defines(x, weight Type) []string {
	return []string{define("TYPE", x.C()), define("WEIGHT", weight.C()), define("VEC", l.vec), define("ITEMS", l.items), define("LANES", l.lanes)}
}

func (c *check) norm() (x, weight Tensor, rows, columns int) {
	x, rows, columns = c.matrix(0, "x", Float32, BFloat16)
	weight = c.in(1, "weight", []int{columns}, Float32, x.Type)
	c.fit32("rows", rows)
	if columns > maxNormColumns {
		c.fail("rows of %d: a block keeps at most %d in registers", columns, maxNormColumns)
	}
	return
}

// planNormalize: inputs x [N,D], weight [D], bias [D] (optional), residual [N,D] (optional); attributes eps, rms; outputs y
// [N,D], stats float32 [N,2] (mean and 1/std, of RMS 0 and 1/rms) and, with a residual, x + residual [N,D].
func planNormalize(n Node) (Plan, error) {
	c := check{n: n}
	x, weight, rows, columns := c.norm()
	c.may(2, "bias", []int{columns}, weight.Type)
	c.may(3, "residual", x.Shape, x.Type)
	c.out(0, "y", x.Shape, x.Type)
	c.out(1, "stats", []int{rows, 2}, Float32)
	sum := null
	if n.Has(3) {
		c.out(2, "sum", x.Shape, x.Type)
		c.outputs(3)
		sum = Out(2)
	} else {
		c.outputs(2)
	}
	if c.err != nil {
		return Plan{}, c.err
	}
	l := layoutOf(x.Type, columns, 32)
	return Plan{Steps: []Step{Launch{Source: "norm.cu", Defines: l.defines(x.Type, weight.Type), Kernel: "normalize",
		Grid: [3]int{ceil(rows, l.groups())}, Block: [3]int{l.lanes * l.groups()},
		Args: []Arg{In(0), In(1), n.optional(2), n.optional(3), Out(0), Out(1), sum, Int(rows), Int(columns), Float(n.Floats["eps"]), Int(n.Ints["rms"])}}}}, nil
}

// planNormalizeGrad: inputs x [N,D] (what was normalised), weight [D], stats, dy [N,D], dresidual [N,D] (optional: added to
// dx), addends float32 [D] of dweight and dbias (optional); attribute rms; outputs dx [N,D], dweight, dbias float32 [D] (RMS:
// none). The order of the sums is fixed.
func planNormalizeGrad(n Node) (Plan, error) {
	c := check{n: n}
	x, weight, rows, columns := c.norm()
	rms := n.Ints["rms"] != 0
	c.in(2, "stats", []int{rows, 2}, Float32)
	c.in(3, "dy", x.Shape, x.Type)
	c.may(4, "dresidual", x.Shape, x.Type)
	c.may(5, "addend of dweight", []int{columns}, Float32)
	c.out(0, "dx", x.Shape, x.Type)
	c.out(1, "dweight", []int{columns}, Float32)
	sums, dbias, addend := 1, null, null
	if rms {
		c.outputs(2)
		if n.Has(6) {
			c.fail("input 6 (addend of dbias): RMS has no bias")
		}
	} else {
		c.out(2, "dbias", []int{columns}, Float32)
		c.may(6, "addend of dbias", []int{columns}, Float32)
		sums, dbias, addend = 2, Out(2), n.optional(6)
	}
	if c.err != nil {
		return Plan{}, c.err
	}
	l := layoutOf(x.Type, columns, 16)
	threads := l.lanes * l.groups()
	blocks := min(ceil(rows, l.groups()), multiprocessors*max(1, 512/threads))
	return Plan{Steps: []Step{
		Launch{Source: "norm.cu", Defines: l.defines(x.Type, weight.Type), Kernel: "normalize_grad", Grid: [3]int{blocks}, Block: [3]int{threads},
			Args: []Arg{In(0), In(1), In(2), In(3), n.optional(4), Out(0), Scratch(0), Int(rows), Int(columns), Int(n.Ints["rms"])}},
		fold(Scratch(0), blocks, sums*columns, columns, n.optional(5), Out(1), addend, dbias),
	}, Scratch: blocks * sums * columns * 4}, nil
}
