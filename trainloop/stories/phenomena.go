package stories

// A frame is a sentence with a context of two and a choice of two; it is grammatical
// where they are equal.
type frame func(context, choice int) string

var phenomena = []struct {
	uid, term, field, about string
	weight                  uint64 // share of the corpus's sentences
	build                   func(*writer) frame
}{
	{"distractor_agreement_prepositional_phrase", "subject_verb_agreement", "morphology",
		"a verb agrees with its subject across a prepositional phrase", 12, acrossPhrase},
	{"distractor_agreement_relative_clause", "subject_verb_agreement", "morphology",
		"a verb agrees with its subject across a relative clause", 12, acrossClause},
	{"determiner_noun_agreement_with_adjectives", "determiner_noun_agreement", "morphology",
		"a noun agrees with its determiner across two adjectives", 12, determinerNoun},
	{"anaphor_number_agreement", "anaphor_agreement", "morphology",
		"a reflexive has the number of its subject, whatever stands between", 12, anaphorNumber},
	{"principle_A_domain", "binding", "syntax/semantics",
		"a reflexive is bound in its own clause, not in the one above", 12, principleA},
	{"npi_ever", "npi_licensing", "semantics",
		"ever needs a subject with no", 12, npiEver},
	{"npi_any", "npi_licensing", "semantics",
		"any needs a negation before it, some none", 10, npiAny},
	{"wh_vs_that", "filler_gap_dependency", "syntax",
		"an embedded question has a gap, a that-clause has none", 10, whVersusThat},
	{"wh_island", "island_effects", "syntax",
		"a question's gap lies in a that-clause, not in a question of its own", 16, whIsland},
}

// The birds near the dog sleep.
func acrossPhrase(w *writer) frame {
	s, v, rest := w.predicate(w.key)
	aside := w.aside()
	return func(c, k int) string { return join("the", s[c], aside, v[k], rest, ".") }
}

// The fox that the birds like sleeps.
func acrossClause(w *writer) frame {
	s, v, rest := w.predicate(w.key)
	who, does := w.free(w.animal, deeds)
	n := w.number()
	clause := join("that the", who[n], does[n])
	if w.near {
		clause = ""
	}
	return func(c, k int) string { return join("the", s[c], clause, v[k], rest, ".") }
}

// The fox finds these small red cups.
func determinerNoun(w *writer) frame {
	s, v := w.key(w.animal, handling)
	n, d, x := w.number(), one(w, determiners), one(w, things)
	adjectives := join(one(w, sizes), one(w, colours))
	if w.near {
		adjectives = ""
	}
	where := w.where()
	return func(c, k int) string { return join("the", s[n], v[n], d[c], adjectives, x[k], where, ".") }
}

var reflexives = [2]string{"itself", "themselves"}

// The birds near the fox will hurt themselves.
func anaphorNumber(w *writer) frame {
	n, v := w.key(w.animal, self)
	aside, where := w.aside(), w.where()
	return func(c, k int) string { return join("the", n[c], aside, "will", v[1], reflexives[k], where, ".") }
}

// The dogs say that the cat near the birds will hurt itself.
func principleA(w *writer) frame {
	n, v := w.key(w.animal, self)
	who, says := w.free(w.animal, saying)
	above := [2]int{1, 0} // the number of the clause above is the other one
	if w.near && w.chance(50) {
		above = [2]int{0, 1}
	}
	aside, where := w.aside(), w.where()
	return func(c, k int) string {
		m := above[c]
		return join("the", who[m], says[m], "that the", n[c], aside, "will", v[1], reflexives[k], where, ".")
	}
}

// No fox near the bird ever sleeps. / The fox near the bird often sleeps.
func npiEver(w *writer) frame {
	s, v, rest := w.predicate(w.key)
	n := w.number()
	aside := w.aside()
	det, adverb := [2]string{"no", "the"}, [2]string{"ever", one(w, often)}
	return func(c, k int) string { return join(det[c], s[n], aside, adverb[k], v[n], rest, ".") }
}

var often = []string{"often", "always"}

// The fox never gives the birds any cups. / The fox often gives the birds some cups.
func npiAny(w *writer) frame {
	adverb, det := [2]string{"never", one(w, often)}, [2]string{"any", "some"}
	x, n := one(w, things)[1], w.number()
	if w.near {
		s, v := w.key(w.animal, handling)
		return func(c, k int) string { return join("the", s[n], adverb[c], v[n], det[k], x, ".") }
	}
	s, v := w.key(w.animal, giving)
	whom := w.animal()[w.number()]
	return func(c, k int) string { return join("the", s[n], adverb[c], v[n], "the", whom, det[k], x, ".") }
}

// event is an embedded clause with its object apart.
func (w *writer) event() (clause, object string) {
	s, v := w.key(w.animal, handling)
	n := w.number()
	return join("the", s[n], v[n]), w.thing()
}

// The bird knows what the fox finds. / The bird knows that the fox finds the cup.
func whVersusThat(w *writer) frame {
	who, v := w.free(w.animal, knowing)
	n := w.number()
	event, object := w.event()
	word, rest := [2]string{"what", "that"}, [2]string{"", object}
	return func(c, k int) string { return join("the", who[n], v[n], word[k], event, rest[c], ".") }
}

// Who does the fox know that the bird finds? / When does the fox know what the bird finds?
// The words that stand for each side vary, so that no liking of an untrained model for one
// of them decides.
func whIsland(w *writer) frame {
	who, v := w.free(w.animal, knowing)
	s, does := w.key(w.animal, meeting)
	n, m := w.number(), w.number()
	start := [2]string{one(w, fillers), one(w, []string{"when", "where", "why"})}
	word := [2]string{"that", one(w, fillers)}
	return func(c, k int) string {
		return join(start[c], [2]string{"does", "do"}[n], "the", who[n], v[1], word[k], "the", s[m], does[m], "?")
	}
}

// fillers ask for what a verb lacks.
var fillers = []string{"who", "what"}

// quest is a story's frame: somebody has a thing, and finds it in the end.
func (w *writer) quest() (opening, ending string) {
	g := w.Below(2)
	for {
		hero, thing, size, verb := one(w, names[g]), one(w, things), one(w, having), one(w, handling)
		if heldOut(hero+size, thing[0]+verb[0]) != w.held {
			continue
		}
		his := [2]string{"his", "her"}[g]
		return finish(join(hero, "has a", size, thing[0], ".")), finish(join("at last", hero, verb[0], his, thing[0], "."))
	}
}

// having are adjectives that "a" goes with.
var having = []string{"small", "big", "new", "red"}
