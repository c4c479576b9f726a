package sweep

import (
	"slices"

	"march/evalsuite"
	"march/trainloop/corpus"
	"march/variants"
)

// perplexity is the suite ppl, or ppl-test, for a model. An encoder-decoder is scored on the held-out text
// as its objective has it: what it says of plain text, never seen in training, is no
// validation loss. passes is [evalsuite.PerplexityOptions].MaskPasses.
func (l *Lab) perplexity(c variants.Config, test bool, passes int) (*evalsuite.Perplexity, error) {
	o := evalsuite.PerplexityOptions{MaskPasses: passes, Test: test}
	stream := l.Data.Valid()
	if test {
		stream = l.Data.Test()
	}
	if c.Arch == variants.EncoderDecoder {
		var err error
		if o.Rows, err = l.heldOutRows(c, stream); err != nil {
			return nil, err
		}
		o.RowsOf = c.Training.Objective
	}
	return evalsuite.NewPerplexity(stream, o)
}

// heldOutRows are the rows that a model's objective makes of the held-out text, without a seed.
func (l *Lab) heldOutRows(c variants.Config, stream *corpus.Stream) (list []evalsuite.Row, err error) {
	s, err := corpus.NewSequential(stream, corpus.Task{
		Objective: c.Training.Objective, Batch: 1, Length: c.Length, Tokenizer: l.Data.Tokenizer(), Vocab: c.Vocab})
	if err != nil {
		return nil, err
	}
	b := s.Shapes().New()
	for i := range s.Batches() {
		labels := s.Fill(i, b) // the first ones: what lies behind is padding
		list = append(list, evalsuite.Row{Source: tokens(b.Tokens[:b.Lengths[0]]), Target: tokens(b.Labels[:labels])})
	}
	return list, nil
}

func tokens(ids []int64) []int32 {
	list := make([]int32, 0, len(ids))
	for id := range slices.Values(ids) {
		list = append(list, int32(id))
	}
	return list
}
