package evalsuite

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"testing"
)

// contextModel is an encoder or encoder-decoder whose probabilities are pseudo-random functions of
// all that a position may see. It checks what it is called with and remembers each row.
type contextModel struct {
	t         *testing.T
	arch      Architecture
	maxLength int
	uniform   float64  // not 0: the probability of everything
	rows      []string // source | target | labels, without padding
	shapes    [][3]int
	positions int
}

func (m *contextModel) Architecture() Architecture { return m.arch }
func (m *contextModel) MaxLength() int             { return m.maxLength }

// say is the log-probability of a label in a context, and the most likely token there, one of 0 … 4.
func (m *contextModel) say(context []int64, label int64) (logprob float32, top int64) {
	h := fnv.New64a()
	for _, x := range context {
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(x)))
	}
	top = int64(h.Sum64() >> 7 % 5)
	if m.uniform != 0 {
		return float32(math.Log(m.uniform)), top
	}
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(label)))
	return float32(math.Log((float64(h.Sum64()>>40) + 1) / (1 << 25))), top
}

func (m *contextModel) Eval(b *Batch) error {
	target := m.arch == EncoderDecoder
	if len(b.Tokens) != b.Rows*b.Length || len(b.Lengths) != b.Rows || len(b.DecoderTokens) != b.Rows*b.DecoderLength ||
		len(b.Labels) != b.Rows*b.LabelLength() || len(b.LogProb) != len(b.Labels) || len(b.Top) != len(b.Labels) || target != (b.DecoderLength > 0) {
		return fmt.Errorf("batch %d × %d, %d: arrays of %d, %d, %d, %d, %d, %d", b.Rows, b.Length, b.DecoderLength,
			len(b.Tokens), len(b.Lengths), len(b.DecoderTokens), len(b.Labels), len(b.LogProb), len(b.Top))
	}
	if b.Length > m.maxLength || b.DecoderLength > m.maxLength {
		m.t.Errorf("lengths %d and %d: the model has %d positions", b.Length, b.DecoderLength, m.maxLength)
	}
	m.shapes = append(m.shapes, [3]int{b.Rows, b.Length, b.DecoderLength})
	m.positions += b.Rows * (b.Length + b.DecoderLength)
	for row := range b.Rows {
		m.evalRow(b, row)
	}
	return nil
}

func (m *contextModel) evalRow(b *Batch, row int) {
	n := int(b.Lengths[row])
	tokens, labels := b.Tokens[row*b.Length:(row+1)*b.Length], b.labels(row)
	if n < 1 || n > b.Length || slices.ContainsFunc(tokens[n:], func(x int64) bool { return x != 0 }) {
		m.t.Errorf("row of %d tokens: %v", n, tokens)
	}
	source, target := tokens[:n], b.DecoderTokens[row*b.DecoderLength:(row+1)*b.DecoderLength]
	used := 0
	for t, label := range labels {
		at := row*len(labels) + t
		b.LogProb[at], b.Top[at] = float32(math.NaN()), -7 // must not be read without a label
		if label == Unscored {
			continue
		}
		used = t + 1
		if m.arch == Encoder {
			if t >= n || source[t] != maskID {
				m.t.Errorf("label at %d of %v, where no mask is", t, source)
			}
			b.LogProb[at], b.Top[at] = m.say(append(slices.Clone(source), int64(t)), label)
			continue
		}
		if t == 0 && target[0] != 0 || t > 0 && target[t] != labels[t-1] {
			m.t.Errorf("the decoder's input %v is not the labels %v shifted", target, labels)
		}
		b.LogProb[at], b.Top[at] = m.say(slices.Concat(source, []int64{-1}, target[:t+1]), label)
	}
	if used == 0 {
		m.t.Error("a row without labels")
	}
	if m.arch == Encoder {
		m.rows = append(m.rows, fmt.Sprint(source, labels[:n]))
	} else {
		m.rows = append(m.rows, fmt.Sprint(source, target[:used], labels[:used]))
	}
}

// masked is the log-probability of one token by the definition: tokens with masks at some indices,
// asked for the token at one of them.
func (m *contextModel) masked(tokens []int32, at int, masks ...int) score {
	row := make([]int64, 0, len(tokens)+1)
	for i, id := range tokens {
		if slices.Contains(masks, i) {
			id = maskID
		}
		row = append(row, int64(id))
	}
	logprob, top := m.say(append(row, int64(at)), int64(tokens[at]))
	s := score{logprob: float64(logprob), tokens: 1}
	if top == int64(tokens[at]) {
		s.top = 1
	}
	return s
}

// continued is the score of target behind source by the definition.
func (m *contextModel) continued(source, target []int32) score {
	var s score
	context := make([]int64, 0)
	for _, id := range source {
		context = append(context, int64(id))
	}
	context = append(context, -1, 0)
	for _, id := range target {
		logprob, top := m.say(context, int64(id))
		one := score{logprob: float64(logprob), tokens: 1}
		if top == int64(id) {
			one.top = 1
		}
		s.add(one)
		context = append(context, int64(id))
	}
	return s
}

func ids(text string) []int32 { return append([]int32{0}, byteTokenizer{}.Encode(text)...) }
