package variants

import (
	"fmt"
	"math"

	"march/graphgen"
)

// Names of the graphs' inputs and outputs that are no parameters.
const (
	Tokens   = "tokens" // int64 [B,S]
	Labels   = "labels" // int64 [B,S]: what position t predicts; graphgen.IgnoreLabel: no loss there
	Loss     = "loss_sum"
	Count    = "count" // int64: labels that the loss sums over
	Rate     = "lr"
	Step     = "step" // int64, counted from 1
	GradNorm = "grad_norm"
)

// GradName is the accumulator input of a parameter in the graph of a micro-batch.
func GradName(param string) string { return param + ".grad" }

// MomentNames are the inputs of AdamW's first and second moment.
func MomentNames(param string) (m, v string) { return param + ".m", param + ".v" }

// NewName is the output that replaces an input.
func NewName(input string) string { return input + ".new" }

// scale is what attention logits are multiplied with.
func (c Config) scale() float64 {
	if c.Attn.Scaled {
		return 1 / math.Sqrt(float64(c.QKVDim))
	}
	return 1
}

// Graph is one of a model's graphs with the parameters that it reads, in manifest order.
type Graph struct {
	*graphgen.Graph
	Parameters []Parameter
}

// static starts a graph of fixed batch and length.
func (c Config) static(batch, length int) (*model, error) {
	if batch < 1 || length < 1 || length > c.Length {
		return nil, fmt.Errorf("batch %d × length %d: wanted a batch of at least 1 and a length from 1 to %d (the model's positions)", batch, length, c.Length)
	}
	m := newModel(c)
	m.batch, m.length = batch, length
	return m, nil
}

// lossAndGradients builds the forward pass and, unless grads is nil, what grads makes of
// the parameters' gradients.
func (m *model) lossAndGradients(into func(Parameter) *graphgen.Tensor) (params []Parameter, grads []*graphgen.Tensor, err error) {
	tokens := m.g.Input(Tokens, graphgen.Int64, m.batch, m.length)
	labels := m.g.Input(Labels, graphgen.Int64, m.batch, m.length)
	h := m.decoder(tokens)
	var loss, count *graphgen.Tensor
	m.g.In("loss", func() {
		loss = graphgen.LossHead(h, m.table(), nil, graphgen.Reshape(labels, m.rows()))
		count = graphgen.LabelCount(labels)
	})
	m.g.Output(Loss, loss)
	m.g.Output(Count, count)
	params = m.sorted()
	targets, sums := make([]*graphgen.Tensor, len(params)), map[*graphgen.Tensor]*graphgen.Tensor{}
	for i, p := range params {
		targets[i] = m.tensor[p.Name]
		if t := into(p); t != nil {
			sums[targets[i]] = t
		}
	}
	grads, err = graphgen.Gradients(loss, targets, sums)
	return params, grads, err
}

// Train is the graph of one micro-batch (grad.onnx): parameters, gradient accumulators,
// tokens and labels to the summed loss, the count of labels and the new accumulators.
func (c Config) Train(batch, length int) (*Graph, error) {
	m, err := c.static(batch, length)
	if err != nil {
		return nil, err
	}
	var params []Parameter
	err = build(func() error {
		var grads []*graphgen.Tensor
		params, grads, err = m.lossAndGradients(func(p Parameter) *graphgen.Tensor {
			return m.g.Input(GradName(p.Name), graphgen.Float32, p.Shape...)
		})
		if err != nil {
			return err
		}
		for i, p := range params {
			m.g.Output(NewName(GradName(p.Name)), grads[i])
		}
		return nil
	})
	return &Graph{m.g, params}, err
}

