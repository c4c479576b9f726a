package kernels

func init() { planners["FusedLossHead"] = planLossHead }

// lossChunk is the bytes of logits that a chunk of rows should have. Smaller ones stay in the GPU's cache, but the table's
// gradient is read and written once a chunk: of [16384,16384] logits, chunks of 32, 64 and 128 MB took 2.08, 1.74 and 1.55 ms.
const lossChunk = 128 << 20

// lossRows is the launch for rows of logits at scratch, with their labels and losses.
func lossRows(t Type, rows, columns, pitch int, labels, losses Arg) Step {
	packs := ceil(columns, t.pack())
	threads := min(1024, Round(ceil(packs, 4), 32))
	items, kernel := ceil(packs, threads), "loss_rows"
	if items > 8 {
		threads, items, kernel = 1024, 1, "loss_long_rows"
	}
	return Launch{Source: "loss.cu", Defines: lossDefines(t, items, threads), Kernel: kernel, Grid: [3]int{rows}, Block: [3]int{threads},
		Args: []Arg{Scratch(0), labels, losses, Int(columns), Int(pitch)}}
}

func lossDefines(t Type, items, threads int) []string {
	return []string{define("TYPE", t.C()), define("ITEMS", items), define("THREADS", threads)}
}

// chunkRows is the rows of a chunk: as asked, or equal chunks of about lossChunk bytes.
func chunkRows(asked, rows, bytes int) int {
	if asked > 0 {
		return min(asked, rows)
	}
	chunks := ceil(rows*bytes, lossChunk)
	return min(rows, Round(ceil(rows, chunks), 64))
}

// planLossHead: inputs h [N,D], table [V,D], bias [V] (optional), labels int64 [N] (negative: no loss), addends float32 of
// dtable [V,D] and dbias [V] (optional); attribute rows, those of a chunk (0: chosen here); outputs loss, a float32 scalar,
// the sum of −log softmax(h·tableᵀ + bias)[label], and its gradients dh [N,D], dtable float32 [V,D] and, with a bias, dbias
// float32 [V]. Logits are there for one chunk of rows at a time, and become their gradient where they lie.
func planLossHead(n Node) (Plan, error) {
	c := check{n: n}
	h, rows, d := c.matrix(0, "h", Float32, BFloat16)
	table, vocab, _ := c.matrix(1, "table", h.Type)
	c.in(1, "table", []int{vocab, d}, h.Type)
	c.may(2, "bias", []int{vocab}, h.Type, Float32)
	c.in(3, "labels", []int{rows}, Int64)
	c.may(4, "addend of dtable", table.Shape, Float32)
	c.out(0, "loss", anyShape, Float32)
	c.out(1, "dh", h.Shape, h.Type)
	c.out(2, "dtable", table.Shape, Float32)
	if n.Has(2) {
		c.may(5, "addend of dbias", []int{vocab}, Float32)
		c.out(3, "dbias", []int{vocab}, Float32)
		c.outputs(4)
	} else {
		c.outputs(3)
		if n.Has(5) {
			c.err = c.unread(5)
		}
	}
	if asked := n.Ints["rows"]; asked < 0 {
		c.fail("chunks of %d rows", asked)
	}
	if c.err != nil {
		return Plan{}, c.err
	}
	size := h.Type.Size()
	pitch := Round(vocab, h.Type.pack())
	most := chunkRows(n.Ints["rows"], rows, pitch*size)
	losses := Round(most*pitch*size, 256)
	bias := losses + Round(rows*4, 256)
	sums := bias + Round(vocab*size, 256)
	p := Plan{Scratch: bias}

	var addedBias Arg
	switch {
	case n.Has(2) && n.In[2].Type == h.Type:
		addedBias = In(2)
	case n.Has(2):
		addedBias = Scratch(bias)
		p.Steps = append(p.Steps, Launch{Source: "loss.cu", Defines: lossDefines(h.Type, 1, 32), Kernel: "round_to", Grid: [3]int{ceil(vocab, 256)}, Block: [3]int{256},
			Args: []Arg{In(2), addedBias, Int(vocab)}})
		p.Scratch = sums
	}
	for begin := 0; begin < rows; begin += most {
		count := min(most, rows-begin)
		part := func(a Arg) Arg { return a.Plus(begin * d * size) }
		logits := Product{A: part(In(0)), B: In(1), D: Scratch(0), Bias: addedBias, TypeA: h.Type, TypeD: h.Type, M: count, N: vocab, K: d,
			LDA: d, LDB: d, LDD: pitch, TransB: true, Alpha: 1}
		dh := Product{A: Scratch(0), B: In(1), D: part(Out(1)), TypeA: h.Type, TypeD: h.Type, M: count, N: d, K: vocab,
			LDA: pitch, LDB: d, LDD: d, Alpha: 1}
		dtable := Product{A: Scratch(0), B: part(In(0)), D: Out(2), TypeA: h.Type, TypeD: Float32, M: vocab, N: d, K: count,
			LDA: pitch, LDB: d, LDD: d, TransA: true, Alpha: 1, Accumulate: begin > 0}
		addend := Out(3)
		if begin == 0 {
			addend = n.optional(5)
			if n.Has(4) {
				dtable.C = In(4)
			}
		}
		p.Steps = append(p.Steps, logits, lossRows(h.Type, count, vocab, pitch, In(3).Plus(begin*8), Scratch(losses).Plus(begin*4)), dh, dtable)
		if n.Has(2) {
			steps, scratch := columnSum(Scratch(0), h.Type, count, vocab, pitch, addend, Out(3), sums)
			p.Steps = append(p.Steps, steps...)
			p.Scratch = max(p.Scratch, sums+scratch)
		}
	}
	p.Steps = append(p.Steps, sumAll(Scratch(losses), rows, Out(0)))
	return p, nil
}
