package conformance

import "math"

// What the composite operators are by definition, in plain float64 Go without any of the
// graph's shortcuts. Arrays are row-major.

var activationReference = map[string]func(x float64) float64{
	"relu":         func(x float64) float64 { return max(x, 0) },
	"squared_relu": func(x float64) float64 { return max(x, 0) * max(x, 0) },
	"gelu_tanh": func(x float64) float64 {
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	},
	"gelu":     func(x float64) float64 { return 0.5 * x * (1 + math.Erf(x/math.Sqrt2)) },
	"silu":     func(x float64) float64 { return x / (1 + math.Exp(-x)) },
	"sigmoid":  func(x float64) float64 { return 1 / (1 + math.Exp(-x)) },
	"tanh":     math.Tanh,
	"identity": func(x float64) float64 { return x },
}

func each(x []float64, f func(float64) float64) []float64 {
	y := make([]float64, len(x))
	for i := range x {
		y[i] = f(x[i])
	}
	return y
}

// softmaxRow is the softmax of one row.
func softmaxRow(x []float64) []float64 {
	top, sum, p := math.Inf(-1), 0.0, make([]float64, len(x))
	for _, v := range x {
		top = max(top, v)
	}
	for i, v := range x {
		p[i] = math.Exp(v - top)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

// layerNormReference is (x − mean)/√(variance + eps)·w + b of rows of len(w).
func layerNormReference(x, w, b []float64, eps float64) []float64 {
	d, y := len(w), make([]float64, len(x))
	for at := 0; at < len(x); at += d {
		mean, variance := 0.0, 0.0
		for _, v := range x[at : at+d] {
			mean += v / float64(d)
		}
		for _, v := range x[at : at+d] {
			variance += (v - mean) * (v - mean) / float64(d)
		}
		for i := range d {
			y[at+i] = (x[at+i]-mean)/math.Sqrt(variance+eps)*w[i] + b[i]
		}
	}
	return y
}

// rmsNormReference is x/√(mean x² + eps)·w of rows of len(w).
func rmsNormReference(x, w []float64, eps float64) []float64 {
	d, y := len(w), make([]float64, len(x))
	for at := 0; at < len(x); at += d {
		square := 0.0
		for _, v := range x[at : at+d] {
			square += v * v / float64(d)
		}
		for i := range d {
			y[at+i] = x[at+i] / math.Sqrt(square+eps) * w[i]
		}
	}
	return y
}

// logProbabilities are the rows of log softmax(h·tableᵀ + bias): h [n,d], table [v,d].
func logProbabilities(h, table, bias []float64, d int) [][]float64 {
	rows := make([][]float64, len(h)/d)
	for i := range rows {
		logits, top := make([]float64, len(table)/d), math.Inf(-1)
		for j := range logits {
			logits[j] = dot(h[i*d:(i+1)*d], table[j*d:(j+1)*d])
			if bias != nil {
				logits[j] += bias[j]
			}
			top = max(top, logits[j])
		}
		sum := 0.0
		for _, x := range logits {
			sum += math.Exp(x - top)
		}
		for j := range logits {
			logits[j] -= top + math.Log(sum)
		}
		rows[i] = logits
	}
	return rows
}

// lossReference is the summed cross-entropy of the labels that are not negative.
func lossReference(h, table, bias []float64, labels []int64, d int) float64 {
	sum := 0.0
	for i, lp := range logProbabilities(h, table, bias, d) {
		if labels[i] >= 0 {
			sum -= lp[labels[i]]
		}
	}
	return sum
}

// distillReference is T² Σ KL(softmax(teacher/T) ‖ softmax(logits/T)) over the rows with a label.
func distillReference(h, table, bias, teacher []float64, labels []int64, d int, temperature float64) float64 {
	cool := func(x []float64) []float64 { return each(x, func(v float64) float64 { return v / temperature }) }
	if bias != nil {
		bias = cool(bias)
	}
	v, sum := len(table)/d, 0.0
	for i, student := range logProbabilities(cool(h), table, bias, d) {
		if labels[i] < 0 {
			continue
		}
		taught := logProbabilities([]float64{1}, cool(teacher[i*v:(i+1)*v]), nil, 1)[0]
		for j, q := range taught {
			sum += math.Exp(q) * (q - student[j])
		}
	}
	return temperature * temperature * sum
}

// attentionShape is what attentionReference needs beside the arrays.
type attentionShape struct {
	batch, queries, keys, heads, kvHeads, dk, dv int
	scale                                        float64
	causal                                       bool
	window                                       int
	memory                                       int // keys at the end that every query sees
}

// attentionReference attends query by query over the keys that it may see: q
// [batch·queries, heads·dk], k [batch·keys, kvHeads·dk], v [batch·keys, kvHeads·dv]; bias
// [heads or 1, queries, keys], lengths [batch], documents [batch, keys] and mask [batch, heads, queries, keys] may be nil.
func attentionReference(a attentionShape, q, k, v, bias, mask []float64, lengths, documents []int64) []float64 {
	y := make([]float64, a.batch*a.queries*a.heads*a.dv)
	for b := range a.batch {
		for h := range a.heads {
			kv := h / (a.heads / a.kvHeads)
			for i := range a.queries {
				qi := q[((b*a.queries+i)*a.heads+h)*a.dk:][:a.dk]
				var seen []int
				var logits []float64
				for j := range a.keys {
					own := j < a.keys-a.memory
					if own && (a.causal && j > i || a.window > 0 && j <= i-a.window) {
						continue
					}
					if documents != nil && documents[b*a.keys+i] != documents[b*a.keys+j] {
						continue
					}
					if at := j; lengths != nil {
						if a.memory > 0 {
							at -= a.keys - a.memory
						}
						if int64(at) >= lengths[b] {
							continue
						}
					}
					s := a.scale * dot(qi, k[((b*a.keys+j)*a.kvHeads+kv)*a.dk:][:a.dk])
					if bias != nil {
						bh := h % (len(bias) / (a.queries * a.keys))
						s += bias[(bh*a.queries+i)*a.keys+j]
					}
					seen, logits = append(seen, j), append(logits, s)
				}
				out := y[((b*a.queries+i)*a.heads+h)*a.dv:][:a.dv]
				for n, p := range softmaxRow(logits) {
					if mask != nil {
						p *= mask[((b*a.heads+h)*a.queries+i)*a.keys+seen[n]]
					}
					for x := range out {
						out[x] += p * v[((b*a.keys+seen[n])*a.kvHeads+kv)*a.dv+x]
					}
				}
			}
		}
	}
	return y
}
