package stories

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
)

// corpusOf is the default size of the embedded corpus, split into words and stops.
func corpusOf(split Split, bytes int64) (stories []string, sentences [][]string) {
	for d := range Documents(1, split, bytes) {
		stories = append(stories, d)
		d = strings.NewReplacer(".", " .", "?", " ?").Replace(d)
		var s []string
		for _, w := range strings.Fields(d) {
			if s = append(s, strings.ToLower(w)); w == "." || w == "?" {
				sentences, s = append(sentences, s), nil
			}
		}
	}
	return stories, sentences
}

func wordsOf(s string) []string {
	return strings.Fields(strings.ToLower(strings.NewReplacer(".", " .", "?", " ?").Replace(s)))
}

// TestVersion pins the text: whoever changes it must change Version.
func TestVersion(t *testing.T) {
	h := sha256.New()
	for d := range Documents(1, Train, 100_000) {
		fmt.Fprintln(h, d)
	}
	for _, p := range Pairs() {
		fmt.Fprintln(h, p)
	}
	for _, p := range Passages() {
		fmt.Fprintln(h, p)
	}
	const want = "48c20a21e85faec1"
	if got := fmt.Sprintf("%x", h.Sum(nil))[:16]; got != want {
		t.Errorf("the text has the digest %s, version %s had %s: change Version, then this", got, Version, want)
	}
}

// TestDocuments reads the same sequence twice, and another seed and split.
func TestDocuments(t *testing.T) {
	seq := Documents(3, Train, 20_000)
	first, again := slices.Collect(seq), slices.Collect(seq)
	if !slices.Equal(first, again) {
		t.Error("a second reading gives other stories")
	}
	bytes := 0
	for _, d := range first {
		bytes += len(d)
	}
	if bytes < 20_000 || bytes > 22_000 {
		t.Errorf("%d bytes, wanted about 20,000", bytes)
	}
	for _, other := range [][]string{slices.Collect(Documents(4, Train, 20_000)), slices.Collect(Documents(3, Valid, 20_000))} {
		if slices.Equal(first, other) || first[0] == other[0] {
			t.Error("another seed or split gives the same stories")
		}
	}
}

// TestPairs checks what makes the pairs fair: a thousand of each, one word exchanged, each
// exchange in both directions equally often, and nothing of it in the corpus.
func TestPairs(t *testing.T) {
	pairs := Pairs()
	if len(pairs) != PairsPerPhenomenon*len(phenomena) {
		t.Fatalf("%d pairs", len(pairs))
	}
	_, sentences := corpusOf(Train, 3<<20)
	known := map[string]bool{}
	for _, s := range sentences {
		known[strings.Join(s, " ")] = true
	}
	exchanges, seen, each := map[string]map[[2]string]int{}, map[string]bool{}, map[string]int{}
	for _, p := range pairs {
		good, bad := wordsOf(p.Good), wordsOf(p.Bad)
		if len(good) != len(bad) {
			t.Fatalf("other numbers of words: %q, %q", p.Good, p.Bad)
		}
		var differ [][2]string
		for i := range good {
			if good[i] != bad[i] {
				differ = append(differ, [2]string{good[i], bad[i]})
			}
		}
		if len(differ) != 1 {
			t.Fatalf("%d words differ: %q, %q", len(differ), p.Good, p.Bad)
		}
		if exchanges[p.UID] == nil {
			exchanges[p.UID] = map[[2]string]int{}
		}
		exchanges[p.UID][differ[0]]++
		each[p.UID]++
		if seen[p.Good] {
			t.Fatalf("%q stands twice", p.Good)
		}
		seen[p.Good] = true
		for _, s := range [][]string{good, bad} {
			if known[strings.Join(s, " ")] {
				t.Fatalf("%q stands in the corpus", strings.Join(s, " "))
			}
		}
		if p.Field == "" || p.Phenomenon == "" || p.ID == "" || !strings.HasSuffix(p.Good, ".") && !strings.HasSuffix(p.Good, "?") {
			t.Fatalf("%+v", p)
		}
	}
	for uid, list := range exchanges {
		if each[uid] != PairsPerPhenomenon {
			t.Errorf("%s: %d pairs", uid, each[uid])
		}
		for x, n := range list {
			if m := list[[2]string{x[1], x[0]}]; m != n {
				t.Errorf("%s: %s for %s %d times, the other way %d times", uid, x[0], x[1], n, m)
			}
		}
	}
}

