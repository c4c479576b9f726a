package evalsuite

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
)

// passage is a text whose last word is to be predicted, split before the white space that precedes
// that word.
type passage struct {
	context string // no white space at its end
	target  string // white space and the last word
}

// splitPassage finds the last word of a text; white space after it is dropped.
func splitPassage(text string) (passage, error) {
	text = strings.TrimRightFunc(text, unicode.IsSpace)
	at := strings.LastIndexFunc(text, unicode.IsSpace)
	context := strings.TrimRightFunc(text[:max(at, 0)], unicode.IsSpace)
	if context == "" {
		return passage{}, errors.New("a passage needs words before its last word, and white space between")
	}
	return passage{context: context, target: text[len(context):]}, nil
}

// lastWord is the target without its white space.
func (p passage) lastWord() string { return strings.TrimLeftFunc(p.target, unicode.IsSpace) }

// planPassages makes one sequence of each passage.
func planPassages(passages []passage, p planner) []sequence {
	sequences := make([]sequence, 0, len(passages))
	for _, x := range passages {
		context := p.sentence(x.context)
		tokens := append(context, p.tokenizer.Encode(x.target)...)
		sequences = append(sequences, p.layout.passage(tokens, len(context)))
	}
	return sequences
}

// finishPassages judges passages and adds the scores "accuracy" and "perplexity", with prefix
// before their names.
func finishPassages(r *Result, prefix, paradigm string, sequences []sequence, scores []score, emit func(Prediction)) {
	correct, nats := 0, 0.0
	for i, s := range scores {
		p := Prediction{
			Suite: r.Suite, Paradigm: paradigm, ID: strconv.Itoa(i), Scores: []float64{s.logprob}, Tokens: []int{s.tokens},
			Correct: s.allTop(), Truncated: sequences[i].cut,
		}
		emit(p)
		r.Items++
		nats -= s.logprob
		if p.Correct {
			correct++
		}
		if p.Truncated {
			r.Truncated++
		}
	}
	n := len(scores)
	r.Scores = append(r.Scores,
		Score{Name: prefix + "accuracy", Value: share(correct, n), Unit: "share", Count: int64(n)},
		Score{Name: prefix + "perplexity", Value: perplexity(nats / float64(max(n, 1))), Count: int64(n), Lower: true})
}

// passageMethod says in a result how its passages were scored, where it is not the way of decoders.
func (p planner) passageMethod(r *Result) {
	how := p.layout.method()
	if how.passages != "" {
		r.set("passage score", how.passages)
	}
	if how.passagesNote != "" {
		r.note("%s", how.passagesNote)
	}
}

// plainQuotes are the replacements of LAMBADAOptions.PlainQuotes.
var plainQuotes = strings.NewReplacer(
	"“", `"`, "”", `"`, "„", `"`, "‟", `"`, "«", `"`, "»", `"`, "``", `"`, "''", `"`,
	"‘", "'", "’", "'", "‚", "'", "‛", "'",
	"—", "--", "―", "--", "–", "-", "‐", "-", "‑", "-", "…", "...",
	"\u00a0", " ", "\u2000", " ", "\u2001", " ", "\u2002", " ", "\u2003", " ", "\u2004", " ", "\u2005", " ",
	"\u2006", " ", "\u2007", " ", "\u2008", " ", "\u2009", " ", "\u200a", " ", "\u202f", " ", "\u205f", " ", "\u3000", " ",
	"\u00ad", "", "\u200b", "", "\u200c", "", "\u200d", "", "\u2060", "", "\ufeff", "",
)
