package grammar

// story is whom and what a document is about. Like a frame it has a choice of
// two: two nouns may change places everywhere in it.
type story struct {
	hero, friend *noun // names
	who, whose   *noun // their trades
	thing, other *noun // the hero's and the friend's
	place        *noun
	gender       class
	strict       int
}

// newStory draws a cast.
func (m *maker) newStory() *story {
	for {
		s := &story{hero: m.noun(anyName)}
		s.friend = m.noun(named[0])
		s.gender = male | maleName
		if s.hero.is(femaleName) {
			s.friend = m.noun(named[1])
			s.gender = female | femaleName
		}
		t, u := m.intn(14), m.intn(14)
		s.who, s.whose = trades.nouns[t], trades.nouns[u]
		s.thing, s.other, s.place = things.nouns[t], things.nouns[u], places.nouns[t]
		if s.hero != s.friend && t != u && (mix(mix(mix(uint64(t))+uint64(u))+uint64(s.hero.form[0][0])+uint64(s.hero.form[0][1])*3+uint64(s.friend.form[0][0])+uint64(s.friend.form[0][1])*5)%8 == 0) == m.held {
			return s
		}
	}
}

var trades = newPool(neutral)

// plot makes the beginning and the end of a story.
type plot func(m *maker, s *story) (opening, ending []words)

var plots = []struct {
	name   string
	weight int
	build  plot
}{
	{"thing", 5, onlyThing},
	{"own", 4, twoThings},
}

func (m *maker) introduce(n, who *noun) words {
	be := "is"
	if m.past {
		be = "was"
	}
	if m.chance(50) {
		return say(n.form[0], be, "a", who.form[0], ".")
	}
	return say("there", be, "a", m.bare(who, singular), "named", n.form[0], ".")
}

func (m *maker) ends() string { return pick(&m.stream, []string{"at last", "then", "in the end"}) }

// Mary is a sailor. … At last Mary loses her boat.
func onlyThing(m *maker, s *story) (opening, ending []words) {
	p, _ := pronounsOf(s.hero, singular)
	do, lose := m.verb(handle, s.hero), m.verb(handle, s.hero)
	opening = []words{m.introduce(s.hero, s.who)}
	if m.chance(50) {
		opening = append(opening, say(p.subject, m.finite(do, singular), p.possessive, s.thing.form[0], "."))
	}
	ending = []words{say(m.ends(), s.hero.form[0], m.finite(lose, singular), pick(&m.stream, []string{"the", p.possessive}), s.thing.form[0], ".")}
	return
}

// Mary is a sailor. Tom is a baker. … At last Mary loses her boat.
func twoThings(m *maker, s *story) (opening, ending []words) {
	p, _ := pronounsOf(s.hero, singular)
	q, _ := pronounsOf(s.friend, singular)
	do, do2, lose := m.verb(handle, s.hero), m.verb(handle, s.friend), m.verb(handle, s.hero)
	first := [2][]words{
		{m.introduce(s.hero, s.who)},
		{m.introduce(s.friend, s.whose)},
	}
	if m.chance(50) {
		first[0] = append(first[0], say(p.subject, m.finite(do, singular), p.possessive, s.thing.form[0], "."))
		first[1] = append(first[1], say(q.subject, m.finite(do2, singular), q.possessive, s.other.form[0], "."))
	}
	i := m.intn(2)
	opening = append(append([]words{}, first[i]...), first[1-i]...)
	ending = []words{say(m.ends(), s.hero.form[0], m.finite(lose, singular), p.possessive, s.thing.form[0], ".")}
	return
}

// middle is what happens in between: no thing is named, nor any name.
func (m *maker) middle() []words {
	var s []words
	for range 1 + m.intn(2) {
		n, v := m.clause(gendered[m.intn(2)], act)
		num := m.number()
		var pp words
		if m.chance(50) {
			pp = say("near the", pick(&m.stream, places.nouns[14:]).form[0])
		}
		s = append(s, say(m.the(n, num), pp, m.finite(v, num), m.tail(), "."))
	}
	return s
}
