package corpus

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"march/trainloop/tokenizer"
)

// PrepareOptions say what to prepare. Text comes from Inputs or from Texts.
type PrepareOptions struct {
	// Inputs are files or glob patterns of UTF-8 text, compressed with gzip or zstd where the name ends in .gz or
	// .zst. What the name ends in before that tells the form: .jsonl or .ndjson for an object a line,
	// whose Field is a document; .parquet for a column of documents; anything else for plain text, whose
	// documents are told apart as Documents says. Blank lines around a document of plain text and a byte
	// order mark are dropped. Text in another encoding is an error.
	Inputs []string
	// Documents is how documents stand in plain text: DocumentsMarked (also ""), DocumentsBlank, DocumentsLines.
	Documents string
	// Field of JSONL records and Column of Parquet files; "" is DefaultField.
	Field, Column string
	// Dedup leaves out documents whose text, byte by byte, is that of one before, or of one of the validation text
	// given apart. It reads the text once more, and needs some 50 bytes of memory a document.
	Dedup bool
	// Texts are documents made in memory, taken as they are. The sequence is run through up to
	// four times and must give the same documents each time. Empty ones are left out.
	Texts iter.Seq[string]
	// ValidInputs or ValidTexts are validation text given apart.
	ValidInputs []string
	ValidTexts  iter.Seq[string]
	// ValidFraction is the share of the text, 0 to below 1, that is kept for validation where none
	// is given apart; 0 keeps none. Whole documents are kept: each is hashed to a place,
	// and those at the lowest places are taken, so many that their bytes come closest to
	// the share; at least one falls to each side. When documents come or go the others keep their
	// places, so few change sides. Their first piece (about 64 KiB; up to 1 MiB with a tokenizer that
	// allows no cut) is hashed, so that longer documents can fall to another side with another tokenizer. Of a single document the last part is kept.
	ValidFraction float64
	// TestFraction is the share that is kept for testing, in the same way: the documents at the next places. It
	// and ValidFraction together are less than 1. A single document is not split for it.
	TestFraction float64

	// Out is the folder to make.
	Out string

	// VocabSize and SpecialTokens are those of the tokenizer to train, on the training text: see
	// tokenizer.TrainOptions. Tokenizer is a tokenizer.json to use instead; VocabSize is ignored
	// then, and every one of SpecialTokens must be in it.
	VocabSize     int
	SpecialTokens []string
	Tokenizer     string

	// Source names where the text comes from, for people; with Texts it also tells one source
	// from another (see Matches), so put into it all that they depend on.
	Source string

	// Progress, if not nil, is told how far it is: bytes read, of how many in all (compressed
	// ones count compressed); total is 0 while unknown. It is never called twice at once.
	Progress func(done, total int64)
}

// From records the options that a folder was prepared with.
type From struct {
	Inputs          []FileID `json:"inputs,omitempty"`
	ValidInputs     []FileID `json:"valid_inputs,omitempty"`
	TestInputs      []FileID `json:"test_inputs,omitempty"` // of Import
	Texts           bool     `json:"texts,omitempty"`       // they were made in memory
	ValidFraction   float64  `json:"valid_fraction"`
	TestFraction    float64  `json:"test_fraction,omitempty"`
	Documents       string   `json:"documents,omitempty"` // "": DocumentsMarked
	Field           string   `json:"field,omitempty"`     // "": DefaultField
	Column          string   `json:"column,omitempty"`    // the same
	Dedup           bool     `json:"dedup,omitempty"`
	Imported        string   `json:"imported,omitempty"`         // the form of the tokens that Import was given
	VocabSize       int      `json:"vocab_size"`                 // asked for; 0 with a given tokenizer
	TokenizerSHA256 string   `json:"tokenizer_sha256,omitempty"` // of a given tokenizer
	SpecialTokens   []string `json:"special_tokens,omitempty"`
}

// plan is PrepareOptions, checked, with files and tokenizer looked up.
type plan struct {
	PrepareOptions
	train, valid []input
	given        *tokenizer.Tokenizer // nil: train one
	from         From
}

