package evalsuite

import (
	"slices"
	"strings"
)

// pair is a minimal pair of any source.
type pair struct {
	good, bad  string
	field      string
	phenomenon string
	paradigm   string
	id         string
}

// limitPairs keeps the first n pairs of each paradigm; the order stays.
func limitPairs(pairs []pair, p planner) []pair {
	if p.limit == 0 {
		return pairs
	}
	seen := map[string]int{}
	var kept []pair
	for _, x := range pairs {
		if seen[x.paradigm]++; seen[x.paradigm] <= p.limit {
			kept = append(kept, x)
		}
	}
	return kept
}

// planPairs makes two sequences of each pair, the good sentence first.
func planPairs(pairs []pair, p planner) []sequence {
	sequences := make([]sequence, 0, 2*len(pairs))
	for _, x := range pairs {
		good, bad := p.layout.pair(p.sentence(x.good), p.sentence(x.bad))
		sequences = append(sequences, good, bad)
	}
	return sequences
}

// finishPairs judges pairs, counts them into r by field, phenomenon and paradigm in the order of
// their first pairs, and adds the score "accuracy".
func (planner planner) finishPairs(r *Result, pairs []pair, sequences []sequence, scores []score, emit func(Prediction)) {
	var groups groupCounter
	correct := 0
	for i, x := range pairs {
		good, bad := scores[2*i], scores[2*i+1]
		goodTokens, badTokens := sequences[2*i], sequences[2*i+1]
		p := Prediction{
			Suite: r.Suite, Paradigm: x.paradigm, ID: x.id,
			Scores: []float64{good.logprob, bad.logprob}, Tokens: []int{good.tokens, bad.tokens},
			Correct: planner.judged(good) > planner.judged(bad), Tie: planner.judged(good) == planner.judged(bad),
			Truncated: goodTokens.cut || badTokens.cut,
		}
		emit(p)
		r.Items++
		if p.Correct {
			correct++
		}
		if p.Tie {
			r.Ties++
		}
		if slices.Equal(goodTokens.tokens, badTokens.tokens) {
			r.Identical++
		}
		if p.Truncated {
			r.Truncated++
		}
		groups.add(x, p)
	}
	r.Groups = append(r.Groups, groups.list()...)
	r.Scores = append(r.Scores, Score{Name: "accuracy", Value: share(correct, len(pairs)), Unit: "share", Count: int64(len(pairs))})
}

// judged is what of a sentence's score is compared.
func (planner planner) judged(s score) float64 {
	if planner.perToken && s.tokens > 0 {
		return s.logprob / float64(s.tokens)
	}
	return s.logprob
}

// groupCounter counts pairs by level and name.
type groupCounter struct {
	groups []*Group
	index  map[[2]string]*Group
}

func (c *groupCounter) add(x pair, p Prediction) {
	for _, g := range []*Group{
		c.group(Group{Level: LevelField, Name: x.field}),
		c.group(Group{Level: LevelPhenomenon, Name: x.phenomenon, Field: x.field}),
		c.group(Group{Level: LevelParadigm, Name: x.paradigm, Field: x.field, Phenomenon: x.phenomenon}),
	} {
		if g.Field != x.field {
			g.Field = "" // its items disagree; on the level of fields it is empty anyway
		}
		g.Items++
		if p.Correct {
			g.Correct++
		}
		if p.Tie {
			g.Ties++
		}
	}
}

func (c *groupCounter) group(as Group) *Group {
	key := [2]string{as.Level, as.Name}
	if g := c.index[key]; g != nil {
		return g
	}
	if c.index == nil {
		c.index = map[[2]string]*Group{}
	}
	as.Title = title(as.Name)
	c.groups = append(c.groups, &as)
	c.index[key] = &as
	return &as
}

// list gives the fields, then the phenomena, then the paradigms.
func (c *groupCounter) list() []Group {
	var all []Group
	for _, level := range []string{LevelField, LevelPhenomenon, LevelParadigm} {
		for _, g := range c.groups {
			if g.Level == level {
				g.Accuracy = share(g.Correct, g.Items)
				all = append(all, *g)
			}
		}
	}
	return all
}

// title is a group's name as a table shows it: BLiMP's own where it has one, else the name in
// words.
func title(name string) string {
	if t, ok := blimpTitles[name]; ok {
		return t
	}
	words := strings.ReplaceAll(name, "_", " ")
	if words == "" {
		return ""
	}
	return strings.ToUpper(words[:1]) + words[1:]
}
