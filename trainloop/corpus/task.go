package corpus

import (
	"fmt"

	"march/trainloop/objective"
	"march/trainloop/rng"
	"march/trainloop/tokenizer"
)

// Task says what batches to make of a stream.
type Task struct {
	Objective string // of package objective; "": causal-lm
	Batch     int    // rows of a micro-batch
	// Length is the number of tokens of a row: of the input (causal-lm, masked-lm), of the
	// corrupted text that the encoder reads (span-corruption), of both halves together (prefix-lm).
	Length int
	// Tokenizer is that of the stream. It says which tokens are special; causal-lm without
	// DocumentMask needs none.
	Tokenizer *tokenizer.Tokenizer
	// DocumentMask, of causal-lm: batches tell documents apart, for attention within each.
	DocumentMask bool
	// Vocab is the model's vocabulary; span-corruption takes its sentinels from the end of it.
	Vocab int
}

// rows is how one objective makes rows.
type rows interface {
	// fill writes a row from a window's tokens into a blank row and returns the number of its
	// labels. A window at a stream's end may be shorter than others, but not than cut.least.
	fill(window []int64, random rng.Stream, row Batch) (labels int)
}

// cut says how an objective divides a stream: a window of size tokens begins at every multiple of
// stride. At the end of the stream, where fewer are left, least are enough for a row that is partly
// blank.
type cut struct{ stride, size, least int64 }

// source is a stream cut for an objective.
type source struct {
	stream  *Stream
	shapes  Shapes
	cut     cut
	fill    rows
	purpose uint64 // of what is random about a row
	windows int64
}

// Shapes returns the dimensions of the batches.
func (s *source) Shapes() Shapes { return s.shapes }

// Windows returns the number of windows: rows of one epoch.
func (s *source) Windows() int64 { return s.windows }

// windows is the number of whole windows in a number of tokens.
func (c cut) windows(tokens int64) int64 { return max(0, tokens-(c.size-c.stride)) / c.stride }

// Shapes returns the dimensions of the task's batches, which are those of the graphs that take
// them. It needs the objective, the batch and the length only.
func (t Task) Shapes() (Shapes, error) {
	if t.Batch < 1 || t.Length < 1 {
		return Shapes{}, fmt.Errorf("corpus: batches of %d × %d tokens, want at least 1 × 1", t.Batch, t.Length)
	}
	n, err := objective.SizesOf(t.objective(), t.Length)
	if err != nil {
		return Shapes{}, fmt.Errorf("corpus: %w", err)
	}
	if t.DocumentMask && t.objective() != objective.CausalLM {
		return Shapes{}, fmt.Errorf("corpus: a document mask needs %s, found %s", objective.CausalLM, t.objective())
	}
	return Shapes{Batch: t.Batch, Length: n.Input, Decoder: n.Target, Lengths: t.objective() != objective.CausalLM, Documents: t.DocumentMask}, nil
}

// Sentinels is the number of ids at the end of the model's vocabulary that the task takes for
// sentinels, and that the tokenizer must leave free; 0 for all but span-corruption.
func (t Task) Sentinels() (int, error) {
	if t.objective() != objective.SpanCorruption {
		return 0, nil
	}
	c, err := objective.CorruptionFor(t.Length)
	return c.Sentinels(), err
}

func (t Task) objective() string {
	if t.Objective == "" {
		return objective.CausalLM
	}
	return t.Objective
}

// open checks a task and gives what carries it out.
func (t Task) open() (Shapes, cut, rows, error) {
	shapes, err := t.Shapes()
	if err != nil {
		return Shapes{}, cut{}, nil, err
	}
	var v *vocabulary
	if t.objective() != objective.CausalLM || t.DocumentMask {
		if v, err = newVocabulary(t); err != nil {
			return Shapes{}, cut{}, nil, err
		}
	}
	n, s := int64(t.Length), int64(shapes.Length)
	switch t.objective() {
	case objective.MaskedLM:
		return shapes, cut{n, n, 1}, masked{v}, nil
	case objective.SpanCorruption:
		c, _ := objective.CorruptionFor(t.Length) // Shapes has seen it
		raw, err := int64(c.Raw), v.leaves(c.Sentinels(), t)
		return shapes, cut{raw, raw, raw}, spans{c, v}, err
	case objective.PrefixLM:
		return shapes, cut{n, n, s + 1}, prefix{v}, nil
	}
	return shapes, cut{n, n + 1, 2}, causal{v}, nil
}

// vocabulary is what objectives need to know of a tokenizer.
type vocabulary struct {
	endOfText, mask int64
	used            int     // ids that the tokenizer may give: 0 … used-1
	model           int     // ids that the model has
	ordinary        []int64 // ids that stand for text, rising
	special         []bool  // by id
}

func newVocabulary(t Task) (*vocabulary, error) {
	if t.Tokenizer == nil {
		return nil, fmt.Errorf("corpus: %s needs the stream's tokenizer, for its special tokens", t.objective())
	}
	v := &vocabulary{used: t.Tokenizer.VocabSize(), model: t.Vocab}
	v.special = make([]bool, v.used)
	for _, a := range t.Tokenizer.AddedTokens() {
		v.special[a.ID] = v.special[a.ID] || a.Special
	}
	for _, token := range []struct {
		name   string
		to     *int64
		needed bool
	}{{tokenizer.EndOfText, &v.endOfText, true}, {tokenizer.Mask, &v.mask, t.Objective == objective.MaskedLM}, {tokenizer.Pad, new(int64), false}} {
		id, ok := t.Tokenizer.ID(token.name)
		if ok {
			*token.to, v.special[id] = int64(id), true
		} else if token.needed {
			return nil, fmt.Errorf("corpus: %s needs the token %s, which the tokenizer does not have", t.objective(), token.name)
		}
	}
	for id := range v.special {
		if !v.special[id] && t.Tokenizer.Token(int32(id)) != "" {
			v.ordinary = append(v.ordinary, int64(id))
		}
	}
	if len(v.ordinary) == 0 {
		return nil, fmt.Errorf("corpus: the tokenizer has special tokens only")
	}
	return v, nil
}

// leaves checks that the tokenizer leaves the model enough ids for sentinels.
func (v *vocabulary) leaves(sentinels int, t Task) error {
	if v.model-v.used >= sentinels {
		return nil
	}
	return fmt.Errorf("corpus: %s of length %d needs %d ids for sentinels at the end of the model's vocabulary of %d, the tokenizer's %d leave %d: prepare the data with --vocab %d or smaller, or give the model a vocabulary of %d",
		t.Objective, t.Length, sentinels, v.model, v.used, max(0, v.model-v.used), max(0, v.model-sentinels), v.used+sentinels)
}

// sentinel is the id of sentinel k: the last ids of the model's vocabulary, downwards.
func (v *vocabulary) sentinel(k int) int64 { return int64(v.model - 1 - k) }

// shift makes decoder tokens of labels: those before each, the first behind EndOfText.
func (v *vocabulary) shift(decoder, labels []int64) {
	decoder[0] = v.endOfText
	copy(decoder[1:], labels)
}
