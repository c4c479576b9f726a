package trainloop

import (
	"fmt"

	"march/trainloop/corpus"
)

// OneBatch is a single micro-batch, whatever its number.
type OneBatch struct {
	Of    corpus.Shapes
	Batch *corpus.Batch
}

// Shapes are the batch's.
func (o OneBatch) Shapes() corpus.Shapes { return o.Of }

// Fill copies the batch.
func (o OneBatch) Fill(_ int64, b *corpus.Batch) {
	for _, name := range corpus.Arrays() {
		copy(b.Array(name), o.Batch.Array(name))
	}
}

// Gradient reads the gradient sum of a parameter of an engine with one replica.
func (e *Engine) Gradient(name string) ([]float32, error) {
	for _, p := range e.Manifest.Parameters {
		if p.Name == name {
			return e.tensor(kindGrads, p)
		}
	}
	return nil, fmt.Errorf("no parameter %s", name)
}

// BreakUpdate has every further optimizer step fail.
func (e *Engine) BreakUpdate() error { return e.update.Close() }
