package trainloop_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"march/graphgen"
	"march/runtime"
	"march/trainloop"
	"march/trainloop/corpus"
	"march/trainloop/rng"
	"march/variants"
	"march/variants/program"
)

// maskedProgram writes a small decoder with a document mask and loads it.
func maskedProgram(t *testing.T, rt *runtime.Runtime, changes string, batch int) (dir string, e *trainloop.Engine) {
	t.Helper()
	v, err := variants.Find("baseline+d=24+heads=2+qkv_dim=8+ff=40+share.unique=2+share.uses=4+vocab=50+length=16+training.document_mask=true"+changes, "tiny", "")
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if _, err := program.Write(dir, v, program.Options{Target: graphgen.ORT, Batch: batch, Length: 16, Graphs: []string{"grad", "update", "eval"}}); err != nil {
		t.Fatal(err)
	}
	e, err = trainloop.NewEngine(rt, dir, trainloop.EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	if err := e.LoadStart(dir); err != nil {
		t.Fatal(err)
	}
	return dir, e
}

// documentsBatch has rows of documents that begin with token 0 at the given places.
func documentsBatch(s corpus.Shapes, vocab int, begin ...int) *corpus.Batch {
	b, stream := s.New(), rng.New(3, rng.Name("documents"))
	for i := range b.Tokens {
		b.Tokens[i], b.Labels[i] = 1+int64(stream.Below(uint64(vocab-1))), int64(stream.Below(uint64(vocab)))
		at := i % s.Length
		if slices.Contains(begin, at) {
			b.Tokens[i] = 0
		}
		for _, from := range begin {
			if from <= at {
				b.Documents[i]++
			}
		}
	}
	return b
}

// TestDocumentsApart: other tokens in an earlier document change no label's loss in a later one, and no
// gradient of it, to the last bit; without the mask they do.
func TestDocumentsApart(t *testing.T) {
	rt := open(t)
	const begin, batch = 7, 2
	for _, changes := range []string{"", "+attn.local=none+position.kind=rope", "+position.kind=alibi+kv_heads=1", "+halting.kind=act+position.kind=relative", "+norm.place=post+database.rows=5"} {
		t.Run(fmt.Sprintf("baseline%s", changes), func(t *testing.T) {
			dir, e := maskedProgram(t, rt, changes, batch)
			s := e.Shapes()
			if !s.Documents {
				t.Fatal("the program takes no documents")
			}
			one := documentsBatch(s, 50, begin)
			other := documentsBatch(s, 50, begin)
			for i := range other.Tokens {
				if i%s.Length < begin { // all of the earlier document, its labels too
					other.Tokens[i] = 1 + (other.Tokens[i]+11)%49
					other.Labels[i] = graphgen.IgnoreLabel
					one.Labels[i] = graphgen.IgnoreLabel
				}
			}
			later := func(b *corpus.Batch) (list []float32) {
				for i, p := range logprobs(t, rt, dir, e, s, b) {
					if i%s.Length >= begin {
						list = append(list, p)
					}
				}
				return list
			}
			if !slices.Equal(later(one), later(other)) {
				t.Error("other tokens in the earlier document change log-probabilities in the later one")
			}
			gradients := func(b *corpus.Batch) (loss float64, list []float32) {
				loss, _ = microBatch(t, e, 1, b)
				for _, p := range e.Manifest.Parameters {
					g, err := e.Gradient(p.Name)
					if err != nil {
						t.Fatal(err)
					}
					list = append(list, g...)
				}
				if _, err := e.Update(0, 1, 1); err != nil { // empties the sums
					t.Fatal(err)
				}
				return loss, list
			}
			lossOne, gradOne := gradients(one)
			lossOther, gradOther := gradients(other)
			if lossOne != lossOther {
				t.Errorf("the later document's loss is %v with one text before it and %v with another", lossOne, lossOther)
			}
			for i := range gradOne {
				if gradOne[i] != gradOther[i] {
					t.Errorf("entry %d of the gradients is %v and %v", i, gradOne[i], gradOther[i])
					break
				}
			}
			clear(one.Documents) // one document a row
			clear(other.Documents)
			if slices.Equal(later(one), later(other)) {
				t.Error("without document boundaries earlier tokens change nothing either")
			}
		})
	}
}

// TestDocumentAlone: where positions are relative, a document in a row is scored as by itself.
func TestDocumentAlone(t *testing.T) {
	rt := open(t)
	for _, position := range []string{"rope", "alibi", "relative", "none"} {
		dir, e := maskedProgram(t, rt, "+position.kind="+position, 1)
		s := e.Shapes()
		b := documentsBatch(s, 50, 5, 6, 11)
		all := logprobs(t, rt, dir, e, s, b)
		bounds := []int{0, 5, 6, 11, 16}
		for i, from := range bounds[:len(bounds)-1] {
			to := bounds[i+1]
			alone := &corpus.Batch{Tokens: b.Tokens[from:to], Labels: b.Labels[from:to], Documents: make([]int64, to-from)}
			for j, got := range logprobs(t, rt, dir, e, corpus.Shapes{Batch: 1, Length: to - from, Documents: true}, alone) {
				if want := all[from+j]; math.Abs(float64(got-want)) > 1e-5 {
					t.Errorf("%s: token %d of the document at %d has %v by itself, %v in the row", position, j, from, got, want)
				}
			}
		}
	}
}
