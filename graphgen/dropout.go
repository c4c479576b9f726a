package graphgen

import (
	"hash/fnv"
	"math"
)

// DropoutSeeds is how many seeds there are for dropout, from 0 on: the prime 2³¹ − 1.
// Products of two numbers below it are exact in int64.
const DropoutSeeds = 1<<31 - 1

// DropoutMask is the mask of inverted dropout (Srivastava et al., 2014): 1/(1−rate) with
// probability 1−rate, else 0, independently for each element of a static shape.
//
// It is a pure function of (seed, place, index): seed is an int64 scalar below [DropoutSeeds],
// another one for every micro-batch, and place names what is dropped. With p = 2³¹−1 and
// constants of the place (F…, T… below, hashes of its name), element i is kept where
//
//	key = (F·seed + T)⁵ mod p                       once in a graph
//	a = max(Fa·key + Ta mod p, 1), b = Fb·key + Tb mod p
//	(a·i + b)⁵ mod p < (1−rate)·p
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
	p := g.Scalar(Int64, DropoutSeeds)
	fifth := func(x *Tensor) *Tensor {
		square := Mod(Mul(x, x), p)
		return Mod(Mul(Mod(Mul(square, square), p), x), p)
	}
	line := func(x *Tensor, name string) *Tensor {
		h := fnv.New64a()
		h.Write([]byte(name))
		v := h.Sum64()
		factor, term := g.Scalar(Int64, float64(1+v%(DropoutSeeds-1))), g.Scalar(Int64, float64(v>>33))
		return Mod(Add(Mul(x, factor), term), p)
	}
	key := fifth(line(seed, "key"))
	a, b := Max(line(key, "a"+place), g.Scalar(Int64, 1)), line(key, "b"+place)
	x := fifth(Mod(Add(Mul(g.Iota(n), a), b), p))
	keep := Less(x, g.Scalar(Int64, math.Floor((1-rate)*DropoutSeeds)))
	return Reshape(Where(keep, g.Scalar(d, 1/(1-rate)), g.Scalar(d, 0)), shape...)
}
