package results

import (
	"math"

	"march/results/stats"
)

// LossSD is the stability of training: the standard deviation of the loss around its least-squares
// line (divisor n − 2) over the second half of the steps. losses holds the training loss of every
// step, or of equally spaced ones. ok is false where the second half has fewer than three, or a loss
// is not finite.
func LossSD(losses []float64) (sd float64, ok bool) {
	half := losses[len(losses)/2:]
	n := float64(len(half))
	if len(half) < 3 {
		return 0, false
	}
	mean, _ := stats.MeanSD(half)
	center := (n - 1) / 2
	var xy, xx float64
	for i, loss := range half {
		x := float64(i) - center
		xy += x * (loss - mean)
		xx += x * x
	}
	slope := xy / xx
	var square float64
	for i, loss := range half {
		rest := loss - mean - slope*(float64(i)-center)
		square += rest * rest
	}
	sd = math.Sqrt(square / (n - 2))
	return sd, !math.IsNaN(sd) && !math.IsInf(sd, 0)
}
