package corpus

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"march/trainloop/objective"
	"march/trainloop/rng"
	"march/trainloop/tokenizer"
)

// miniature is a tokenizer of 300 ids: the special tokens 0, 1 and 2, bytes, and a few merges.
func miniature(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	text := strings.Repeat("the cat sat on the mat and the dog ran to the other end of this little house while rain fell on its roof ", 3)
	tok, err := tokenizer.Train(slices.Values([]string{text}), tokenizer.TrainOptions{VocabSize: 300})
	if err != nil {
		t.Fatal(err)
	}
	if tok.VocabSize() != 300 {
		t.Fatalf("the tokenizer has %d ids, want 300", tok.VocabSize())
	}
	return tok
}

// random is a stream of n tokens from 3 … vocab-1, one in twenty an EndOfText (0).
func random(n, vocab int) *Stream {
	r := rng.New(rng.Name("stream"))
	part := &shard{width: 2}
	for range n {
		token := uint64(0)
		if r.Below(20) > 0 {
			token = 3 + r.Below(uint64(vocab-3))
		}
		part.tokens = binary.LittleEndian.AppendUint16(part.tokens, uint16(token))
	}
	s := &Stream{}
	s.add(part)
	return s
}

// documentMask names causal-lm with a document mask among the objectives.
const documentMask = "documents"

func task(t testing.TB, name string, batch, length int) Task {
	if name == documentMask {
		return Task{Objective: objective.CausalLM, Batch: batch, Length: length, Tokenizer: miniature(t), DocumentMask: true}
	}
	return Task{Objective: name, Batch: batch, Length: length, Tokenizer: miniature(t), Vocab: 320}
}

// text reads a window of a stream.
func text(s *Stream, at, n int64) []int64 {
	x := make([]int64, n)
	readTokens(s, at, x)
	return x
}

// within fails where a count is further from its expectation than five standard deviations of a
// binomial distribution.
func within(t *testing.T, what string, count, n int, p float64) {
	t.Helper()
	if d := math.Abs(float64(count) - float64(n)*p); d > 5*math.Sqrt(float64(n)*p*(1-p)) {
		t.Errorf("%s: %d of %d, want about %.1f %%", what, count, n, 100*p)
	}
}

