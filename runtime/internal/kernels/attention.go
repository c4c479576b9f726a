package kernels

import "math"

func init() {
	planners["FlashAttention"] = planFlashAttention
	planners["FlashAttentionGrad"] = planFlashAttentionGrad
}

// maxHeadSize is the largest head whose tiles and sums fit a block.
const maxHeadSize = 128

// leastShared is the shared memory that a block can have on all GPUs from Ampere on.
const leastShared = 99 << 10

// flash is an attention of B sequences as the kernels of attention.cuh see it.
type flash struct {
	batch, queries, keys     int
	heads, kvHeads, dk, dv   int
	biasHeads                int // 0: no bias
	causal, window, memory   int
	args                     []Arg // of all kernels
	vec, hasBias, hasDropout int
}

// flashAttention checks the inputs that both operators begin with: q [B·Sq,H·dk], k [B·Sk,Hkv·dk], v [B·Sk,Hkv·dv], bias [H or 1,Sq,Sk],
// lengths int64 [B], seed int64 (the last three optional); and the attributes batch, queries, keys, heads, kv_heads, causal, window,
// memory, scale and, with a seed, those of the dropout's place (dropArgs).
func (c *check) flashAttention() flash {
	ints := c.n.Ints
	f := flash{batch: ints["batch"], queries: ints["queries"], keys: ints["keys"], heads: ints["heads"], kvHeads: ints["kv_heads"],
		causal: min(1, ints["causal"]), window: ints["window"], memory: ints["memory"]}
	for _, name := range []string{"batch", "queries", "keys", "heads", "kv_heads"} {
		if ints[name] <= 0 {
			c.fail("the attribute %s is %d, wanted at least 1", name, ints[name])
		}
	}
	for _, name := range []string{"causal", "window", "memory"} {
		if ints[name] < 0 {
			c.fail("the attribute %s is %d, wanted at least 0", name, ints[name])
		}
	}
	if c.err != nil {
		return f
	}
	if f.heads%f.kvHeads != 0 {
		c.fail("%d heads do not share %d key/value heads evenly", f.heads, f.kvHeads)
	}
	if f.memory > 0 && f.keys != f.queries+f.memory {
		c.fail("%d keys, wanted those of %d queries and of a memory of %d", f.keys, f.queries, f.memory)
	}
	if tiles := ceil(max(f.queries, f.keys), 32); tiles > 65535 {
		c.fail("%d queries and %d keys: a grid has at most 65535 tiles", f.queries, f.keys)
	}
	if f.window >= f.queries { // no query is so far from the first key
		f.window = 0
	}
	q, v := c.in(0, "q", anyShape, BFloat16), c.in(2, "v", anyShape, BFloat16)
	if c.err != nil {
		return f
	}
	f.dk, f.dv = q.Last()/f.heads, v.Last()/f.kvHeads
	c.in(0, "q", []int{f.batch * f.queries, f.heads * f.dk}, BFloat16)
	c.in(1, "k", []int{f.batch * f.keys, f.kvHeads * f.dk}, BFloat16)
	c.in(2, "v", []int{f.batch * f.keys, f.kvHeads * f.dv}, BFloat16)
	if f.dk > maxHeadSize || f.dv > maxHeadSize {
		c.fail("heads of %d (q, k) and %d (v): they can have at most %d", f.dk, f.dv, maxHeadSize)
	}
	if f.dk%8 == 0 && f.dv%8 == 0 {
		f.vec = 1
	}
	if c.n.Has(3) {
		f.hasBias, f.biasHeads = 1, f.heads
		if shape := c.n.In[3].Shape; len(shape) == 3 && shape[0] == 1 {
			f.biasHeads = 1
		}
		c.in(3, "bias", []int{f.biasHeads, f.queries, f.keys}, BFloat16)
	}
	c.may(4, "lengths", []int{f.batch}, Int64)
	scale := c.n.Floats["scale"]
	if math.IsNaN(scale) || math.IsInf(scale, 0) {
		c.fail("the attribute scale is %v", scale)
	}
	place := []Arg{Int(0), Int(0), Int(0), Int(0), Int(0), Int(0), Int(0), Float(1)}
	if c.n.Has(5) {
		f.hasDropout = 1
		if seed := c.in(5, "seed", anyShape, Int64); c.err == nil && seed.Elements() != 1 {
			c.fail("input 5 (seed) is %v, wanted a scalar", seed.Shape)
		}
		if elements := f.batch * f.heads * f.queries * f.keys; elements >= dropoutPrime {
			c.fail("%d probabilities: a mask has fewer than 2³¹ − 1", elements)
		}
		place = c.dropArgs()
	}
	for i := range 6 {
		f.args = append(f.args, c.n.optional(i))
	}
	for _, v := range []int{f.batch, f.queries, f.keys, f.heads, f.kvHeads, f.heads / f.kvHeads, f.dk, f.dv, f.biasHeads, f.causal, f.window, f.memory} {
		c.fit32("a size or attribute", v)
		f.args = append(f.args, Arg{Bits: uint64(uint32(v)), Size: 4})
	}
	f.args = append(append(f.args, Float(scale)), place...)
	return f
}

