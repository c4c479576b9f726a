package sweep

import (
	"slices"

	"march/evalsuite"
	"march/trainloop/corpus"
	"march/variants"
)

// perplexity is the suite ppl for a model. An encoder-decoder is scored on the held-out text
// as its objective has it: what it says of plain text, never seen in training, is no
// validation loss. passes is [evalsuite.PerplexityOptions].MaskPasses.
func (l *Lab) perplexity(c variants.Config, passes int) (*evalsuite.Perplexity, error) {
	o := evalsuite.PerplexityOptions{MaskPasses: passes}
	if c.Arch == variants.EncoderDecoder {
		var err error
		if o.Rows, err = l.validRows(c); err != nil {
			return nil, err
		}
		o.RowsOf = c.Training.Objective
	}
	return evalsuite.NewPerplexity(l.Data.Valid(), o)
}

// validRows are the rows that a model's objective makes of the held-out text, without a seed.
func (l *Lab) validRows(c variants.Config) (list []evalsuite.Row, err error) {
	s, err := corpus.NewSequential(l.Data.Valid(), corpus.Task{
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
