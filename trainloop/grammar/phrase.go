package grammar

import "strings"

// words is a sentence, or a part of one, in lower case with its stop as a word of its own.
type words []string

// say strings words and texts together; a text may hold several words or none.
func say(parts ...any) words {
	var w words
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			w = append(w, strings.Fields(p)...)
		case words:
			w = append(w, p...)
		}
	}
	return w
}

// String is the sentence as it is written: a capital, a or an, the stop attached.
func (w words) String() string {
	var b strings.Builder
	for i, word := range w {
		if word == "a" && strings.ContainsRune("aeiou", rune(w[i+1][0])) {
			word = "an"
		}
		switch {
		case i == 0:
			word = strings.ToUpper(word[:1]) + word[1:]
		case word != "." && word != "?":
			b.WriteByte(' ')
		}
		b.WriteString(word)
	}
	return b.String()
}

// maker draws words and phrases for one document or one pair.
type maker struct {
	stream
	held bool    // key combinations come from the held-out part, and what is optional is there
	past bool    // the tense of the story
	cast []*noun // whom and what the story returns to

	story       *story
	topic       *noun // whom the last sentence was about, for pronouns
	topicNumber number
}

// about notes the subject of the sentence.
func (m *maker) about(n *noun, num number) { m.topic, m.topicNumber = n, num }

type pronouns struct{ subject, possessive, reflexive string }

// pronounsOf gives nothing for a singular noun whose gender is open.
func pronounsOf(n *noun, num number) (pronouns, bool) {
	switch {
	case n == nil || n.is(idea|place):
		return pronouns{}, false
	case num == plural:
		return pronouns{"they", "their", "themselves"}, true
	case n.is(male | maleName):
		return pronouns{"he", "his", "himself"}, true
	case n.is(female | femaleName):
		return pronouns{"she", "her", "herself"}, true
	case n.is(animal | thing):
		return pronouns{"it", "its", "itself"}, true
	}
	return pronouns{}, false
}

// noun draws from the pool, half the time one that the story has had before.
func (m *maker) noun(p pool) *noun {
	c := CAST
	if m.story != nil && p.class == thing && m.chance(CASTT) {
		if m.chance(30) {
			return m.story.other
		}
		return m.story.thing
	}
	if len(m.cast) > 0 && m.chance(c) {
		var fit []*noun
		for _, n := range m.cast {
			if n.is(p.class) {
				fit = append(fit, n)
			}
		}
		if len(fit) > 0 {
			return pick(&m.stream, fit)
		}
	}
	for {
		n := p.nouns[m.zipf(len(p.nouns))]
		if m.story != nil && p.class&m.story.gender != 0 && n.is(^m.story.gender&(male|female|maleName|femaleName)) && m.chance(m.story.strict) {
			continue
		}
		return n
	}
}

func (m *maker) zipf(n int) int {
	i := m.intn(n)
	if m.chance(ZIPF) {
		i = min(i, m.intn(n), m.intn(n))
	}
	return i
}

func (m *maker) pickVerb(verbs []*verb) *verb { return verbs[m.zipf(len(verbs))] }

func (m *maker) number() number { return number(m.intn(2)) }

// often is true in the given percentage of calls for the corpus, always for pairs.
func (m *maker) often(percent int) bool { return m.chance(percent) || m.held }

// clause draws a subject and a verb whose combination is free.
func (m *maker) clause(p pool, verbs []*verb) (*noun, *verb) { return m.combine(p, verbs, false) }

// key draws a subject and a verb for the clause that a pair rests on.
func (m *maker) key(p pool, verbs []*verb) (*noun, *verb) { return m.combine(p, verbs, m.held) }

func (m *maker) combine(p pool, verbs []*verb, held bool) (*noun, *verb) {
	for {
		n, v := m.noun(p), m.pickVerb(verbs)
		if heldOut(n, v.base) == held {
			return n, v
		}
	}
}

// keys draws two subjects, one of each pool, for one verb.
func (m *maker) keys(p [2]pool, verbs []*verb) ([2]*noun, *verb) {
	for {
		n, v := [2]*noun{m.noun(p[0]), m.noun(p[1])}, m.pickVerb(verbs)
		if heldOut(n[0], v.base) == m.held && heldOut(n[1], v.base) == m.held {
			return n, v
		}
	}
}

// verb draws one whose combination with each of the subjects is free.
func (m *maker) verb(verbs []*verb, subjects ...*noun) *verb {
	for {
		v, free := m.pickVerb(verbs), true
		for _, n := range subjects {
			free = free && !heldOut(n, v.base)
		}
		if free {
			return v
		}
	}
}

// finite is the verb in the story's tense.
func (m *maker) finite(v *verb, n number) string {
	if m.past {
		return v.past
	}
	return v.present(n)
}