// tiling is how a kernel cuts its work: warps of 16 rows, tiles that they walk over, columns worked on at once, and blocks that
// share a multiprocessor (their registers are limited so that they can).
type tiling struct{ warps, tile, chunk, blocks int }

// tilings are the quickest measured on an H100, by kernel, for heads of at most 32, 64 and 128.
var tilings = map[string][3]tiling{
	"attention_forward": {{4, 64, 64, 6}, {4, 64, 64, 5}, {8, 64, 64, 2}},
	"attention_dq":      {{4, 128, 64, 4}, {4, 64, 64, 4}, {4, 32, 32, 3}},
	"attention_dkdv":    {{4, 128, 32, 5}, {4, 64, 64, 3}, {4, 64, 64, 1}},
	"attention_dbias":   {{4, 64, 64, 2}, {4, 64, 64, 2}, {4, 32, 32, 1}},
	"attention_grad":    {{8, 64, 32, 2}, {8, 64, 32, 2}, {8, 64, 64, 1}},
}

// tiling is that of a kernel. Bias and dropout need more registers.
func (f flash) tiling(kernel string, d int) tiling {
	t := tilings[kernel][0]
	if d > 64 {
		t = tilings[kernel][2]
	} else if d > 32 {
		t = tilings[kernel][1]
	}
	switch {
	case f.hasBias == 0 && f.hasDropout == 0:
	case kernel == "attention_grad" && d > 64:
		t.chunk = 32
	case kernel == "attention_grad" && d > 32:
		t.chunk, t.blocks = 64, 1
	case kernel == "attention_grad":
	default:
		t.blocks = max(1, t.blocks-1)
		if kernel == "attention_dkdv" && f.hasBias == 1 {
			t.chunk = 32
		}
	}
	return t
}

// together is how many heads go through their tiles side by side. Many balance the tiles of a causal mask, which differ in work: the
// long ones start first. Few find a head's keys and values in the cache. These were the quickest on an H100, with and without a mask.
func (f flash) together(kernel string, heads int) int {
	n := 32
	if kernel == "attention_forward" {
		n = 64
	}
	return max(min(n, f.batch*heads), ceil(f.batch*heads, 65535)) // a grid's last dimension
}

// onePass reports whether attention_grad makes the gradients of q, k and v, if the GPU has the shared memory. It does five products where two
// kernels do seven, but a block of it has all of a head, and stores the sums of dq and reads them again at each tile of 128 keys but one. So it is
// the quicker one for many heads of causal attention over at most four such tiles; it has no loop over heads that share keys.
func (f flash) onePass() bool {
	const manyHeads = 128 // about a block for each multiprocessor
	fits := func(head int) bool { return head == 32 || head == 64 || head == 128 }
	return f.vec == 1 && f.causal == 1 && f.memory == 0 && f.heads == f.kvHeads && f.batch*f.heads >= manyHeads && f.keys <= 512 &&
		fits(Round(f.dk, 16)) && fits(Round(f.dv, 16))
}

