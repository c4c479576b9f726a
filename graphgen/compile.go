package graphgen

import (
	"fmt"
	"maps"
	"slices"
)

// Target says which operators a compiled graph may use.
type Target string

// The targets.
const (
	// Portable graphs hold only ai.onnx operators and load in every conforming runtime.
	Portable Target = "portable"
	// ORT graphs may use com.microsoft operators that stock ONNX Runtime has on CPU and CUDA.
	ORT Target = "ort"
	// Fused graphs are those of ORT where march has kernels of its own: operators of domain march, which march
	// registers with ONNX Runtime's CUDA or CPU provider. Of a graph for a GPU ([Graph.ForGPU]) what computes in bfloat16 or
	// float32 with static shapes has them, attention in bfloat16 only; of others norms, activations, softmax and sums in float32.
	Fused Target = "fused"
)

// Targets lists the targets that Compile knows.
func Targets() []Target { return []Target{Portable, ORT, Fused} }

// StockTargets lists those that need nothing but ONNX Runtime.
func StockTargets() []Target { return []Target{Portable, ORT} }

// ParseTarget reads a target's name.
func ParseTarget(s string) (Target, error) {
	if slices.Contains(Targets(), Target(s)) {
		return Target(s), nil
	}
	return "", fmt.Errorf("target %q is not one of %v", s, Targets())
}

func (t Target) contrib() bool { return t == ORT || t == Fused }

// Program is a graph compiled for a target: only operators that the target has.
type Program struct {
	Graph  *Graph
	Target Target
}

// Compile decomposes the graph's operators for a target, rewrites what is cheaper
// another way, drops what no output needs, computes in float32 what has no kernel in
// bfloat16 or float16, and verifies the result of each pass. Further passes, such as [Reproducible], go
// behind the rewriting.
func (g *Graph) Compile(t Target, further ...func(*Graph) *Graph) (*Program, error) {
	var out *Graph
	err := Build(func() error {
		if err := g.Verify(); err != nil {
			return err
		}
		passes := []func(*Graph) *Graph{func(g *Graph) *Graph { return prune(lower(g, t)) }}
		if t == Fused {
			passes = append(passes, fuse) // first: kernels take in what the rules would join with something else
		}
		passes = append(passes, func(g *Graph) *Graph { return prune(rewrite(g)) })
		if t.contrib() {
			passes = append(passes, func(g *Graph) *Graph { return prune(joinSiblings(g)) }, summedLast)
		}
		if t == Fused {
			passes = append(passes, func(g *Graph) *Graph { return prune(foldAddends(g)) }) // what the rules left to be added
		}
		for _, pass := range append(append(passes, further...), widen) {
			g = pass(g)
			if err := g.Verify(); err != nil {
				return err
			}
		}
		out = g
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, n := range out.nodes {
		if n.Op.Lower != nil || n.Op.Domain != "" && !t.contrib() || n.Op.Kernel && t != Fused {
			return nil, fmt.Errorf("%s: operator %s is not one of target %s", n, n.Op.Name, t)
		}
	}
	return &Program{out, t}, nil
}

// copier rebuilds a graph node by node.
type copier struct {
	dst *Graph
	of  map[*Tensor]*Tensor
}

func newCopier(src *Graph) *copier {
	c := &copier{New(), map[*Tensor]*Tensor{}}
	c.dst.symbols, c.dst.gpu, c.dst.blocks = slices.Clone(src.symbols), src.gpu, src.blocks
	for _, in := range src.inputs {
		c.of[in] = c.dst.Input(in.name, in.DType(), in.Shape()...)
	}
	return c
}

func (c *copier) tensor(t *Tensor) *Tensor {
	if t == nil {
		return nil
	}
	if t.value != nil && c.of[t] == nil {
		c.of[t] = c.dst.constant(t.typ, t.value)
	}
	return c.of[t]
}

// node adds a node to the copy, made by f from the copied inputs, under the same place.
func (c *copier) node(n *Node, f func(in []*Tensor) []*Tensor) {
	in := make([]*Tensor, len(n.In))
	for i, t := range n.In {
		in[i] = c.tensor(t)
	}
	saved := c.dst.scope
	c.dst.scope = nil
	if n.Scope != "" {
		c.dst.scope = []string{n.Scope}
	}
	for i, o := range f(in) {
		if !o.Shape().Equal(n.Out[i].Shape()) || o.DType() != n.Out[i].DType() {
			c.dst.fail("%s: output %d became %s, wanted %s", n.Op.Name, i, o, n.Out[i])
		}
		c.of[n.Out[i]] = o
	}
	c.dst.scope = saved
}

func (c *copier) finish(src *Graph) *Graph {
	for _, o := range src.outputs {
		c.dst.Output(o.Name, c.tensor(o.Tensor))
	}
	return c.dst
}

// lower replaces operators by their decompositions until none is left to decompose.
func lower(src *Graph, t Target) *Graph {
	for slices.ContainsFunc(src.nodes, func(n *Node) bool { return n.Op.Lower != nil }) {
		c := newCopier(src)
		for _, n := range src.nodes {
			c.node(n, func(in []*Tensor) []*Tensor {
				switch { // what a decomposition ends with may go on with another of its kind
				case n.Op.Name == "Reshape":
					return []*Tensor{Reshape(in[0], n.Attrs.ints("_shape")...)}
				case n.Op.Name == "Transpose":
					return []*Tensor{Transpose(in[0], n.Attrs.ints("perm")...)}
				case n.Op.Lower == nil:
					return c.dst.apply(n.Op.Name, n.Attrs, in...)
				}
				m := *n
				m.In = in
				return n.Op.Lower(c.dst, &m, t)
			})
		}
		src = c.finish(src)
	}
	return src
}

// prune drops nodes that no output needs.
func prune(src *Graph) *Graph {
	live := src.live()
	c := newCopier(src)
	for _, n := range src.nodes {
		if live[n] {
			c.node(n, func(in []*Tensor) []*Tensor { return c.dst.apply(n.Op.Name, n.Attrs, in...) })
		}
	}
	return c.finish(src)
}

// live are the nodes that some output needs.
func (g *Graph) live() map[*Node]bool {
	live := map[*Node]bool{}
	for _, o := range g.outputs {
		if o.Tensor.node != nil {
			live[o.Tensor.node] = true
		}
	}
	for i := len(g.nodes) - 1; i >= 0; i-- {
		if n := g.nodes[i]; live[n] {
			for _, t := range n.In {
				if t != nil && t.node != nil {
					live[t.node] = true
				}
			}
		}
	}
	return live
}

// Trim drops what the outputs declared so far do not need: nodes, and floating-point
// inputs that are then read by nothing. A model may have parameters that no output
// depends on; a graph has no inputs for them.
func (g *Graph) Trim() {
	g.drop(g.live())
	read := map[*Tensor]bool{}
	for _, n := range g.nodes {
		for _, t := range n.In {
			read[t] = true
		}
	}
	g.inputs = slices.DeleteFunc(g.inputs, func(t *Tensor) bool { return t.DType().Float() && !read[t] })
}

// drop takes out the nodes that are not live.
func (g *Graph) drop(live map[*Node]bool) {
	g.nodes = slices.DeleteFunc(g.nodes, func(n *Node) bool { return !live[n] })
	maps.DeleteFunc(g.unique, func(_ string, out []*Tensor) bool { return out[0].node != nil && !live[out[0].node] })
}
