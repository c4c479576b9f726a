package trainloop

import "march/variants/manifest"

// Gradient reads the gradient sum of a parameter of an engine with one replica.
func (e *Engine) Gradient(name string) ([]float32, error) {
	for _, p := range e.Manifest.Parameters {
		if p.Name == name {
			return e.tensor(kindGrads, p)
		}
	}
	return e.tensor(kindGrads, manifest.Parameter{Name: name})
}
