package evalsuite

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode"
)

// Stream is a sequence of tokens to compute the perplexity of; *corpus.Stream is one.
type Stream interface {
	Len() int64
	Read(at int64, dst []int32)
}

// PerplexityOptions say how much of a stream is scored and with how much context.
type PerplexityOptions struct {
	Window int   // positions of a window; 0, or more than the model has: as many as the model has
	Tokens int64 // predict (encoder-decoders: read) at most so many tokens, from the beginning; 0: all

	// MaskPasses, of encoders: run so many of the 7 passes that together mask each token once; 0: all
	// of them. One pass is a fixed seventh of the tokens at a decoder's cost.
	MaskPasses int

	// Rows, of encoder-decoders: score these in place of the stream's windows. RowsOf says what they
	// are, such as the training objective whose rows they are.
	Rows   []Row
	RowsOf string

	Test bool // the stream is of documents kept for a test, so that the suite is "ppl-test"
}

// Row is what an encoder-decoder's encoder reads, and what its decoder predicts of that.
type Row struct{ Source, Target []int32 }

// Perplexity is the suite "ppl", or "ppl-test". The stream is cut into windows that follow each other. A decoder
// predicts each token but the stream's first once, from what comes before it in its window and the
// one token before the window; for the other architectures see the package.
//
// Its scores are "perplexity" (per token), "loss" (nats a token), "word_perplexity",
// "byte_perplexity" and "bits_per_byte": the same log-probability, spread over the tokens, over the
// words (runs of other than white space) and over the bytes of the text that these tokens stand
// for. Document boundaries are predicted like any token and are neither words nor bytes. The latter
// three compare models with different tokenizers; decoders alone have them.
type Perplexity struct {
	stream  Stream
	options PerplexityOptions
}

// NewPerplexity makes the suite of a stream, as a rule the validation stream of the training data.
func NewPerplexity(s Stream, o PerplexityOptions) (*Perplexity, error) {
	switch {
	case s.Len() < 2:
		return nil, fmt.Errorf("ppl: the stream has %d tokens: want at least 2", s.Len())
	case o.Window < 0:
		return nil, fmt.Errorf("ppl: window of %d positions: want at least 1, or 0 for the model's own", o.Window)
	case o.Tokens < 0:
		return nil, fmt.Errorf("ppl: %d tokens: want at least 1, or 0 for all", o.Tokens)
	case o.MaskPasses < 0 || o.MaskPasses > maskPasses:
		return nil, fmt.Errorf("ppl: %d passes of masks: want 1 to %d, or 0 for all", o.MaskPasses, maskPasses)
	}
	return &Perplexity{s, o}, nil
}

// Name is "ppl", or "ppl-test".
func (x *Perplexity) Name() string {
	if x.options.Test {
		return "ppl-test"
	}
	return "ppl"
}

func (x *Perplexity) plan(p planner) (*plan, error) {
	w, err := x.cut(p)
	if err != nil {
		return nil, err
	}
	if len(w.sequences) == 0 {
		return nil, errors.New("no token of the stream can be scored")
	}
	words, bytes := textSize(w.text, p)
	return &plan{w.sequences, func(r *Result, scores []score, emit func(Prediction)) {
		all := score{}
		for at := 0; at < len(scores); {
			item, id := score{}, w.window[at]
			for ; at < len(scores) && w.window[at] == id; at++ {
				item.add(scores[at])
			}
			emit(Prediction{
				Suite: r.Suite, ID: strconv.Itoa(id), Scores: []float64{item.logprob}, Tokens: []int{item.tokens}, Correct: item.allTop(),
			})
			r.Items++
			all.add(item)
		}
		r.Limit = 0
		nats := 0 - all.logprob
		loss := nats / float64(all.tokens)
		r.Scores = []Score{
			{Name: "perplexity", Value: perplexity(loss), Lower: true},
			{Name: "loss", Value: loss, Unit: "nats/token", Lower: true},
		}
		if words > 0 {
			r.Scores = append(r.Scores, Score{Name: "word_perplexity", Value: perplexity(nats / float64(words)), Lower: true})
		}
		if bytes > 0 {
			r.Scores = append(r.Scores,
				Score{Name: "byte_perplexity", Value: perplexity(nats / float64(bytes)), Lower: true},
				Score{Name: "bits_per_byte", Value: nats / math.Ln2 / float64(bytes), Unit: "bits/byte", Lower: true})
		}
		if w.size > 0 {
			r.set("window", strconv.Itoa(w.size))
		}
		if w.text != nil {
			r.set("words", strconv.FormatInt(words, 10))
			r.set("bytes", strconv.FormatInt(bytes, 10))
		}
		if w.method != "" {
			r.set("scored", w.method)
		}
		r.Notes = append(r.Notes, w.notes...)
		if w.left > 0 {
			r.note("the first %d of the stream's %d tokens", x.stream.Len()-w.left-int64(p.layout.lead()), x.stream.Len())
		}
	}}, nil
}

// cut gives what is scored: the rows of the options, or windows of the stream.
func (x *Perplexity) cut(p planner) (windows, error) {
	if e, ok := p.layout.(encoderDecoders); ok && x.options.Rows != nil {
		return e.given(x.options.Rows, x.options.RowsOf)
	}
	size := p.maxLength
	if x.options.Window > 0 {
		size = min(size, x.options.Window)
	}
	tokens, err := x.read(p.layout.lead())
	if err != nil {
		return windows{}, err
	}
	w := p.layout.windows(tokens, size, x.options.MaskPasses)
	w.size, w.left = size, x.stream.Len()-int64(len(tokens))
	return w, nil
}

// read reads what the options ask for of the stream, and lead tokens that are never scored.
func (x *Perplexity) read(lead int) ([]int32, error) {
	n := x.stream.Len()
	if x.options.Tokens > 0 {
		n = min(n, x.options.Tokens+int64(lead))
	}
	if n > math.MaxInt32 {
		return nil, errors.New("the stream has more than 2^31 tokens: limit how many are predicted")
	}
	tokens := make([]int32, n)
	x.stream.Read(0, tokens)
	return tokens, nil
}

// textSize counts the words and bytes of the text that tokens stand for. A document ends where a
// start token stands.
func textSize(tokens []int32, p planner) (words, bytes int64) {
	for len(tokens) > 0 {
		end := 0
		for end < len(tokens) && tokens[end] != p.start {
			end++
		}
		text := p.tokenizer.Decode(tokens[:end])
		bytes += int64(len(text))
		inWord := false
		for _, r := range text {
			if space := unicode.IsSpace(r); space {
				inWord = false
			} else if !inWord {
				inWord = true
				words++
			}
		}
		tokens = tokens[min(end+1, len(tokens)):]
	}
	return words, bytes
}
