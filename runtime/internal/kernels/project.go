package kernels

// Products that share x, as kernels of product.cu: a node of one or more of them is one launch, its gradients are two.

func init() {
	planners["Projections"] = planProjections
	planners["ProjectionsGrad"] = planProjectionsGrad
}

// Numbers of product.cu.
const (
	tileRows    = 256 // of a cluster's tile
	tileColumns = 256
	sumStep     = 64 // terms of a sum that come at once
	tileThreads = 384
	tileShared  = 4*(128+256)*sumStep*2 + 2*2*sumStep*sumStep*2 + 1024 // of stages, of boxes on their way out; begun at a multiple of 1,024
	clusters    = multiprocessors / 2

	maxProjections = 3 // products that one launch takes
)

// tileEnd is about how many steps it takes to begin a tile and write it.
const tileEnd = 2.5

// projection is a product with x [M,K] and its gradients: w [K,N]. What is not there is null.
type projection struct {
	columns      int // N
	w            Arg
	y, bias      Arg // [M,N] and [N], of one type
	dy           Arg // [M,N]
	dw, db       Arg // float32 [K,N] and [N]
	addDW, addDB Arg
}

// shared are products of one x.
type shared struct {
	x    Arg
	m, k int
	list []projection
}

// leastRows and leastColumns are sizes that fill tiles well enough.
const leastRows, leastColumns = 1024, 192

// suits reports whether sizes are such. Rows start at multiples of 16 bytes then, as boxes must.
func (s shared) suits() bool {
	for _, p := range s.list {
		if p.columns%8 != 0 || p.columns < leastColumns {
			return false
		}
	}
	return s.k%8 == 0 && s.k >= leastColumns && s.m >= leastRows && s.m < 1<<24
}

// small reports whether cuBLASLt's products behind each other take longer than one launch: each of them has little to do.
func (s shared) small() bool {
	for _, p := range s.list {
		if s.k*p.columns > 1<<18 {
			return false
		}
	}
	return true
}

// across is the tiles side by side of all products.
func (s shared) across() (tiles int) {
	for _, p := range s.list {
		tiles += ceil(p.columns, tileColumns)
	}
	return tiles
}

// three gives a kernel's three arguments of what each product has.
func (s shared) three(of func(p projection) Arg, filler Arg) []Arg {
	args := []Arg{filler, filler, filler}
	for i, p := range s.list {
		args[i] = of(p)
	}
	return args
}

// weights and gradients are the factors in boxes; those that are not there are never read.
func (s shared) weights() []Arg {
	of := func(p projection) Arg { return p.w.Boxes(s.k, p.columns) }
	return s.three(of, of(s.list[0]))
}

func (s shared) gradients() []Arg {
	of := func(p projection) Arg { return p.dy.Boxes(s.m, p.columns) }
	return s.three(of, of(s.list[0]))
}

func (s shared) widths() []Arg {
	return s.three(func(p projection) Arg { return Int(p.columns) }, Int(0))
}

func (s shared) sizes() []Arg {
	return append([]Arg{Int(s.m), Int(s.k)}, s.widths()...)
}

// forward writes all y.
func (s shared) forward(out Type) Step {
	of := func(p projection) Arg { return p.y.Boxes(s.m, p.columns) } // of outputs in bfloat16; else it is not read
	args := append([]Arg{s.x.Boxes(s.m, s.k)}, s.weights()...)
	args = append(args, s.three(of, of(s.list[0]))...)
	args = append(args, s.sizes()...)
	args = append(args, s.three(func(p projection) Arg { return p.bias }, null)...)
	args = append(args, s.three(func(p projection) Arg { return p.y }, null)...)
	units := ceil(s.m, tileRows) * s.across()
	return Launch{Source: "product.cu", Defines: []string{define("OUT", out.C())}, Kernel: "project", Grid: [3]int{2 * min(clusters, units)},
		Block: [3]int{tileThreads}, Shared: tileShared, Args: args}
}

// division is how clusters share the tiles of gradients: those of dw are cut into splits parts of the sum over rows, one for a cluster;
// clusters without one make alone tiles of dx each.
type division struct {
	splits, alone int
	busy          float64 // share of the time that clusters multiply
}

