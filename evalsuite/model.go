package evalsuite

// Model is a decoder that scores one padded batch.
type Model interface {
	// MaxLength is the number of positions the model has: the largest length that Eval takes.
	MaxLength() int

	// Eval runs the model on tokens [B,S], row-major, padded at the end of each row. For each
	// position with a label other than [Unscored] it sets logprob to the natural logarithm of the
	// label's probability and top to the most likely token; what it leaves at the other positions
	// is not read. labels[b,t] is what position t predicts. All four slices hold batch*length
	// elements.
	Eval(batch, length int, tokens, labels []int64, logprob []float32, top []int64) error
}

// Unscored is the label of a position that predicts nothing.
const Unscored = -100

// Tokenizer is what the suites need of a tokenizer; *tokenizer.Tokenizer has it.
type Tokenizer interface {
	Encode(text string) []int32
	Decode(ids []int32) string
	ID(token string) (int32, bool)
}
