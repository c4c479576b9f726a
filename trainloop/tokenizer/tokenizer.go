// Package tokenizer is byte-level byte-pair encoding, as GPT-2 and its successors have it: training,
// encoding and decoding, and Hugging Face's tokenizer.json both ways with identical ids. It is not a
// general tokenizer library (no WordPiece, Unigram or vocabularies that are not of bytes; a file that
// asks for something else is refused by name) and it imports nothing of march but atomicfile. Start
// with Load or Train, then Encode and Decode.
//
// Text is cut into words, by GPT-2's pattern (Radford et al.: Language Models are Unsupervised
// Multitask Learners, 2019) where march trains the vocabulary and by what a foreign file says
// otherwise; each word becomes its UTF-8 bytes, and neighbouring tokens are merged
// in the order in which training found the merges (Sennrich, Haddow, Birch: Neural Machine
// Translation of Rare Words with Subword Units, 2016). Nothing is lost: any string, also one that
// is not UTF-8, comes back byte by byte from DecodeBytes, but for what a foreign file can ask for (a
// normalizer, a Split that removes, a space before the text, byte values missing from the vocabulary).
package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
)

// The special tokens of every tokenizer trained here, with ids 0, 1 and 2.
const (
	EndOfText = "<|endoftext|>" // stands before every document
	Pad       = "<|pad|>"
	Mask      = "<|mask|>"
)

// Tokenizer is a vocabulary with its merges. It never changes after Load, Parse or Train, and all
// its methods may be called from many goroutines at once.
type Tokenizer struct {
	settings settings
	tokens   []string // by id, in the alphabet's spelling; "" where the vocabulary has a hole
	spelled  []string // by id, the bytes that the token stands for
	ids      map[string]int32
	inVocab  []bool           // by id: in model.vocab, not an added token outside it
	model    int              // tokens in model.vocab
	words    map[string]int32 // ids of whole words, where the file says ignore_merges
	added    []AddedToken
	merges   []pair // by rank
	table    pairTable
	byteIDs  [256]int32 // id of each byte's token, or -1
	unknown  int32      // id for bytes without a token, or -1: they are dropped
	matchers [2]matcher // added tokens: matched first, matched second

	idle struct { // encoders at rest, see borrow
		sync.Mutex
		list []*encoder
	}
	digest func() string
}

// AddedToken is a token that is found in the text before it is cut into words. The fields are
// those of tokenizer.json.
type AddedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // only where no word character stands beside it
	LStrip     bool   `json:"lstrip"`      // takes the white space to its left with it
	RStrip     bool   `json:"rstrip"`      // takes the white space to its right with it
	Normalized bool   `json:"normalized"`  // looked for after those that are not
	Special    bool   `json:"special"`     // a mark such as EndOfText, no text
}

// pair is two neighbouring tokens.
type pair struct{ left, right int32 }

func (p pair) key() uint64 { return uint64(uint32(p.left))<<32 | uint64(uint32(p.right)) }

// settings are the parts of tokenizer.json that are neither vocabulary nor merges. What encoding
// does not need is kept to be written back.
type settings struct {
	normalizer    normalizer      // nil: none
	normalizerRaw json.RawMessage // as in the file
	pre           *preTokenizer
	cuts          bool            // see LastCut
	post          json.RawMessage // puts tokens around a text, which is nothing that is done here
	decoder       *byteLevel      // nil: null in the file
	unknownToken  *string
	prefix        *string // continuing_subword_prefix and end_of_word_suffix: null or ""
	suffix        *string
	fuseUnknown   bool
	ignoreMerges  bool
}

// byteLevel is tokenizer.json's ByteLevel, which serves as pre-tokenizer, post-processor and
// decoder.
type byteLevel struct {
	Type           string `json:"type"`
	AddPrefixSpace bool   `json:"add_prefix_space"`
	TrimOffsets    bool   `json:"trim_offsets"`
	UseRegex       *bool  `json:"use_regex,omitempty"` // nil in old files: true
}

// VocabSize returns the number of ids: the largest id plus one. Where the vocabulary has holes
// some of them stand for nothing.
func (t *Tokenizer) VocabSize() int { return len(t.tokens) }

// ID returns the id of a token in the spelling of tokenizer.json, where a space is "Ġ" and a line
// feed "Ċ"; special tokens are spelled as they are.
func (t *Tokenizer) ID(token string) (int32, bool) {
	id, ok := t.ids[token]
	return id, ok
}

// Token returns the spelling of an id in tokenizer.json, "" for an id that stands for nothing.
func (t *Tokenizer) Token(id int32) string {
	if id < 0 || int(id) >= len(t.tokens) {
		return ""
	}
	return t.tokens[id]
}

