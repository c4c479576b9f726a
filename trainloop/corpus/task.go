package corpus

import (
	"fmt"
	"strings"

	"march/trainloop/rng"
	"march/trainloop/tokenizer"
)

// The objectives: what a model learns to predict, and so how windows of text become rows.
const (
	CausalLM       = "causal-lm"       // each token from those before it
	MaskedLM       = "masked-lm"       // tokens that were masked, from those on both sides
	SpanCorruption = "span-corruption" // the spans left out of a text, by an encoder-decoder
	PrefixLM       = "prefix-lm"       // the second half of a text from the first, by an encoder-decoder
)

// Objectives lists them.
func Objectives() []string { return []string{CausalLM, MaskedLM, SpanCorruption, PrefixLM} }

// Task says what batches to make of a stream.
type Task struct {
	Objective string // "": CausalLM
	Batch     int    // rows of a micro-batch
	// Length is the number of tokens of a row: of the input (causal-lm, masked-lm), of the
	// corrupted text that the encoder reads (span-corruption), of both halves together (prefix-lm).
	Length int
	// Tokenizer is that of the stream. It says which tokens are special; causal-lm needs none.
	Tokenizer *tokenizer.Tokenizer
	// Vocab is the model's vocabulary; span-corruption takes its sentinels from the end of it.
	Vocab int
}

// objective is how one objective makes rows.
type objective interface {
	// fill writes a row from a window's tokens into a blank row and returns the number of its
	// labels. A window at a stream's end may be shorter than others, but not than cut.least.
	fill(window []int64, random rng.Stream, row Batch) (labels int)
}

// cut says how an objective divides a stream: a window of size tokens begins at every multiple of
// stride. At the end of the stream, where fewer are left, least are enough for a row that is partly
// blank.
type cut struct{ stride, size, least int64 }

// windows is the number of whole windows in a number of tokens.
func (c cut) windows(tokens int64) int64 { return max(0, tokens-(c.size-c.stride)) / c.stride }

// Shapes returns the dimensions of the task's batches, which are those of the graphs that take
// them. It needs the objective, the batch and the length only.
func (t Task) Shapes() (Shapes, error) {
	if t.Batch < 1 || t.Length < 1 {
		return Shapes{}, fmt.Errorf("corpus: batches of %d × %d tokens, want at least 1 × 1", t.Batch, t.Length)
	}
	s := Shapes{Batch: t.Batch, Length: t.Length}
	switch t.objective() {
	case CausalLM:
	case MaskedLM:
		s.Lengths = true
	case SpanCorruption:
		c, err := corruptionFor(t.Length)
		if err != nil {
			return Shapes{}, err
		}
		s.Lengths, s.Decoder = true, c.targets()
	case PrefixLM:
		if t.Length < 2 {
			return Shapes{}, fmt.Errorf("corpus: %s with texts of %d token: want at least 2, one for each half", PrefixLM, t.Length)
		}
		s.Lengths, s.Length, s.Decoder = true, t.Length-t.Length/2, t.Length/2
	default:
		return Shapes{}, fmt.Errorf("corpus: no objective %q, want one of %s", t.Objective, strings.Join(Objectives(), ", "))
	}
	return s, nil
}

// Sentinels is the number of ids at the end of the model's vocabulary that the task takes for
// sentinels, and that the tokenizer must leave free; 0 for all but span-corruption.
func (t Task) Sentinels() (int, error) {
	if t.objective() != SpanCorruption {
		return 0, nil
	}
	c, err := corruptionFor(t.Length)
	return c.sentinels(), err
}

func (t Task) objective() string {
	if t.Objective == "" {
		return CausalLM
	}
	return t.Objective
}

// open checks a task and gives what carries it out.
func (t Task) open() (Shapes, cut, objective, error) {
	shapes, err := t.Shapes()
	if err != nil {
		return Shapes{}, cut{}, nil, err
	}
	var v *vocabulary
	if t.objective() != CausalLM {
		if v, err = newVocabulary(t); err != nil {
			return Shapes{}, cut{}, nil, err
		}
	}
	n, s := int64(t.Length), int64(shapes.Length)
	switch t.objective() {
	case MaskedLM:
		return shapes, cut{n, n, 1}, masked{v}, nil
	case SpanCorruption:
		c, _ := corruptionFor(t.Length) // Shapes has seen it
		err := v.leaves(c.sentinels(), t)
		return shapes, cut{int64(c.raw), int64(c.raw), int64(c.raw)}, spans{c, v}, err
	case PrefixLM:
		return shapes, cut{n, n, s + 1}, prefix{v}, nil
	}
	return shapes, cut{n, n + 1, 2}, causal{}, nil
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
		return nil, fmt.Errorf("corpus: %s needs the stream's tokenizer, for its special tokens", t.Objective)
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
	}{{tokenizer.EndOfText, &v.endOfText, true}, {tokenizer.Mask, &v.mask, t.Objective == MaskedLM}, {tokenizer.Pad, new(int64), false}} {
		id, ok := t.Tokenizer.ID(token.name)
		if ok {
			*token.to, v.special[id] = int64(id), true
		} else if token.needed {
			return nil, fmt.Errorf("corpus: %s needs the token %s, which the tokenizer does not have", t.Objective, token.name)
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

// share is 15 % of n, rounded half up: both masked-lm and span-corruption hide so many.
func share(n int) int { return (15*n + 50) / 100 }