// Batches depend on (seed, number) alone: in any order, from any goroutine, from a fresh value, and
// row by row not on how many rows a micro-batch has.
func TestBatchesArePure(t *testing.T) {
	const batch, length, n = 4, 32, 40
	for _, name := range append(objective.All(), documentMask) {
		t.Run(name, func(t *testing.T) {
			stream := random(1000, 300) // an epoch ends within every few micro-batches
			fill := func(b *Shuffled, micro int64) []int64 {
				x := b.Shapes().New()
				b.Fill(micro, x)
				return slices.Concat(x.Tokens, x.Labels, x.Lengths, x.DecoderTokens, x.Documents)
			}
			make := func(batch int, seed uint64) *Shuffled {
				b, err := NewShuffled(stream, task(t, name, batch, length), seed)
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			b, fresh := make(batch, 9), make(batch, 9)
			var want [][]int64
			for i := range int64(n) {
				want = append(want, fill(b, i))
			}
			var wait sync.WaitGroup
			order := rng.NewPermutation(n, 1)
			for i := range uint64(n) {
				wait.Go(func() {
					micro := int64(order.At(i))
					if !slices.Equal(fill(fresh, micro), want[micro]) {
						t.Errorf("micro-batch %d differs when filled out of order", micro)
					}
				})
			}
			wait.Wait()
			if slices.Equal(fill(make(batch, 10), 0), want[0]) {
				t.Error("another seed gives the same batch")
			}
			// Larger micro-batches are smaller ones put together: accumulation does not change the data.
			double := make(2*batch, 9)
			x := double.Shapes().New()
			double.Fill(7, x)
			size := len(x.Tokens) / 2
			if !slices.Equal(x.Tokens, slices.Concat(want[14][:size], want[15][:size])) {
				t.Error("a micro-batch of twice the rows is not two in a row")
			}
			// A batch that held another one before is filled no differently.
			b.Fill(3, fresh.Shapes().New())
			used := b.Shapes().New()
			for _, list := range [][]int64{used.Labels, used.Documents} {
				for i := range list {
					list[i] = 77
				}
			}
			b.Fill(5, used)
			if !slices.Equal(slices.Concat(used.Tokens, used.Labels, used.Lengths, used.DecoderTokens, used.Documents), want[5]) {
				t.Error("what a batch held before shows")
			}
		})
	}
}

// Whatever the objective, an epoch has each window once.
func TestEpochsOfAllObjectives(t *testing.T) {
	for _, name := range objective.All() {
		b, err := NewShuffled(random(2000, 300), task(t, name, 7, 16), 3)
		if err != nil {
			t.Fatal(err)
		}
		seen := make([]int, b.Windows())
		for g := range 2 * b.Windows() {
			_, w := b.Window(g/7, int(g%7))
			seen[w]++
		}
		if i := slices.IndexFunc(seen, func(n int) bool { return n != 2 }); i >= 0 {
			t.Errorf("%s: window %d came %d times in two epochs", name, i, seen[i])
		}
	}
}

// Masking: which positions, what becomes of them, and that it is another choice in each epoch.
func TestMasked(t *testing.T) {
	const batch, length = 4, 100
	stream := random(40_000, 300)
	b, err := NewShuffled(stream, task(t, objective.MaskedLM, batch, length), 11)
	if err != nil {
		t.Fatal(err)
	}
	x := b.Shapes().New()
	var hidden, masks, changed, kept, repeated int
	places := make([]int, length) // how often each position was chosen
	ordinary := make([]int, length)
	before := map[int64][]int64{}
	for micro := range 2 * b.Windows() / batch {
		b.Fill(micro, x)
		for row := range batch {
			epoch, w := b.Window(micro, row)
			original := text(stream, w*length, length)
			r := b.Shapes().row(x, row)
			if r.Lengths[0] != length {
				t.Fatalf("length %d, want %d", r.Lengths[0], length)
			}
			n, candidates := 0, 0
			for i, token := range original {
				if token > 2 {
					candidates++
					ordinary[i]++
				}
				switch {
				case r.Labels[i] == IgnoreLabel:
					if r.Tokens[i] != token {
						t.Fatalf("a position without a label changed from %d to %d", token, r.Tokens[i])
					}
					continue
				case r.Labels[i] != token:
					t.Fatalf("label %d of token %d", r.Labels[i], token)
				case token <= 2:
					t.Fatalf("special token %d was chosen", token)
				case r.Tokens[i] == 2:
					masks++
				case r.Tokens[i] == token:
					kept++
				case r.Tokens[i] < 3 || r.Tokens[i] >= 300:
					t.Fatalf("token %d became %d", token, r.Tokens[i])
				default:
					changed++
				}
				n++
				places[i]++
				hidden++
			}
			if want := int(0.15*float64(candidates) + 0.5); n != want {
				t.Fatalf("%d of %d positions chosen, want %d", n, candidates, want)
			}
			if epoch == 0 {
				before[w] = slices.Clone(r.Labels)
			} else if slices.Equal(before[w], r.Labels) {
				repeated++
			}
		}
	}
	// One random token in 297 is the original one.
	within(t, "masked", masks, hidden, 0.8)
	within(t, "changed", changed, hidden, 0.1*296/297)
	within(t, "kept", kept, hidden, 0.1+0.1/297)
	for i, n := range places {
		within(t, "a position", n, ordinary[i], 0.15)
	}
	if repeated > 0 {
		t.Errorf("%d windows are masked alike in both epochs", repeated)
	}
}

// restore puts a corrupted text together again.
func restore(t *testing.T, r Batch, vocab int64) (text []int64, spans [][2]int) {
	t.Helper()
	sentinel := func(k int) int64 { return vocab - 1 - int64(k) }
	var left [][]int64
	for _, label := range r.Labels {
		if label == sentinel(len(left)) {
			left = append(left, nil)
			continue
		}
		if len(left) == 0 || label >= 300 {
			t.Fatalf("label %d after %d sentinels", label, len(left))
		}
		left[len(left)-1] = append(left[len(left)-1], label)
	}
	k := 0
	for _, token := range r.Tokens {
		if token != sentinel(k) {
			if token >= 300 {
				t.Fatalf("token %d after %d sentinels", token, k)
			}
			text = append(text, token)
			continue
		}
		spans = append(spans, [2]int{len(text), len(left[k])})
		text = append(text, left[k]...)
		k++
	}
	if len(left) != k+1 || len(left[k]) != 0 {
		t.Fatalf("%d sentinels among the labels and %d in the input, want a last one without a span", len(left), k)
	}
	return text, spans
}

// Span corruption: the text comes back, and the spans are as they should be.
func TestSpans(t *testing.T) {
	const batch, length = 4, 128
	stream := random(60_000, 300)
	b, err := NewShuffled(stream, task(t, objective.SpanCorruption, batch, length), 5)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Shapes{Batch: batch, Length: length, Decoder: 29, Lengths: true}); b.Shapes() != want {
		t.Fatalf("shapes %+v, want %+v", b.Shapes(), want)
	}
	x := b.Shapes().New()
	const raw, noise, spans = 142, 21, 7
	lengths, rows := map[int]int{}, 0
	out := make([]int, raw)
	before := map[int64][][2]int{}
	for micro := range 2 * b.Windows() / batch {
		b.Fill(micro, x)
		for row := range batch {
			epoch, w := b.Window(micro, row)
			r := b.Shapes().row(x, row)
			got, list := restore(t, r, 320)
			if !slices.Equal(got, text(stream, w*raw, raw)) {
				t.Fatalf("window %d does not come back", w)
			}
			if r.Lengths[0] != length || r.DecoderTokens[0] != 0 || !slices.Equal(r.DecoderTokens[1:], r.Labels[:len(r.Labels)-1]) {
				t.Fatalf("length %d, labels %d, decoder tokens %d", r.Lengths[0], r.Labels, r.DecoderTokens)
			}
			total := 0
			for _, s := range list {
				total += s[1]
				lengths[s[1]]++
				for i := range s[1] {
					out[s[0]+i]++
				}
			}
			if len(list) != spans || total != noise {
				t.Fatalf("%d tokens in %d spans, want %d in %d", total, len(list), noise, spans)
			}
			rows++
			if epoch == 0 {
				before[w] = list
			} else if slices.Equal(before[w], list) {
				t.Errorf("window %d has the same spans in both epochs", w)
			}
		}
	}
	// 21 tokens in 7 spans: a given span has n tokens in C(20-n, 5) of C(20, 6) divisions. The
	// spans of a row are negatively correlated, so the binomial's bound is a generous one.
	for n, p := range map[int]float64{1: 11628. / 38760, 2: 8568. / 38760, 3: 6188. / 38760, 4: 4368. / 38760} {
		within(t, "spans of a length", lengths[n], rows*spans, p)
	}
	// The last token is always left out, those just before it often, so of the others 13.6 % are
	// left out rather than 15 %; in the middle all alike.
	for _, part := range [][]int{out[raw/4 : raw/2], out[raw/2 : 3*raw/4]} {
		n := 0
		for _, x := range part {
			n += x
		}
		if p := float64(n) / float64(rows*len(part)); math.Abs(p-0.136) > 0.01 {
			t.Errorf("%.3f of the tokens in the middle are left out, want about 0.136", p)
		}
	}
	if out[0] != 0 || out[raw-1] != rows {
		t.Errorf("the first token is left out %d times and the last %d of %d: want never and always", out[0], out[raw-1], rows)
	}
}

