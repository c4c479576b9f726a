package grammar

// Tom will never show the girls any cups. / Tom will often show the girls some cups.
func negationAnySome(m *maker) frame {
	who, v := m.key(anyone, give)
	num := m.number()
	aux, verb := say("will"), v.base
	if m.chance(40) {
		aux, verb = say([2]string{"has", "have"}[num]), v.participle
	}
	adverb := [2]string{"never", pick(&m.stream, []string{"often", "always", "surely"})}
	var clause [2]words
	if m.chance(40) { // an adverb of the other kind in a relative clause, out of scope
		w := m.verb(act, who)
		for c := range clause {
			clause[c] = say("that", adverb[1-c], m.finite(w, num))
		}
	}
	whom, n, tail := m.phrase(anyone), m.noun(things), m.tail()
	what := m.bare(n, plural)
	det := [2]string{"any", "some"}
	head := say("the", m.bare(who, num))
	return func(c, k int) words {
		return say(head, clause[c], aux, adverb[c], verb, whom, det[k], what, tail, ".")
	}
}

// No boy that the girl liked has ever slept. / The boy that no girl liked has surely slept.
// The choice is where no stands, the context which adverb follows.
func noScope(m *maker) frame {
	verbs := pick(&m.stream, [][]*verb{act, act, social, handle})
	n, v := m.key(anyone, verbs)
	num := m.number()
	var object words
	if verbs[0] != act[0] {
		object = m.object(verbs)
	}
	aux, verb := "will", v.base
	if m.chance(60) {
		aux, verb = [2]string{"has", "have"}[num], v.participle
	}
	adverb := [2]string{"ever", pick(&m.stream, []string{"surely", "probably"})}
	det := [2]string{"no", "the"}
	tail := m.tail()
	head := m.bare(n, num)
	if m.chance(50) {
		w := m.verb(social, n)
		whom := m.bare(m.noun(anyone), m.number())
		return func(c, k int) words {
			return say(det[k], head, "that", m.finite(w, num), det[1-k], whom, aux, adverb[c], verb, object, tail, ".")
		}
	}
	who, w := m.clause(anyone, social)
	inner := m.number()
	sub := m.bare(who, inner)
	return func(c, k int) words {
		return say(det[k], head, "that", det[1-k], sub, m.finite(w, inner), aux, adverb[c], verb, object, tail, ".")
	}
}
