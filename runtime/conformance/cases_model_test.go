package conformance

import (
	"fmt"
	"math"
	"strings"

	g "march/graphgen"
)

// The cases of the operators that transformers are made of: each has a reference, so that
// their values are tested too.

var embeddingCases = []gradCase{{
	op: "Embedding", name: "repeated ids", in: []input{in(6, 3), integers([]int64{1, 5, 1, 0, 1, 3, 5, 5}, 2, 4)},
	build: func(x []*g.Tensor) *g.Tensor { return g.Embedding(x[0], x[1]) },
	reference: func(x []any) (y []float64) {
		for _, id := range x[1].([]int64) {
			y = append(y, x[0].([]float64)[3*id:3*id+3]...)
		}
		return y
	},
}, {
	op: "Embedding", name: "rank 1", in: []input{in(2, 1), integers([]int64{1, 1, 1}, 3)},
	build: func(x []*g.Tensor) *g.Tensor { return g.Embedding(x[0], x[1]) },
}}

func normCases() (list []gradCase) {
	for _, s := range [][2]int{{5, 7}, {1, 3}, {3, 64}} {
		for _, eps := range []float64{1e-5, 0.5} {
			name := fmt.Sprintf("%dx%d eps %g", s[0], s[1], eps)
			list = append(list, gradCase{
				op: "LayerNorm", name: name, in: []input{in(s[0], s[1]), in(s[1]), in(s[1])},
				only32: "LayerNormalization gives its statistics in float32 whatever the input is",
				build:  func(x []*g.Tensor) *g.Tensor { return g.LayerNorm(x[0], x[1], x[2], eps) },
				reference: func(x []any) []float64 {
					return layerNormReference(x[0].([]float64), x[1].([]float64), x[2].([]float64), eps)
				},
			}, gradCase{
				op: "RMSNorm", name: name, in: []input{in(s[0], s[1]), in(s[1])},
				build:     func(x []*g.Tensor) *g.Tensor { return g.RMSNorm(x[0], x[1], eps) },
				reference: func(x []any) []float64 { return rmsNormReference(x[0].([]float64), x[1].([]float64), eps) },
			})
		}
	}
	return list
}

func activationCases() (list []gradCase) {
	for _, kind := range g.ActivationNames() {
		f := activationReference[kind]
		glu := gradCase{
			op: "GLU", name: kind, in: []input{away(3, 5), in(3, 5)},
			build: func(x []*g.Tensor) *g.Tensor { return g.GLU(kind, x[0], x[1]) },
			reference: func(x []any) []float64 {
				y := each(x[0].([]float64), f)
				for i := range y {
					y[i] *= x[1].([]float64)[i]
				}
				return y
			},
		}
		plain := elementwise("Activation", away(3, 5), func(x *g.Tensor) *g.Tensor { return g.Activation(kind, x) }, f)
		plain.name = kind
		if kind == "gelu" {
			plain.only32, glu.only32 = noErf64, noErf64
		}
		list = append(list, glu)
		if kind != "identity" { // no operator at all
			list = append(list, plain)
		}
	}
	return list
}