func TestPrefix(t *testing.T) {
	stream := random(1000, 300)
	for _, c := range []struct{ length, encoder, decoder int }{{2, 1, 1}, {16, 8, 8}, {17, 9, 8}} {
		b, err := NewShuffled(stream, task(t, objective.PrefixLM, 3, c.length), 5)
		if err != nil {
			t.Fatal(err)
		}
		if want := (Shapes{Batch: 3, Length: c.encoder, Decoder: c.decoder, Lengths: true}); b.Shapes() != want {
			t.Fatalf("shapes %+v, want %+v", b.Shapes(), want)
		}
		x := b.Shapes().New()
		b.Fill(2, x)
		for row := range 3 {
			_, w := b.Window(2, row)
			r := b.Shapes().row(x, row)
			if got := slices.Concat(r.Tokens, r.Labels); !slices.Equal(got, text(stream, w*int64(c.length), int64(c.length))) {
				t.Errorf("length %d: row %d is %d", c.length, row, got)
			}
			if r.Lengths[0] != int64(c.encoder) || r.DecoderTokens[0] != 0 || !slices.Equal(r.DecoderTokens[1:], r.Labels[:c.decoder-1]) {
				t.Errorf("length %d, decoder tokens %d of labels %d", r.Lengths[0], r.DecoderTokens, r.Labels)
			}
		}
	}
}

