package grammar

import "strconv"

type Pair struct {
	Good       string `json:"sentence_good"`
	Bad        string `json:"sentence_bad"`
	Field      string `json:"field"`
	Phenomenon string `json:"linguistics_term"`
	UID        string `json:"UID"`
	ID         string `json:"pairID"`
}

type Passage struct {
	Text string `json:"text"`
}

const PairsPerPhenomenon = 1000

func Pairs() []Pair {
	var all []Pair
	for p, ph := range phenomena {
		seen := map[string]bool{}
		for i, n := uint64(0), 0; n < PairsPerPhenomenon; i++ {
			m := &maker{stream: newStream(0x70616972, uint64(p), i), held: true}
			m.past = m.chance(35)
			f := ph.build(m)
			if g := f(0, 0).String(); seen[g] {
				continue
			} else {
				seen[g] = true
			}
			for c := range 2 {
				all = append(all, Pair{f(c, c).String(), f(c, 1-c).String(), ph.field, ph.term, ph.uid, strconv.Itoa(n)})
				n++
			}
		}
	}
	return all
}

func Passages() []Passage {
	var all []Passage
	for i := range uint64(500) {
		draw := newStream(0x636c6f7a, i)
		m := &maker{stream: draw, held: true}
		m.past = m.chance(PAST)
		st := m.newStory()
		t := weighted(m, len(plots), func(i int) int { return plots[i].weight })
		rest := m.stream
		for c := range 2 {
			m.stream = rest
			s := *st
			if c == 1 {
				s.thing, s.other, s.who, s.whose = st.other, st.thing, st.whose, st.who
			}
			opening, ending := plots[t].build(m, &s)
			x := text(append(append(opening, m.middle()...), ending...))
			all = append(all, Passage{x[:len(x)-1]})
		}
	}
	return all
}