// TestPassages checks that the last word is the thing of the first sentence, and that no
// passage's frame stands in a corpus.
func TestPassages(t *testing.T) {
	stories, _ := corpusOf(Train, 3<<20)
	all := strings.Join(stories, "\n")
	passages := Passages()
	if len(passages) != PairsPerPhenomenon {
		t.Fatalf("%d passages", len(passages))
	}
	seen := map[string]bool{}
	for _, p := range passages {
		first, _, _ := strings.Cut(p.Text, ". ")
		w := strings.Fields(p.Text)
		if last := w[len(w)-1]; !strings.HasSuffix(first, " "+last) || strings.Count(p.Text, " "+last) != 2 {
			t.Fatalf("%q: the last word is not the first sentence's only thing", p.Text)
		}
		if seen[p.Text] || strings.Contains(all, p.Text) {
			t.Fatalf("%q is not new", p.Text)
		}
		seen[p.Text] = true
	}
}

// TestFrequency wants every word hundreds of times in the corpus, so that each becomes
// one token and a model learns its agreements.
func TestFrequency(t *testing.T) {
	_, sentences := corpusOf(Train, 3<<20)
	count := map[string]int{}
	for _, s := range sentences {
		for _, w := range s {
			count[w]++
		}
	}
	for w, n := range count {
		if n < 200 {
			t.Errorf("%q occurs %d times", w, n)
		}
	}
	for _, p := range Pairs() {
		for _, w := range slices.Concat(wordsOf(p.Good), wordsOf(p.Bad)) {
			if count[w] == 0 {
				t.Fatalf("%q of a pair is not in the corpus", w)
			}
		}
	}
	if len(count) < 120 || len(count) > 400 {
		t.Errorf("%d words", len(count))
	}
}

// ngrams counts the corpus's n-grams up to order.
type ngrams struct {
	order int
	count map[string]int
	total int
}

func newNgrams(order int, sentences [][]string) *ngrams {
	g := &ngrams{order: order, count: map[string]int{}}
	for _, s := range sentences {
		s = append([]string{"<s>"}, s...)
		for i := 1; i < len(s); i++ {
			g.total++
			for n := 0; n < order && n <= i; n++ {
				g.count[strings.Join(s[i-n:i+1], " ")]++
				g.count[strings.Join(s[i-n:i], " ")+"|"]++
			}
		}
	}
	return g
}

// logprob is the sentence's log-probability, the orders interpolated with equal weights.
func (g *ngrams) logprob(s []string) float64 {
	s = append([]string{"<s>"}, s...)
	sum := 0.0
	for i := 1; i < len(s); i++ {
		p := 1e-9
		for n := 0; n < g.order && n <= i; n++ {
			if c := g.count[strings.Join(s[i-n:i], " ")+"|"]; c > 0 {
				p += float64(g.count[strings.Join(s[i-n:i+1], " ")]) / float64(c) / float64(g.order)
			}
		}
		sum += math.Log(p)
	}
	return sum
}

// TestNgramsFail trains unigrams to trigrams on the corpus: near chance, all of them.
func TestNgramsFail(t *testing.T) {
	_, sentences := corpusOf(Train, 3<<20)
	for order := 1; order <= 3; order++ {
		g := newNgrams(order, sentences)
		right := map[string]int{}
		all := 0
		for _, p := range Pairs() {
			if g.logprob(wordsOf(p.Good)) > g.logprob(wordsOf(p.Bad)) {
				right[p.UID]++
				all++
			}
		}
		share := 100 * float64(all) / float64(len(phenomena)*PairsPerPhenomenon)
		t.Logf("%d-grams: %.1f %% overall", order, share)
		if share > 55 {
			t.Errorf("%d-grams are right in %.1f %% of all pairs, wanted at most 55 %%", order, share)
		}
		for _, uid := range slices.Sorted(maps.Keys(right)) {
			if s := 100 * float64(right[uid]) / PairsPerPhenomenon; s > 60 {
				t.Errorf("%d-grams are right in %.1f %% of %s, wanted at most 60 %%", order, s, uid)
			}
		}
	}
}

// TestPhenomena gives an example of each.
func TestPhenomena(t *testing.T) {
	for _, p := range Phenomena() {
		if p.About == "" || p.Good == p.Bad {
			t.Errorf("%+v", p)
		}
		t.Logf("%s: %s (not: %s)", p.UID, p.Good, p.Bad)
	}
}
