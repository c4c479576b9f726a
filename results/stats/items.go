package stats

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Items are the figures of one variant on each item, by seed: Items[seed][item]. All seeds, and all
// variants that are compared, have the same items in the same order.
type Items [][]float64

// Strata are the numbers of items in each part of a suite that every other such suite would have
// too, such as BLiMP's paradigms; the items lie in that order. nil: one stratum.
type Strata []int

// ItemNoise is the variance that the choice of items gives the difference of two variants' means
// over paired seeds, beyond that of the seeds, which measures each seed's noise on the items already.
// a and b have the same number of seeds, at least one. With one seed all of it counts.
func ItemNoise(a, b Items, strata Strata) Noise {
	n := len(a[0])
	seeds := float64(len(a))
	d := meanDifference(a, b)
	var whole, both float64
	df := 0
	for from, to := range strata.ranges(n) {
		size := float64(to - from)
		if size < 2 {
			continue
		}
		df += to - from - 1
		_, sd := MeanSD(d[from:to])
		part := size / float64(n)
		whole += part * part * sd * sd / size
		if len(a) < 2 {
			continue
		}
		// What is left of a seed's differences on the items, without its own mean and theirs.
		mean := make([]float64, len(a))
		for s := range a {
			for i := from; i < to; i++ {
				mean[s] += (a[s][i] - b[s][i]) / size
			}
		}
		all, _ := MeanSD(mean)
		var square float64
		for s := range a {
			for i := from; i < to; i++ {
				rest := a[s][i] - b[s][i] - d[i] - mean[s] + all
				square += rest * rest
			}
		}
		both += part * part * square / ((size - 1) * (seeds - 1)) / (size * seeds)
	}
	return Noise{max(0, whole-both), float64(max(df, 1))}
}

// Bootstrap is the interval of that level (0.95) of the difference of two variants' means over the
// items, seeds averaged, by drawing the items anew so many times within each stratum. Both variants
// keep the same items in every draw. It says nothing of other seeds. The same arguments give the
// same interval.
func Bootstrap(a, b Items, strata Strata, level float64, draws int, seed uint64) (low, high float64) {
	d := meanDifference(a, b)
	random := rand.New(rand.NewPCG(seed, 0x6d61726368))
	means := make([]float64, draws)
	for i := range means {
		var sum float64
		for from, to := range strata.ranges(len(d)) {
			for range to - from {
				sum += d[from+random.IntN(to-from)]
			}
		}
		means[i] = sum / float64(len(d))
	}
	slices.Sort(means)
	tail := (1 - level) / 2 * float64(draws)
	return means[int(tail)], means[min(draws-1, int(math.Ceil(float64(draws)-tail))-1)]
}

// meanDifference is each item's difference, averaged over the seeds.
func meanDifference(a, b Items) []float64 {
	d := make([]float64, len(a[0]))
	for s := range a {
		for i := range d {
			d[i] += (a[s][i] - b[s][i]) / float64(len(a))
		}
	}
	return d
}

// ranges gives where each stratum of n items begins and ends.
func (s Strata) ranges(n int) func(yield func(from, to int) bool) {
	if s == nil {
		s = Strata{n}
	}
	return func(yield func(from, to int) bool) {
		at := 0
		for _, size := range s {
			if !yield(at, at+size) {
				return
			}
			at += size
		}
	}
}