// launch is a kernel over a grid of tiles of its rows, heads and sequences.
func (f flash) launch(kernel string, rows, heads int, args ...Arg) Launch {
	d, dv := Round(f.dk, 16), Round(f.dv, 16)
	t := f.tiling(kernel, max(d, dv))
	own := t.warps * 16
	together := f.together(kernel, heads)
	l := Launch{Source: kernel + ".cu", Kernel: kernel, Block: [3]int{t.warps * 32},
		Grid: [3]int{together, ceil(rows, own), ceil(f.batch*heads, together)},
		Defines: []string{define("D", d), define("DV", dv), define("VEC", f.vec), define("BIAS", f.hasBias), define("DROPOUT", f.hasDropout),
			define("WARPS", t.warps), define("TILE", t.tile), define("CHUNK", t.chunk), define("BLOCKS", t.blocks)},
		Args: append(append([]Arg{}, f.args...), args...)}
	switch kernel {
	case "attention_forward": // queries, in whose place the result is gathered; keys and values twice
		l.Shared = 2 * (own*max(d, dv) + 2*t.tile*(d+dv))
	case "attention_dq":
		l.Shared = 2 * (own + 2*t.tile) * (d + dv)
	case "attention_dkdv": // two floats beside each query
		l.Shared = 2*(own+2*t.tile)*(d+dv) + 2*max(1024, 8*t.tile)
	case "attention_grad": // the gradients of logits; y as well, and two floats beside each query
		l.Shared = 2*own*(d+dv+t.tile) + 2*(2*t.tile*(d+2*dv)+1024)
		l.Grid = [3]int{f.batch * f.heads}
	case "attention_dbias":
		l.Shared = 2 * 2 * (own + t.tile) * (d + dv)
		l.Grid = [3]int{ceil(f.keys, t.tile), ceil(rows, own), heads}
	}
	return l
}

// planFlashAttention: inputs and attributes of flashAttention; outputs y [B·Sq,H·dv] and lse float32 [B,H,Sq], the logarithm of the sum of
// the exponentials of each query's logits, −inf where it sees no key; its y is 0 then.
func planFlashAttention(n Node) (Plan, error) {
	c := check{n: n}
	f := c.flashAttention()
	c.out(0, "y", []int{f.batch * f.queries, f.heads * f.dv}, BFloat16)
	c.out(1, "lse", []int{f.batch, f.heads, f.queries}, Float32)
	c.outputs(2)
	if c.err != nil {
		return Plan{}, c.err
	}
	p := Plan{Steps: []Step{f.launch("attention_forward", f.queries, f.heads, Out(0), Out(1))}}
	if f.streams() {
		return Plan{Steps: []Step{f.stream()}, Elsewhere: &p}, nil
	}
	return p, nil
}

// planFlashAttentionGrad: inputs of FlashAttention, 6 y, 7 lse, 8 dy; outputs dq, dk, dv as q, k, v and, with a bias, dbias float32 of its
// shape, the sum over the batch and over the heads that share it. All sums have one order: results do not vary.
// attention_stream_grad makes the first three where streamsGrad says so, else attention_grad where onePass says so and the GPU has the shared memory, else two kernels.
func planFlashAttentionGrad(n Node) (Plan, error) {
	c := check{n: n}
	f := c.flashAttention()
	y := []int{f.batch * f.queries, f.heads * f.dv}
	c.in(6, "y", y, BFloat16)
	c.in(7, "lse", []int{f.batch, f.heads, f.queries}, Float32)
	c.in(8, "dy", y, BFloat16)
	c.out(0, "dq", []int{f.batch * f.queries, f.heads * f.dk}, BFloat16)
	c.out(1, "dk", []int{f.batch * f.keys, f.kvHeads * f.dk}, BFloat16)
	c.out(2, "dv", []int{f.batch * f.keys, f.kvHeads * f.dv}, BFloat16)
	outputs := 3
	if f.hasBias == 1 {
		c.out(3, "dbias", []int{f.biasHeads, f.queries, f.keys}, Float32)
		outputs = 4
	}
	c.outputs(outputs)
	if c.err != nil {
		return Plan{}, c.err
	}
	p := Plan{Scratch: 2 * 4 * f.batch * f.heads * f.queries}
	if one := f.launch("attention_grad", f.queries, f.heads); f.onePass() && one.Shared <= max(n.Shared, leastShared) {
		sums := Round(p.Scratch, 256)
		one.Args = append(one.Args, In(6), In(7), In(8), Out(0), Out(1), Out(2), Scratch(0), Scratch(sums))
		p.Steps = append(p.Steps, one)
		p.Scratch = sums + 4*f.batch*f.heads*Round(f.queries, 64)*Round(f.dk, 16)
	} else {
		p.Steps = append(p.Steps,
			f.launch("attention_dq", f.queries, f.heads, In(6), In(7), In(8), Out(0), Scratch(0)),
			f.launch("attention_dkdv", f.keys, f.kvHeads, In(8), Scratch(0), Out(1), Out(2)))
	}
	if f.hasBias == 1 {
		p.Steps = append(p.Steps, f.launch("attention_dbias", f.queries, f.biasHeads, In(8), Scratch(0), Out(3)))
	}
	if f.streamsGrad() {
		l, size := f.streamGrad(0)
		return Plan{Steps: []Step{l}, Scratch: size, Elsewhere: &p}, nil
	}
	return p, nil
}