// Single is one whole training step (step.onnx), per parameter by name: forward,
// backward, clipping and AdamW.
func (c Config) Single(batch, length int) (*Graph, error) {
	m, err := c.static(batch, length)
	if err != nil {
		return nil, err
	}
	var params []Parameter
	err = build(func() error {
		var grads []*graphgen.Tensor
		params, grads, err = m.lossAndGradients(func(Parameter) *graphgen.Tensor { return nil })
		if err != nil {
			return err
		}
		lr, step := m.g.Input(Rate, graphgen.Float32), m.g.Input(Step, graphgen.Int64)
		m.g.In("update", func() {
			s := c.Training.AdamW().Begin(grads, m.g.Outputs()[1].Tensor, lr, step)
			m.g.Output(GradNorm, s.Norm)
			for i, p := range params {
				mName, vName := MomentNames(p.Name)
				m1, m2 := m.g.Input(mName, graphgen.Float32, p.Shape...), m.g.Input(vName, graphgen.Float32, p.Shape...)
				p2, n1, n2 := s.Update(m.tensor[p.Name], m1, m2, grads[i], p.Decay)
				m.g.Output(NewName(p.Name), p2)
				m.g.Output(NewName(mName), n1)
				m.g.Output(NewName(vName), n2)
			}
		})
		return nil
	})
	return &Graph{m.g, params}, err
}

// Range is a stretch of the flat buffers with one kind of parameter.
type Range struct {
	Name     string // decayed or plain
	Elements int
	Decay    bool
}

// Update is the optimizer's graph (update.onnx) over flat buffers: for each range its
// parameters, summed gradients and moments.
func (t Training) Update(ranges []Range) (*Graph, error) {
	g := graphgen.New()
	err := build(func() error {
		count, lr, step := g.Input(Count, graphgen.Int64), g.Input(Rate, graphgen.Float32), g.Input(Step, graphgen.Int64)
		var params, grads []*graphgen.Tensor
		for _, r := range ranges {
			params = append(params, g.Input(r.Name, graphgen.Float32, r.Elements))
			grads = append(grads, g.Input(GradName(r.Name), graphgen.Float32, r.Elements))
		}
		s := t.AdamW().Begin(grads, count, lr, step)
		g.Output(GradNorm, s.Norm)
		for i, r := range ranges {
			mName, vName := MomentNames(r.Name)
			m1, m2 := g.Input(mName, graphgen.Float32, r.Elements), g.Input(vName, graphgen.Float32, r.Elements)
			p2, n1, n2 := s.Update(params[i], m1, m2, grads[i], r.Decay)
			g.Output(NewName(r.Name), p2)
			g.Output(NewName(mName), n1)
			g.Output(NewName(vName), n2)
		}
		return nil
	})
	return &Graph{g, nil}, err
}

// dynamic starts a graph whose batch and length are known only when it runs.
func (c Config) dynamic() *model {
	m := newModel(c)
	m.batch, m.length = m.g.Symbol("batch"), m.g.Symbol("length")
	return m
}

// Eval scores labels (eval.onnx): logprob float32 [B,S] of each label, 0 where there is
// none, and top int64 [B,S], the most likely token. Batch and length are dynamic.
func (c Config) Eval() (*Graph, error) {
	m := c.dynamic()
	err := build(func() error {
		tokens := m.g.Input(Tokens, graphgen.Int64, m.batch, m.length)
		labels := m.g.Input(Labels, graphgen.Int64, m.batch, m.length)
		logits := graphgen.LinearT(m.decoder(tokens), m.table(), nil)
		logprob, top := graphgen.LabelScores(logits, graphgen.Reshape(labels, m.rows()))
		m.g.Output("logprob", graphgen.Reshape(logprob, m.batch, m.length))
		m.g.Output("top", graphgen.Reshape(top, m.batch, m.length))
		return nil
	})
	return &Graph{m.g, m.sorted()}, err
}

// Infer gives logits float32 [B,S,V] (infer.onnx). Batch and length are dynamic.
func (c Config) Infer() (*Graph, error) {
	m := c.dynamic()
	err := build(func() error {
		tokens := m.g.Input(Tokens, graphgen.Int64, m.batch, m.length)
		logits := graphgen.LinearT(m.decoder(tokens), m.table(), nil)
		m.g.Output("logits", graphgen.Reshape(logits, m.batch, m.length, c.Vocab))
		return nil
	})
	return &Graph{m.g, m.sorted()}, err
}
