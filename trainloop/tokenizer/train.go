package tokenizer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// TrainOptions say what vocabulary to train.
type TrainOptions struct {
	// VocabSize is the number of ids to end with, at least 256 bytes and the special tokens. A
	// text too small for so many merges gives fewer.
	VocabSize int
	// SpecialTokens are further ones; EndOfText, Pad and Mask always come first, as ids 0, 1, 2.
	SpecialTokens []string
	// MinFrequency is how often a pair must occur to be merged; 0 means 2. At 1 the vocabulary
	// learns words that occur once.
	MinFrequency int
}

// DefaultMinFrequency is what a MinFrequency of 0 stands for.
const DefaultMinFrequency = 2

// Train learns a vocabulary from documents. It is deterministic: the result depends on the
// documents, their order at most (see Bounds below), and the options, not on the number of cores.
//
// Ids: special tokens, then the 256 bytes in the order of their spelling, then one for each merge.
// Each merge takes the pair that occurs most often, of equally frequent ones the one with the
// smaller left id, then the smaller right id; pairs never cross the words of GPT-2's pattern. This
// is what the tokenizers library does, and gives its vocabulary.
//
// Bounds: documents are streamed, only their distinct words are kept. Past 2 million of them, or
// 32 MiB, the rarest are dropped at the next multiple of 32 MiB of text; the counts of what
// remains are those since it last came in.
func Train(docs iter.Seq[string], o TrainOptions) (*Tokenizer, error) {
	return TrainContext(context.Background(), func(yield func(string, error) bool) {
		for doc := range docs {
			if !yield(doc, nil) {
				return
			}
		}
	}, o)
}

// TrainContext is Train for documents whose source may fail, and that can be stopped: the first
// error, the context's too, is returned.
func TrainContext(ctx context.Context, docs iter.Seq2[string, error], o TrainOptions) (*Tokenizer, error) {
	specials, err := o.specials()
	if err != nil {
		return nil, err
	}
	words, err := newCounter(maxWords, maxWordBytes, roundBytes).count(ctx, docs)
	if err != nil {
		return nil, err
	}
	if len(words) == 0 {
		return nil, errors.New("tokenizer: no text to train on")
	}
	s := spec{vocab: map[string]int32{}}
	yes := true
	s.settings = settings{
		pre:  &preTokenizer{steps: []step{scanner(nextWord)}, cuts: true, raw: (&byteLevel{TrimOffsets: true, UseRegex: &yes}).json()},
		cuts: true,
		// These two only move offsets and drop no space; written as the library writes them.
		post:    (&byteLevel{AddPrefixSpace: true, UseRegex: &yes}).json(),
		decoder: &byteLevel{AddPrefixSpace: true, TrimOffsets: true, UseRegex: &yes},
	}
	for i, token := range specials {
		s.vocab[token] = int32(i)
		s.added = append(s.added, AddedToken{ID: int32(i), Content: token, Special: true})
	}
	letters := slices.Clone(alphabet[:])
	slices.Sort(letters)
	var byteIDs [256]int32
	for _, r := range letters {
		byteIDs[byteOf[r]] = int32(len(s.vocab))
		s.vocab[string(r)] = int32(len(s.vocab))
	}
	m := newMerger(words, byteIDs, s.vocab)
	words = nil // the merger has its own form of them
	if s.merges, err = m.run(ctx, o.VocabSize, int64(cmp.Or(o.MinFrequency, DefaultMinFrequency))); err != nil {
		return nil, err
	}
	t, err := build(s)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: trained a vocabulary that does not load: %w", err)
	}
	return t, nil
}

// specials checks the options and returns all special tokens in the order of their ids.
func (o TrainOptions) specials() ([]string, error) {
	all := []string{EndOfText, Pad, Mask}
	for i, token := range o.SpecialTokens {
		switch {
		case token == "":
			return nil, fmt.Errorf("tokenizer: special token %d is empty", i)
		case len([]rune(token)) == 1:
			return nil, fmt.Errorf("tokenizer: special token %q: one character may be a byte's token, want two or more", token)
		case slices.Contains(o.SpecialTokens[:i], token):
			return nil, fmt.Errorf("tokenizer: special token %q comes twice", token)
		case !slices.Contains(all[:3], token):
			all = append(all, token)
		}
	}
	if least := 256 + len(all); o.VocabSize < least {
		return nil, fmt.Errorf("tokenizer: vocabulary of %d, want at least %d (256 bytes and %d special tokens)", o.VocabSize, least, len(all))
	}
	if o.MinFrequency < 0 {
		return nil, fmt.Errorf("tokenizer: minimum frequency %d, want 0 (for %d) or more", o.MinFrequency, DefaultMinFrequency)
	}
	return all, nil
}
