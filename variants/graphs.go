package variants

import (
	"fmt"

	"march/graphgen"
	"march/trainloop/objective"
	"march/variants/manifest"
)

// Names of the graphs' inputs and outputs that are no parameters.
const (
	Tokens        = manifest.Tokens
	Labels        = manifest.Labels // graphgen.IgnoreLabel: no loss there
	Scored        = manifest.Scored
	Lengths       = manifest.Lengths
	DecoderTokens = manifest.DecoderTokens
	Documents     = manifest.Documents
	Ponder        = "ponder_sum"  // summed over the labelled positions; halting
	Steps         = "steps_sum"   // uses taken, summed alike
	DistillSum    = "distill_sum" // T²·KL to the teacher, summed alike; distillation
	Loss          = "loss_sum"
	Count         = "count" // int64: labels that the loss sums over
	Rate          = "lr"
	Step          = "step" // int64, counted from 1
	GradNorm      = "grad_norm"
)

// GradName is the accumulator input of a parameter in the graph of a micro-batch.
func GradName(param string) string { return param + ".grad" }

// CopyName is the bfloat16 copy of a parameter, or of a range of the flat buffers, in graphs
// that compute in bfloat16.
func CopyName(param string) string { return param + ".bf16" }

// MomentNames are the inputs of AdamW's first and second moment.
func MomentNames(param string) (m, v string) { return param + ".m", param + ".v" }

// PruneMaskName is the input with a pruned matrix's mask, float32 0 or 1 in its shape.
func PruneMaskName(param string) string { return param + ".mask" }

// TeacherName is the input with a parameter of the teacher.
func TeacherName(param string) string { return teacherPrefix + param }

const teacherPrefix = "teacher."

// NewName is the output that replaces an input.
func NewName(input string) string { return input + ".new" }

// Graph is one of a model's graphs with the parameters that it reads, in manifest order.
type Graph struct {
	*graphgen.Graph
	Parameters []Parameter
}

// Recompute is what gradients compute anew instead of keeping it; the zero value: nothing.
type Recompute string

// RecomputeAttention is the probabilities of attentions; RecomputeBlock everything inside of a
// layer, of which its input is kept, and what lies outside of layers reads.
const (
	RecomputeAttention Recompute = "attention"
	RecomputeBlock     Recompute = "block"
)

// Dims are the sizes of a graph's inputs.
type Dims struct {
	Batch   int
	Length  int // of tokens
	Decoder int // of decoder_tokens and labels in an encoder-decoder; 0 elsewhere
	// Compute is the type of activations and matrix products in graphs that train: Float32
	// (so is Invalid, the zero value) or BFloat16. Parameters, gradients, loss and optimizer
	// are float32 in any case.
	Compute graphgen.DType
	// Recompute is what gradients compute anew instead of keeping it: less memory for more time.
	Recompute Recompute
	// LossChunks is the number of parts in which the loss head goes over the rows, one after
	// another; 0: 1.
	LossChunks int
	// GPU has graphs that train compute large arrays as a GPU does it quickest ([graphgen.Graph.ForGPU]), and Score's find the most
	// likely token with one operator.
	GPU bool

	past int // tokens before these, of a decoder with a cache; 0: none
}

// Dims are those of a training batch with rows of a length, as the objective cuts them.
func (c Config) Dims(batch, length int) (Dims, error) {
	n, err := objective.SizesOf(c.Training.Objective, length)
	return Dims{Batch: batch, Length: n.Input, Decoder: n.Target, Compute: graphgen.Float32}, err
}

