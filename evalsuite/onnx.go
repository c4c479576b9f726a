package evalsuite

import (
	"errors"
	"fmt"
	"slices"

	"march/runtime"
	"march/variants/manifest"
)

// ONNXModel is a score.onnx or eval.onnx with its parameters. It may be used by one goroutine at a time.
type ONNXModel struct {
	rt        *runtime.Runtime
	session   *runtime.Session
	params    map[string]*runtime.Tensor
	file      string // "score.onnx" or "eval.onnx", for messages
	arch      Architecture
	arrays    []string // the file's inputs and outputs that are no parameters
	scored    bool     // labels are those of the scored positions
	maxLength int
	workers   []*worker // at least one
}

// The names in the files.
const (
	tokenInput    = manifest.Tokens
	lengthInput   = manifest.Lengths
	decoderInput  = manifest.DecoderTokens
	documentInput = manifest.Documents
	labelInput    = manifest.Labels
	scoredInput   = manifest.Scored
	logprobOutput = "logprob"
	topOutput     = "top"
)

// arrays are the inputs and outputs of each architecture that are no parameters; outputs come
// last, and of those the one of the smallest element. A decoder may have documents too.
var arrays = map[Architecture][]string{
	Decoder:        {tokenInput, labelInput, topOutput, logprobOutput},
	Encoder:        {tokenInput, lengthInput, labelInput, topOutput, logprobOutput},
	EncoderDecoder: {tokenInput, lengthInput, decoderInput, labelInput, topOutput, logprobOutput},
}

func isOutput(array string) bool { return array == topOutput || array == logprobOutput }

func elementOf(array string) runtime.ElementType {
	if array == logprobOutput {
		return runtime.Float32
	}
	return runtime.Int64
}

// NewONNXModel loads score.onnx or eval.onnx and binds the parameters, by name, to its inputs; they are read
// where they lie, so a model that is being trained is scored as it is at the time. maxLength is the
// number of positions that the model was made for. [ONNXModel.Close] gives everything but the
// parameters back.
//
// Besides parameters both files have the input tokens int64 [B,S], and may have documents
// int64 [B,S]; an encoder also lengths int64 [B]; an encoder-decoder lengths and decoder_tokens int64 [B,T]. In
// eval.onnx labels are int64 [B,S], in an encoder-decoder [B,T]. In score.onnx scored int64 [M] are the positions that
// labels int64 [M] belong to, counted through the rows. The outputs logprob
// float32 and top int64 have the labels' shape. B, S, T and M are dynamic. The inputs tell file and
// architecture.
func NewONNXModel(rt *runtime.Runtime, path string, params map[string]*runtime.Tensor, maxLength int) (*ONNXModel, error) {
	if maxLength < 1 {
		return nil, fmt.Errorf("%s: a model of %d positions: want at least 1", path, maxLength)
	}
	m := &ONNXModel{rt: rt, params: params, maxLength: maxLength}
	workers, threads := m.share()
	var err error
	if m.session, err = rt.Session(path, runtime.SessionOptions{Threads: threads}); err != nil {
		return nil, err
	}
	for range workers {
		m.workers = append(m.workers, &worker{model: m, shapes: map[shapeKey]*shape{}})
	}
	if err := m.check(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), m.Close())
	}
	return m, nil
}

// share is how many batches run at once, and how many threads each has. On a CPU each thread has a batch of its own: the
// operators of a small model's batch gain little from a second one. Where logits of that many batches were too
// much, there are fewer. A GPU has one.
func (m *ONNXModel) share() (workers, threads int) {
	if m.rt.GPU() != "" {
		return 1, 0
	}
	all, positions := m.rt.Threads(), max(DefaultBatchTokens, m.maxLength) // one row may be a batch
	most := max(1, mostLogits/(4*positions*m.vocab()))
	threads = (all + most - 1) / most
	return all / threads, threads
}

// mostLogits is how many bytes the logits of all batches on a CPU may have; about twice as much is used with them.
const mostLogits = 1 << 30

