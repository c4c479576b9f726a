package sweep

import (
	"slices"
	"testing"

	"march/evalsuite"
	"march/results/record"
)

// A record has a suite's scores where they are of the same items, taken in the same way.
func TestMissing(t *testing.T) {
	g, err := evalsuite.NewGrammar()
	if err != nil {
		t.Fatal(err)
	}
	grammar := func(limit int64, more map[string]string) *record.Run {
		s := map[string]string{}
		for key, value := range evalsuite.Fixed(g, evalsuite.Options{}) {
			s[key] = value
		}
		for key, value := range more {
			s[key] = value
		}
		return &record.Run{Suites: map[string]record.Suite{"grammar": {Limit: limit, Settings: s}}}
	}
	alone := map[string]string{"sentence score": "pseudo-log-likelihood, each token masked alone"}
	word := map[string]string{"sentence score": "pseudo-log-likelihood, each token masked with the later ones of its word"}
	for name, x := range map[string]struct {
		r       *record.Run
		o       evalsuite.Options
		missing []string
	}{
		"no scores":                  {&record.Run{}, evalsuite.Options{}, []string{"ppl", "grammar"}},
		"the same":                   {grammar(0, nil), evalsuite.Options{}, []string{"ppl"}},
		"an encoder's":               {grammar(0, alone), evalsuite.Options{}, []string{"ppl"}},
		"an encoder's within words":  {grammar(0, word), evalsuite.Options{}, []string{"ppl", "grammar"}},
		"as they are asked for here": {grammar(0, word), evalsuite.Options{WithinWord: true}, []string{"ppl"}},
		"of fewer items":             {grammar(3, nil), evalsuite.Options{}, []string{"ppl", "grammar"}},
		"a token":                    {grammar(0, nil), evalsuite.Options{PerToken: true}, []string{"ppl", "grammar"}},
	} {
		l := &Lab{Suites: []Suite{Perplexity{}, ReadySuite{g}}, Options: x.o}
		var got []string
		for _, s := range l.missing(x.r) {
			got = append(got, s.Name())
		}
		if !slices.Equal(got, x.missing) {
			t.Errorf("%s: missing %v, wanted %v", name, got, x.missing)
		}
	}
}
