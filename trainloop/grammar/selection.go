package grammar

// The boy near the lamp laughed. / The lamp near the boy glowed.
func selection(m *maker) frame {
	living, v := m.key(anyone, act)
	dead, w := m.key(things, happen)
	num := m.number()
	n := [2]*noun{living, dead}
	verb := [2]string{m.finite(v, num), m.finite(w, num)}
	if m.chance(25) {
		verb = [2]string{"will " + v.base, "will " + w.base}
	}
	pp, tail := m.near(), m.tail()
	return func(c, k int) words { m.about(n[c], num); return say("the", n[c].form[num], pp, verb[k], tail, ".") }
}
