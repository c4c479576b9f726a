package corpus

import (
	"fmt"

	"march/trainloop/rng"
)

// Shuffled cuts a stream into windows and deals them out in micro-batches, shuffled anew in every
// epoch, each window as a row of an objective. It holds no position: what a micro-batch contains
// depends on the stream, the task, the seed and its number alone, so a run that is resumed, or
// split over processes, sees what an uninterrupted one sees. Fill may be called from many
// goroutines.
//
// Window w begins at token w·stride and has size tokens, for all W windows that lie whole in the
// stream; what is left behind the last one is never seen.
//
//	objective        stride   size
//	causal-lm        Length   Length+1: the last token is a label only
//	masked-lm        Length   Length
//	prefix-lm        Length   Length
//	span-corruption  R        R: the text whose corrupted form has Length tokens
//
// Row b of micro-batch m is entry g = m·batch+b of the endless sequence of epochs: in epoch
// e = floor(g/W) window w = P(g mod W) with P = rng.NewPermutation(W, seed, rng.Name("shuffle"), e).
// What is random about a row is drawn from rng.New(seed, rng.Name(objective), e, w).
// A micro-batch at the end of an epoch goes on with the next one.
type Shuffled struct {
	source
	seed uint64
}

// NewShuffled returns the batches of a stream. A stream with fewer windows than a micro-batch has
// rows is an error: rows would repeat within it.
func NewShuffled(s *Stream, t Task, seed uint64) (*Shuffled, error) {
	shapes, cut, fill, err := t.open()
	if err != nil {
		return nil, err
	}
	windows := cut.windows(s.Len())
	if windows < int64(t.Batch) {
		return nil, fmt.Errorf("corpus: %d tokens hold %d windows of %d, fewer than the %d of one micro-batch: use a smaller batch or length, or more text",
			s.Len(), windows, cut.stride, t.Batch)
	}
	return &Shuffled{source{s, shapes, cut, fill, rng.Name(t.objective()), windows}, seed}, nil
}

// Epoch returns how often the windows have been dealt out before a micro-batch: 2.5 in the middle
// of the third epoch.
func (c *Shuffled) Epoch(micro int64) float64 {
	return float64(micro) * float64(c.shapes.Batch) / float64(c.windows)
}

// Window returns the epoch and the window of one row: see Shuffled.
func (c *Shuffled) Window(micro int64, row int) (epoch, window int64) {
	g := micro*int64(c.shapes.Batch) + int64(row)
	epoch = g / c.windows
	order := c.order(epoch)
	return epoch, int64(order.At(uint64(g % c.windows)))
}

func (c *Shuffled) order(epoch int64) rng.Permutation {
	return rng.NewPermutation(uint64(c.windows), c.seed, rng.Name("shuffle"), uint64(epoch))
}

// Fill writes micro-batch number micro ≥ 0. A batch of other shapes, or a negative number, is a
// mistake of the caller and panics.
func (c *Shuffled) Fill(micro int64, b *Batch) {
	c.shapes.check(micro, b)
	text := make([]int64, c.cut.size)
	first := micro * int64(c.shapes.Batch)
	epoch := first / c.windows
	order := c.order(epoch)
	for row := range c.shapes.Batch {
		g := first + int64(row)
		if g/c.windows != epoch {
			epoch = g / c.windows
			order = c.order(epoch)
		}
		window := order.At(uint64(g % c.windows))
		readTokens(c.stream, int64(window)*c.cut.stride, text)
		r := c.shapes.row(b, row)
		r.blank()
		c.fill.fill(text, rng.New(c.seed, c.purpose, uint64(epoch), window), r)
	}
}
