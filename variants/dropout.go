package variants

import "march/graphgen"

// DropoutSeed is the input that makes the dropout masks of a micro-batch, an int64 scalar
// from 0 to 2³¹−2, or with the number of a step's part as graphgen.DropoutPart has it; only training graphs of models
// with dropout have it.
const DropoutSeed = "dropout_seed"

// MaskName is the input of a dropout mask in graphs that take masks as inputs.
func MaskName(place string) string { return "mask." + place }

// dropout makes the masks of a training graph.
type dropout struct {
	seed   *graphgen.Tensor // nil until a place with dropout asks
	inputs bool             // masks are inputs, so that another implementation can be fed the same
}

// dropMask is the mask of a place, with the batch first, or nil where nothing is dropped. Names of places are
// those of the model: decoder.3.ff.hidden.
func (m *model) dropMask(place string, rate float64, shape ...int) *graphgen.Tensor {
	return m.dropMaskOf(place, rate, false, shape...)
}

// dropMaskOf is dropMask, also of what all sequences of a batch share.
func (m *model) dropMaskOf(place string, rate float64, shared bool, shape ...int) *graphgen.Tensor {
	if m.dropout == nil || rate == 0 {
		return nil
	}
	if m.dropout.inputs {
		return graphgen.Cast(m.g.Input(MaskName(place), graphgen.Float32, shape...), m.compute)
	}
	if m.dropout.seed == nil {
		m.dropout.seed = m.g.Input(DropoutSeed, graphgen.Int64)
	}
	seed := m.dropout.seed
	if shared {
		seed = graphgen.DropoutWhole(seed)
	}
	return graphgen.DropoutMask(seed, place, rate, m.compute, shape...)
}

// drop is inverted dropout of x, which has the elements of shape, the batch first.
func (m *model) drop(place string, rate float64, x *graphgen.Tensor, shape ...int) *graphgen.Tensor {
	return masked(x, m.dropMask(place, rate, shape...))
}

// dropShared is drop of what all sequences of a batch share.
func (m *model) dropShared(place string, rate float64, x *graphgen.Tensor, shape ...int) *graphgen.Tensor {
	return masked(x, m.dropMaskOf(place, rate, true, shape...))
}

func masked(x, mask *graphgen.Tensor) *graphgen.Tensor {
	if mask == nil {
		return x
	}
	return graphgen.Mul(x, graphgen.Reshape(mask, x.Shape()...))
}