// valid reports sizes that the model has no positions for.
func (d Dims) valid(c Config) error {
	if d.Batch < 1 || d.Length < 1 || d.Length > c.Length {
		return fmt.Errorf("batch %d × length %d: wanted a batch of at least 1 and a length from 1 to %d (the model's positions)", d.Batch, d.Length, c.Length)
	}
	if c.Arch == EncoderDecoder && (d.Decoder < 1 || d.Decoder > c.Length) {
		return fmt.Errorf("a decoder's length of %d: wanted 1 to %d (the model's positions)", d.Decoder, c.Length)
	}
	switch rows := d.Batch * d.labelled(); {
	case d.LossChunks < 0 || d.LossChunks > 1 && rows%d.LossChunks != 0:
		return fmt.Errorf("%d chunks of the loss head: wanted a divisor of its %d rows", d.LossChunks, rows)
	case d.LossChunks > 1 && c.Training.Distill.Teacher != "":
		return fmt.Errorf("%d chunks of the loss head: with training.distill.teacher it is whole", d.LossChunks)
	}
	if d.Compute != graphgen.Invalid && d.Compute != graphgen.Float32 && d.Compute != graphgen.BFloat16 {
		return fmt.Errorf("computing in %s: wanted float32 or bfloat16", d.Compute)
	}
	return nil
}

// labelled is the length of the labels.
func (d Dims) labelled() int {
	if d.Decoder != 0 {
		return d.Decoder
	}
	return d.Length
}

// forward is a model's forward pass from its inputs.
type forward struct {
	*model
	dims   Dims
	hidden *graphgen.Tensor // [N,D], ready for the output table
	last   *stack           // the one whose states they are
}

// forward declares the inputs of the architecture, all but the labels, and builds the
// stacks over them.
func (m *model) forward(d Dims) *forward {
	f := &forward{model: m, dims: d}
	tokens := m.input(Tokens, d.Batch, d.Length)
	first := &stack{model: m, name: m.c.Arch, batch: d.Batch, length: d.Length, causal: m.c.Arch == Decoder}
	if m.c.Arch != Decoder {
		first.name, first.lengths = Encoder, m.input(Lengths, d.Batch)
	}
	if m.c.Training.DocumentMask {
		first.documents = m.input(Documents, d.Batch, d.Length)
	}
	if d.past != 0 {
		first.goOn(d.past)
	}
	f.last, f.hidden = first, nil
	if m.c.Arch == EncoderDecoder {
		first.run(tokens)
		target := m.input(DecoderTokens, d.Batch, d.Decoder)
		f.last = &stack{model: m, name: Decoder, batch: d.Batch, length: d.Decoder, causal: true, memory: first}
		tokens = target
	}
	f.hidden = f.last.run(tokens)
	if m.scored != 0 {
		m.g.In("output", func() { f.hidden = graphgen.Embedding(f.hidden, m.input(Scored, m.scored)) })
	}
	f.hidden = m.output(f.hidden)
	return f
}

// labels declares the labels, as rows.
func (f *forward) labels() (labels *graphgen.Tensor) {
	f.g.In("loss", func() {
		labels = graphgen.Reshape(f.input(Labels, f.dims.Batch, f.dims.labelled()), f.last.rows())
	})
	return labels
}

// logits is the hidden states times the table, [N,V].
func (f *forward) logits() (logits *graphgen.Tensor) {
	f.g.In("output", func() { logits = graphgen.LinearT(f.hidden, f.table(), f.outputBias()) })
	return logits
}

