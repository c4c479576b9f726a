package grammar

var himHer = [2]string{"himself", "herself"}

// The king near the girls hurt himself.
func anaphorGender(m *maker) frame {
	n, v := m.keys(gendered, reflect)
	mod := m.optional(n[0], n[1])
	verb, tail := say(m.finite(v, singular)), m.tail()
	if m.chance(25) {
		verb = say("will", v.base)
	}
	return func(c, k int) words {
		m.about(n[c], singular)
		return say("the", n[c].form[singular], mod(singular), verb, himHer[k], tail, ".")
	}
}

// The boys near the king hurt themselves.
func anaphorNumber(m *maker) frame {
	g := m.intn(2)
	n, v := m.key(gendered[g], reflect)
	mod := m.optional(n)
	refl := [2]string{himHer[g], "themselves"}
	verb, tail := say("will", v.base), m.tail() // neither will nor the past shows the number
	if m.past {
		verb = say(v.past)
	}
	return func(c, k int) words {
		m.about(n, number(c))
		return say("the", n.form[c], mod(number(c)), verb, refl[k], tail, ".")
	}
}

// Mary said that the boy near the cars hurt himself.
func principleA(m *maker) frame {
	n, v := m.keys(gendered, reflect)
	// The upper subject is of the other gender; in the corpus it need not be.
	var upper [2]*noun
	said := pick(&m.stream, tell)
	same := !m.often(60)
	for g := range upper {
		outer := 1 - g
		if same {
			outer = g
		}
		for upper[g] == nil || heldOut(upper[g], said.base) {
			upper[g] = m.noun(newEither(outer))
		}
	}
	mod := m.optional(n[0], n[1])
	verb, tail := m.finite(v, singular), m.tail()
	above := [2]words{m.the(upper[0], singular), m.the(upper[1], singular)}
	said1 := m.finite(said, singular)
	return func(c, k int) words {
		return say(above[c], said1, "that the", n[c].form[singular], mod(singular), verb, himHer[k], tail, ".")
	}
}

var either = [2]pool{newPool(male | maleName), newPool(female | femaleName)}

func newEither(g int) pool { return either[g] }

// optional is a modifier, always for pairs and mostly in the corpus.
func (m *maker) optional(heads ...*noun) func(number) words {
	if m.often(MOD) {
		return m.modifier(heads...)
	}
	return func(number) words { return nil }
}
