package kernels

import "fmt"

func init() {
	planners["ColumnSum"] = planColumnSum
	planners["SumSquares"] = planSumSquares
}

// stripes is how a matrix is cut for the sums of its columns: blocks of 32 × 8 threads, each with 32 accesses' columns
// and span rows.
type stripes struct {
	across, down, span int
}

// cut leaves about so many blocks a multiprocessor.
func cut(rows, columns, vec, blocks int) stripes {
	across := ceil(columns, 32*vec)
	span := Round(ceil(rows, max(1, blocks*multiprocessors/across)), 8)
	return stripes{across, ceil(rows, span), span}
}

func (s stripes) grid() [3]int { return [3]int{s.across, s.down} }

// fold sums the columns of partial [rows, columns] into out0 and, from column split on, out1; addends may be null.
func fold(partial Arg, rows, columns, split int, addend0, out0, addend1, out1 Arg) Step {
	return Launch{Source: "sum.cu", Defines: sumDefines(Float32, 1), Kernel: "fold_columns", Grid: [3]int{ceil(columns, 32)}, Block: [3]int{32, 32},
		Args: []Arg{partial, Int(rows), Int(columns), Int(split), addend0, out0, addend1, out1}}
}

func sumDefines(t Type, vec int) []string { return []string{define("TYPE", t.C()), define("VEC", vec)} }

// columnSum sums the columns of x [rows, pitch], of which the first count, with partial sums at scratch. The addend may be
// null, or the output. Scratch is the bytes that it takes.
func columnSum(x Arg, t Type, rows, columns, pitch int, addend, out Arg, at int) (steps []Step, scratch int) {
	vec := 1
	if columns%t.pack() == 0 {
		vec = t.vec(pitch)
	}
	s := cut(rows, columns, vec, 3)
	launch := func(addend, out Arg) Step {
		return Launch{Source: "sum.cu", Defines: sumDefines(t, vec), Kernel: "column_sum", Grid: s.grid(), Block: [3]int{32, 8},
			Args: []Arg{x, addend, out, Int(rows), Int(columns), Int(pitch), Int(s.span)}}
	}
	if s.down == 1 {
		return []Step{launch(addend, out)}, 0
	}
	return []Step{launch(null, Scratch(at)), fold(Scratch(at), s.down, columns, columns, addend, out, null, null)}, s.down * columns * 4
}

// planColumnSum: inputs x [N,C], addend float32 [C] (optional); output float32 [C]. The order of the sum is fixed.
func planColumnSum(n Node) (Plan, error) {
	c := check{n: n}
	x, rows, columns := c.matrix(0, "x", Float32, BFloat16)
	c.may(1, "addend", []int{columns}, Float32)
	c.out(0, "sums", []int{columns}, Float32)
	c.outputs(1)
	c.fit32("rows", rows)
	c.fit32("columns", columns)
	if c.err != nil {
		return Plan{}, c.err
	}
	steps, scratch := columnSum(In(0), x.Type, rows, columns, columns, n.optional(1), Out(0), 0)
	return Plan{Steps: steps, Scratch: scratch}, nil
}

// planSumSquares: x float32 [n] gives a scalar, in a fixed order: 4 squares at a time in each thread, threads by pairs,
// blocks by pairs.
func planSumSquares(n Node) (Plan, error) {
	c := check{n: n}
	x := c.in(0, "x", anyShape, Float32)
	c.out(0, "sum", anyShape, Float32)
	if c.err == nil && n.Out[0].Elements() != 1 {
		c.fail("output 0 (sum) is %v, wanted a scalar", n.Out[0].Shape)
	}
	if c.err != nil {
		return Plan{}, c.err
	}
	count := x.Elements()
	blocks := min(8*multiprocessors, ceil(count, 4*512))
	return Plan{Steps: []Step{
		Launch{Source: "sum.cu", Defines: sumDefines(Float32, 1), Kernel: "square_sums", Grid: [3]int{blocks}, Block: [3]int{512},
			Args: []Arg{In(0), Long(count), Scratch(0)}},
		sumAll(Scratch(0), blocks, Out(0)),
	}, Scratch: blocks * 4}, nil
}

// sumAll is the sum of count floats, by one block.
func sumAll(x Arg, count int, out Arg) Step {
	return Launch{Source: "sum.cu", Defines: sumDefines(Float32, 1), Kernel: "sum_all", Grid: [3]int{1}, Block: [3]int{1024}, Args: []Arg{x, Int(count), out}}
}

// wantKind refuses names that are not in the list.
func wantKind(kind string, kinds []string) error {
	for _, k := range kinds {
		if k == kind {
			return nil
		}
	}
	return fmt.Errorf("kind %q is not one of %v", kind, kinds)
}