// What is read in order is the whole stream but for what an objective cannot use, masked in the
// same way whatever the batch.
func TestSequentialObjectives(t *testing.T) {
	const tokens, length = 1013, 32 // a last window of 21 tokens; spans: texts of 35, a rest of 33
	stream := random(tokens, 300)
	for name, used := range map[string]int64{objective.CausalLM: tokens, objective.MaskedLM: tokens, objective.PrefixLM: tokens, objective.SpanCorruption: 980} {
		var want []Batch
		for _, batch := range []int{1, 3, 64} {
			s, err := NewSequential(stream, task(t, name, batch, length))
			if err != nil {
				t.Fatal(err)
			}
			var all []int64
			row := 0
			for i := range s.Batches() {
				x := s.Shapes().New()
				n, labels := s.Fill(i, x), int64(0)
				for j := range batch {
					r := s.Shapes().row(x, j)
					real := int64(0)
					for _, label := range r.Labels {
						if label != IgnoreLabel {
							real++
						}
					}
					labels += real
					if real == 0 {
						if !slices.Equal(r.Tokens, make([]int64, len(r.Tokens))) || len(r.Lengths) > 0 && r.Lengths[0] != 1 {
							t.Fatalf("%s: a row without text: %+v", name, r)
						}
						continue
					}
					if batch == 1 {
						want = append(want, r)
					} else if w := want[row]; !slices.Equal(w.Tokens, r.Tokens) || !slices.Equal(w.Labels, r.Labels) || !slices.Equal(w.DecoderTokens, r.DecoderTokens) {
						t.Fatalf("%s: row %d is another one in batches of %d", name, row, batch)
					}
					row++
					switch name {
					case objective.CausalLM:
						if len(all) == 0 {
							all = append(all, r.Tokens[0])
						}
						all = append(all, r.Labels[:real]...)
					case objective.MaskedLM:
						for i, token := range r.Tokens[:r.Lengths[0]] {
							if r.Labels[i] != IgnoreLabel {
								token = r.Labels[i]
							}
							all = append(all, token)
						}
					case objective.PrefixLM:
						all = append(append(all, r.Tokens...), r.Labels[:real]...)
					case objective.SpanCorruption:
						got, _ := restore(t, r, 320)
						all = append(all, got...)
					}
				}
				if n != labels || n == 0 {
					t.Errorf("%s: batch %d has %d labels, Fill says %d", name, i, labels, n)
				}
			}
			if !slices.Equal(all, text(stream, 0, used)) {
				t.Errorf("%s: in batches of %d, %d tokens were read, want the first %d", name, batch, len(all), used)
			}
		}
	}
}

