package generate

import (
	"context"
	"fmt"
	"io"

	"march/trainloop/objective"
	"march/trainloop/rng"
	"march/trainloop/tokenizer"
)

// Options are what a text is made of.
type Options struct {
	Prompt    string
	Tokens    int // at most so many are added
	Sampling  Sampling
	Seed      uint64
	Objective string // that the model was trained for, of package objective
}

// Result says how a text came about.
type Result struct {
	Prompt string `json:"prompt"`
	Text   string `json:"text"` // behind the prompt; of an encoder-decoder what its decoder says
	Tokens int    `json:"tokens"`
	Ended  string `json:"ended"` // why: one of the constants below
	Moved  int    `json:"moved"` // times that the model's positions were used up and its window moved on
	Cut    int    `json:"cut"`   // tokens of the prompt that the model has no positions for, at its start
}

// Why a text ends.
const (
	EndedByTokens    = "tokens"      // as many as were asked for
	EndedByText      = "end of text" // the model's own mark
	EndedBySpan      = "end of span" // the model's next sentinel
	EndedByPositions = "positions"   // an encoder-decoder's decoder has no more
)

// Text continues a prompt and writes what comes to out, in whole characters; the prompt is not written. Token number n is
// chosen by a random number that is a pure function of (seed, n).
//
// A decoder reads the prompt behind the mark that stands before every text; where its positions are used up it goes on
// with the later half of what it has read. An encoder-decoder has the prompt in its encoder; one of span corruption finds
// a sentinel behind it, as if the text's end were left out, and says what stood there.
func Text(ctx context.Context, m *Model, t *tokenizer.Tokenizer, o Options, out io.Writer) (*Result, error) {
	if err := o.Sampling.Check(); err != nil {
		return nil, err
	}
	end, ok := t.ID(tokenizer.EndOfText)
	if !ok {
		return nil, fmt.Errorf("the tokenizer has no token %s, which stands before every text", tokenizer.EndOfText)
	}
	if n := t.VocabSize(); n > m.config.Vocab {
		return nil, fmt.Errorf("the tokenizer has %d tokens, the model %d: it is not the model's", n, m.config.Vocab)
	}
	w := &writing{m: m, t: t, o: o, end: int64(end), sentinel: -1, result: &Result{Prompt: o.Prompt}}
	w.allowed = allowed(t, m.config.Vocab, end)
	if err := w.begin(t.Encode(o.Prompt)); err != nil {
		return nil, err
	}
	return w.result, w.run(ctx, out)
}

// allowed are the tokens that stand for text, and the end's.
func allowed(t *tokenizer.Tokenizer, vocab int, end int32) []bool {
	list := make([]bool, vocab)
	for id := range t.VocabSize() {
		list[id] = t.Token(int32(id)) != ""
	}
	for _, a := range t.AddedTokens() {
		list[a.ID] = !a.Special
	}
	for _, name := range []string{tokenizer.Pad, tokenizer.Mask} {
		if id, ok := t.ID(name); ok {
			list[id] = false
		}
	}
	list[end] = true
	return list
}

// writing is a text in progress.
type writing struct {
	m        *Model
	t        *tokenizer.Tokenizer
	o        Options
	allowed  []bool
	end      int64
	sentinel int64   // that ends the text; -1: none does
	read     []int64 // tokens since the start, of the decoder
	pending  []int64 // that the model has not read yet
	result   *Result
}

// begin has the model read what stands before the text.
func (w *writing) begin(prompt []int32) error {
	source := []int64{w.end}
	for _, id := range prompt {
		source = append(source, int64(id))
	}
	length := w.m.Length()
	if w.m.encoder == nil {
		w.read = w.cut(source, length)
		w.pending = w.read
		return w.m.Start(nil)
	}
	w.pending = []int64{w.end}
	if w.o.Objective == objective.SpanCorruption {
		first := int64(w.m.config.Vocab - 1) // sentinels are the vocabulary's last ids, downwards
		source = append(w.cut(source, length-1), first)
		w.pending = append(w.pending, first)
		w.sentinel = first - 1
		w.allowed[w.sentinel] = true
	}
	w.read = w.pending
	return w.m.Start(w.cut(source, length))
}

// cut keeps the last n tokens.
func (w *writing) cut(tokens []int64, n int) []int64 {
	over := max(0, len(tokens)-n)
	w.result.Cut += over
	return tokens[over:]
}

func (w *writing) run(ctx context.Context, out io.Writer) error {
	text, random := w.t.Stream(), rng.New(w.o.Seed, rng.Name("generate"))
	write := func(piece string) error {
		w.result.Text += piece
		_, err := io.WriteString(out, piece)
		return err
	}
	var logits []float32
	w.result.Ended = EndedByTokens
	for w.result.Tokens < w.o.Tokens {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if ok, err := w.room(); err != nil {
			return err
		} else if !ok {
			w.result.Ended = EndedByPositions
			break
		}
		var err error
		if logits, err = w.m.Next(w.pending, logits); err != nil {
			return err
		}
		p, err := w.o.Sampling.Distribution(logits, w.allowed)
		if err != nil {
			return err
		}
		token := int64(draw(p, rng.Unit(random.At(uint64(w.result.Tokens)))))
		if token == w.end {
			w.result.Ended = EndedByText
			break
		}
		if token == w.sentinel {
			w.result.Ended = EndedBySpan
			break
		}
		w.result.Tokens++
		w.read, w.pending = append(w.read, token), []int64{token}
		if err := write(text.Add(int32(token))); err != nil {
			return err
		}
	}
	return write(text.Rest())
}

// room makes sure that the model has positions for what it is to read next.
func (w *writing) room() (bool, error) {
	length := w.m.Length()
	if w.m.Seen()+len(w.pending) <= length {
		return true, nil
	}
	if w.m.encoder != nil {
		return false, nil
	}
	w.result.Moved++
	w.pending = w.read[len(w.read)-max(1, length/2):]
	return true, w.m.Start(nil)
}