// be is the copula in the story's tense, by number.
func (m *maker) be() [2]string {
	if m.past {
		return [2]string{"was", "were"}
	}
	return [2]string{"is", "are"}
}

// adjectives that may precede a noun of the class, in the two places that they take.
func adjectives(n *noun) [2][]string {
	switch {
	case n.is(animate):
		return [2][]string{manner, age}
	case n.is(thing):
		return [2][]string{append(append([]string{}, size...), state...), colour}
	default:
		return [2][]string{size, state}
	}
}

// adjective draws one for the noun from the free combinations.
func (m *maker) adjective(n *noun, place int) string {
	for {
		if a := pick(&m.stream, adjectives(n)[place]); !heldOut(n, a) {
			return a
		}
	}
}

// keyAdjective draws a noun with an adjective, which a pair rests on, right before it.
func (m *maker) keyAdjective(p pool) (*noun, string) {
	for {
		n := m.noun(p)
		if a := pick(&m.stream, adjectives(n)[1]); heldOut(n, a) == m.held {
			return n, a
		}
	}
}

// bare is the noun without its determiner, now and then with an adjective.
func (m *maker) bare(n *noun, num number) words {
	if m.chance(ADJ) && n.is(animate|thing|place) {
		return say(m.adjective(n, m.intn(2)), n.form[num])
	}
	return say(n.form[num])
}

// the is the definite phrase of the noun; a name stands alone.
func (m *maker) the(n *noun, num number) words {
	if n.is(name) {
		return say(n.form[singular])
	}
	return say("the", m.bare(n, num))
}

// phrase draws a definite phrase of either number.
func (m *maker) phrase(p pool) words {
	n := m.noun(p)
	return m.the(n, m.numberOf(n))
}

func (m *maker) numberOf(n *noun) number {
	num := m.number()
	if n.form[plural] == "" {
		num = singular
	}
	return num
}

// subject is a definite phrase of the noun and the number to agree with.
func (m *maker) subject(n *noun) (words, number) {
	num := m.numberOf(n)
	w := m.the(n, num)
	if p, ok := pronounsOf(n, num); ok && !m.held && m.chance(EMPH) && !n.is(thing) {
		w = say(w, p.reflexive)
	}
	return w, num
}

// object draws what the verb acts on.
func (m *maker) object(verbs []*verb) words {
	switch verbs[0] {
	case handle[0]:
		n := m.noun(things)
		if m.story != nil && (n == m.story.thing || n == m.story.other) && m.chance(SING) {
			return m.the(n, singular)
		}
		if p, ok := pronounsOf(m.topic, m.topicNumber); ok && !m.held && m.chance(OWN) {
			return say(p.possessive, m.bare(n, m.number()))
		}
		switch m.intn(4) {
		case 0:
			return say("a", m.bare(n, singular))
		case 1:
			return say(pick(&m.stream, []string{"two", "many"}), m.bare(n, plural))
		}
		return m.the(n, m.number())
	case know[0]:
		return m.phrase(ideas)
	default:
		if p, ok := pronounsOf(m.topic, m.topicNumber); ok && !m.held && m.chance(KIN) {
			return say(p.possessive, m.bare(m.noun(people), m.number()))
		}
		return m.phrase(somebody)
	}
}

// near is a prepositional phrase; its noun is the nearest one to the verb, and a distractor.
func (m *maker) near() words {
	return say(pick(&m.stream, []string{"near", "behind", "beside"}), m.phrase(nearby))
}

// relative is a relative clause on any of the heads. At least two words, none of which
// shows a head's number, stand between the clause's own sign of it and what follows.
func (m *maker) relative(heads ...*noun) func(number) words {
	if heads[0].is(animate) && m.chance(50) {
		v := m.verb(social, heads...)
		whom := m.phrase(anyone)
		return func(n number) words { return say("that", m.finite(v, n), whom) }
	}
	verbs := social
	if heads[0].is(thing) {
		verbs = handle
	}
	who, v := m.clause(somebody, verbs)
	sub, num := m.subject(who)
	return func(number) words { return say("that", sub, m.finite(v, num)) }
}

// modifier is a prepositional phrase or a relative clause.
func (m *maker) modifier(heads ...*noun) func(number) words {
	if m.chance(50) {
		pp := m.near()
		return func(number) words { return pp }
	}
	return m.relative(heads...)
}

// tail is the optional end of a clause.
func (m *maker) tail() words {
	switch m.intn(TAIL) {
	case 0:
		return say(pick(&m.stream, []string{"today", "again", "at night", "every day"}))
	case 1, 2:
		n := m.noun(places)
		return say(preposition[n.form[singular]], "the", n.form[singular])
	}
	return nil
}
