package graphgen

import (
	"hash/fnv"
	"math"
)

// DropoutSeeds is how many seeds there are for dropout, from 0 on: the prime 2³¹ − 1.
// Products of two numbers below it are exact in int64.
const DropoutSeeds = 1<<31 - 1

// dropoutParts is the seed's share of a number that [DropoutPart] makes.
const dropoutParts = 1 << 32

// DropoutPart is the seed of a step with the number of a part of its batch, from 0 on: masks of the parts, all of
// one size, are then those of the whole batch, one behind the other.
func DropoutPart(seed, part int64) int64 { return seed + part*dropoutParts }

// DropoutWhole is the seed without the part: for masks that no part has its own share of. Graphs for a GPU, which takes
// a batch whole, know no parts.
func DropoutWhole(seed *Tensor) *Tensor {
	if seed.g.gpu {
		return seed
	}
	return Mod(seed, seed.g.Scalar(Int64, dropoutParts))
}

// DropoutMask is the mask of inverted dropout (Srivastava et al., 2014): 1/(1−rate) with
// probability 1−rate, else 0, independently for each element of a static shape.
//
// It is a pure function of (seed, place, index): seed is an int64 scalar, a number below [DropoutSeeds] and
// the part of [DropoutPart], and place names what is dropped. With p = 2³¹−1 and
// constants of the place (F…, T… below, hashes of its name), element i of n is kept where
//
//	key = (F·(seed mod 2³²) + T)⁵ mod p             once in a graph
//	a = max(Fa·key + Ta mod p, 1), b = Fb·key + Tb mod p
//	b' = a·(⌊seed/2³²⌋·n mod p) + b mod p            element i of the part is ⌊seed/2³²⌋·n + i of the batch
//	(a·i + b')⁵ mod p < (1−rate)·p
//
// The line a·i + b makes any two elements independent (Carter and Wegman, 1979), and the
// fifth power, a permutation since 5 does not divide p−1, breaks its regularity. All of it
// is int64 arithmetic below 2⁶², which every ONNX runtime computes alike.
func DropoutMask(seed *Tensor, place string, rate float64, d DType, shape ...int) *Tensor {
	g := seed.g
	n := Shape(shape).Elements()
	if seed.DType() != Int64 || seed.Rank() != 0 || !(rate >= 0 && rate < 1) || n >= DropoutSeeds {
		g.fail("DropoutMask: rate %v of %s with the seed %s", rate, g.formatShape(shape), seed)
	}
	attrs := Attrs{"drop_keep": int(math.Floor((1 - rate) * DropoutSeeds)), "drop_scale": 1 / (1 - rate), "_type": Type{d, shape}}
	for name, of := range map[string]string{"k": "key", "a": "a" + place, "b": "b" + place} {
		h := fnv.New64a()
		h.Write([]byte(of))
		v := h.Sum64()
		attrs["drop_f"+name], attrs["drop_t"+name] = int(1+v%(DropoutSeeds-1)), int(v>>33)
	}
	return one("DropoutMask", attrs, seed)
}

var _ = register(&Op{
	Name: "DropoutMask", Domain: "march", NoGrad: "a mask",
	Infer: func(_ *Graph, n *Node) []Type { return []Type{n.Attrs["_type"].(Type)} },
	Lower: func(g *Graph, n *Node, t Target) []*Tensor {
		if t.has(g, "DropoutMaskOf") && hasKernels(n.Out[0].DType()) {
			return kernel("DropoutMaskOf", n.Attrs, []Type{n.Out[0].typ}, n.In[0])
		}
		return []*Tensor{dropoutMask(g, n.In[0], n.Attrs, n.Out[0].typ)}
	},
})

func dropoutMask(g *Graph, seed *Tensor, attrs Attrs, typ Type) *Tensor {
	p := g.Scalar(Int64, DropoutSeeds)
	fifth := func(x *Tensor) *Tensor {
		square := Mod(Mul(x, x), p)
		return Mod(Mul(Mod(Mul(square, square), p), x), p)
	}
	line := func(x *Tensor, name string) *Tensor {
		return Mod(Add(Mul(x, g.Scalar(Int64, float64(attrs.int("drop_f"+name)))), g.Scalar(Int64, float64(attrs.int("drop_t"+name)))), p)
	}
	key := fifth(line(DropoutWhole(seed), "k"))
	a, b := Max(line(key, "a"), g.Scalar(Int64, 1)), line(key, "b")
	n := typ.Shape.Elements()
	if !g.gpu {
		before := Mod(Mul(Div(seed, g.Scalar(Int64, dropoutParts)), g.Scalar(Int64, float64(n))), p)
		b = Mod(Add(Mul(before, a), b), p)
	}
	x := fifth(Mod(Add(Mul(g.Iota(n), a), b), p))
	keep := Less(x, g.Scalar(Int64, float64(attrs.int("drop_keep"))))
	return Reshape(Where(keep, g.Scalar(typ.DType, attrs.num("drop_scale")), g.Scalar(typ.DType, 0)), typ.Shape...)
}
