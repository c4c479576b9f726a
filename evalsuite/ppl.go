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
	Tokens int64 // predict at most so many tokens, from the beginning; 0: all
}

// Perplexity is the suite "ppl". The stream is cut into windows that follow each other; each token
// but the stream's first is predicted once, from what comes before it in its window and the one
// token before the window.
//
// Its scores are "perplexity" (per token), "loss" (nats a token), "word_perplexity",
// "byte_perplexity" and "bits_per_byte": the same log-probability, spread over the tokens, over the
// words (runs of other than white space) and over the bytes of the text that these tokens stand
// for. Document boundaries are predicted like any token and are neither words nor bytes. The latter
// three compare models with different tokenizers.
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
	}
	return &Perplexity{s, o}, nil
}

// Name is "ppl".
func (x *Perplexity) Name() string { return "ppl" }

func (x *Perplexity) plan(p planner) (*plan, error) {
	window := p.maxLength
	if x.options.Window > 0 {
		window = min(window, x.options.Window)
	}
	predicted := x.stream.Len() - 1
	if x.options.Tokens > 0 {
		predicted = min(predicted, x.options.Tokens)
	}
	if predicted > math.MaxInt32 {
		return nil, errors.New("the stream has more than 2^31 tokens: limit how many are predicted")
	}
	tokens := make([]int32, predicted+1)
	x.stream.Read(0, tokens)
	var sequences []sequence
	for at := 0; at < int(predicted); at += window {
		sequences = append(sequences, sequence{tokens: tokens[at : min(at+window, int(predicted))+1], from: 1})
	}
	words, bytes := textSize(tokens[1:], p)
	return &plan{sequences, func(r *Result, scores []score, emit func(Prediction)) {
		nats := 0.0
		for i, s := range scores {
			emit(Prediction{
				Suite: r.Suite, ID: strconv.Itoa(i), Scores: []float64{s.logprob}, Tokens: []int{s.tokens}, Correct: s.allTop(),
			})
			nats -= s.logprob
		}
		r.Items = int64(len(sequences))
		r.Limit = 0
		loss := nats / float64(predicted)
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
		r.set("window", strconv.Itoa(window))
		r.set("words", strconv.FormatInt(words, 10))
		r.set("bytes", strconv.FormatInt(bytes, 10))
		if predicted < x.stream.Len()-1 {
			r.note("the first %d of the stream's %d tokens", predicted, x.stream.Len())
		}
	}}, nil
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
