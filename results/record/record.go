// Package record is what march keeps of one trained and evaluated cell of a comparison, or of its
// failure: the file run.json. It computes nothing and draws no tables (package results does), and it
// holds no curves, predictions or parameters, which lie in files of their own beside it. Start with
// Run, ReadFile and WriteFile.
package record

import (
	"cmp"
	"strings"
	"time"
)

// Version is the format's version, raised with every change that an older reader would misread or
// refuse.
const Version = 1

// FileName is a record's name in a run's folder.
const FileName = "run.json"

// MaxBytes bounds a record's file; BLiMP's whole breakdown takes about 20 kB.
const MaxBytes = 8 << 20

// Cell says which run it is: two runs of equal cells are repetitions of the same thing. It is
// comparable, so it can be a map's key.
type Cell struct {
	Study     string `json:"study"`         // "sharing"
	Variant   string `json:"variant"`       // "very_wide_cycle"
	Set       string `json:"set,omitempty"` // settings on top, "axis=value", sorted and joined by spaces
	Arch      string `json:"arch"`          // "decoder", "encoder", "encoder-decoder"
	Scale     string `json:"scale"`         // "tiny", "small", "paper"
	Seed      uint64 `json:"seed"`
	Objective string `json:"objective"` // "causal-lm", "masked-lm", "span-corruption", …
	Target    string `json:"target"`    // "portable", "ort", "fused"
	Precision string `json:"precision"` // "fp32", "bf16", …
	Device    string `json:"device"`    // "cpu", "cuda"
}

// Name is the variant with its settings, "baseline attn.heads=12".
func (c Cell) Name() string { return strings.TrimSpace(c.Variant + " " + c.Set) }

// String names the cell in messages: "sharing/baseline decoder tiny seed 1 …".
func (c Cell) String() string {
	parts := []string{c.Study + "/" + c.Name(), c.Arch, c.Scale, c.Objective, c.Target, c.Precision, c.Device}
	parts = append(parts, "seed "+formatSeed(c.Seed))
	return strings.Join(parts, " ")
}

// Compare orders cells by their fields, the seed last.
func (c Cell) Compare(d Cell) int {
	return cmp.Or(
		cmp.Compare(c.Study, d.Study), cmp.Compare(c.Variant, d.Variant), cmp.Compare(c.Set, d.Set),
		cmp.Compare(c.Arch, d.Arch), cmp.Compare(c.Scale, d.Scale), cmp.Compare(c.Objective, d.Objective),
		cmp.Compare(c.Target, d.Target), cmp.Compare(c.Precision, d.Precision), cmp.Compare(c.Device, d.Device),
		cmp.Compare(c.Seed, d.Seed))
}

// Status says how a cell ended.
type Status string

const (
	Done    Status = "done"    // trained to its last step and evaluated
	Failed  Status = "failed"  // began and broke: Reason says why
	Skipped Status = "skipped" // cannot exist, such as a width that a scale's integers forbid: Reason says why
)

// Run is the record of one cell. What is not known is left zero or nil, and a table shows it as "–".
type Run struct {
	Version  int       `json:"version"` // set by WriteFile
	Cell     Cell      `json:"cell"`
	Status   Status    `json:"status"`
	Reason   string    `json:"reason,omitempty"` // one sentence; of failed and skipped cells only
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	March    string    `json:"march,omitempty"` // version of march that made the run

	ConfigSHA256 string     `json:"config_sha256,omitempty"` // of the whole config, every default filled in; without the seed, or seeds would not be averaged
	Parameters   Parameters `json:"parameters,omitzero"`
	FLOPs        FLOPs      `json:"flops_per_token,omitzero"`
	Budget       Budget     `json:"budget,omitzero"`
	Data         Data       `json:"data,omitzero"`
	Machine      Machine    `json:"machine,omitzero"`

	Training   *Training        `json:"training,omitempty"`
	Validation *Validation      `json:"validation,omitempty"`
	Suites     map[string]Suite `json:"suites,omitempty"` // by the suite's name: "ppl", "ppl-test", "grammar", "blimp", "lambada"
	Notes      []string         `json:"notes,omitempty"`  // sentences that belong under a table with this run

	Path string `json:"-"` // where ReadFile found it
}

// Parameters counts unique parameters: one that is used in several places counts once.
type Parameters struct {
	Total     int64 `json:"total"`     // Embedding + Norm + Other
	Embedding int64 `json:"embedding"` // tokens and positions
	Norm      int64 `json:"norm"`
	Other     int64 `json:"other"`
	Effective int64 `json:"effective,omitempty"` // of Total, those that are not masked after pruning; 0: nothing is pruned
}

// FLOPs per token, counted on the graph: a multiplication and an addition are two, a shared layer
// counts at each use.
type FLOPs struct {
	Forward  int64 `json:"forward"`
	Training int64 `json:"training"` // forward and backward
}

