package evalsuite

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"march/graphgen/atomicfile"
)

// Suite is a set of items and the rule that turns their scores into a [Result]. A suite holds no
// state of a run: it may be run on many models, also at the same time.
type Suite interface {
	Name() string // "ppl", "ppl-test", "grammar", "blimp" or "lambada"
	plan(p planner) (*plan, error)
}

// planner turns texts into sequences for one tokenizer and one model.
type planner struct {
	tokenizer Tokenizer
	layout    layout
	start     int32 // the token every sentence and passage begins with
	maxLength int   // positions of the model
	limit     int   // items a paradigm; 0: all
	perToken  bool  // of pairs
}

// sentence is the tokens of a whole sentence behind the start token.
func (p planner) sentence(text string) []int32 {
	return append([]int32{p.start}, p.tokenizer.Encode(text)...)
}

// limited is how many of n items to take.
func (p planner) limited(n int) int {
	if p.limit > 0 {
		return min(n, p.limit)
	}
	return n
}

// plan is the sequences of a suite's items and what becomes of their scores.
type plan struct {
	sequences []sequence
	// finish fills in the result's figures and hands on each item's prediction.
	finish func(r *Result, scores []score, emit func(Prediction))
}

// Options of [Run]. The zero value is ready to use.
type Options struct {
	// Predictions is a file for the predictions, one JSON object a line; empty: none.
	Predictions string
	// Limit is how many items to take of each paradigm, and how many passages, from the first on;
	// 0: all. It does not touch ppl, which has a limit of its own.
	Limit int
	// WithinWord, of encoders: a sentence's token is scored with the later tokens of its word masked
	// too (Kauf and Ivanova, 2023), not alone (Salazar and others, 2020).
	WithinWord bool
	// PerToken divides each sentence's score of a minimal pair by the number of tokens that it sums
	// over (Lau, Clark and Lappin, 2017, "MeanLP"), so that the shorter sentence has no advantage. It
	// changes the scores, so it is off unless asked for, and the result's settings say so.
	PerToken bool
	// Arithmetic of the model's matrix products, where it is not float32: a setting of the result.
	Arithmetic string
	// BatchTokens is the most positions in a batch, unless one row alone has more; 0: what suits the
	// model ([Batching]). In encoder-decoders those of both sides count.
	BatchTokens int
	// Progress is called after each batch with numbers of sequences.
	Progress func(done, total int)
}

// DefaultBatchTokens suits a thread of a CPU: the activations of a batch of small models stay in its caches.
const DefaultBatchTokens = 512

func (o Options) batchTokens(m Model) int {
	if o.BatchTokens > 0 {
		return o.BatchTokens
	}
	if b, ok := m.(Batching); ok {
		return b.BatchTokens()
	}
	return DefaultBatchTokens
}

// Run scores a model on a suite. It stops between two batches when ctx ends, with ctx's error, and
// then leaves no predictions file behind.
func Run(ctx context.Context, m Model, t Tokenizer, s Suite, o Options) (*Result, error) {
	r, err := run(ctx, m, t, s, o)
	if err != nil {
		return nil, fmt.Errorf("suite %s: %w", s.Name(), err)
	}
	return r, nil
}

