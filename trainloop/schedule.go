package trainloop

import (
	"math"

	"march/variants"
)

// Rate is the learning rate of a step, counted from 1, of a run of the given length.
// After a linear warm-up it stays (constant), falls along half a cosine to
// FinalRate·peak (cosine), or stays and falls linearly to FinalRate·peak in the last
// Cooldown share (wsd: warm-up, stable, decay).
func Rate(t variants.Training, step, steps int64) float64 {
	warm := math.Round(t.Warmup * float64(steps))
	at := float64(step)
	if t.Schedule == "constant" {
		warm = 0
	}
	if at <= warm {
		return t.Rate * at / warm
	}
	switch t.Schedule {
	case "cosine":
		done := (at - warm) / max(1, float64(steps)-warm)
		return t.Rate * (t.FinalRate + (1-t.FinalRate)*(1+math.Cos(math.Pi*done))/2)
	case "wsd":
		cool := math.Round(t.Cooldown * float64(steps))
		if left := float64(steps) - at; left < cool {
			return t.Rate * (t.FinalRate + (1-t.FinalRate)*left/cool)
		}
	}
	return t.Rate
}
