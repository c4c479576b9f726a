package variants

import "march/graphgen"

// DropoutSeed is the input that makes the dropout masks of a micro-batch, an int64 scalar
// from 0 to 2³¹−2; only training graphs of models with dropout have it.
const DropoutSeed = "dropout_seed"

// MaskName is the input of a dropout mask in graphs that take masks as inputs.
func MaskName(place string) string { return "mask." + place }

// dropout makes the masks of a training graph.
type dropout struct {
	seed   *graphgen.Tensor // nil until a place with dropout asks
	inputs bool             // masks are inputs, so that another implementation can be fed the same
}

// dropMask is the mask of a place, or nil where nothing is dropped. Names of places are
// those of the model: decoder.3.ff.hidden.
func (m *model) dropMask(place string, rate float64, shape ...int) *graphgen.Tensor {
	if m.dropout == nil || rate == 0 {
		return nil
	}
	if m.dropout.inputs {
		return graphgen.Cast(m.g.Input(MaskName(place), graphgen.Float32, shape...), m.compute)
	}
	if m.dropout.seed == nil {
		m.dropout.seed = m.g.Input(DropoutSeed, graphgen.Int64)
	}
	return graphgen.DropoutMask(m.dropout.seed, place, rate, m.compute, shape...)
}

// drop is inverted dropout of x, which has the elements of shape.
func (m *model) drop(place string, rate float64, x *graphgen.Tensor, shape ...int) *graphgen.Tensor {
	mask := m.dropMask(place, rate, shape...)
	if mask == nil {
		return x
	}
	return graphgen.Mul(x, graphgen.Reshape(mask, x.Shape()...))
}
