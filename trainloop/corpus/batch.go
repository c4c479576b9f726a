package corpus

import (
	"fmt"

	"march/variants/manifest"
)

// The arrays of a batch, by the names that training graphs have for them. B is the number of
// sequences, S the length of what the model reads, T that of what a decoder beside an encoder
// reads and predicts.
const (
	TokensArray        = manifest.Tokens        // [B,S]
	LabelsArray        = manifest.Labels        // [B,S], or [B,T] with decoder tokens
	LengthsArray       = manifest.Lengths       // [B]
	DecoderTokensArray = manifest.DecoderTokens // [B,T]
	DocumentsArray     = manifest.Documents     // [B,S]
)

// Arrays lists the names of all arrays that a batch may have.
func Arrays() []string {
	return []string{TokensArray, LabelsArray, LengthsArray, DecoderTokensArray, DocumentsArray}
}

// IgnoreLabel is the label of a position that has no loss.
const IgnoreLabel = -100

// Batch holds the sequences of one micro-batch, row by row. Arrays that an objective does not have
// are nil.
type Batch struct {
	Tokens        []int64 // [B,S]: what the model, or its encoder, reads
	Labels        []int64 // [B,S] or [B,T]: what each position predicts, or IgnoreLabel
	Lengths       []int64 // [B]: tokens of each row that are text, 1 … S; what lies behind is hidden
	DecoderTokens []int64 // [B,T]: what the decoder beside an encoder reads
	Documents     []int64 // [B,S]: how many documents of the row begin before each token or with it
}

// Array returns an array by its name, nil where the batch has none.
func (b *Batch) Array(name string) []int64 {
	switch name {
	case TokensArray:
		return b.Tokens
	case LabelsArray:
		return b.Labels
	case LengthsArray:
		return b.Lengths
	case DecoderTokensArray:
		return b.DecoderTokens
	case DocumentsArray:
		return b.Documents
	}
	return nil
}

// Shapes are the dimensions of a batch's arrays.
type Shapes struct {
	Batch   int  // B
	Length  int  // S
	Decoder int  // T; 0: there are no decoder tokens, and labels are [B,S]
	Lengths bool // there are lengths

	Documents bool // there are the documents' numbers
}

// Of returns the shape of an array, nil where batches have none of that name.
func (s Shapes) Of(name string) []int {
	switch {
	case name == TokensArray, name == LabelsArray && s.Decoder == 0:
		return []int{s.Batch, s.Length}
	case name == LabelsArray, name == DecoderTokensArray && s.Decoder > 0:
		return []int{s.Batch, s.Decoder}
	case name == LengthsArray && s.Lengths:
		return []int{s.Batch}
	case name == DocumentsArray && s.Documents:
		return []int{s.Batch, s.Length}
	}
	return nil
}

// New makes a batch of these shapes.
func (s Shapes) New() *Batch {
	b := &Batch{Tokens: make([]int64, s.Batch*s.Length), Labels: make([]int64, s.Batch*s.labels())}
	if s.Lengths {
		b.Lengths = make([]int64, s.Batch)
	}
	if s.Decoder > 0 {
		b.DecoderTokens = make([]int64, s.Batch*s.Decoder)
	}
	if s.Documents {
		b.Documents = make([]int64, s.Batch*s.Length)
	}
	return b
}

// labels is the number of labels of a row.
func (s Shapes) labels() int {
	if s.Decoder > 0 {
		return s.Decoder
	}
	return s.Length
}

// row is row i of a batch, as a batch of one.
func (s Shapes) row(b *Batch, i int) Batch {
	part := func(x []int64, n int) []int64 {
		if x == nil {
			return nil
		}
		return x[i*n : (i+1)*n]
	}
	return Batch{part(b.Tokens, s.Length), part(b.Labels, s.labels()), part(b.Lengths, 1), part(b.DecoderTokens, s.Decoder), part(b.Documents, s.Length)}
}

// check panics where a Fill cannot be carried out.
func (s Shapes) check(number int64, b *Batch) {
	size := func(name string) (n int) {
		if shape := s.Of(name); shape != nil {
			n = 1
			for _, d := range shape {
				n *= d
			}
		}
		return n
	}
	for _, name := range Arrays() {
		if n := size(name); number < 0 || len(b.Array(name)) != n {
			panic(fmt.Sprintf("corpus: Fill of micro-batch %d into %d %s, want %d", number, len(b.Array(name)), name, n))
		}
	}
}

// blank empties a row: token 0 everywhere, no label, and of the text one token, so that attention
// has something to look at.
func (b Batch) blank() {
	clear(b.Tokens)
	clear(b.DecoderTokens)
	clear(b.Documents)
	for i := range b.Labels {
		b.Labels[i] = IgnoreLabel
	}
	for i := range b.Lengths {
		b.Lengths[i] = 1
	}
}
