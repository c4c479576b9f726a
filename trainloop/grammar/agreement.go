package grammar

// predicate draws a subject and a predicate whose first word shows the number.
// In the past only the copula does.
func (m *maker) predicate() (n *noun, form [2]string, rest words) {
	kind := m.intn(10)
	if kind < 4 || m.past {
		var a string
		for a = ""; a == "" || heldOut(n, a) != m.held; {
			n = m.noun(nearby)
			a = pick(&m.stream, adjectives(n)[m.intn(2)])
		}
		return n, m.be(), say(a, m.tail())
	}
	subjects, verbs := anyone, act
	switch kind {
	case 4:
		subjects, verbs = things, happen
	case 5, 6:
		verbs = social
	case 7, 8:
		verbs = handle
	}
	n, v := m.key(subjects, verbs)
	var object words
	if kind >= 5 && kind <= 8 {
		object = m.object(verbs)
	}
	if m.chance(35) {
		return n, [2]string{"has", "have"}, say(v.participle, object)
	}
	return n, [2]string{v.third, v.base}, say(object, m.tail())
}

// The boys near the king are happy.
func agreementAcrossPhrase(m *maker) frame {
	n, form, rest := m.predicate()
	pp := m.near()
	return func(c, k int) words {
		m.about(n, number(c))
		return say("the", n.form[c], pp, form[k], rest, ".")
	}
}

// The boy that the girls like sleeps.
func agreementAcrossClause(m *maker) frame {
	n, form, rest := m.predicate()
	for n.is(place) {
		n, form, rest = m.predicate()
	}
	clause := m.relative(n)
	return func(c, k int) words {
		m.about(n, number(c))
		return say("the", n.form[c], clause(number(c)), form[k], rest, ".")
	}
}

var determiners = [][2]string{
	{"this", "these"}, {"this", "these"}, {"that", "those"}, {"that", "those"},
	{"every", "many"}, {"one", "two"}, {"each", "several"},
}

// Tom found these small red cups.
func determinerNoun(m *maker) frame {
	objects, verbs := things, handle
	if m.chance(30) {
		objects, verbs = anyone, social
	}
	who, v := m.clause(somebody, verbs)
	sub, num := m.subject(who)
	m.about(who, num)
	n, last := m.noun(objects), ""
	if m.often(80) {
		n, last = m.keyAdjective(objects)
	}
	first := ""
	if m.often(60) {
		first = m.adjective(n, 0)
	}
	det, tail := pick(&m.stream, determiners), m.tail()
	verb := m.finite(v, num)
	return func(c, k int) words { return say(sub, verb, det[c], first, last, n.form[k], tail, ".") }
}
