package grammar

// Plain sentences: the same agreements without anything in between, and what a
// story needs besides. Only the corpus has them.
var plain = []struct {
	weight int
	build  func(*maker) words
}{
	{6, deed},
	{3, copula},
	{3, plainReflexive},
	{4, plainPolarity},
	{5, question},
	{4, report},
	{3, gift},
	{2, reason},
}

// The boy found a cup.
func deed(m *maker) words {
	verbs := pick(&m.stream, [][]*verb{act, social, handle, handle})
	n, v := m.clause(somebody, verbs)
	sub, num := m.subject(n)
	m.about(n, num)
	var object words
	if verbs[0] != act[0] {
		object = m.object(verbs)
	}
	return say(opener(m), sub, m.finite(v, num), object, m.tail(), ".")
}

func opener(m *maker) words {
	if m.chance(75) {
		return nil
	}
	return say(pick(&m.stream, []string{"then", "one day", "at last"}))
}

// The cups are red. / These cups are red. / The cup shines.
func copula(m *maker) words {
	n := m.noun(nearby)
	num := m.number()
	det := "the"
	if m.chance(40) {
		det = pick(&m.stream, determiners)[num]
	}
	if n.is(thing) && m.chance(40) {
		return say(det, n.form[num], m.finite(m.verb(happen, n), num), m.tail(), ".")
	}
	a := m.adjective(n, m.intn(2))
	return say(det, n.form[num], m.be()[num], a, m.tail(), ".")
}

// Mary hurt herself.
func plainReflexive(m *maker) words {
	g := m.intn(2)
	n, v := m.clause(either[g], reflect)
	sub, num := m.subject(n)
	m.about(n, num)
	refl := himHer[g]
	if num == plural {
		refl = "themselves"
	}
	return say(opener(m), sub, m.finite(v, num), refl, m.tail(), ".")
}

// No boy has ever slept. / The boy has surely slept. / The boy will never find any cups.
func plainPolarity(m *maker) words {
	n, v := m.clause(anyone, act)
	num := m.number()
	head, aux, verb := m.bare(n, num), "will", v.base
	if m.chance(60) {
		aux, verb = [2]string{"has", "have"}[num], v.participle
	}
	if m.chance(50) {
		frame := [2]words{
			say("no", head, aux, "ever"),
			say("the", head, aux, pick(&m.stream, []string{"surely", "probably"})),
		}
		return say(frame[m.intn(2)], verb, m.tail(), ".")
	}
	n, v = m.clause(somebody, handle)
	sub, num := m.subject(n)
	m.about(n, num)
	what := m.bare(m.noun(things), plural)
	frame := [2]words{
		say("never", m.finite(v, num), "any"),
		say(pick(&m.stream, []string{"often", "always", "surely"}), m.finite(v, num), "some"),
	}
	return say(sub, frame[m.intn(2)], what, m.tail(), ".")
}

// What did the boy find? / Did the boy find the cup? / When did the boy find the cup?
func question(m *maker) words {
	verbs, wh := handle, "what"
	switch m.intn(4) {
	case 0:
		verbs, wh = social, "who"
	case 1:
		verbs = know
	}
	n, v := m.clause(somebody, verbs)
	sub, _ := m.subject(n)
	if m.chance(50) {
		return say(wh, "did", sub, v.base, m.tail(), "?")
	}
	return say("did", sub, v.base, m.object(verbs), m.tail(), "?")
}

// The girl said that the boy slept.
func report(m *maker) words {
	n, v := m.clause(somebody, tell)
	sub, num := m.subject(n)
	m.about(n, num)
	s := deedClause(m)
	return say(sub, m.finite(v, num), "that", s, ".")
}

func deedClause(m *maker) words {
	verbs := pick(&m.stream, [][]*verb{act, social, handle})
	n, v := m.clause(somebody, verbs)
	sub, num := m.subject(n)
	m.about(n, num)
	var object words
	if verbs[0] != act[0] {
		object = m.object(verbs)
	}
	return say(sub, m.finite(v, num), object)
}

// The boy gave the girl a cup.
func gift(m *maker) words {
	n, v := m.clause(somebody, give)
	sub, num := m.subject(n)
	m.about(n, num)
	return say(opener(m), sub, m.finite(v, num), m.phrase(somebody), m.object(handle), m.tail(), ".")
}

// The boy slept because the girl found the coin.
func reason(m *maker) words {
	return say(deedClause(m), pick(&m.stream, []string{"because", "after", "before"}), deedClause(m), ".")
}

// followUp: They are happy. / She watches herself. / It rusts.
func (m *maker) followUp() []words {
	p, ok := pronounsOf(m.topic, m.topicNumber)
	if !ok {
		return nil
	}
	n, num := m.topic, m.topicNumber
	switch kind := m.intn(10); {
	case kind < 4 && !n.is(name):
		return []words{say(p.subject, m.be()[num], m.adjective(n, m.intn(2)), m.tail(), ".")}
	case n.is(thing):
		return []words{say(p.subject, m.finite(m.verb(happen, n), num), m.tail(), ".")}
	case kind < 6 && n.is(male|female|name):
		return []words{say(p.subject, m.finite(m.verb(reflect, n), num), p.reflexive, m.tail(), ".")}
	case kind < 8:
		return []words{say(p.subject, m.finite(m.verb(handle, n), num), m.object(handle), m.tail(), ".")}
	}
	return []words{say(p.subject, m.finite(m.verb(act, n), num), m.tail(), ".")}
}
