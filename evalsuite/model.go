package evalsuite

// Architecture says what a model reads: see [Batch].
type Architecture string

// The architectures, by the names that configs and records use.
const (
	Decoder        Architecture = "decoder"
	Encoder        Architecture = "encoder"
	EncoderDecoder Architecture = "encoder-decoder"
)

// Model scores one padded batch.
type Model interface {
	Architecture() Architecture

	// MaxLength is the number of positions the model has: the largest Length and DecoderLength that
	// Eval takes.
	MaxLength() int

	// Eval runs the model on the batch. For each position with a label other than [Unscored] it
	// sets LogProb to the natural logarithm of the label's probability and Top to the most likely
	// token; what it leaves at the other positions is not read.
	Eval(b *Batch) error
}

// Batching is a [Model] that says how many positions it likes in a batch; others get DefaultBatchTokens.
type Batching interface {
	BatchTokens() int
}

// Parallel is a [Model] that can run several batches at once.
type Parallel interface {
	// Workers are models that each run a batch beside the others', with the same results; the model itself may be one.
	Workers() []Model
}

func workersOf(m Model) []Model {
	if p, ok := m.(Parallel); ok {
		return p.Workers()
	}
	return []Model{m}
}

// Batch is what a model reads and writes: B rows of S positions, in an encoder-decoder with T of
// the decoder's; all arrays row-major. Labels[b,t] is what position t predicts: the next token in
// decoders and encoder-decoders, in encoders the token that is masked there. Rows are padded at
// their ends.
type Batch struct {
	Rows          int // B
	Length        int // S
	DecoderLength int // T; 0 but in encoder-decoders

	Tokens        []int64 // [B,S]
	Lengths       []int64 // [B], tokens of each row without padding; nil in decoders
	DecoderTokens []int64 // [B,T]; nil but in encoder-decoders
	Documents     []int64 // [B,S], in decoders: how many texts of the row begin before each token or with it; else nil

	Labels  []int64   // [B,S], in encoder-decoders [B,T], as are the two results:
	LogProb []float32 // natural logarithm of the label's probability
	Top     []int64   // the most likely token
}

// Unscored is the label of a position that predicts nothing.
const Unscored = -100

// LabelLength is how many of a row's positions may have a label: T in encoder-decoders, else S.
func (b *Batch) LabelLength() int {
	if b.DecoderLength > 0 {
		return b.DecoderLength
	}
	return b.Length
}

// reset makes room for a batch of an architecture, all padding and without labels. The memory of
// the batch before is used again.
func (b *Batch) reset(a Architecture, rows, length, decoderLength int) {
	b.Rows, b.Length, b.DecoderLength = rows, length, decoderLength
	b.Tokens = filled(b.Tokens, rows*length, 0)
	if a == Decoder {
		b.Documents = filled(b.Documents, rows*length, 0)
	} else {
		b.Lengths = filled(b.Lengths, rows, 0)
	}
	if a == EncoderDecoder {
		b.DecoderTokens = filled(b.DecoderTokens, rows*decoderLength, 0)
	}
	n := rows * b.LabelLength()
	b.Labels = filled(b.Labels, n, Unscored)
	b.LogProb, b.Top = resized(b.LogProb, n), resized(b.Top, n)
}

// labels is one row's labels.
func (b *Batch) labels(row int) []int64 {
	n := b.LabelLength()
	return b.Labels[row*n : (row+1)*n]
}

// Tokenizer is what the suites need of a tokenizer; *tokenizer.Tokenizer has it.
type Tokenizer interface {
	Encode(text string) []int32
	Decode(ids []int32) string
	ID(token string) (int32, bool)
}