// lossAndGradients builds the forward pass of a training graph, declares its outputs, and
// gives the parameters' gradients, each added to what into has for it.
func (m *model) lossAndGradients(d Dims, into func(Parameter) *graphgen.Tensor) (params []Parameter, grads []*graphgen.Tensor, err error) {
	f := m.forward(d)
	labels := f.labels()
	var taught *graphgen.Tensor
	if m.c.Training.Distill.Teacher != "" {
		if taught, err = m.teacherLogits(d); err != nil {
			return nil, nil, err
		}
	}
	var loss, distill, ponder *graphgen.Tensor
	m.g.In("loss", func() {
		if taught == nil {
			loss = graphgen.LossHeadInChunks(f.hidden, m.table(), m.outputBias(), labels, m.chunks)
		} else {
			loss, distill = graphgen.DistillHead(f.hidden, m.table(), m.outputBias(), labels, taught, m.c.Training.Distill.Temperature)
			m.g.Output(DistillSum, distill)
		}
		m.count = graphgen.LabelCount(labels)
		m.g.Output(Loss, loss)
		m.g.Output(Count, m.count)
		if f.last.ponder != nil {
			labelled := graphgen.Cast(graphgen.GreaterOrEqual(labels, m.g.Scalar(graphgen.Int64, 0)), graphgen.Float32)
			ponder = graphgen.ReduceSum(graphgen.Mul(f.last.ponder, labelled), false, 0)
			m.g.Output(Ponder, ponder)
			m.g.Output(Steps, graphgen.ReduceSum(graphgen.Mul(f.last.steps, labelled), false, 0))
		}
	})
	params = m.read()
	// What gradients are of is no output, so it is built once the graph is trimmed.
	if alpha := m.c.Training.Distill.Alpha; distill != nil {
		loss = graphgen.Add(graphgen.Scale(loss, alpha), graphgen.Scale(distill, 1-alpha))
	}
	if ponder != nil {
		loss = graphgen.Add(loss, graphgen.Scale(ponder, m.c.Halting.Ponder))
	}
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

// training starts a training graph, which drops out.
func (c Config) training(d Dims) (*model, error) {
	if err := d.valid(c); err != nil {
		return nil, err
	}
	m := newModel(c)
	m.recompute, m.chunks = d.Recompute, max(1, d.LossChunks)
	if d.GPU {
		m.g.ForGPU()
	}
	if d.Compute != graphgen.Invalid {
		m.compute = d.Compute
	}
	m.dropout, m.pruned = &dropout{}, c.Training.Prune.Sparsity > 0
	return m, nil
}

// Train is the graph of one micro-batch (grad.onnx): parameters, gradient accumulators,
// tokens and labels to the summed loss, the count of labels and the new accumulators. One
// that computes in bfloat16 takes copies of the parameters ([CopyName]).
func (c Config) Train(d Dims) (*Graph, error) {
	m, err := c.training(d)
	if err != nil {
		return nil, err
	}
	return m.train(d)
}

// TrainWithMasks is Train with the dropout masks as inputs, so that another implementation
// can be fed the same; [MaskName] names them. A mask is 0 or 1/(1−rate).
func (c Config) TrainWithMasks(d Dims) (*Graph, error) {
	m, err := c.training(d)
	if err != nil {
		return nil, err
	}
	m.dropout.inputs = true
	return m.train(d)
}

func (m *model) train(d Dims) (*Graph, error) {
	var params []Parameter
	err := build(func() (err error) {
		var grads []*graphgen.Tensor
		params, grads, err = m.lossAndGradients(d, func(p Parameter) *graphgen.Tensor {
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
	if err != nil {
		return nil, err
	}
	g := m.g.LiftCasts(func(input string) string {
		if m.tensor[input] == nil {
			return ""
		}
		return CopyName(input)
	})
	return &Graph{g, params}, nil
}

// Single is one whole training step (step.onnx), per parameter by name: forward,
// backward, clipping and AdamW.
func (c Config) Single(d Dims) (*Graph, error) {
	m, err := c.training(d)
	if err != nil {
		return nil, err
	}
	var params []Parameter
	err = build(func() error {
		var grads []*graphgen.Tensor
		params, grads, err = m.lossAndGradients(d, func(Parameter) *graphgen.Tensor { return nil })
		if err != nil {
			return err
		}
		lr, step := m.g.Input(Rate, graphgen.Float32), m.g.Input(Step, graphgen.Int64)
		m.g.In("update", func() {
			s := c.Training.AdamW().Begin(grads, m.count, lr, step)
			m.g.Output(GradNorm, s.Norm)
			for i, p := range params {
				mName, vName := MomentNames(p.Name)
				m1, m2 := m.g.Input(mName, graphgen.Float32, p.Shape...), m.g.Input(vName, graphgen.Float32, p.Shape...)
				m.g.In(p.Name, func() {
					p2, n1, n2 := s.Update(m.tensor[p.Name], m1, m2, grads[i], p.Decay)
					m.g.Output(NewName(p.Name), p2)
					m.g.Output(NewName(mName), n1)
					m.g.Output(NewName(vName), n2)
				})
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
// parameters, summed gradients and moments. With copies, for graphs that compute in bfloat16,
// it gives a copy of each range's new parameters too ([CopyName]).
func (t Training) Update(ranges []Range, copies bool) (*Graph, error) {
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
			if copies {
				g.Output(NewName(CopyName(r.Name)), graphgen.Cast(p2, graphgen.BFloat16))
			}
		}
		return nil
	})
	return &Graph{g, nil}, err
}

// dynamic are sizes that are known only when the graph runs.
func (m *model) dynamic() Dims {
	d := Dims{Batch: m.g.Symbol("batch"), Length: m.g.Symbol("length")}
	if m.c.Arch == EncoderDecoder {
		d.Decoder = m.g.Symbol("decoder_length")
	}
	return d
}

// sizes are those that are given, or dynamic ones for the zero value.
func (m *model) sizes(d Dims) (Dims, error) {
	if d == (Dims{}) {
		return m.dynamic(), nil
	}
	return d, d.valid(m.c)
}

// Eval scores labels (eval.onnx): logprob float32 of each label, 0 where there is none,
// and top int64, the most likely token, both in the labels' shape. All sizes are dynamic.
func (c Config) Eval() (*Graph, error) { return c.EvalOf(Dims{}) }

// EvalOf is Eval for batches of these sizes; of the zero value, for any.
func (c Config) EvalOf(d Dims) (*Graph, error) {
	m := newModel(c)
	err := build(func() error {
		d, err := m.sizes(d)
		if err != nil {
			return err
		}
		f := m.forward(d)
		logits, labels := f.logits(), f.labels()
		f.outputScores(graphgen.LabelScores, logits, labels, f.dims.Batch, f.dims.labelled())
		return nil
	})
	return &Graph{m.g, m.read()}, err
}

// outputScores declares what is known of the labels, in their shape.
func (f *forward) outputScores(scores func(logits, labels *graphgen.Tensor) (logprob, top *graphgen.Tensor), logits, labels *graphgen.Tensor, shape ...int) {
	f.g.In("scores", func() {
		logprob, top := scores(logits, labels)
		f.g.Output("logprob", graphgen.Reshape(logprob, shape...))
		f.g.Output("top", graphgen.Reshape(top, shape...))
	})
}

// Score is Eval of some positions only (score.onnx): scored int64 [M] are their places in the rows, [N] of them, that
// Eval's labels have, labels int64 [M] theirs; logprob and top are [M]. Logits are computed of these positions alone.
func (c Config) Score() (*Graph, error) { return c.ScoreOf(Dims{}) }

// ScoreOf is Score for batches of these sizes, with as many scored positions as Eval has labels, or without sizes for any;
// of the rest of d it reads GPU.
func (c Config) ScoreOf(d Dims) (*Graph, error) {
	m, scores := newModel(c), graphgen.LabelScoresInBlocks
	if d.GPU {
		scores, d.GPU = graphgen.LabelScores, false
	}
	err := build(func() error {
		if m.scored = d.Batch * d.labelled(); m.scored == 0 {
			m.scored = m.g.Symbol(Scored)
		}
		d, err := m.sizes(d)
		if err != nil {
			return err
		}
		f := m.forward(d)
		f.outputScores(scores, f.logits(), m.input(Labels, m.scored), m.scored)
		return nil
	})
	return &Graph{m.g, m.read()}, err
}
