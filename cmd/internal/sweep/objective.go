package sweep

import (
	"context"
	"fmt"
	"math"
	"time"

	"march/evalsuite"
	"march/trainloop/corpus"
	"march/variants"
)

// objectiveRows is how many rows are scored at once: the sum of a few hundred labels.
const objectiveRows = 8

// objectivePerplexity scores the held-out text in the rows that an encoder-decoder was
// trained on, made without a seed: perplexity of any other prediction says nothing of it.
func (l *Lab) objectivePerplexity(ctx context.Context, m evalsuite.Model, c variants.Config) (*evalsuite.Result, error) {
	began := time.Now()
	s, err := corpus.NewSequential(l.Data.Valid(), corpus.Task{
		Objective: c.Training.Objective, Batch: objectiveRows, Length: c.Length, Tokenizer: l.Data.Tokenizer(), Vocab: c.Vocab})
	if err != nil {
		return nil, err
	}
	shapes, rows := s.Shapes(), s.Shapes().New()
	b := &evalsuite.Batch{Rows: shapes.Batch, Length: shapes.Length, DecoderLength: shapes.Decoder,
		Tokens: rows.Tokens, Lengths: rows.Lengths, DecoderTokens: rows.DecoderTokens, Labels: rows.Labels,
		LogProb: make([]float32, len(rows.Labels)), Top: make([]int64, len(rows.Labels))}
	r := &evalsuite.Result{Suite: "ppl", Settings: map[string]string{"objective": c.Training.Objective}}
	nats := 0.0
	for i := range s.Batches() {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		r.Tokens += s.Fill(i, rows)
		if err := m.Eval(b); err != nil {
			return nil, err
		}
		for j, label := range b.Labels {
			if label != corpus.IgnoreLabel {
				nats -= float64(b.LogProb[j])
			}
		}
	}
	r.Items = s.Windows()
	loss := nats / float64(r.Tokens)
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return nil, fmt.Errorf("the loss on held-out text is %v: the training diverged", loss)
	}
	r.Scores = []evalsuite.Score{
		{Name: "perplexity", Value: math.Exp(loss), Lower: true},
		{Name: "loss", Value: loss, Unit: "nats/token", Lower: true},
	}
	r.Notes = []string{fmt.Sprintf("an encoder-decoder's perplexity is that of its training objective, %s, on held-out text: it does not compare with that of other architectures or objectives", c.Training.Objective)}
	r.Sequences, r.Distinct, r.Positions = r.Items, r.Items, r.Items*int64(shapes.Length+shapes.Decoder)
	r.Seconds = time.Since(began).Seconds()
	r.EvalSeconds = r.Seconds
	return r, nil
}
