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
	case strings.HasPrefix(p.Name, "embed."):
		return "embedding"
	case strings.Contains(p.Name, "norm"):
		return "norm"
	}
	return "other"
}

// model builds one graph of a config. Parameters are declared where the forward pass
// first asks for them, so that the code of a block is also the list of what it has.
type model struct {
	c      Config
	g      *graphgen.Graph
	batch  int // dimensions; symbols in graphs of dynamic size
	length int
	params []Parameter
	tensor map[string]*graphgen.Tensor
}

func newModel(c Config) *model {
	return &model{c: c, g: graphgen.New(), tensor: map[string]*graphgen.Tensor{}}
}

// param is the parameter of that name, declared at the first call as a graph input.
func (m *model) param(p Parameter) *graphgen.Tensor {
	if t, ok := m.tensor[p.Name]; ok {
		return t
	}
	t := m.g.Input(p.Name, graphgen.Float32, p.Shape...)
	m.tensor[p.Name] = t
	m.params = append(m.params, p)
	return t
}

// matrix is a weight [in,out], used as x·W.
func (m *model) matrix(name string, in, out int) *graphgen.Tensor {
	return m.param(Parameter{Name: name, Shape: []int{in, out}, Decay: true, Init: "normal", Std: m.c.InitStd})
}

// bias is a vector [n] that starts at zero, or nil where the config has none.
func (m *model) bias(has bool, name string, n int) *graphgen.Tensor {
	if !has {
		return nil
	}
	return m.param(Parameter{Name: name, Shape: []int{n}, Init: "zeros"})
}

// norm normalises x [N,D] with the parameters of that name.
func (m *model) norm(name string, x *graphgen.Tensor) (y *graphgen.Tensor) {
	m.g.In("norm", func() {
		d := x.Dim(-1)
		w := m.param(Parameter{Name: name + ".weight", Shape: []int{d}, Init: "ones"})
		if m.c.Norm.Kind == "rms" {
			y = graphgen.RMSNorm(x, w, m.c.Norm.Eps)
			return
		}
		b := m.param(Parameter{Name: name + ".bias", Shape: []int{d}, Init: "zeros"})
		y = graphgen.LayerNorm(x, w, b, m.c.Norm.Eps)
	})
	return y
}

// rows is the dimension N = B·S.
func (m *model) rows() int { return m.g.Product(m.batch, m.length) }

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

// build runs f and puts the variant's part of the place in front of its errors.
func build(f func() error) error {
	if err := graphgen.Build(f); err != nil {
		return fmt.Errorf("building the graph: %w", err)
	}
	return nil
}
