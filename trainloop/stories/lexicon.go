package stories

import (
	"strconv"
	"strings"

	"march/trainloop/rng"
)

// A noun or verb with its singular and plural form (of a verb: third person and base).
type forms [2]string

// table reads rows of two forms.
func table(rows string) []forms {
	w := strings.Fields(rows)
	list := make([]forms, len(w)/2)
	for i := range list {
		list[i] = forms{w[2*i], w[2*i+1]}
	}
	return list
}

// The lexicon. Every word occurs hundreds of times in a megabyte.
var (
	animals = table("dog dogs cat cats bear bears bird birds fox foxes wolf wolves horse horses duck ducks rabbit rabbits mouse mice")
	names   = [2][]string{strings.Fields("Tom Paul Max Ben"), strings.Fields("Mary Anna Lucy Emma")}
	things  = table("cup cups lamp lamps book books ball balls coin coins box boxes ring rings key keys")

	acts     = table("sleeps sleep runs run sings sing laughs laugh waits wait dances dance smiles smile works work") // an animal
	deeds    = table("sees see likes like helps help follows follow knows know finds find")                           // one to another
	handling = table("wants want takes take finds find loses lose paints paint breaks break")                         // one to a thing
	meeting  = table("sees see finds find wants want likes like")                                                     // one to another or to a thing
	self     = table("hurts hurt praises praise blames blame washes wash")                                            // one to itself
	saying   = table("says say thinks think hopes hope")
	knowing  = table("knows know tells tell remembers remember")
	giving   = table("gives give shows show brings bring")

	sizes       = strings.Fields("small big old new")
	colours     = strings.Fields("red blue green white")
	placing     = strings.Fields("near behind beside")
	places      = strings.Fields("garden house river forest")
	determiners = table("this these that those one two every many")
)

// writer draws words.
type writer struct {
	rng.Stream
	held bool // the key combination comes from the held-out part
	near bool // the context stands next to the choice: only in the corpus
}

func (w *writer) chance(percent uint64) bool { return w.Below(100) < percent }

func one[T any](w *writer, list []T) T { return list[w.Below(uint64(len(list)))] }

func (w *writer) number() int { return int(w.Below(2)) }

func (w *writer) animal() forms { return one(w, animals) }

// heldOutShare: one combination in so many is held out.
const heldOutShare = 5

// heldOut tells whether a combination is kept from the corpus.
func heldOut(noun, verb string) bool {
	return rng.Hash(rng.Name(noun), rng.Name(verb))%heldOutShare == 0
}

// key draws a noun and a verb that the sentence rests on.
func (w *writer) key(nouns func() forms, verbs []forms) (forms, forms) {
	return w.pair(nouns, verbs, w.held)
}

// free draws a noun and a verb for another clause: never a held-out combination.
func (w *writer) free(nouns func() forms, verbs []forms) (forms, forms) {
	return w.pair(nouns, verbs, false)
}

func (w *writer) pair(nouns func() forms, verbs []forms, held bool) (forms, forms) {
	for {
		if n, v := nouns(), one(w, verbs); heldOut(n[0], v[0]) == held {
			return n, v
		}
	}
}

// thing is "the" and a thing in any number, now and then with an adjective.
func (w *writer) thing() string {
	adjective := ""
	if w.chance(30) {
		adjective = one(w, colours)
	}
	return join("the", adjective, one(w, things)[w.number()])
}

// aside is a phrase between a subject and its verb: a place or animals near by.
func (w *writer) aside() string {
	if w.near {
		return ""
	}
	if w.chance(50) {
		return join(one(w, placing), "the", one(w, things)[w.number()])
	}
	return join(one(w, placing), "the", w.animal()[w.number()])
}

// where ends a sentence, or nothing does.
func (w *writer) where() string {
	if w.chance(70) {
		return ""
	}
	return join(one(w, placing), "the", one(w, places))
}

// predicate is a verb for the subject, free or key, with its object.
func (w *writer) predicate(pick func(func() forms, []forms) (forms, forms)) (subject forms, verb forms, rest string) {
	switch w.Below(3) {
	case 0:
		subject, verb = pick(w.animal, acts)
		return subject, verb, w.where()
	case 1:
		subject, verb = pick(w.animal, handling)
		return subject, verb, w.thing()
	}
	subject, verb = pick(w.animal, deeds)
	return subject, verb, join("the", w.animal()[w.number()])
}

// about is a clause on animals: the birds sleep near the river.
func (w *writer) about() string {
	s, v := w.free(w.animal, acts)
	n := w.number()
	return join("the", s[n], v[n], one(w, placing), "the", one(w, places))
}

func join(words ...string) string { return strings.Join(words, " ") }

func itoa(n int) string { return strconv.Itoa(n) }