func run(ctx context.Context, m Model, t Tokenizer, s Suite, o Options) (*Result, error) {
	began := time.Now()
	if o.Limit < 0 {
		return nil, fmt.Errorf("limit %d: want a number of items a paradigm, or 0 for all", o.Limit)
	}
	p, l, err := makePlan(s, t, m.Architecture(), m.MaxLength(), o)
	if err != nil {
		return nil, err
	}
	scores, w, err := scoreAll(ctx, m, l, p.sequences, o)
	if err != nil {
		return nil, err
	}
	r := &Result{
		Suite: s.Name(), Limit: int64(o.Limit), EvalSeconds: w.seconds,
		Sequences: int64(len(p.sequences)), Distinct: int64(w.distinct), Positions: int64(w.positions),
	}
	for key, value := range Fixed(s, o) {
		if value != "" {
			r.set(key, value)
		}
	}
	if o.Arithmetic != "" {
		r.set("arithmetic", o.Arithmetic)
	}
	for _, s := range scores {
		r.Tokens += int64(s.tokens)
	}
	finish := func(emit func(Prediction)) { p.finish(r, scores, emit) }
	if o.Predictions == "" {
		finish(func(Prediction) {})
	} else if err := writeLines(o.Predictions, finish); err != nil {
		return nil, fmt.Errorf("predictions: %w", err)
	}
	for i := range r.Scores {
		if r.Scores[i].Count == r.Items {
			r.Scores[i].Count = 0
		}
	}
	if r.Truncated > 0 {
		r.note("%d of %d items are longer than the model and %s", r.Truncated, r.Items, l.method().kept)
	}
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

// Fixed are the settings of a result that are known before a model is: what a record must say for its
// scores to be those of the suite with these options. A setting that it must not have is empty.
func Fixed(s Suite, o Options) map[string]string {
	fixed := map[string]string{}
	switch s := s.(type) {
	case *BLiMP:
		fixed[dataSetting], fixed[lengthSetting] = s.digest, o.length()
	case *Grammar:
		fixed[dataSetting], fixed[lengthSetting] = s.digest, o.length()
	case *LAMBADA:
		fixed[dataSetting], fixed["form"], fixed["quotes"] = s.digest, s.form, s.quotes()
	}
	return fixed
}

// dataSetting is the digest of the items that were read, of which a limit takes the first: scores of other texts are
// other scores, whatever their files are called.
const dataSetting = "data"

// digestOf is a digest of items, field by field, short enough for a table's footer.
func digestOf(pairs []pair, passages []passage) string {
	h := sha256.New()
	add := func(fields ...string) {
		for _, s := range fields {
			io.WriteString(h, s+"\x00") // a hash never fails
		}
	}
	for _, p := range pairs {
		add(p.paradigm, p.id, p.good, p.bad)
	}
	for _, p := range passages {
		add(p.context, p.target)
	}
	return "sha256 " + hex.EncodeToString(h.Sum(nil))[:12]
}

// lengthSetting says whether scores are of tokens; where they are of whole sentences, records do not
// have it.
const lengthSetting = "sentence length"

func (o Options) length() string {
	if o.PerToken {
		return "divided out, in tokens"
	}
	return ""
}

func (r *Result) note(format string, a ...any) { r.Notes = append(r.Notes, fmt.Sprintf(format, a...)) }

func (r *Result) set(key, value string) {
	if r.Settings == nil {
		r.Settings = map[string]string{}
	}
	r.Settings[key] = value
}

func makePlan(s Suite, t Tokenizer, a Architecture, maxLength int, o Options) (*plan, layout, error) {
	l, start, err := newLayout(a, maxLength, t, o)
	if err != nil {
		return nil, nil, err
	}
	p, err := s.plan(planner{tokenizer: t, layout: l, start: start, maxLength: maxLength, limit: o.Limit, perToken: o.PerToken})
	return p, l, err
}

// SaveTokens writes the token lists that the suites score with a decoder, in the items' order, one
// JSON list a line: what other tools need to run the same work. maxLength is the model's number of
// positions; longer lists are cut as [Run] cuts them. It returns the number of lists.
func SaveTokens(path string, t Tokenizer, maxLength, limit int, suites ...Suite) (lists int, err error) {
	plans := make([]*plan, len(suites))
	for i, s := range suites {
		if plans[i], _, err = makePlan(s, t, Decoder, maxLength, Options{Limit: limit}); err != nil {
			return 0, fmt.Errorf("suite %s: %w", s.Name(), err)
		}
	}
	err = writeFile(path, func(w *bufio.Writer) error {
		var line []byte
		for _, p := range plans {
			for _, s := range p.sequences {
				line = append(line[:0], '[')
				for i, id := range s.tokens {
					if i > 0 {
						line = append(line, ", "...)
					}
					line = strconv.AppendInt(line, int64(id), 10)
				}
				if _, err := w.Write(append(line, "]\n"...)); err != nil {
					return err
				}
				lists++
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("token lists: %w", err)
	}
	return lists, nil
}

// writeLines writes what produce emits, one JSON object a line.
func writeLines[T any](path string, produce func(emit func(T))) error {
	return writeFile(path, func(w *bufio.Writer) (failed error) {
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		produce(func(v T) {
			if failed == nil {
				failed = encoder.Encode(v)
			}
		})
		return failed
	})
}

// writeFile writes a whole file or none.
func writeFile(path string, body func(w *bufio.Writer) error) error {
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	w := bufio.NewWriterSize(f, 1<<16)
	if err := body(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Commit()
}
