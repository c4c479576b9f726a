package kernels

func init() { planners["EmbeddingSum"] = planEmbeddingSum }

func embeddingDefines(t Type, vec int) []string {
	return []string{define("TYPE", t.C()), define("VEC", vec)}
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
		return Plan{Steps: []Step{Launch{Source: "embedding.cu", Defines: embeddingDefines(dy.Type, vec), Kernel: "embedding_sum_ordered",
			Grid: [3]int{ceil(rows, own), ceil(columns, threads*vec)}, Block: [3]int{threads}, Shared: own * threads * vec * 4,
			Args: append([]Arg{In(0), In(1), n.optional(2), Out(0)}, args...)}}}, nil
	}
	var first Step = Zero{At: Out(0), Bytes: rows * columns * 4}
	if n.Has(2) {
		first = Copy{From: In(2), To: Out(0), Bytes: rows * columns * 4}
	}
	return Plan{Steps: []Step{first, Launch{Source: "embedding.cu", Defines: embeddingDefines(dy.Type, vec), Kernel: "embedding_sum",
		Grid: [3]int{ceil(count*(columns/vec), 256)}, Block: [3]int{256}, Args: append([]Arg{In(0), In(1), Out(0)}, args...)}}}, nil
}
