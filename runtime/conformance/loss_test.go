package conformance

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"march/graphgen"
)

// lossGraph is the loss head with all its gradients: h [n,d], table [v,d], bias [v].
func lossGraph(t *testing.T, n, v, d int) *graphgen.Graph {
	g := graphgen.New()
	err := graphgen.Build(func() error {
		h, table, bias := g.Input("h", graphgen.Float32, n, d), g.Input("table", graphgen.Float32, v, d), g.Input("bias", graphgen.Float32, v)
		labels := g.Input("labels", graphgen.Int64, n)
		loss := graphgen.LossHead(h, table, bias, labels)
		grads, err := graphgen.Gradients(loss, []*graphgen.Tensor{h, table, bias}, nil)
		if err != nil {
			return err
		}
		g.Output("loss", loss)
		for i, name := range []string{"h.grad", "table.grad", "bias.grad"} {
			g.Output(name, graphgen.Identity(grads[i]))
		}
		logprob, top := graphgen.LabelScores(graphgen.LinearT(h, table, bias), labels)
		g.Output("logprob", logprob)
		g.Output("top", top)
		g.Output("count", graphgen.LabelCount(labels))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestLossExtremes gives the loss head logits that a naive softmax or logarithm does not
// survive in float32: the label's own probability underflows, or all logits are alike.
func TestLossExtremes(t *testing.T) {
	const v = 5
	for _, c := range []struct {
		name   string
		logits []float64
		label  int64
		want   float64
	}{
		{"the label far above", []float64{200, -200, -200, -200, -200}, 0, 0},
		{"the label far below", []float64{200, -200, -200, -200, -200}, 1, 400},
		{"all at the top", []float64{200, 200, 200, 200, 200}, 3, math.Log(5)},
		{"all at the bottom", []float64{-200, -200, -200, -200, -200}, 3, math.Log(5)},
		{"two of five", []float64{200, 200, -200, -200, -200}, 0, math.Log(2)},
		{"one far below the rest", []float64{0, 0, 0, 0, -200}, 4, 200 + math.Log(4)},
		{"large but finite", []float64{1e30, 0, 0, 0, 0}, 0, 0},
		{"large and wrong", []float64{1e30, 0, 0, 0, 0}, 2, 1e30},
	} {
		for _, target := range graphgen.StockTargets() {
			t.Run(fmt.Sprintf("%s/%s", c.name, target), func(t *testing.T) {
				l := load(t, lossGraph(t, 2, v, v), target, loadOptions{})
				identity := make([]float64, v*v)
				for i := range v {
					identity[i*v+i] = 1
				}
				l.set("h", append(slices.Clone(c.logits), 0, 0, 0, 0, 0))
				l.set("table", identity)
				l.set("bias", make([]float64, v))
				l.set("labels", []int64{c.label, graphgen.IgnoreLabel})
				l.run()
				if got := l.get("loss")[0]; !(math.Abs(got-c.want) <= 1e-6*max(1, c.want)) {
					t.Errorf("loss %v, wanted %v", got, c.want)
				}
				if lp := l.get("logprob"); !(math.Abs(lp[0]+c.want) <= 1e-6*max(1, c.want)) || lp[1] != 0 {
					t.Errorf("log-probabilities %v, wanted %v and 0 for the ignored one", lp, -c.want)
				}
				p := softmaxRow(c.logits)
				p[c.label]--
				if d := apart(append(l.get("h.grad"), 1), append(p, 0, 0, 0, 0, 0, 1)); !(d <= 1e-6) {
					t.Errorf("gradient of the logits %v, wanted %v", l.get("h.grad"), p)
				}
				for _, name := range []string{"table.grad", "bias.grad"} {
					if x := largest(l.get(name)); math.IsNaN(x) || math.IsInf(x, 0) {
						t.Errorf("%s holds %v", name, x)
					}
				}
				if got := l.ints("count")[0]; got != 1 {
					t.Errorf("%d labels counted, wanted 1", got)
				}
			})
		}
	}
}

// TestNothingLabelled: where no position has a label, loss and gradients are zero, whatever the logits.
func TestNothingLabelled(t *testing.T) {
	l := load(t, lossGraph(t, 3, 4, 2), graphgen.Portable, loadOptions{})
	l.set("h", []float64{1e30, 0, 3, 4, -1e30, 0})
	l.set("table", []float64{1, 2, 3, 4, 5, 6, 7, 8})
	l.set("bias", make([]float64, 4))
	l.set("labels", []int64{-100, -1, -100})
	l.run()
	for _, name := range []string{"loss", "h.grad", "table.grad", "bias.grad", "logprob"} {
		if x := largest(l.get(name)); x != 0 {
			t.Errorf("%s holds %v, wanted zeros", name, x)
		}
	}
	if got := l.ints("count")[0]; got != 0 {
		t.Errorf("%d labels counted, wanted none", got)
	}
}

// TestLabelBeyondVocabulary: a label that no logit belongs to must not go unnoticed.
func TestLabelBeyondVocabulary(t *testing.T) {
	if rt.Device().Kind != "cpu" {
		t.Skip("only the CPU's kernels check indices")
	}
	l := load(t, lossGraph(t, 1, 4, 2), graphgen.Portable, loadOptions{})
	for name, n := range map[string]int{"h": 2, "table": 8, "bias": 4} {
		l.set(name, normals(n, name))
	}
	l.set("labels", []int64{4})
	if err := l.binding.Run(); err == nil || !strings.Contains(err.Error(), "ange") {
		t.Errorf("label 4 of a vocabulary of 4: error %v, wanted one about its range", err)
	}
}

// TestLabelScores compares with the definition, at a tie and elsewhere.
func TestLabelScores(t *testing.T) {
	const n, v, d = 6, 9, 4
	l := load(t, lossGraph(t, n, v, d), graphgen.Portable, loadOptions{})
	h, table := normals(n*d, "scores", "h"), normals(v*d, "scores", "table")
	for i := range d { // tokens 2 and 7 tie always, and are the most likely ones at the end
		table[2*d+i] *= 8
		table[7*d+i] = table[2*d+i]
		h[5*d+i] = table[2*d+i]
	}
	labels := []int64{0, 8, -100, 3, 7, 7}
	l.set("h", h)
	l.set("table", table)
	l.set("bias", make([]float64, v))
	l.set("labels", labels)
	l.run()
	logprob, top := l.get("logprob"), l.ints("top")
	for i, row := range logProbabilities(toFloat64(h), toFloat64(table), nil, d) {
		want := 0.0
		if labels[i] >= 0 {
			want = row[labels[i]]
		}
		if math.Abs(logprob[i]-want) > 1e-6*max(1, math.Abs(want)) {
			t.Errorf("position %d: log-probability %v, wanted %v", i, logprob[i], want)
		}
		if best := slices.Index(row, slices.Max(row)); top[i] != int64(best) {
			t.Errorf("position %d: top %d, wanted %d", i, top[i], best)
		}
	}
	if top[5] != 2 {
		t.Errorf("top at a tie of 2 and 7 is %d, wanted the first", top[5])
	}
}

// toFloat64 is v rounded to float32.
func toFloat64(v []float64) []float64 { return round(v, graphgen.Float32, false) }
