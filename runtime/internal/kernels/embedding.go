package kernels

func init() {
	planners["EmbeddingLookup"] = planEmbeddingLookup
	planners["EmbeddingSum"] = planEmbeddingSum
}

func embeddingDefines(t, result Type, vec int) []string {
	return []string{define("TYPE", t.C()), define("RESULT", result.C()), define("VEC", vec)}
}

// planEmbeddingLookup: inputs ids int64 [N], table [V,D], positions [S,D] (optional); attribute scale (1); output y [N,D] =
// (table[ids[n]] + positions[n mod S])·scale, of the table's type or bfloat16.
func planEmbeddingLookup(n Node) (Plan, error) {
	c := check{n: n}
	ids := c.in(0, "ids", anyShape, Int64)
	table, rows, columns := c.matrix(1, "table", Float32, BFloat16)
	c.out(0, "y", anyShape, table.Type, BFloat16)
	c.outputs(1)
	period := 1
	if n.Has(2) {
		var s int
		_, period, s = c.matrix(2, "positions", table.Type)
		if s != columns {
			c.fail("input 2 (positions) is %v, wanted rows of %d", n.In[2].Shape, columns)
		}
	}
	if c.err == nil && (n.Out[0].Last() != columns || n.Out[0].Rows() != ids.Elements()) {
		c.fail("output 0 (y) is %v, wanted a row of %d for each of ids %v", n.Out[0].Shape, columns, ids.Shape)
	}
	c.fit32("rows of the table", rows)
	if c.err != nil {
		return Plan{}, c.err
	}
	vec := max(table.Type.pack(), n.Out[0].Type.pack())
	if columns%vec != 0 {
		vec = 1
	}
	scale, ok := n.Floats["scale"]
	if !ok {
		scale = 1
	}
	threads := ids.Elements() * (columns / vec)
	c.fit32("accesses", threads)
	if c.err != nil {
		return Plan{}, c.err
	}
	return Plan{Steps: []Step{Launch{Source: "embedding.cu", Defines: embeddingDefines(table.Type, n.Out[0].Type, vec), Kernel: "embedding_lookup",
		Grid: [3]int{ceil(threads, 256)}, Block: [3]int{256},
		Args: []Arg{In(0), In(1), n.optional(2), Out(0), Int(ids.Elements()), Int(rows), Int(columns), Int(period), Float(scale)}}}}, nil
}

// own is the rows of the table that a block of embedding_sum_ordered has.
const own = 16

// planEmbeddingSum: inputs ids int64 [N], dy [N,D], addend float32 [V,D] (optional); attributes rows, V, and deterministic;
// output float32 [V,D] = addend + the rows of dy summed by their number. Unless deterministic the order of the sums is not
// fixed.
func planEmbeddingSum(n Node) (Plan, error) {
	c := check{n: n}
	ids := c.in(0, "ids", anyShape, Int64)
	dy, count, columns := c.matrix(1, "dy", Float32, BFloat16)
	rows := n.Ints["rows"]
	c.may(2, "addend", []int{rows, columns}, Float32)
	c.out(0, "sums", []int{rows, columns}, Float32)
	c.outputs(1)
	if c.err == nil && ids.Elements() != count {
		c.fail("ids %v for rows %v", ids.Shape, dy.Shape)
	}
	vec := dy.Type.vec(columns)
	c.fit32("accesses", count*(columns/vec))
	if c.err != nil {
		return Plan{}, c.err
	}
	args := []Arg{Int(count), Int(rows), Int(columns)}
	if n.Ints["deterministic"] != 0 {
		threads := min(128, 512/vec, Round(ceil(columns, vec), 32))
		return Plan{Steps: []Step{Launch{Source: "embedding.cu", Defines: embeddingDefines(dy.Type, Float32, vec), Kernel: "embedding_sum_ordered",
			Grid: [3]int{ceil(rows, own), ceil(columns, threads*vec)}, Block: [3]int{threads}, Shared: own * threads * vec * 4,
			Args: append([]Arg{In(0), In(1), n.optional(2), Out(0)}, args...)}}}, nil
	}
	var first Step = Zero{At: Out(0), Bytes: rows * columns * 4}
	if n.Has(2) {
		first = Copy{From: In(2), To: Out(0), Bytes: rows * columns * 4}
	}
	return Plan{Steps: []Step{first, Launch{Source: "embedding.cu", Defines: embeddingDefines(dy.Type, Float32, vec), Kernel: "embedding_sum",
		Grid: [3]int{ceil(count*(columns/vec), 256)}, Block: [3]int{256}, Args: append([]Arg{In(0), In(1), Out(0)}, args...)}}}, nil
}
