package evalsuite

import "fmt"

// decoders predict each token from those before it: one row a sequence, labels are the tokens
// shifted left by one.
type decoders struct {
	maxLength int
	start     int32 // the token that a text begins with
}

// passage keeps the last maxLength+1 tokens: maxLength positions read all but the last and predict
// all but the first.
func (d decoders) passage(tokens []int32, from int) sequence {
	over := len(tokens) - (d.maxLength + 1)
	if over <= 0 {
		return sequence{tokens: tokens, from: max(from, 1)}
	}
	return sequence{tokens: tokens[over:], from: max(from-over, 1), cut: true}
}

// pair scores both sentences whole.
func (d decoders) pair(good, bad []int32) (sequence, sequence) {
	return d.passage(good, 1), d.passage(bad, 1)
}

// windows overlap by one token, which the former predicts and the latter reads first. So each token
// but the stream's first is predicted once.
func (d decoders) windows(tokens []int32, window, _ int) windows {
	predicted := len(tokens) - 1
	w := windows{text: tokens[1:]}
	for at := 0; at < predicted; at += window {
		w.window = append(w.window, len(w.sequences))
		w.sequences = append(w.sequences, sequence{tokens: tokens[at : min(at+window, predicted)+1], from: 1})
	}
	return w
}

func (d decoders) lead() int { return 1 }

// size: the last token is predicted and never read.
func (d decoders) size(s sequence) (source, target int) { return len(s.tokens) - 1, 0 }

func (d decoders) rows(s sequence) int { return min(max(len(s.tokens)-s.from, 0), 1) }

// fill leaves padding behind the tokens, which causal attention never looks at.
func (d decoders) fill(b *Batch, row int, s sequence, _ int) {
	tokens, labels, documents := b.Tokens[row*b.Length:], b.labels(row), b.Documents[row*b.Length:]
	document := int64(0)
	for t := range len(s.tokens) - 1 {
		tokens[t] = int64(s.tokens[t])
		if s.tokens[t] == d.start {
			document++
		}
		documents[t] = document
		if t+1 >= s.from {
			labels[t] = int64(s.tokens[t+1])
		}
	}
}

func (d decoders) method() method {
	return method{kept: fmt.Sprintf("keep their last %d tokens", d.maxLength+1)}
}
