package variants

import (
	"math"
	"runtime"
	"sync"

	"march/trainloop/rng"
)

// std is the standard deviation of a matrix's start values by the number of its rows
// (study heads: fan_in keeps the variance of what it multiplies).
func (c Config) std(fanIn int) float64 {
	if c.Init == "fan_in" {
		return 1 / math.Sqrt(float64(fanIn))
	}
	return c.InitStd
}

// queryStd is that of wq. Where logits are not divided by √K, the start values make up
// for it.
func (c Config) queryStd(i int) float64 {
	if c.Init == "fan_in" && !c.Attn.Scaled {
		return c.std(c.D * c.qkvDim(i))
	}
	return c.std(c.D)
}

// valueStd is that of wv: the sum of two heads keeps the variance of one.
func (c Config) valueStd() float64 {
	if c.Init == "fan_in" && c.Attn.Summed {
		return c.std(2 * c.D)
	}
	return c.std(c.D)
}

// tableStd is that of the embedding.
func (c Config) tableStd() float64 {
	if c.Init == "fan_in" {
		return 1
	}
	return c.InitStd
}

// Start gives the parameter's start values for a seed, row-major. Each entry is a pure
// function of (seed, name, index), whatever else the model has.
func (p Parameter) Start(seed uint64) []float32 {
	v := make([]float32, p.Elements())
	switch p.Init {
	case "ones":
		for i := range v {
			v[i] = 1
		}
	case "normal":
		stream := rng.New(seed, rng.Name("init"), rng.Name(p.Name))
		inParts(len(v), func(from, to int) {
			for i := from; i < to; i++ {
				v[i] = float32(p.Std * stream.NormalAt(uint64(i)))
			}
		})
	}
	return v
}

// leastPart is the number of entries from which another core is worth a goroutine.
const leastPart = 1 << 14

// inParts calls f for stretches of 0 … n−1, one for each core at once.
func inParts(n int, f func(from, to int)) {
	parts := max(1, min(runtime.GOMAXPROCS(0), n/leastPart))
	var done sync.WaitGroup
	for i := range parts {
		done.Go(func() { f(n*i/parts, n*(i+1)/parts) })
	}
	done.Wait()
}