// attentionCases have scales that are exact in float32, as ONNX Runtime's FusedMatMul,
// into which it turns a scaled product on either target, keeps its factor.
func attentionCases() (list []gradCase) {
	documents := map[string][]int64{
		"documents": {0, 0, 1, 1, 1, 2, 0, 1, 1, 1, 1, 1},
		"documents that come back, without causal":      {7, -3, 7, 7, -3, 7},
		"documents, grouped heads, bias, computed anew": {0, 0, 0, 1, 1, 5, 6, 6, 6, 6},
		"documents, lengths, dropout":                   {0, 0, 1, 1, 0, 1, 1, 1},
		"documents, blocks of queries":                  runs(1024, 300, 500, 513, 900),
		"documents, blocks with a window":               runs(1536, 100, 1000, 1030),
	}
	for _, c := range []struct {
		name    string
		a       attentionShape
		bias    int // its first dimension; 0: none
		lengths []int64
		dropout bool
	}{
		{"one head", attentionShape{1, 3, 3, 1, 1, 4, 4, 1, false, 0, 0}, 0, nil, false},
		{"causal", attentionShape{2, 5, 5, 3, 3, 4, 4, 0.5, true, 0, 0}, 0, nil, false},
		{"causal, computed anew", attentionShape{2, 5, 5, 4, 2, 4, 4, 0.5, true, 0, 0}, 4, []int64{5, 3}, false},
		{"window", attentionShape{2, 7, 7, 2, 2, 3, 3, 1, true, 3, 0}, 0, nil, false},
		{"window of one", attentionShape{1, 5, 5, 2, 2, 3, 3, 1, true, 1, 0}, 0, nil, false},
		{"window without causal", attentionShape{2, 5, 5, 2, 2, 3, 3, 1, false, 2, 0}, 0, nil, false},
		{"grouped heads", attentionShape{2, 5, 5, 6, 2, 4, 4, 0.75, true, 0, 0}, 0, nil, false},
		{"grouped heads, one key head", attentionShape{1, 5, 5, 4, 1, 3, 3, 0.75, true, 2, 0}, 0, nil, false},
		{"grouped heads, bias, lengths", attentionShape{2, 4, 4, 4, 2, 3, 3, 0.75, false, 0, 0}, 4, []int64{2, 4}, false},
		{"grouped heads, one bias for all", attentionShape{2, 4, 4, 4, 2, 3, 3, 1, true, 0, 0}, 1, nil, false},
		{"bias for each head", attentionShape{2, 3, 3, 2, 2, 4, 4, 1, false, 0, 0}, 2, nil, false},
		{"one bias for all", attentionShape{2, 3, 3, 2, 2, 4, 4, 1, false, 0, 0}, 1, nil, false},
		{"lengths", attentionShape{3, 4, 4, 2, 2, 3, 3, 1, false, 0, 0}, 0, []int64{1, 4, 3}, false},
		{"cross attention, other sizes", attentionShape{2, 3, 5, 2, 2, 4, 3, 0.375, false, 0, 0}, 2, []int64{5, 2}, false},
		{"everything", attentionShape{2, 5, 5, 6, 3, 5, 2, 0.625, true, 4, 0}, 6, []int64{4, 5}, false},
		{"long, for the portable target's other transposition", attentionShape{1, 2, 33, 1, 1, 3, 3, 1, false, 0, 0}, 0, nil, false},
		{"many keys, whose gradient is centred within the product", attentionShape{1, 3, 80, 2, 1, 5, 3, 0.5, false, 0, 0}, 0, []int64{70}, false},
		{"blocks of queries", attentionShape{1, 1024, 1024, 1, 1, 1, 1, 0.5, true, 0, 0}, 0, nil, false},
		{"blocks of queries with a window", attentionShape{1, 1536, 1536, 1, 1, 1, 1, 0.5, true, 300, 0}, 0, nil, false},
		{"many keys, heads of eight", attentionShape{1, 2, 128, 1, 1, 8, 8, 0.5, false, 0, 0}, 1, nil, false},
		{"own keys and memory", attentionShape{2, 3, 8, 2, 2, 4, 4, 1, true, 0, 5}, 0, []int64{5, 2}, false},
		{"own keys and memory without lengths, grouped heads", attentionShape{1, 3, 5, 4, 2, 3, 3, 0.5, true, 0, 2}, 0, nil, false},
		{"dropout", attentionShape{2, 4, 4, 2, 2, 3, 3, 1, true, 0, 0}, 0, nil, true},
		{"dropout, grouped heads, bias, lengths", attentionShape{2, 4, 6, 4, 2, 3, 2, 0.75, false, 0, 0}, 4, []int64{2, 6}, true},
		{"documents", attentionShape{2, 6, 6, 2, 2, 3, 3, 0.5, true, 0, 0}, 0, nil, false},
		{"documents that come back, without causal", attentionShape{1, 6, 6, 2, 2, 3, 3, 1, false, 0, 0}, 0, nil, false},
		{"documents, grouped heads, bias, computed anew", attentionShape{2, 5, 5, 4, 2, 3, 3, 0.5, true, 3, 0}, 4, nil, false},
		{"documents, lengths, dropout", attentionShape{2, 4, 4, 2, 2, 3, 3, 1, true, 0, 0}, 0, []int64{4, 3}, true},
		{"documents, blocks of queries", attentionShape{1, 1024, 1024, 1, 1, 1, 1, 0.5, true, 0, 0}, 0, nil, false},
		{"documents, blocks with a window", attentionShape{1, 1536, 1536, 1, 1, 1, 1, 0.5, true, 300, 0}, 0, nil, false},
	} {
		a := c.a
		x := []input{in(a.batch*a.queries, a.heads*a.dk), in(a.batch*a.keys, a.kvHeads*a.dk), in(a.batch*a.keys, a.kvHeads*a.dv)}
		at := func(in []*g.Tensor, i int) *g.Tensor {
			if i < 0 {
				return nil
			}
			return in[i]
		}
		bias, lengths, document := -1, -1, -1
		if c.bias > 0 {
			bias = len(x)
			x = append(x, in(c.bias, a.queries, a.keys))
		}
		if c.lengths != nil {
			lengths = len(x)
			x = append(x, integers(c.lengths, a.batch))
		}
		if documents[c.name] != nil {
			document = len(x)
			x = append(x, integers(documents[c.name], a.batch, a.keys))
		}
		var mask []float64
		if c.dropout {
			mask = each(normals(a.batch*a.heads*a.queries*a.keys, "mask"), func(v float64) float64 { return 2 * math.Round(1/(1+math.Exp(-v))) })
		}
		list = append(list, gradCase{
			op: "Attention", name: c.name, in: x, bound32: 2e-6, // the softmax's gradient is a difference
			build: func(in []*g.Tensor) *g.Tensor {
				var dropout *g.Tensor
				if mask != nil {
					dropout = in[0].Graph().Floats(in[0].DType(), mask, a.batch, a.heads, a.queries, a.keys)
				}
				return g.Attention{Batch: a.batch, Queries: a.queries, Keys: a.keys, Heads: a.heads, KVHeads: a.kvHeads,
					Scale: a.scale, Causal: a.causal, Window: a.window, Memory: a.memory, Recompute: strings.HasSuffix(c.name, "anew")}.
					Apply(in[0], in[1], in[2], g.AttentionInputs{Bias: at(in, bias), Lengths: at(in, lengths), Dropout: dropout, Documents: at(in, document)})
			},
			reference: func(in []any) []float64 {
				var b []float64
				if bias >= 0 {
					b = in[bias].([]float64)
				}
				return attentionReference(a, in[0].([]float64), in[1].([]float64), in[2].([]float64), b, mask, c.lengths, documents[c.name])
			},
		})
	}
	return list
}