// divide looks for what ends soonest; ok is false where the tiles of dw are more than the clusters.
func (s shared) divide() (best division, ok bool) {
	tiles, rowSteps, units := ceil(s.k, tileRows)*s.across(), ceil(s.m, sumStep), ceil(s.m, tileRows)*ceil(s.k, tileColumns)
	columns, steps := 0, tileEnd
	for _, p := range s.list {
		columns += p.columns
		steps += float64(ceil(p.columns, sumStep))
	}
	least := 0.0
	for splits := 1; splits <= min(clusters/tiles, rowSteps); splits++ {
		parts := tiles * splits
		others := clusters - parts
		for each := 0; ; each++ { // tiles of dx of those that have one of dw
			left, alone := max(0, units-each*parts), 0
			if left > 0 && others == 0 {
				continue
			}
			if left > 0 {
				alone = ceil(left, others)
			}
			cost := max(float64(ceil(rowSteps, splits))+tileEnd+float64(each)*steps, float64(alone)*steps)
			if splits > 1 {
				cost += float64((splits+1)*s.k*columns) * 4 / 1.6e6 // bytes, by those that are added up in a step's time
			}
			if !ok || cost < least {
				best, least, ok = division{splits: splits, alone: alone}, cost, true
			}
			if left == 0 {
				break
			}
		}
	}
	best.busy = (float64(tiles*rowSteps) + float64(units)*(steps-tileEnd)) / clusters / least
	return best, ok
}

// backward writes dx with its addend and all dw and db. Scratch is the bytes that it takes.
func (s shared) backward(dx Arg, out Type, addend Arg, d division) (steps []Step, scratch int) {
	sharers := 4
	if s.k <= tileRows {
		sharers = 2
	}
	parts, sums, blocks, sumBlocks := make([]Arg, len(s.list)), make([]Arg, len(s.list)), 0, 0
	take := func(bytes int) Arg {
		at := scratch
		scratch += Round(bytes, 256)
		return Scratch(at)
	}
	for i, p := range s.list {
		parts[i], sums[i] = p.dw, null
		if d.splits > 1 {
			parts[i] = take(d.splits * s.k * p.columns * 4)
			blocks = max(blocks, ceil(s.k*p.columns, 1024))
		}
		if p.db != null {
			sums[i] = take(d.splits * sharers * p.columns * 4)
			sumBlocks = max(sumBlocks, ceil(p.columns, 32))
		}
	}
	pad := func(list []Arg) []Arg { return append(list, []Arg{null, null, null}[len(list):]...) }
	of := func(f func(p projection) Arg) []Arg { return s.three(f, null) }
	addDW := of(func(p projection) Arg { return p.addDW })
	args := append([]Arg{s.x.Boxes(s.m, s.k)}, s.gradients()...)
	args = append(append(args, s.weights()...), dx.Boxes(s.m, s.k))
	args = append(args, s.sizes()...)
	args = append(args, addend, dx)
	if d.splits > 1 {
		args = append(args, null, null, null)
	} else {
		args = append(args, addDW...)
	}
	args = append(append(args, pad(parts)...), pad(sums)...)
	args = append(args, Int(d.splits), Int(sharers), Int(d.alone))
	steps = append(steps, Launch{Source: "product.cu", Defines: []string{define("OUT", out.C())}, Kernel: "project_grad", Grid: [3]int{2 * clusters},
		Block: [3]int{tileThreads}, Shared: tileShared, Args: args})
	if blocks+sumBlocks == 0 {
		return steps, scratch
	}
	args = append(append(pad(parts), addDW...), of(func(p projection) Arg { return p.dw })...)
	args = append(args, s.three(func(p projection) Arg { return Long(s.k * p.columns) }, Long(0))...)
	args = append(append(args, Int(d.splits), Int(blocks)), pad(sums)...)
	args = append(append(args, of(func(p projection) Arg { return p.addDB })...), of(func(p projection) Arg { return p.db })...)
	args = append(append(args, s.widths()...), Int(d.splits*sharers))
	return append(steps, Launch{Source: "product.cu", Defines: []string{define("OUT", out.C())}, Kernel: "fold_parts",
		Grid: [3]int{blocks + sumBlocks, len(s.list)}, Block: [3]int{256}, Args: args}), scratch
}

// planProjections is y_i = x·w_i + bias_i: inputs x [M,K], then w_i [K,N_i] and bias_i [N_i] of y_i's type (optional) for each product; outputs
// y_i [M,N_i] of one type.
func planProjections(n Node) (Plan, error) {
	c := check{n: n}
	x, m, k := c.matrix(0, "x", BFloat16)
	if len(n.Out) < 1 || len(n.Out) > maxProjections {
		c.fail("%d outputs, wanted 1 to %d", len(n.Out), maxProjections)
	}
	if c.err != nil {
		return Plan{}, c.err
	}
	s, out := shared{x: In(0), m: m, k: k}, n.Out[0].Type
	var other Plan
	for i := range n.Out {
		columns := n.Out[i].Last()
		c.out(i, "y", []int{m, columns}, BFloat16, Float32)
		c.out(i, "y", []int{m, columns}, out)
		c.in(1+2*i, "w", []int{k, columns}, x.Type)
		c.may(2+2*i, "bias", []int{columns}, out)
		p := projection{columns: columns, w: In(1 + 2*i), bias: n.optional(2 + 2*i), y: Out(i)}
		s.list = append(s.list, p)
		product := Product{A: In(0), B: p.w, D: p.y, TypeA: x.Type, TypeD: out, M: m, N: columns, K: k, LDA: k, LDB: columns, LDD: columns, Alpha: 1}
		if n.Has(2 + 2*i) {
			product.Bias = p.bias
		}
		other.Steps = append(other.Steps, product)
	}
	if c.err != nil || !s.suits() || !s.small() {
		return other, c.err
	}
	return Plan{Steps: []Step{s.forward(out)}, Elsewhere: &other}, nil
}

