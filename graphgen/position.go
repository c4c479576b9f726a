package graphgen

import "math"

// Rotate turns the queries or keys x [B·S, H·K] by their positions (Su et al., RoFormer,
// 2021), in the form that pairs entry j with entry j + K/2 of each head: the angle of pair
// j at position i is i·base^(−2j/K). K must be even. The first row's position is past.
func Rotate(x *Tensor, batch, past, length, heads int, base float64) *Tensor {
	g, k := x.g, x.Dim(1)/heads
	if k%2 != 0 {
		g.fail("Rotate: heads of size %d, wanted an even number", k)
	}
	angles := g.angles(past, length, k/2, func(j int) float64 { return math.Pow(base, -2*float64(j)/float64(k)) })
	cos, sin := Reshape(Cast(Cos(angles), x.DType()), length, 1, k/2), Reshape(Cast(Sin(angles), x.DType()), length, 1, k/2)
	half := Split(Reshape(x, batch, length, heads, k), 3, k/2, k/2)
	return Reshape(Concat(3,
		Sub(Mul(half[0], cos), Mul(half[1], sin)),
		Add(Mul(half[1], cos), Mul(half[0], sin))), x.Shape()...)
}

// Sinusoids is the table of positions [S,D] of Vaswani et al. (2017), sines in the first
// half and cosines in the second: the angle of entry j at position i is i·base^(−2j/D). D
// must be even. The first row's position is past.
func (g *Graph) Sinusoids(dt DType, past, length, d int, base float64) *Tensor {
	if d%2 != 0 {
		g.fail("Sinusoids: width %d, wanted an even number", d)
	}
	angles := g.angles(past, length, d/2, func(j int) float64 { return math.Pow(base, -2*float64(j)/float64(d)) })
	return Cast(Concat(1, Sin(angles), Cos(angles)), dt)
}

// Positions is past, past+1, … as int64 [size]; either may be a symbol.
func (g *Graph) Positions(past, size int) *Tensor {
	if past == 0 {
		return g.Iota(size)
	}
	return Add(g.Iota(size), g.dimensionScalar(past))
}

// angles is position times frequency, float32 [length, n], from position past on.
func (g *Graph) angles(past, length, n int, frequency func(j int) float64) *Tensor {
	f := make([]float64, n)
	for j := range f {
		f[j] = frequency(j)
	}
	return Mul(Cast(Reshape(g.Positions(past, length), length, 1), Float32), g.Floats(Float32, f, n))
}

// Alibi is the bias [H,Sq,Sk] of Press et al. (2022), −slope·|i−j| with the slopes
// 2^(−8h/H), h = 1 … H. The first query's position is past.
func (g *Graph) Alibi(dt DType, heads, past, queries, keys int) *Tensor {
	slopes := make([]float64, heads)
	for h := range slopes {
		slopes[h] = -math.Pow(2, -8*float64(h+1)/float64(heads))
	}
	i, j := Reshape(g.Positions(past, queries), queries, 1), g.Iota(keys)
	distance := Cast(Sub(Max(i, j), Min(i, j)), Float32)
	return Cast(Mul(g.Floats(Float32, slopes, heads, 1, 1), distance), dt)
}

// RelativeBias is the bias [H,Sq,Sk] of T5 (Raffel et al., 2020): one learned number for
// each head and bucket of distances, from table [buckets, H]. Distances are exact up to
// half of a direction's buckets and then logarithmic up to maxDistance. Causal attention
// spends all buckets on what lies behind, the other half of them on what lies ahead. Past
// (the first query's position) + Sq and Sk are at most positions.
func RelativeBias(table *Tensor, past, queries, keys, positions, maxDistance int, causal bool) *Tensor {
	g := table.g
	// A bucket for each of the distances −(positions−1) … positions−1, so that the file holds
	// a row of numbers and not a square.
	buckets := make([]int64, 2*positions-1)
	for at := range buckets {
		buckets[at] = int64(relativeBucket(at-(positions-1), table.Dim(0), maxDistance, causal))
	}
	rows := Embedding(table, g.Ints(buckets))
	i, j := Reshape(g.Positions(past, queries), queries, 1), g.Iota(keys)
	at := Add(Sub(j, i), g.Scalar(Int64, float64(positions-1)))
	return Transpose(Embedding(rows, at), 2, 0, 1)
}

// relativeBucket is the bucket of the distance key − query.
func relativeBucket(distance, buckets, maxDistance int, causal bool) int {
	first := 0
	if !causal {
		buckets /= 2
		if distance > 0 {
			first = buckets
		}
		distance = max(distance, -distance)
	} else {
		distance = max(-distance, 0)
	}
	exact := buckets / 2
	if distance < exact {
		return first + distance
	}
	far := exact + int(math.Log(float64(distance)/float64(exact))/math.Log(float64(maxDistance)/float64(exact))*float64(buckets-exact))
	return first + min(far, buckets-1)
}
