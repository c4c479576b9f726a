package grammar

import (
	"iter"
	"strings"
)

// Split names the two disjoint streams of documents.
type Split uint64

const (
	Train Split = iota
	Valid
)

// Documents yields stories until they hold about the given number of bytes
// (the story that reaches it is the last). Story n is a pure function of
// (seed, split, n).
func Documents(seed uint64, split Split, bytes int64) iter.Seq[string] {
	return func(yield func(string) bool) {
		for n := uint64(0); bytes > 0; n++ {
			d := document(newStream(seed, uint64(split), n))
			if bytes -= int64(len(d)); !yield(d) {
				return
			}
		}
	}
}

func document(r stream) string {
	m := &maker{stream: r}
	m.past = m.chance(PAST)
	st := m.newStory()
	m.story = st
	if m.chance(GEN) {
		st.strict = 100
	}
	m.cast = []*noun{st.hero, st.friend, m.noun(people), m.noun(anyone), st.place}
	if m.chance(TOPIC) {
		m.cast = append(m.cast, st.who, st.who)
	}
	var s, ending []words
	if m.chance(OPEN) {
		t := weighted(m, len(plots), func(i int) int { return plots[i].weight })
		s, ending = plots[t].build(m, st)
	}
	for range 2 + m.intn(LEN) {
		s = append(s, m.sentence())
		if m.chance(PRO) {
			s = append(s, m.followUp()...)
		}
		m.topic = nil
	}
	if m.chance(END) {
		s = append(s, ending...)
	}
	return text(s)
}

func text(s []words) string {
	var b strings.Builder
	for i, w := range s {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(w.String())
	}
	return b.String()
}

func weighted(m *maker, n int, weight func(int) int) int {
	total := 0
	for i := range n {
		total += weight(i)
	}
	at := m.intn(total)
	for i := range n {
		if at -= weight(i); at < 0 {
			return i
		}
	}
	panic("unreachable")
}

// sentence draws one of any kind.
func (m *maker) sentence() words {
	i := weighted(m, len(phenomena)+len(plain), func(i int) int {
		if i < len(phenomena) {
			return phenomena[i].weight * 10
		}
		w := plain[i-len(phenomena)].weight * PLAIN / 10
		if i-len(phenomena) == 2 {
			w = w * REFL / 100
		}
		return w
	})
	if i >= len(phenomena) {
		return plain[i-len(phenomena)].build(m)
	}
	c := m.intn(2)
	if u := phenomena[i].uid; m.story.strict > 0 && (u == "anaphor_gender_agreement" || u == "principle_A_domain") {
		c = 0
		if m.story.gender&female != 0 {
			c = 1
		}
	}
	return phenomena[i].build(m)(c, c)
}