// AddedTokens returns the tokens that are matched before the text is cut into words, special ones
// included, in the order of the file.
func (t *Tokenizer) AddedTokens() []AddedToken { return append([]AddedToken(nil), t.added...) }

// SHA256 identifies the tokenizer: the sha256, in hexadecimal, of what JSON returns. Two files
// that differ in layout alone have the same.
func (t *Tokenizer) SHA256() string { return t.digest() }

// DecodeBytes appends the bytes that the ids stand for. Special tokens appear as they are spelled,
// ids that stand for nothing are left out. The bytes of a few tokens out of a text need not be
// whole characters.
func (t *Tokenizer) DecodeBytes(dst []byte, ids []int32) []byte {
	for _, id := range ids {
		if id >= 0 && int(id) < len(t.spelled) {
			dst = append(dst, t.spelled[id]...)
		}
	}
	return dst
}

// Decode returns the text of the ids as DecodeBytes does, with U+FFFD for each maximal piece that
// is not UTF-8. It equals the tokenizers library's decode with skip_special_tokens=False.
func (t *Tokenizer) Decode(ids []int32) string {
	return validText(t.DecodeBytes(nil, ids))
}

// spec is what Parse and Train know of a tokenizer before it is built.
type spec struct {
	settings settings
	vocab    map[string]int32
	merges   [][2]string
	added    []AddedToken
}

// build checks that the parts fit together and makes the tables. Errors name the field of
// tokenizer.json.
func build(s spec) (*Tokenizer, error) {
	t := &Tokenizer{
		settings: s.settings,
		ids:      make(map[string]int32, len(s.vocab)+len(s.added)),
		model:    len(s.vocab),
		merges:   make([]pair, 0, len(s.merges)),
		unknown:  -1,
	}
	if len(s.vocab) == 0 {
		return nil, fmt.Errorf("model.vocab: empty")
	}
	// Ids index tables, so one absurd id must not cost memory. Files in use have few holes or none.
	limit := 2*(len(s.vocab)+len(s.added)) + 1024
	for token, id := range s.vocab {
		if id < 0 || int(id) >= limit {
			return nil, fmt.Errorf("model.vocab: token %q has id %d, outside 0 … %d for %d tokens", token, id, limit-1, len(s.vocab))
		}
		if err := t.define(token, id); err != nil {
			return nil, fmt.Errorf("model.vocab: %w", err)
		}
	}
	t.inVocab = make([]bool, len(t.tokens))
	for _, id := range s.vocab {
		t.inVocab[id] = true
	}
	if err := t.defineAdded(s.added); err != nil {
		return nil, err
	}
	t.spelled = make([]string, len(t.tokens))
	for id, token := range t.tokens {
		// A token outside the alphabet (an added one, with a real space in it) stands for itself.
		if word, ok := unspell(token); ok {
			t.spelled[id] = word
		} else {
			t.spelled[id] = token
		}
	}
	for b := range 256 {
		t.byteIDs[b] = -1
		if id, ok := s.vocab[string(alphabet[b])]; ok {
			t.byteIDs[b] = id
		}
	}
	if name := s.settings.unknownToken; name != nil && *name != "" {
		id, ok := s.vocab[*name]
		if !ok {
			return nil, fmt.Errorf("model.unk_token: %q is not in model.vocab", *name)
		}
		t.unknown = id
	}
	if s.settings.ignoreMerges {
		t.words = make(map[string]int32, len(s.vocab))
		for token, id := range s.vocab {
			if word, ok := unspell(token); ok {
				t.words[word] = id
			}
		}
	}
	t.table = newPairTable(len(s.merges))
	for rank, m := range s.merges {
		left, okLeft := s.vocab[m[0]]
		right, okRight := s.vocab[m[1]]
		whole, okWhole := s.vocab[m[0]+m[1]]
		if !okLeft || !okRight || !okWhole {
			return nil, fmt.Errorf("model.merges: number %d (%q, %q): model.vocab must hold both and %q", rank, m[0], m[1], m[0]+m[1])
		}
		p := pair{left, right}
		t.merges = append(t.merges, p)
		t.table.put(p.key(), merge{rank: int32(rank), id: whole})
	}
	t.digest = sync.OnceValue(func() string {
		sum := sha256.Sum256(t.JSON())
		return hex.EncodeToString(sum[:])
	})
	return t, nil
}

// define gives a token its id.
func (t *Tokenizer) define(token string, id int32) error {
	for int(id) >= len(t.tokens) {
		t.tokens = append(t.tokens, "")
	}
	if old, taken := t.ids[t.tokens[id]]; taken && old == id {
		// The smaller spelling first, so that the message does not depend on the map's order.
		return fmt.Errorf("tokens %q and %q share id %d", min(t.tokens[id], token), max(t.tokens[id], token), id)
	}
	t.tokens[id] = token
	t.ids[token] = id
	return nil
}
