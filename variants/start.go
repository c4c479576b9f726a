package variants

import "march/trainloop/rng"

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
		for i := range v {
			v[i] = float32(p.Std * stream.NormalAt(uint64(i)))
		}
	}
	return v
}