// planProjectionsGrad is the gradients of planProjections: inputs x [M,K], an addend of dx (optional), then for each product dy_i [M,N_i],
// w_i [K,N_i] and the addends of dw_i and db_i (optional); outputs dx [M,K], all dw_i float32 [K,N_i] and, where the node has them, all db_i
// float32 [N_i].
func planProjectionsGrad(n Node) (Plan, error) {
	c := check{n: n}
	x, m, k := c.matrix(0, "x", BFloat16)
	products := (len(n.In) + 1) / 4 // the last inputs may be left out
	if products < 1 || products > maxProjections || len(n.Out) != 1+products && len(n.Out) != 1+2*products {
		c.fail("%d inputs and %d outputs, wanted dx and a dw, or dw and db, for each of 1 to %d products", len(n.In), len(n.Out), maxProjections)
	}
	if c.err != nil {
		return Plan{}, c.err
	}
	c.out(0, "dx", []int{m, k}, BFloat16, Float32)
	c.may(1, "addend of dx", []int{m, k}, n.Out[0].Type)
	s := shared{x: In(0), m: m, k: k}
	for i := range products {
		at := 2 + 4*i
		_, _, columns := c.matrix(at, "dy", x.Type)
		c.in(at, "dy", []int{m, columns}, x.Type)
		c.in(at+1, "w", []int{k, columns}, x.Type)
		c.may(at+2, "addend of dw", []int{k, columns}, Float32)
		c.out(1+i, "dw", []int{k, columns}, Float32)
		p := projection{columns: columns, w: In(at + 1), dy: In(at), dw: Out(1 + i), addDW: n.optional(at + 2), db: null, addDB: null}
		if len(n.Out) > 1+products {
			c.may(at+3, "addend of db", []int{columns}, Float32)
			c.out(1+products+i, "db", []int{columns}, Float32)
			p.db, p.addDB = Out(1+products+i), n.optional(at+3)
		}
		s.list = append(s.list, p)
	}
	if c.err != nil {
		return Plan{}, c.err
	}
	return s.gradientPlan(x.Type, Out(0), n.Out[0].Type, Float32, n.optional(1)), nil
}

// gradientPlan is backward, where sizes suit it and on a Hopper; else one product after the other. in is the type of x, dy and w; dw has its
// own type.
func (s shared) gradientPlan(in Type, dx Arg, out, dw Type, addend Arg) Plan {
	var other Plan
	for i, p := range s.list {
		d := Product{A: p.dy, B: p.w, C: addend, D: dx, TypeA: in, TypeD: out, M: s.m, N: s.k, K: p.columns, LDA: p.columns, LDB: p.columns, LDD: s.k,
			TransB: true, Alpha: 1, Accumulate: i > 0}
		w := Product{A: s.x, B: p.dy, C: p.addDW, D: p.dw, TypeA: in, TypeD: dw, M: s.k, N: p.columns, K: s.m, LDA: s.k, LDB: p.columns,
			LDD: p.columns, TransA: true, Alpha: 1}
		other.Steps = append(other.Steps, d, w)
		if p.db != null {
			steps, scratch := columnSum(p.dy, in, s.m, p.columns, p.columns, p.addDB, p.db, 0)
			other.Steps, other.Scratch = append(other.Steps, steps...), max(other.Scratch, scratch)
		}
	}
	d, ok := s.divide()
	if !ok || !s.suits() || in != BFloat16 || dw != Float32 || !s.gains(d) {
		return other
	}
	steps, scratch := s.backward(dx, out, addend, d)
	return Plan{Steps: steps, Scratch: scratch, Elsewhere: &other}
}

// gains reports whether the gradients take less time than cuBLASLt's products, as measured: where there is more to do than the two of one
// large matrix, or clusters are busy.
func (s shared) gains(d division) bool {
	size := 0
	for _, p := range s.list {
		size += s.k * p.columns
	}
	return d.busy >= 0.85 || size <= 1<<20 && (len(s.list) > 1 || s.list[0].db != null)
}