func (o PrepareOptions) plan() (*plan, error) {
	p := &plan{PrepareOptions: o}
	var err error
	switch {
	case o.Out == "":
		return nil, errors.New("corpus: no folder to prepare into: set Out")
	case len(o.Inputs) == 0 && o.Texts == nil:
		return nil, errors.New("corpus: no text to prepare: set Inputs or Texts")
	case len(o.Inputs) > 0 && o.Texts != nil:
		return nil, errors.New("corpus: Inputs and Texts are both set, want one of them")
	case len(o.ValidInputs) > 0 && o.ValidTexts != nil:
		return nil, errors.New("corpus: ValidInputs and ValidTexts are both set, want one of them at most")
	case !(o.ValidFraction >= 0 && o.ValidFraction < 1):
		return nil, fmt.Errorf("corpus: validation fraction %g, want 0 or more and less than 1", o.ValidFraction)
	case !(o.TestFraction >= 0 && o.ValidFraction+o.TestFraction < 1):
		return nil, fmt.Errorf("corpus: test fraction %g and validation fraction %g, want 0 or more each, and together less than 1", o.TestFraction, o.ValidFraction)
	case !slices.Contains([]string{"", DocumentsMarked, DocumentsBlank, DocumentsLines}, o.Documents):
		return nil, fmt.Errorf("corpus: documents %q, want %s, %s or %s", o.Documents, DocumentsMarked, DocumentsBlank, DocumentsLines)
	case o.ValidFraction > 0 && p.validGiven():
		return nil, fmt.Errorf("corpus: validation text is given, and a fraction of %g as well, want one of them", o.ValidFraction)
	}
	if p.train, err = resolve(o.Inputs); err != nil {
		return nil, err
	}
	if p.valid, err = resolve(o.ValidInputs); err != nil {
		return nil, err
	}
	p.Documents, p.Field, p.Column = cmp.Or(o.Documents, DocumentsMarked), cmp.Or(o.Field, DefaultField), cmp.Or(o.Column, DefaultField)
	p.from = From{
		TestFraction: o.TestFraction, Dedup: o.Dedup,
		Documents: unless(p.Documents, DocumentsMarked), Field: unless(p.Field, DefaultField), Column: unless(p.Column, DefaultField),
		Inputs: fileIDs(p.train), ValidInputs: fileIDs(p.valid), Texts: o.Texts != nil,
		ValidFraction: o.ValidFraction, VocabSize: o.VocabSize, SpecialTokens: slices.Clone(o.SpecialTokens),
	}
	if o.Tokenizer == "" {
		return p, nil
	}
	if p.given, err = tokenizer.Load(o.Tokenizer); err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	for _, token := range append([]string{tokenizer.EndOfText}, o.SpecialTokens...) {
		if _, ok := p.given.ID(token); !ok {
			return nil, fmt.Errorf("corpus: tokenizer %s has no token %s, add it to the file", o.Tokenizer, token)
		}
	}
	p.from.VocabSize, p.from.TokenizerSHA256 = 0, p.given.SHA256()
	return p, nil
}

// unless returns s, "" where it is the default: what was prepared before there was a choice is the same.
func unless(s, normal string) string {
	if s == normal {
		return ""
	}
	return s
}

func (p *plan) validGiven() bool { return len(p.ValidInputs) > 0 || p.ValidTexts != nil }

func fileIDs(inputs []input) []FileID {
	var ids []FileID
	for _, in := range inputs {
		ids = append(ids, in.FileID)
	}
	return ids
}

// Matches reports whether a folder holds what Prepare would make with these options (Out aside),
// and if not, why. Files are compared by name, size and time of change; texts made in memory by
// Source, which must not be empty. It opens nothing large: that the contents are whole is for
// Open to find.
func Matches(dir string, o PrepareOptions) (ok bool, why string) {
	o.Out = dir
	p, err := o.plan()
	if err != nil {
		return false, err.Error()
	}
	return p.matches(dir)
}

func (p *plan) matches(dir string) (ok bool, why string) {
	info, err := ReadInfo(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, "nothing is prepared there"
	}
	if err != nil {
		return false, err.Error()
	}
	was, now := info.From, p.from
	switch {
	case info.Source != p.Source:
		return false, fmt.Sprintf("made from %q, not %q", info.Source, p.Source)
	case was.Texts != now.Texts || !slices.Equal(was.Inputs, now.Inputs):
		return false, "the input files are others or have changed"
	case (now.Texts || p.ValidTexts != nil) && p.Source == "":
		return false, "texts without a Source cannot be recognised"
	case (info.Split == SplitGiven) != p.validGiven() || !slices.Equal(was.ValidInputs, now.ValidInputs):
		return false, "the validation files are others or have changed"
	case was.ValidFraction != now.ValidFraction:
		return false, fmt.Sprintf("validation fraction %g, not %g", was.ValidFraction, now.ValidFraction)
	case was.TestFraction != now.TestFraction:
		return false, fmt.Sprintf("test fraction %g, not %g", was.TestFraction, now.TestFraction)
	case was.Documents != now.Documents:
		return false, fmt.Sprintf("documents %s, not %s", cmp.Or(was.Documents, DocumentsMarked), cmp.Or(now.Documents, DocumentsMarked))
	case was.Field != now.Field || was.Column != now.Column:
		return false, "another field or column"
	case was.Dedup != now.Dedup:
		return false, fmt.Sprintf("de-duplication %t, not %t", was.Dedup, now.Dedup)
	case was.Imported != now.Imported:
		return false, fmt.Sprintf("imported from %s", was.Imported)
	case was.TokenizerSHA256 != now.TokenizerSHA256:
		return false, "another tokenizer"
	case was.VocabSize != now.VocabSize:
		return false, fmt.Sprintf("vocabulary of %d, not %d", was.VocabSize, now.VocabSize)
	case !slices.Equal(was.SpecialTokens, now.SpecialTokens):
		return false, fmt.Sprintf("special tokens %q, not %q", was.SpecialTokens, now.SpecialTokens)
	}
	for _, name := range append([]string{tokenizerFile}, shardFiles(info)...) {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false, name + " is missing"
		}
	}
	return true, ""
}

func shardFiles(info *Info) []string {
	var names []string
	for _, s := range info.Shards {
		names = append(names, s.File)
	}
	return names
}
