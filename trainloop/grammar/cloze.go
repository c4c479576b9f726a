package grammar

// story is whom and what a document is about. Like a frame it has a choice of
// two: two nouns may change places everywhere in it.
type story struct {
	hero, friend *noun // names
	thing, other *noun // the hero's and the friend's
}

// newStory draws a cast whose owners and things combine freely, or are all held out for passages.
func (m *maker) newStory() *story {
	for {
		s := &story{pick(&m.stream, anyName.nouns), pick(&m.stream, anyName.nouns), pick(&m.stream, things.nouns), pick(&m.stream, things.nouns)}
		ok := s.hero != s.friend && s.thing != s.other
		for _, who := range []*noun{s.hero, s.friend} {
			for _, what := range []*noun{s.thing, s.other} {
				ok = ok && heldOut(who, what.form[singular]) == m.held
			}
		}
		if ok {
			return s
		}
	}
}

// plot makes the beginning and the end of a story.
type plot func(m *maker, s *story) (opening, ending []words)

var plots = []struct {
	name   string
	weight int
	build  plot
}{
	{"thing", 5, onlyThing},
	{"own", 4, twoThings},
	{"name", 3, twoNames},
}

func (m *maker) introduce(n *noun) []words {
	if !m.chance(NAMED) {
		return nil
	}
	g := gendered[0]
	if n.is(femaleName) {
		g = gendered[1]
	}
	who := pick(&m.stream, g.nouns)
	be := "is"
	if m.past {
		be = "was"
	}
	return []words{say("there", be, "a", m.bare(who, singular), "named", n.form[0], ".")}
}

func (m *maker) ends() string { return pick(&m.stream, []string{"at last", "then", "in the end"}) }

// Mary finds a kite. She likes it. … At last Mary loses the kite.
func onlyThing(m *maker, s *story) (opening, ending []words) {
	p, _ := pronounsOf(s.hero, singular)
	get, do, lose := m.verb(handle, s.hero), m.verb(handle, s.hero), m.verb(handle, s.hero)
	opening = append(m.introduce(s.hero),
		say(s.hero.form[0], m.finite(get, singular), "a", s.thing.form[0], "."),
		say(p.subject, m.finite(do, singular), pick(&m.stream, []string{"the", p.possessive}), s.thing.form[0], "."))
	ending = []words{say(m.ends(), s.hero.form[0], m.finite(lose, singular), pick(&m.stream, []string{"the", p.possessive}), s.thing.form[0], ".")}
	return
}

// Mary has a kite. Tom has a drum. … At last Mary loses the kite.
func twoThings(m *maker, s *story) (opening, ending []words) {
	p, _ := pronounsOf(s.hero, singular)
	q, _ := pronounsOf(s.friend, singular)
	v, lose := m.verb(handle, s.hero, s.friend), m.verb(handle, s.hero)
	do, do2 := m.verb(handle, s.hero), m.verb(handle, s.friend)
	first := [2][]words{
		{say(s.hero.form[0], m.finite(v, singular), "a", s.thing.form[0], "."), say(p.subject, m.finite(do, singular), p.possessive, s.thing.form[0], ".")},
		{say(s.friend.form[0], m.finite(v, singular), "a", s.other.form[0], "."), say(q.subject, m.finite(do2, singular), q.possessive, s.other.form[0], ".")},
	}
	i := m.intn(2)
	opening = append(append([]words{}, first[i]...), first[1-i]...)
	ending = []words{say(m.ends(), s.hero.form[0], m.finite(lose, singular), p.possessive, s.thing.form[0], ".")}
	return
}

// Mary gives Tom a kite. … At last Tom thanks Mary.
func twoNames(m *maker, s *story) (opening, ending []words) {
	p, _ := pronounsOf(s.hero, singular)
	g, do := m.verb(give, s.friend), m.verb(handle, s.hero)
	opening = append(m.introduce(s.friend),
		say(s.friend.form[0], m.finite(g, singular), s.hero.form[0], "a", s.thing.form[0], "."),
		say(p.subject, m.finite(do, singular), "the", s.thing.form[0], "."))
	back := m.verb(give, s.hero)
	ending = []words{say(m.ends(), s.hero.form[0], m.finite(back, singular), "the", s.thing.form[0], "to", s.friend.form[0], ".")}
	if m.chance(50) {
		ending = []words{say(m.ends(), s.hero.form[0], m.finite(m.verb(social, s.hero), singular), s.friend.form[0], ".")}
	}
	return
}

// middle is what happens in between: no thing is named, nor any name.
func (m *maker) middle() []words {
	var s []words
	for range 1 + m.intn(2) {
		n, v := m.clause(people, act)
		num := m.number()
		var pp words
		if m.chance(50) {
			pp = say("near the", pick(&m.stream, places.nouns).form[0])
		}
		s = append(s, say(m.the(n, num), pp, m.finite(v, num), m.tail(), "."))
	}
	return s
}
