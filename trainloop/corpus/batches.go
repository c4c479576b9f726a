package corpus

import (
	"fmt"

	"march/trainloop/rng"
)

// CausalBatches cuts a stream into windows of seq tokens and deals them out in micro-batches of
// batch windows, shuffled anew in every epoch. It holds no position: what a micro-batch contains
// depends on the stream, batch, seq, seed and its number alone, so a run that is resumed, or split
// over processes, sees what an uninterrupted one sees. Fill may be called from many goroutines.
//
// Window w holds the tokens at w·seq … w·seq+seq-1 and as labels those one further on, for all
// w < W = floor((Len-1)/seq); what is left behind the last window, fewer than seq tokens, is never
// seen. Row b of micro-batch m is entry g = m·batch+b of the endless sequence of epochs: window
// P(g mod W) with P = rng.NewPermutation(W, seed, rng.Name("shuffle"), floor(g/W)).
// A micro-batch at the end of an epoch goes on with the next one.
type CausalBatches struct {
	stream     *Stream
	batch, seq int64
	windows    int64
	seed       uint64
}

// IgnoreLabel is the label of a position that has no loss.
const IgnoreLabel = -100

// NewCausalBatches returns the batches of a stream. A stream with fewer windows than a micro-batch
// has rows is an error: rows would repeat within it.
func NewCausalBatches(s *Stream, batch, seq int, seed uint64) (*CausalBatches, error) {
	if err := positive(batch, seq); err != nil {
		return nil, err
	}
	windows := max(0, s.Len()-1) / int64(seq)
	if windows < int64(batch) {
		return nil, fmt.Errorf("corpus: %d tokens hold %d windows of %d, fewer than the %d of one micro-batch: use a smaller batch or length, or more text",
			s.Len(), windows, seq, batch)
	}
	return &CausalBatches{stream: s, batch: int64(batch), seq: int64(seq), windows: windows, seed: seed}, nil
}

func positive(batch, seq int) error {
	if batch < 1 || seq < 1 {
		return fmt.Errorf("corpus: batches of %d × %d tokens, want at least 1 × 1", batch, seq)
	}
	return nil
}

// Windows returns the number of windows, which is the number of rows of one epoch.
func (c *CausalBatches) Windows() int64 { return c.windows }

// Epoch returns how often the windows have been dealt out before a micro-batch: 2.5 in the middle
// of the third epoch.
func (c *CausalBatches) Epoch(micro int64) float64 {
	return float64(micro) * float64(c.batch) / float64(c.windows)
}

// Window returns the epoch and the window of one row: see CausalBatches.
func (c *CausalBatches) Window(micro int64, row int) (epoch, window int64) {
	g := micro*c.batch + int64(row)
	epoch = g / c.windows
	order := c.order(epoch)
	return epoch, int64(order.At(uint64(g % c.windows)))
}

func (c *CausalBatches) order(epoch int64) rng.Permutation {
	return rng.NewPermutation(uint64(c.windows), c.seed, rng.Name("shuffle"), uint64(epoch))
}

// Fill writes micro-batch number micro ≥ 0: tokens and labels as [batch, seq], row by row.
// labels[b,t] is the token behind tokens[b,t]. Slices of another length, or a negative number, are
// a mistake of the caller and panic.
func (c *CausalBatches) Fill(micro int64, tokens, labels []int64) {
	checkFill(micro, c.batch*c.seq, tokens, labels)
	first := micro * c.batch
	epoch := first / c.windows
	order := c.order(epoch)
	for row := range c.batch {
		g := first + row
		if g/c.windows != epoch {
			epoch = g / c.windows
			order = c.order(epoch)
		}
		at := int64(order.At(uint64(g%c.windows))) * c.seq
		readTokens(c.stream, at, tokens[row*c.seq:(row+1)*c.seq])
		readTokens(c.stream, at+1, labels[row*c.seq:(row+1)*c.seq])
	}
}

// checkFill panics where a Fill cannot be carried out.
func checkFill(number, size int64, tokens, labels []int64) {
	if number < 0 || int64(len(tokens)) != size || int64(len(labels)) != size {
		panic(fmt.Sprintf("corpus: Fill of micro-batch %d into %d tokens and %d labels, want %d of each", number, len(tokens), len(labels), size))
	}
}

// Sequential cuts a stream into the same windows in their order, without shuffling and without
// leaving out the end: over all its batches every token but the first, which has nothing before
// it, is a label exactly once. It is what validation loss is computed over.
type Sequential struct {
	stream     *Stream
	batch, seq int64
	windows    int64
}

// NewSequential returns the batches of a stream in order. A stream of fewer than two tokens has
// nothing to predict and is an error.
func NewSequential(s *Stream, batch, seq int) (*Sequential, error) {
	if err := positive(batch, seq); err != nil {
		return nil, err
	}
	if s.Len() < 2 {
		return nil, fmt.Errorf("corpus: %d tokens, want at least 2 to predict one: was validation text prepared?", s.Len())
	}
	windows := (s.Len() - 1 + int64(seq) - 1) / int64(seq)
	return &Sequential{stream: s, batch: int64(batch), seq: int64(seq), windows: windows}, nil
}

// Batches returns the number of batches.
func (s *Sequential) Batches() int64 { return (s.windows + s.batch - 1) / s.batch }

// Predicted returns the number of labels in all batches together: all tokens but one.
func (s *Sequential) Predicted() int64 { return s.stream.Len() - 1 }

// Fill writes batch number i < Batches() as CausalBatches.Fill does and returns how many labels it
// has. Positions behind the end of the stream hold token 0 and label IgnoreLabel.
func (s *Sequential) Fill(i int64, tokens, labels []int64) (predicted int64) {
	checkFill(i, s.batch*s.seq, tokens, labels)
	at := i * s.batch * s.seq // windows lie one behind the other, and so do the rows of a batch
	n := min(max(0, s.stream.Len()-1-at), s.batch*s.seq)
	if n > 0 {
		readTokens(s.stream, at, tokens[:n])
		readTokens(s.stream, at+1, labels[:n])
	}
	for j := n; j < int64(len(tokens)); j++ {
		tokens[j], labels[j] = 0, IgnoreLabel
	}
	return n
}