// runs are n numbers that rise by one at each of the places.
func runs(n int, at ...int) []int64 {
	list := make([]int64, n)
	for _, from := range at {
		for i := from; i < n; i++ {
			list[i]++
		}
	}
	return list
}

func lossCases() (list []gradCase) {
	for _, c := range []struct {
		name   string
		v, d   int
		labels []int64
		scale  float64 // of the logits
	}{
		{"all labelled", 7, 4, []int64{0, 6, 3, 3, 1}, 1},
		{"some ignored", 7, 4, []int64{-100, 6, -100, 0, -1}, 1},
		{"all ignored", 5, 3, []int64{-100, -100}, 1},
		{"one position", 3, 1, []int64{2}, 1},
		{"three chunks", 7, 4, []int64{0, -100, 3, 3, 1, 6}, 1},
		{"three chunks of one", 7, 4, []int64{5, 0, -100}, 1},
		{"logits of 200", 9, 5, []int64{8, 0, -100, 4, 2, 2}, 80},
	} {
		for _, withBias := range []bool{false, true} {
			n := len(c.labels)
			table := input{shape: []int{c.v, c.d}, values: func(n int, words ...string) []float64 {
				return each(normals(n, words...), func(x float64) float64 { return c.scale * x })
			}}
			x := []input{in(n, c.d), table, integers(c.labels, n)}
			name := c.name
			if withBias {
				x, name = append(x, in(c.v)), name+", bias"
			}
			list = append(list, gradCase{
				op: "LossHead", name: name, in: x,
				build: func(in []*g.Tensor) *g.Tensor {
					var bias *g.Tensor
					if withBias {
						bias = in[3]
					}
					if strings.HasPrefix(c.name, "three chunks") {
						return g.LossHeadInChunks(in[0], in[1], bias, in[2], 3)
					}
					return g.LossHead(in[0], in[1], bias, in[2])
				},
				reference: func(in []any) []float64 {
					var bias []float64
					if withBias {
						bias = in[3].([]float64)
					}
					return []float64{lossReference(in[0].([]float64), in[1].([]float64), bias, c.labels, c.d)}
				},
			})
		}
	}
	return list
}

