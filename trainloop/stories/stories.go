// Package stories makes simple English from a small grammar: the corpus that is built
// into march, minimal pairs in BLiMP's form, and cloze passages in LAMBADA's form. It is
// neither BLiMP nor LAMBADA, and scores on it compare with each other only. Start at
// [Documents], [Pairs] and [Passages]; [Phenomena] lists what the pairs test.
//
// # Held out
//
// A combination of a noun and a verb is held out if a hash of the two says so, one in
// five. No document of either split has a held-out combination as subject and verb, for any
// seed; every pair rests on one. So no sentence of a pair stands in a corpus of any length.
// Of the cloze passages, the combinations of hero, adjective, thing and verb are held out likewise.
//
// # Why n-grams fail
//
// Each pair comes from a square: a context that is one of two, and a choice between two
// words, of which the context makes one right. Both contexts give a pair, with everything
// else the same, so each substitution occurs in both directions equally often; and the
// context stands too far away for a window of three words.
package stories

import (
	"iter"
	"strings"

	"march/trainloop/rng"
)

// Version changes with every change of the text.
const Version = "2"

// Split names the two disjoint streams of documents.
type Split uint64

// The splits.
const (
	Train Split = iota
	Valid
)

// Documents yields stories until they hold about the given number of bytes; the one that
// reaches it is the last. Story n is a pure function of (seed, split, n).
func Documents(seed uint64, split Split, bytes int64) iter.Seq[string] {
	return func(yield func(string) bool) {
		for n, left := uint64(0), bytes; left > 0; n++ {
			d := document(seed, split, n)
			if left -= int64(len(d)); !yield(d) {
				return
			}
		}
	}
}

// document is a story: any sentences in any order, mostly within the frame of somebody
// who has a thing and finds it in the end.
func document(seed uint64, split Split, n uint64) string {
	w := &writer{Stream: rng.New(seed, rng.Name("stories"), uint64(split), n)}
	var story []string
	var ending string
	if w.chance(80) {
		var opening string
		opening, ending = w.quest()
		story = append(story, opening)
	}
	for range 3 + w.Below(5) {
		story = append(story, w.sentence())
	}
	if ending != "" {
		story = append(story, ending)
	}
	return strings.Join(story, " ")
}

// sentence draws a phenomenon's sentence, with its context far away or, as often, near.
func (w *writer) sentence() string {
	total := uint64(0)
	for _, p := range phenomena {
		total += p.weight
	}
	at := w.Below(total)
	for _, p := range phenomena {
		if at < p.weight {
			w.near = w.chance(45)
			c := int(w.Below(2))
			return finish(p.build(w)(c, c))
		}
		at -= p.weight
	}
	panic("stories: weights") // at is below their sum
}

// finish writes a sentence: a capital, one space between words, the stop attached.
func finish(words string) string {
	s := strings.Join(strings.Fields(words), " ")
	s = strings.ToUpper(s[:1]) + s[1:]
	s = strings.ReplaceAll(s, " .", ".")
	return strings.ReplaceAll(s, " ?", "?")
}

// Pair is a minimal pair with the keys of BLiMP's files.
type Pair struct {
	Good       string `json:"sentence_good"`
	Bad        string `json:"sentence_bad"`
	Field      string `json:"field"`
	Phenomenon string `json:"linguistics_term"`
	UID        string `json:"UID"`
	ID         string `json:"pairID"`
}

// Passage is a text whose last word is to be predicted, with the key of LAMBADA's files.
type Passage struct {
	Text string `json:"text"`
}

// PairsPerPhenomenon is how many pairs each phenomenon has, and Passages how many passages there are.
const PairsPerPhenomenon = 1000

// pairSeed keeps the pairs' draws apart from every corpus's.
const pairSeed = 0x70616972

// Pairs are the minimal pairs, always the same, phenomenon by phenomenon.
func Pairs() []Pair {
	var all []Pair
	for _, p := range phenomena {
		seen := map[string]bool{}
		for i := uint64(0); len(seen) < PairsPerPhenomenon; i++ {
			w := &writer{Stream: rng.New(pairSeed, rng.Name(p.uid), i), held: true}
			f := p.build(w)
			if seen[finish(f(0, 0))] || seen[finish(f(1, 1))] {
				continue
			}
			for c := range 2 {
				good := finish(f(c, c))
				seen[good] = true
				all = append(all, Pair{good, finish(f(c, 1-c)), p.field, p.term, p.uid, itoa(len(seen) - 1)})
			}
		}
	}
	return all
}

// Passages are the cloze passages, always the same: somebody has a thing, two sentences
// about others follow, and the last word names the thing again.
func Passages() []Passage {
	var all []Passage
	seen := map[string]bool{}
	for i := uint64(0); len(all) < PairsPerPhenomenon; i++ {
		w := &writer{Stream: rng.New(pairSeed, rng.Name("passages"), i), held: true}
		opening, ending := w.quest()
		w.held = false
		text := opening + " " + finish(w.about()+" .") + " " + finish(w.about()+" .") + " " + strings.TrimSuffix(ending, ".")
		if !seen[text] {
			seen[text] = true
			all = append(all, Passage{text})
		}
	}
	return all
}

// Phenomenon is what a kind of pair tests.
type Phenomenon struct{ UID, Term, Field, About, Good, Bad string }

// Phenomena lists the kinds of pairs with an example each, in the order of Pairs.
func Phenomena() []Phenomenon {
	pairs := Pairs()
	list := make([]Phenomenon, len(phenomena))
	for i, p := range phenomena {
		x := pairs[i*PairsPerPhenomenon]
		list[i] = Phenomenon{p.uid, p.term, p.field, p.about, x.Good, x.Bad}
	}
	return list
}