// Workers are as many as [ONNXModel.share] says. They end with the model.
func (m *ONNXModel) Workers() (list []Model) {
	for _, w := range m.workers {
		list = append(list, w)
	}
	return list
}

// vocab is the number of entries of the vocabulary, 1 where it is not known.
func (m *ONNXModel) vocab() int {
	if table := m.params[embeddingTable]; table != nil {
		return int(table.Shape()[0])
	}
	return 1
}

// check finds the architecture, and what does not fit before the first batch does: names here,
// element types and shapes by a binding of one position.
func (m *ONNXModel) check() error {
	inputs, outputs := names(m.session.Inputs()), names(m.session.Outputs())
	m.arch = Decoder
	if slices.Contains(inputs, decoderInput) {
		m.arch = EncoderDecoder
	} else if slices.Contains(inputs, lengthInput) {
		m.arch = Encoder
	}
	m.arrays, m.file = slices.Clone(arrays[m.arch]), "eval.onnx"
	if m.scored = slices.Contains(inputs, scoredInput); m.scored {
		m.arrays, m.file = slices.Insert(m.arrays, 1, scoredInput), "score.onnx"
	}
	if m.arch == Decoder && slices.Contains(inputs, documentInput) {
		m.arrays = slices.Insert(m.arrays, 1, documentInput)
	}
	for _, info := range m.session.Inputs() {
		if _, ok := m.params[info.Name]; !ok && !slices.Contains(m.arrays, info.Name) {
			return fmt.Errorf("no parameter is named %s, as its input %s asks for", info.Name, info)
		}
	}
	for name := range m.params {
		if !slices.Contains(inputs, name) {
			return fmt.Errorf("has no input for the parameter %s: is it of another model?", name)
		}
	}
	for _, name := range m.arrays {
		if isOutput(name) && !slices.Contains(outputs, name) {
			return fmt.Errorf("has no output %s, which the %s of every %s has", name, m.file, m.arch)
		}
		if !isOutput(name) && !slices.Contains(inputs, name) {
			return fmt.Errorf("has no input %s, which the %s of every %s has", name, m.file, m.arch)
		}
	}
	key := shapeKey{rows: 1, length: 1}
	if m.arch == EncoderDecoder {
		key.decoderLength = 1
	}
	if m.scored {
		key.scored = 1
	}
	_, err := m.workers[0].shape(key)
	return err
}

func names(infos []runtime.Info) (names []string) {
	for _, info := range infos {
		names = append(names, info.Name)
	}
	return names
}

// Architecture is what the file's inputs say.
func (m *ONNXModel) Architecture() Architecture { return m.arch }

// BatchTokens is how many positions of a batch suit the device.
func (m *ONNXModel) BatchTokens() int {
	if m.rt.GPU() == "" {
		return DefaultBatchTokens
	}
	return gpuBatchTokens(m.vocab())
}

// gpuBatchTokens are enough positions that a GPU computes for longer than its kernels take to start, with logits of
// 512 MiB at most where that leaves a CPU's batch.
func gpuBatchTokens(vocab int) int {
	const most, logits = 8192, 512 << 20
	return max(DefaultBatchTokens, min(most, logits/4/vocab))
}

// embeddingTable is the parameter with a row for each entry of the vocabulary.
const embeddingTable = "embed.tokens"

// MaxLength is the number of positions that the model was made for.
func (m *ONNXModel) MaxLength() int { return m.maxLength }

// Eval scores one batch; see [Model].
func (m *ONNXModel) Eval(b *Batch) error { return m.workers[0].Eval(b) }

// Close gives back all but the parameters, which are the caller's. Closing twice is no error.
func (m *ONNXModel) Close() error {
	if m.session == nil {
		return nil
	}
	var errs []error
	for _, w := range m.workers {
		errs = append(errs, w.release())
	}
	err := errors.Join(append(errs, m.session.Close())...)
	m.session = nil
	return err
}
