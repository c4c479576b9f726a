package variants

import (
	"fmt"
	"slices"
	"strings"

	"march/graphgen"
)

// Parameter is one trainable tensor.
type Parameter struct {
	Name  string
	Shape []int
	Decay bool    // weight decay applies: all but norms and biases
	Init  string  // normal, ones or zeros
	Std   float64 // of normal start values
}

// Elements is the number of entries.
func (p Parameter) Elements() int { return graphgen.Shape(p.Shape).Elements() }

// Part is what a budget counts the parameter under: embedding, norm or other.
func (p Parameter) Part() string {
	switch {
	case strings.Contains(p.Name, "norm"):
		return "norm"
	case strings.HasPrefix(p.Name, "embed."):
		return "embedding"
	}
	return "other"
}

// model builds one graph of a config. Parameters are declared where the forward pass
// first asks for them, so that the code of a block is also the list of what it has.
type model struct {
	c         Config
	g         *graphgen.Graph
	compute   graphgen.DType              // of activations and matrix products
	prefix    string                      // of its parameters' names in the graph: the teacher's
	inputs    map[string]*graphgen.Tensor // the batch, which a teacher reads too
	dropout   *dropout                    // nil where nothing is dropped: graphs that do not train
	scored    int                         // how many positions have logits, in a graph that is told which; 0: all
	recompute Recompute                   // Dims.Recompute
	chunks    int                         // Dims.LossChunks
	pruned    bool                        // matrices are masked: graphs that train
	params    []Parameter
	tensor    map[string]*graphgen.Tensor // each parameter's graph input
	value     map[string]*graphgen.Tensor // what the forward pass has in its place
	count     *graphgen.Tensor            // of labels, in a training graph
}

func newModel(c Config) *model {
	return modelIn(graphgen.New(), c, graphgen.Float32, "", map[string]*graphgen.Tensor{})
}

// modelIn is a model that is built into a graph with the batch's inputs declared so far.
func modelIn(g *graphgen.Graph, c Config, compute graphgen.DType, prefix string, inputs map[string]*graphgen.Tensor) *model {
	return &model{c: c, g: g, compute: compute, prefix: prefix, inputs: inputs, tensor: map[string]*graphgen.Tensor{}, value: map[string]*graphgen.Tensor{}}
}

// input is an array of the batch, declared at the first call.
func (m *model) input(name string, shape ...int) *graphgen.Tensor {
	if t, ok := m.inputs[name]; ok {
		return t
	}
	t := m.g.Input(name, graphgen.Int64, shape...)
	m.inputs[name] = t
	return t
}

// param is the parameter of that name, declared at the first call as a graph input, in the
// type that the model computes in; under its mask, where the model is pruned.
func (m *model) param(p Parameter) *graphgen.Tensor {
	if t, ok := m.value[p.Name]; ok {
		return t
	}
	t := m.g.Input(m.prefix+p.Name, graphgen.Float32, p.Shape...)
	m.tensor[p.Name], m.value[p.Name] = t, graphgen.Cast(t, m.compute)
	if m.pruned && p.Prunable() {
		mask := m.g.Input(PruneMaskName(p.Name), graphgen.Float32, p.Shape...) // zeros and ones, so exact in any type
		m.value[p.Name] = graphgen.Mul(m.value[p.Name], graphgen.Cast(mask, m.compute))
	}
	m.params = append(m.params, p)
	return m.value[p.Name]
}

// normal is a decayed parameter with normal start values.
func (m *model) normal(name string, std float64, shape ...int) *graphgen.Tensor {
	return m.param(Parameter{Name: name, Shape: shape, Decay: true, Init: "normal", Std: std})
}

// matrix is a weight [in,out], used as x·W.
func (m *model) matrix(name string, in, out int) *graphgen.Tensor {
	return m.normal(name, m.c.std(in), in, out)
}

// vector is a parameter [n] without decay that starts at zero (zeros) or one (ones).
func (m *model) vector(name, start string, n int) *graphgen.Tensor {
	return m.param(Parameter{Name: name, Shape: []int{n}, Init: start})
}

// bias is a vector [n] that starts at zero, or nil where the config has none.
func (m *model) bias(has bool, name string, n int) *graphgen.Tensor {
	if !has {
		return nil
	}
	return m.vector(name, "zeros", n)
}

// linear is x·W + b with the parameters at name and, where the config has one, at bias.
func (m *model) linear(x *graphgen.Tensor, name string, out int, hasBias bool, bias string) *graphgen.Tensor {
	return graphgen.Linear(x, m.matrix(name, x.Dim(1), out), m.bias(hasBias, bias, out))
}

// norm normalises x [...,D] with the parameters of that name.
func (m *model) norm(name string, x *graphgen.Tensor) (y *graphgen.Tensor) {
	m.g.In("norm", func() {
		d := x.Dim(-1)
		w := m.vector(name+".weight", "ones", d)
		if m.c.Norm.Kind == "rms" {
			y = graphgen.RMSNorm(x, w, m.c.Norm.Eps)
			return
		}
		b := m.bias(m.c.Bias.Norm, name+".bias", d)
		if b == nil {
			b = m.g.Fill(x.DType(), 0, d)
		}
		y = graphgen.LayerNorm(x, w, b, m.c.Norm.Eps)
	})
	return y
}

// sorted gives the parameters in the order of the manifest: decayed ones first, each
// group in the order of the forward pass.
func (m *model) sorted() []Parameter {
	list := slices.Clone(m.params)
	slices.SortStableFunc(list, func(a, b Parameter) int {
		switch {
		case a.Decay == b.Decay:
			return 0
		case a.Decay:
			return -1
		}
		return 1
	})
	return list
}

// read trims the graph to what its outputs need and gives the parameters that are left.
// Some may not be: where a decoder reads the keys and values of the encoder's layers and
// nothing else of it, the rest of the encoder's last layer has no effect.
func (m *model) read() []Parameter {
	m.g.Trim()
	inputs := map[*graphgen.Tensor]bool{}
	for _, t := range m.g.Inputs() {
		inputs[t] = true
	}
	return slices.DeleteFunc(m.sorted(), func(p Parameter) bool { return !inputs[m.tensor[p.Name]] })
}

// build runs f and puts the variant's part of the place in front of its errors.
func build(f func() error) error {
	if err := graphgen.Build(f); err != nil {
		return fmt.Errorf("building the graph: %w", err)
	}
	return nil
}
