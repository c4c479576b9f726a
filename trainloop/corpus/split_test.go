package corpus

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestValidation(t *testing.T) {
	docs := stories(400, 30)
	byHash := prepare(t, PrepareOptions{Texts: slices.Values(docs), ValidFraction: 0.1})
	held := documents(byHash, byHash.Valid())
	share := float64(byHash.Valid().Bytes()) / float64(byHash.Info().Bytes+byHash.Info().ValidBytes)
	if n := len(held); math.Abs(share-0.1) > 0.002 || byHash.Info().Split != SplitDocuments || byHash.Info().ValidDocuments != int64(n) {
		t.Errorf("%d of 400 documents held, a share of %g, %+v", n, share, byHash.Info())
	}
	for _, doc := range documents(byHash, byHash.Train()) {
		if slices.Contains(held, doc) {
			t.Error("a document is on both sides")
		}
	}
	// Documents nearly all stay on their sides when others come or go, and their order is nothing.
	fewer := slices.Clone(docs[:300])
	slices.Reverse(fewer)
	shrunk := prepare(t, PrepareOptions{Texts: slices.Values(fewer), ValidFraction: 0.1})
	changed := 0
	for _, doc := range documents(shrunk, shrunk.Valid()) {
		if !slices.Contains(held, doc) {
			changed++
		}
	}
	if changed > 8 {
		t.Errorf("%d of 30 held documents changed sides", changed)
	}
	// With few documents, and whatever the fraction, each side gets one.
	for _, fraction := range []float64{0.0001, 0.5, 0.9999} {
		for n := 2; n < 6; n++ {
			d := prepare(t, PrepareOptions{Texts: slices.Values(docs[:n]), ValidFraction: fraction})
			if d.Train().Documents() < 1 || d.Valid().Documents() < 1 || d.Train().Documents()+d.Valid().Documents() != int64(n) {
				t.Errorf("%d documents at %g: %d and %d", n, fraction, d.Train().Documents(), d.Valid().Documents())
			}
		}
	}
	// The tokenizer does not see what is held: a word of the held document alone is no token.
	rare := append(stories(20, 40), strings.Repeat("quizzaciously ", 50))
	for _, c := range []struct {
		fraction float64
		want     bool // in the vocabulary
	}{{0, true}, {heldFraction(rare), false}} {
		d := prepare(t, PrepareOptions{Texts: slices.Values(rare), ValidFraction: c.fraction, VocabSize: 600})
		if _, ok := d.Tokenizer().ID("quizzaciously"); ok != c.want {
			t.Errorf("fraction %g: the rare word is a token: %v", c.fraction, ok)
		}
	}
	// A single document is cut near its end.
	whole := story(5, 5000)
	tail := prepare(t, PrepareOptions{Texts: slices.Values([]string{whole}), ValidFraction: 0.1})
	train, valid := documents(tail, tail.Train()), documents(tail, tail.Valid())
	share = float64(tail.Valid().Bytes()) / float64(len(whole))
	if len(train) != 1 || len(valid) != 1 || train[0]+valid[0] != whole || share < 0.05 || share > 0.1 || tail.Info().Split != SplitTail {
		t.Errorf("one document: %d and %d, %g held", len(train), len(valid), share)
	}
	// Given apart.
	dir := t.TempDir()
	given := prepare(t, PrepareOptions{Texts: slices.Values(docs[:50]), ValidInputs: []string{write(t, dir, "v.txt", joined(docs[50:60]))}})
	if !slices.Equal(documents(given, given.Valid()), docs[50:60]) || !slices.Equal(documents(given, given.Train()), docs[:50]) || given.Info().Split != SplitGiven {
		t.Error("validation text given apart comes back different")
	}
	given = prepare(t, PrepareOptions{Texts: slices.Values(docs[:50]), ValidTexts: slices.Values(docs[50:60])})
	if !slices.Equal(documents(given, given.Valid()), docs[50:60]) {
		t.Error("validation texts given apart come back different")
	}
}

// heldFraction returns a fraction at which the last document, and with it those at lower places,
// is held.
func heldFraction(docs []string) float64 {
	last := place(piece{text: docs[len(docs)-1]})
	held, all := 0, 0
	for _, doc := range docs {
		all += len(doc)
		if place(piece{text: doc}) <= last {
			held += len(doc)
		}
	}
	return float64(held) / float64(all)
}

func TestUnigramEntropy(t *testing.T) {
	for _, c := range []struct {
		train, valid []int64
		want         float64
	}{
		{[]int64{1, 1}, []int64{5, 7}, math.Log(2)},
		{[]int64{2, 0}, []int64{1, 1}, -(math.Log(3./4) + math.Log(1./4)) / 2},
		{[]int64{2, 0}, []int64{0, 0}, -math.Log(3. / 4)},
	} {
		if got := unigramEntropy(c.train, c.valid); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("%v under %v: %g, want %g", c.valid, c.train, got, c.want)
		}
	}
}
