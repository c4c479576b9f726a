package grammar

// event draws what an embedded clause tells: its subject with the verb after
// it, the object that a gap stands for, and the word that asks for that object.
func (m *maker) event() (clause, object words, wh string) {
	verbs, wh := handle, "what"
	if m.chance(35) {
		verbs, wh = social, "who"
	}
	n, v := m.key(anyone, verbs)
	num := m.number()
	var mod words
	if m.often(50) {
		mod = m.near()
	}
	return say("the", m.bare(n, num), mod, m.finite(v, num)), m.object(verbs), wh
}

// The girl knows what the boy found. / The girl knows that the boy found the coin.
func whVersusThat(m *maker) frame {
	who, v := m.clause(somebody, know)
	sub, num := m.subject(who)
	m.about(who, num)
	verb := m.finite(v, num)
	var between words
	if m.chance(35) { // … what the king said that the boy found
		teller, t := m.clause(somebody, tell)
		tellers, n := m.subject(teller)
		between = say(tellers, m.finite(t, n), "that")
	}
	event, object, wh := m.event()
	rest := [2]words{m.tail(), object}
	word := [2]string{wh, "that"}
	return func(c, k int) words { return say(sub, verb, word[k], between, event, rest[c], ".") }
}

// What did the girl know that the boy found? / Did the girl know what the boy found?
func whIsland(m *maker) frame {
	who, v := m.clause(somebody, know)
	sub, _ := m.subject(who)
	event, _, wh := m.event()
	tail := m.tail()
	start := [2]words{say(wh, "did"), say("did")}
	word := [2]string{"that", wh}
	return func(c, k int) words { return say(start[c], sub, v.base, word[k], event, tail, "?") }
}

// What did the girl forget that the boy found? / What did the girl forget because the boy found the coin?
func adjunctIsland(m *maker) frame {
	who, v := m.clause(somebody, know)
	sub, _ := m.subject(who)
	event, object, wh := m.event()
	for wh == "who" {
		event, object, wh = m.event()
	}
	word := [2]string{"that", pick(&m.stream, []string{"because", "after", "before"})}
	rest := [2]words{m.tail(), object}
	return func(c, k int) words { return say("what did", sub, v.base, word[k], event, rest[c], "?") }
}