// distillCases weigh the two sums differently; one of them alone is asked for too.
func distillCases() (list []gradCase) {
	for _, c := range []struct {
		name        string
		labels      []int64
		temperature float64
		scale       float64 // of the logits
		hard, soft  float64
		withBias    bool
	}{
		{"both, softened", []int64{0, 6, 3, 3, 1}, 2, 1, 0.5, 0.5, false},
		{"some ignored, bias", []int64{-100, 6, -100, 0, -1}, 3, 1, 0.25, 2, true},
		{"all ignored", []int64{-100, -100}, 2, 1, 1, 1, true},
		{"the distance alone, unsoftened", []int64{2, 0, -100}, 1, 1, 0, 1, false},
		{"the labels alone", []int64{2, 0, -100}, 1, 1, 1, 0, true},
		{"logits of 200", []int64{6, 0, -100, 4, 2, 2}, 2, 80, 0.5, 0.5, false},
	} {
		const v, d = 7, 4
		n := len(c.labels)
		scaled := func(n int, words ...string) []float64 {
			return each(normals(n, words...), func(x float64) float64 { return c.scale * x })
		}
		x := []input{in(n, d), {shape: []int{v, d}, values: scaled}, integers(c.labels, n)}
		if c.withBias {
			x = append(x, in(v))
		}
		teacher := round(scaled(n*v, "teacher"), g.Float32, false)
		list = append(list, gradCase{
			op: "DistillHead", name: c.name, in: x, bound32: 2e-6, // differences of distributions
			build: func(in []*g.Tensor) *g.Tensor {
				var bias *g.Tensor
				if c.withBias {
					bias = in[3]
				}
				loss, distill := g.DistillHead(in[0], in[1], bias, in[2], in[0].Graph().Floats(in[0].DType(), teacher, n, v), c.temperature)
				switch {
				case c.soft == 0:
					return loss
				case c.hard == 0:
					return distill
				}
				return g.Add(g.Scale(loss, c.hard), g.Scale(distill, c.soft))
			},
			reference: func(in []any) []float64 {
				var bias []float64
				if c.withBias {
					bias = in[3].([]float64)
				}
				h, table := in[0].([]float64), in[1].([]float64)
				hard := lossReference(h, table, bias, c.labels, d)
				return []float64{c.hard*hard + c.soft*distillReference(h, table, bias, teacher, c.labels, d, c.temperature)}
			},
		})
	}
	return list
}