func TestTaskErrors(t *testing.T) {
	tok := miniature(t)
	stream := random(1000, 300)
	for _, c := range []struct {
		task Task
		want string
	}{
		{Task{Objective: "diffusion", Batch: 1, Length: 8}, `no objective "diffusion", want one of causal-lm, masked-lm, span-corruption, prefix-lm`},
		{Task{Objective: objective.MaskedLM, Batch: 1, Length: 8}, "masked-lm needs the stream's tokenizer"},
		{Task{Objective: objective.SpanCorruption, Batch: 1, Length: 1, Tokenizer: tok, Vocab: 400}, "inputs of 1 tokens is too short for a span: want at least 2"},
		{Task{Objective: objective.SpanCorruption, Batch: 1, Length: 128, Tokenizer: tok, Vocab: 307},
			"needs 8 ids for sentinels at the end of the model's vocabulary of 307, the tokenizer's 300 leave 7: prepare the data with --vocab 299 or smaller, or give the model a vocabulary of 308"},
		{Task{Objective: objective.SpanCorruption, Batch: 1, Length: 128, Tokenizer: tok, Vocab: 200}, "leave 0"},
		{Task{Objective: objective.PrefixLM, Batch: 1, Length: 1, Tokenizer: tok}, "want at least 2, one for each half"},
		{Task{Objective: objective.SpanCorruption, Batch: 8, Length: 128, Tokenizer: tok, Vocab: 308}, "1000 tokens hold 7 windows of 142, fewer than the 8"},
		{Task{Batch: 1, Length: 8, DocumentMask: true}, "causal-lm needs the stream's tokenizer"},
		{Task{Objective: objective.MaskedLM, Batch: 1, Length: 8, Tokenizer: tok, DocumentMask: true}, "a document mask needs causal-lm, found masked-lm"},
		{Task{Objective: objective.MaskedLM, Batch: 0, Length: 8, Tokenizer: tok}, "want at least 1 × 1"},
	} {
		if _, err := NewShuffled(stream, c.task, 1); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.task, err, c.want)
		}
	}
	if _, err := NewShuffled(stream, Task{Objective: objective.SpanCorruption, Batch: 1, Length: 128, Tokenizer: tok, Vocab: 308}, 1); err != nil {
		t.Errorf("just enough ids: %v", err)
	}
	if n, err := (Task{Objective: objective.SpanCorruption, Length: 128}).Sentinels(); n != 8 || err != nil {
		t.Errorf("%d sentinels (%v), want 8", n, err)
	}
	if n, err := (Task{Objective: objective.PrefixLM, Length: 128}).Sentinels(); n != 0 || err != nil {
		t.Errorf("%d sentinels (%v), want none", n, err)
	}
	if _, err := NewSequential(random(141, 300), task(t, objective.SpanCorruption, 1, 128)); err == nil || !strings.Contains(err.Error(), "141 tokens, want at least 142") {
		t.Errorf("a stream shorter than a text: %v", err)
	}
}

// From text to batches: every objective over a prepared folder, whose own tokenizer says which
// tokens are special.
func TestObjectivesOfPreparedText(t *testing.T) {
	var docs []string
	for i := range 200 {
		docs = append(docs, strings.Repeat("word ", i%17)+"and number "+strings.Repeat("seven ", i%5)+"ends here.")
	}
	dir := t.TempDir()
	if _, err := Prepare(t.Context(), PrepareOptions{Texts: slices.Values(docs), Out: dir, VocabSize: 280, Source: "test"}); err != nil {
		t.Fatal(err)
	}
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, name := range objective.All() {
		x := Task{Objective: name, Batch: 4, Length: 24, Tokenizer: d.Tokenizer(), Vocab: d.Tokenizer().VocabSize()}
		sentinels, err := x.Sentinels()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewShuffled(d.Train(), x, 1); (err != nil) != (sentinels > 0) {
			t.Errorf("%s without ids to spare: %v", name, err)
		}
		x.Vocab += sentinels
		b, err := NewShuffled(d.Train(), x, 1)
		if err != nil {
			t.Fatal(err)
		}
		batch := b.Shapes().New()
		for micro := range b.Windows() {
			b.Fill(micro, batch)
			for _, part := range [][]int64{batch.Tokens, batch.DecoderTokens, batch.Labels} {
				for _, token := range part {
					if token != IgnoreLabel && (token < 0 || token >= int64(x.Vocab)) {
						t.Fatalf("%s: token %d of a vocabulary of %d", name, token, x.Vocab)
					}
				}
			}
		}
	}
}