// Budget is what training was given. Runs compare only where it is the same.
type Budget struct {
	Steps          int64  `json:"steps"`           // optimizer steps
	TokensPerStep  int64  `json:"tokens_per_step"` // labels an optimizer step sees, over all its micro-batches
	SequenceLength int64  `json:"sequence_length"`
	Schedule       string `json:"schedule,omitempty"` // "warm-up 10 %, cosine to 10 % of 3e-3"
}

// Data is what was trained on.
type Data struct {
	Name            string `json:"name"`                       // "grammar", or a folder's name
	SHA256          string `json:"sha256,omitempty"`           // of the token shards
	TokenizerSHA256 string `json:"tokenizer_sha256,omitempty"` // perplexities compare only where it is the same
	Vocab           int64  `json:"vocab,omitempty"`            // of the model, special tokens included
	Tokens          int64  `json:"tokens,omitempty"`           // of the training stream; more trained tokens are further epochs
}

// Machine is what the run ran on. Seconds compare only where it is the same.
type Machine struct {
	Hardware    string `json:"hardware,omitempty"` // the processor's or the GPU's name
	Threads     int    `json:"threads,omitempty"`
	OS          string `json:"os,omitempty"`          // "linux/amd64"
	ONNXRuntime string `json:"onnxruntime,omitempty"` // version
	AtOnce      int    `json:"at_once,omitempty"`     // runs that shared the machine, this one included; 0: unknown
}

// Training is what training came to.
type Training struct {
	Steps           int64    `json:"steps"`
	Tokens          int64    `json:"tokens"`            // of the budget: steps times tokens a step
	Seconds         float64  `json:"seconds"`           // in steps alone, without validation and checkpoints, over all resumptions
	TokensPerSecond float64  `json:"tokens_per_second"` // Tokens / Seconds
	Loss            float64  `json:"loss"`              // nats per token, of the last step
	LossSD          *float64 `json:"loss_sd,omitempty"` // stability: standard deviation of the detrended loss over the second half of the steps
}

// Validation is the loss of the final parameters on held-out text.
type Validation struct {
	Loss   float64 `json:"loss"` // mean, nats per token; perplexity is its exponential
	Tokens int64   `json:"tokens"`
	Source string  `json:"source,omitempty"` // what text, if not the validation stream of Data
}

// Suite is what one evaluation suite said.
type Suite struct {
	Scores    []Score           `json:"scores"` // the main one first
	Groups    []Group           `json:"groups,omitempty"`
	Items     int64             `json:"items"`               // pairs, passages or windows
	Ties      int64             `json:"ties,omitempty"`      // pairs with equal scores, counted as wrong
	Identical int64             `json:"identical,omitempty"` // those among them whose sentences have the same tokens
	Truncated int64             `json:"truncated,omitempty"` // items longer than the model
	Limit     int64             `json:"limit,omitempty"`     // items of each paradigm, or passages, that were asked for; 0: all
	Settings  map[string]string `json:"settings,omitempty"`  // what else a figure depends on; scores compare only where they are the same
	Notes     []string          `json:"notes,omitempty"`
	Tokens    int64             `json:"tokens,omitempty"` // scored
	Seconds   float64           `json:"seconds,omitempty"`
}

// Score returns the figure of that name.
func (s Suite) Score(name string) (Score, bool) {
	for _, x := range s.Scores {
		if x.Name == name {
			return x, true
		}
	}
	return Score{}, false
}

// Score is one figure of a suite.
type Score struct {
	Name  string  `json:"name"` // "accuracy", "perplexity", "loss", …
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`  // "share" is 0 to 1; empty for perplexities
	Count int64   `json:"count,omitempty"` // what it is a mean over, where that is not the suite's Items
	Lower bool    `json:"lower_is_better,omitempty"`
	Note  string  `json:"note,omitempty"`
}

// ShareUnit is the Unit of accuracies.
const ShareUnit = "share"

// Group is the accuracy on a part of a suite's items.
type Group struct {
	Level      string  `json:"level"`                // FieldLevel, PhenomenonLevel, ParadigmLevel
	Name       string  `json:"name"`                 // as the data name it
	Title      string  `json:"title,omitempty"`      // as a table shows it; empty: Name
	Field      string  `json:"field,omitempty"`      // that a phenomenon or paradigm belongs to
	Phenomenon string  `json:"phenomenon,omitempty"` // that a paradigm belongs to
	Items      int64   `json:"items"`
	Correct    int64   `json:"correct"`
	Ties       int64   `json:"ties,omitempty"`
	Accuracy   float64 `json:"accuracy"` // Correct / Items
}

// The levels of a Group, from coarse to fine.
const (
	FieldLevel      = "field"
	PhenomenonLevel = "phenomenon"
	ParadigmLevel   = "paradigm"
)
