package corpus

import (
	"fmt"

	"march/trainloop/rng"
)

// Sequential cuts a stream into the same windows as Shuffled in their order, and does not leave
// out the end where a part of a window is of use. It is what validation loss is computed over: it
// has no seed and no epochs, and the same windows are masked in the same way whatever the batch.
// What is random about window w is drawn from rng.New(rng.Name("sequential"), rng.Name(objective), w).
//
// Of causal-lm every token but the stream's first, which has nothing before it, is a label exactly
// once. Of masked-lm every token is read once. Of prefix-lm a last text is used if it reaches into
// the second half; of span-corruption whole texts only.
type Sequential struct{ source }

// NewSequential returns the batches of a stream in order. A stream too short for one row is an
// error.
func NewSequential(s *Stream, t Task) (*Sequential, error) {
	shapes, cut, fill, err := t.open()
	if err != nil {
		return nil, err
	}
	windows := cut.windows(s.Len())
	if s.Len()-windows*cut.stride >= cut.least {
		windows++
	}
	if windows == 0 {
		return nil, fmt.Errorf("corpus: %d tokens, want at least %d for a row of %s: was validation text prepared?", s.Len(), cut.least, t.objective())
	}
	return &Sequential{source{s, shapes, cut, fill, rng.Name(t.objective()), windows}}, nil
}

// Batches returns the number of batches.
func (s *Sequential) Batches() int64 {
	batch := int64(s.shapes.Batch)
	return (s.windows + batch - 1) / batch
}

// Fill writes batch number i < Batches() as Shuffled.Fill does and returns how many labels it has.
// What lies behind the end of the stream is token 0 with IgnoreLabel; a row without any text has
// length 1.
func (s *Sequential) Fill(i int64, b *Batch) (labels int64) {
	s.shapes.check(i, b)
	text := make([]int64, s.cut.size)
	for row := range s.shapes.Batch {
		r := s.shapes.row(b, row)
		r.blank()
		window := i*int64(s.shapes.Batch) + int64(row)
		if window >= s.windows {
			continue
		}
		at := window * s.cut.stride
		part := text[:min(s.cut.size, s.stream.Len()-at)]
		readTokens(s.stream, at, part)
		labels += int64(s.fill.fill(part, rng.New(rng.Name("sequential"), s.purpose, uint64(window)), r))
	}
	return labels
}
