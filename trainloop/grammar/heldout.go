package grammar

// The held-out part of the grammar. A *combination* is a noun and a word that
// it stands in relation to: subject and predicate (verb or adjective, in every
// clause, embedded ones and relative clauses included), noun and attributive
// adjective, owner and thing owned. One combination in eight, by a hash of the
// two lemmas, is held out: no document of either split has it, for any seed.
// Every sentence of a pair, and every passage, rests on one at its key place,
// so none of them can occur in a corpus of any length.
const heldOutShare = 8

// heldOut tells whether the combination of the noun with the word (a verb's
// base form, an adjective, the singular of a thing) is kept from the corpus.
func heldOut(n *noun, word string) bool {
	h := uint64(golden)
	for _, s := range [2]string{n.form[singular], word} {
		for i := range len(s) {
			h = mix(h ^ uint64(s[i]))
		}
		h = mix(h ^ ' ')
	}
	return h%heldOutShare == 0
}
