package evalsuite

import "math"

// Result is what one suite says of one model. It holds finite numbers only, so that it can be
// written as JSON.
type Result struct {
	Suite  string  `json:"suite"`
	Scores []Score `json:"scores"`           // the suite's figures, the main one first
	Groups []Group `json:"groups,omitempty"` // fields, phenomena and paradigms, in the suite's order

	Items     int64 `json:"items"`           // pairs, passages or windows
	Ties      int64 `json:"ties"`            // pairs with equal scores, counted as wrong
	Identical int64 `json:"identical"`       // those among the ties whose two sentences have the same tokens
	Truncated int64 `json:"truncated"`       // items of which a sequence was longer than the model
	Limit     int64 `json:"limit,omitempty"` // items a paradigm (or passages) that were asked for; 0: all

	Settings map[string]string `json:"settings,omitempty"` // what else a figure depends on
	Notes    []string          `json:"notes,omitempty"`    // sentences that belong under a table of these figures

	Sequences   int64   `json:"sequences"`    // token lists scored
	Distinct    int64   `json:"distinct"`     // different ones among them: so many were run
	Tokens      int64   `json:"tokens"`       // tokens scored, over all sequences
	Positions   int64   `json:"positions"`    // positions run, padding included
	Seconds     float64 `json:"seconds"`      // all of it
	EvalSeconds float64 `json:"eval_seconds"` // batching and model alone, without tokenizing and writing
}

// Score is one figure of a suite. It and [Group] have the fields of the run record's types of the
// same names, so one converts to the other.
type Score struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`  // "share" is 0 to 1; "nats/token", "bits/byte"; empty for perplexities
	Count int64   `json:"count,omitempty"` // what it is a mean over, where that is not the result's Items
	Lower bool    `json:"lower_is_better,omitempty"`
	Note  string  `json:"note,omitempty"`
}

// Group is the accuracy on a part of a suite's items.
type Group struct {
	Level      string  `json:"level"`                // LevelField, LevelPhenomenon, LevelParadigm
	Name       string  `json:"name"`                 // as the data name it
	Title      string  `json:"title"`                // as a table shows it
	Field      string  `json:"field,omitempty"`      // of a phenomenon all of whose items agree on it, and of a paradigm
	Phenomenon string  `json:"phenomenon,omitempty"` // of a paradigm
	Items      int64   `json:"items"`
	Correct    int64   `json:"correct"`
	Ties       int64   `json:"ties"`
	Accuracy   float64 `json:"accuracy"` // Correct/Items
}

// The levels of a [Group].
const (
	LevelField      = "field"
	LevelPhenomenon = "phenomenon"
	LevelParadigm   = "paradigm"
)

// Score returns the figure of that name.
func (r *Result) Score(name string) (value float64, ok bool) {
	for _, s := range r.Scores {
		if s.Name == name {
			return s.Value, true
		}
	}
	return 0, false
}

// Group returns the group of that level and name.
func (r *Result) Group(level, name string) (Group, bool) {
	for _, g := range r.Groups {
		if g.Level == level && g.Name == name {
			return g, true
		}
	}
	return Group{}, false
}

// Prediction is what the model said of one item: a line of the predictions file.
type Prediction struct {
	Suite    string `json:"suite"`
	Paradigm string `json:"paradigm,omitempty"`
	ID       string `json:"id"`
	// Scores are log-probabilities in nats: of a pair's good and bad sentence (whole, also with
	// Options.PerToken), of a passage's last word, of a window's tokens.
	Scores    []float64 `json:"scores"`
	Tokens    []int     `json:"tokens"`  // how many tokens each score sums over
	Correct   bool      `json:"correct"` // of passages and windows: every scored token is the most likely one
	Tie       bool      `json:"tie"`
	Truncated bool      `json:"truncated,omitempty"`
}

// share is part/whole, and 0 of nothing.
func share[T int | int64](part, whole T) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// perplexity is exp(nats), held finite: a diverged model can be worse than float64 can say, and
// JSON has no infinity.
func perplexity(nats float64) float64 {
	return min(math.Exp(nats), math.MaxFloat64)
}
