package evalsuite

import (
	"fmt"
	"sync"

	"march/trainloop/stories"
)

// Grammar is the suite "grammar": the minimal pairs and cloze passages that are built into march,
// made from held-out parts of the grammar of its embedded corpus. They have BLiMP's and LAMBADA's
// form and are neither: scores compare only with each other. The scores are "accuracy" of the
// pairs, and "cloze_accuracy" and "cloze_perplexity" of the passages.
type Grammar struct {
	pairs    []pair
	passages []passage
	digest   string
}

// NewGrammar makes the items on the first call.
func NewGrammar() (*Grammar, error) { return embedded() }

var embedded = sync.OnceValues(func() (*Grammar, error) { return newGrammar(stories.Pairs(), stories.Passages()) })

func newGrammar(pairs []stories.Pair, passages []stories.Passage) (*Grammar, error) {
	g := &Grammar{}
	for _, x := range pairs {
		g.pairs = append(g.pairs, pair{
			good: x.Good, bad: x.Bad, field: x.Field, phenomenon: x.Phenomenon, paradigm: x.UID, id: x.ID,
		})
	}
	for i, x := range passages {
		p, err := splitPassage(x.Text)
		if err != nil {
			return nil, fmt.Errorf("grammar: passage %d: %w", i, err)
		}
		g.passages = append(g.passages, p)
	}
	g.digest = digestOf(g.pairs, g.passages)
	return g, nil
}

// Name is "grammar".
func (g *Grammar) Name() string { return "grammar" }

func (g *Grammar) plan(p planner) (*plan, error) {
	pairs, passages := limitPairs(g.pairs, p), g.passages[:p.limited(len(g.passages))]
	sequences := planPairs(pairs, p)
	split := len(sequences)
	sequences = append(sequences, planPassages(passages, p)...)
	return &plan{sequences, func(r *Result, scores []score, emit func(Prediction)) {
		p.finishPairs(r, pairs, sequences[:split], scores[:split], emit)
		finishPassages(r, "cloze_", "cloze", sequences[split:], scores[split:], emit)
		if how := p.layout.method(); how.pairs != "" {
			r.set("sentence score", how.pairs)
		}
		p.passageMethod(r)
		if p.limit > 0 {
			r.note("the first %d pairs of each paradigm and the first %d passages", p.limit, p.limit)
		}
	}}, nil
}
