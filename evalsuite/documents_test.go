package evalsuite

import (
	"math"
	"math/rand/v2"
	"testing"

	"march/graphgen"
	"march/runtime"
)

// documentModel writes an eval.onnx of a decoder whose logits are the row of the parameter "table" that the
// position's document number names.
func documentModel(t *testing.T) string {
	t.Helper()
	return buildModel(t, func(g *graphgen.Graph) {
		batch, length := g.Symbol("batch"), g.Symbol("length")
		table := g.Input("table", graphgen.Float32, tableVocab, tableVocab)
		tokens := g.Input(tokenInput, graphgen.Int64, batch, length)
		labels := g.Input(labelInput, graphgen.Int64, batch, length)
		number := graphgen.Add(g.Input(documentInput, graphgen.Int64, batch, length), graphgen.Sub(tokens, tokens))
		rows := g.Product(batch, length)
		logprob, top := graphgen.LabelScores(graphgen.Reshape(graphgen.Embedding(table, number), rows, tableVocab), graphgen.Reshape(labels, rows))
		g.Output(logprobOutput, graphgen.Reshape(logprob, batch, length))
		g.Output(topOutput, graphgen.Reshape(top, batch, length))
	})
}

// TestDocuments: a model that takes documents is told, in every window, how many texts have begun in it.
func TestDocuments(t *testing.T) {
	rt := openRuntime(t)
	logits, random := make([]float32, tableVocab*tableVocab), rand.New(rand.NewPCG(3, 4))
	for i := range logits {
		logits[i] = 3 * random.Float32()
	}
	table, err := rt.NewTensor(runtime.Float32, tableVocab, tableVocab)
	if err != nil {
		t.Fatal(err)
	}
	if err := runtime.Upload(table, logits); err != nil {
		t.Fatal(err)
	}
	m, err := NewONNXModel(rt, documentModel(t), map[string]*runtime.Tensor{"table": table}, 20)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s := tokenStream{0, 5, 3, 4, 0, 0, 2, 6, 1, 3, 0, 1, 5} // 0 begins a text
	const window = 5
	x, err := NewPerplexity(s, PerplexityOptions{Window: window})
	if err != nil {
		t.Fatal(err)
	}
	nats, document := 0.0, 0
	for i := range len(s) - 1 {
		if i%window == 0 {
			document = 0
		}
		if s[i] == 0 {
			document++
		}
		row, sum := logits[document*tableVocab:][:tableVocab], 0.0
		for _, l := range row {
			sum += math.Exp(float64(l))
		}
		nats -= math.Log(math.Exp(float64(row[s[i+1]])) / sum)
	}
	r := mustRun(t, m, byteTokenizer{}, x, Options{})
	if loss, _ := r.Score("loss"); math.Abs(loss-nats/12) > 1e-5 {
		t.Errorf("loss %v, want %v", loss, nats/12)
	}
}
