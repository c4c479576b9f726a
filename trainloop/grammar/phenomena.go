package grammar

// A frame is a sentence with one open choice and one context that decides it.
// Contexts and choices are both numbered 0 and 1, and frame(c, k) is
// grammatical when c = k. So every frame is a square: its diagonal goes into
// the corpus, its rows are two minimal pairs that swap the same words in
// opposite directions, everything else being the same. A model that does not
// see how the context decides, such as one with a window shorter than their
// distance, is right in exactly one of the two.
type frame func(context, choice int) words

type phenomenon struct {
	uid, term, field string
	explanation      string
	weight           int // share of the corpus' sentences, in parts of all weights
	build            func(*maker) frame
}

var phenomena = []phenomenon{
	{"distractor_agreement_prepositional_phrase", "subject_verb_agreement", "morphology",
		"a verb agrees with its subject across a prepositional phrase", 8, agreementAcrossPhrase},
	{"distractor_agreement_relative_clause", "subject_verb_agreement", "morphology",
		"a verb agrees with its subject across a relative clause", 8, agreementAcrossClause},
	{"determiner_noun_agreement_with_adjectives", "determiner_noun_agreement", "morphology",
		"a noun agrees with its determiner across two adjectives", 8, determinerNoun},
	{"anaphor_gender_agreement", "anaphor_agreement", "morphology",
		"a reflexive has the gender of its subject, whoever stands between", 8, anaphorGender},
	{"anaphor_number_agreement", "anaphor_agreement", "morphology",
		"a reflexive has the number of its subject, whoever stands between", 6, anaphorNumber},
	{"principle_A_domain", "binding", "syntax_semantics",
		"a reflexive is bound by the subject of its own clause, not by that of the clause above", 8, principleA},
	{"sentential_negation_npi", "npi_licensing", "syntax_semantics",
		"any needs a negation before it in its clause, some none", 6, negationAnySome},
	{"no_npi_scope", "npi_licensing", "syntax_semantics",
		"ever needs a subject with no; one inside a relative clause does not do", 8, noScope},
	{"wh_vs_that", "filler_gap_dependency", "syntax",
		"an embedded question has a gap, a that-clause has none", 8, whVersusThat},
	{"wh_island", "island_effects", "syntax",
		"a question's gap lies in a that-clause, never in an embedded question, which has its own", 8, whIsland},
	{"adjunct_island", "island_effects", "syntax",
		"a question's gap lies in a that-clause, never in an adverbial clause", 8, adjunctIsland},
	{"subject_selection", "s-selection", "semantics",
		"verbs of doing want a living subject, verbs of happening a thing", 6, selection},
}
