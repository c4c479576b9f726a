package graphgen

import (
	"fmt"
	"slices"
)

// Verify checks what every pass must keep: each node comes behind what it reads, each
// tensor is assigned once, types are those that the operators' rules give, inputs and
// outputs have names, and every floating-point input is read. (Whole-number inputs may be
// unread: a graph may have no use for lengths.)
func (g *Graph) Verify() error { return Build(g.verify) }

func (g *Graph) verify() error {
	if err := checkRegistry(); err != nil {
		return err
	}
	if err := g.verifyNames(); err != nil {
		return err
	}
	known, read := map[*Tensor]bool{}, map[*Tensor]bool{}
	for _, in := range g.inputs {
		known[in] = true
	}
	for _, n := range g.nodes {
		for _, t := range n.In {
			switch {
			case t == nil:
			case t.g != g:
				return fmt.Errorf("%s reads %s of another graph", n, t)
			case t.value == nil && !known[t]:
				return fmt.Errorf("%s reads %s before it is computed", n, t)
			}
			read[t] = true
		}
		types := n.Op.Infer(g, n)
		if len(types) != len(n.Out) {
			return fmt.Errorf("%s has %d outputs, its rule gives %d", n, len(n.Out), len(types))
		}
		for i, o := range n.Out {
			if known[o] || o.node != n || o.out != i {
				return fmt.Errorf("%s assigns output %d twice", n, i)
			}
			if o.DType() != types[i].DType || !o.Shape().Equal(types[i].Shape) {
				return fmt.Errorf("%s: output %d is %s, its rule gives %s%s", n, i, o, types[i].DType, g.formatShape(types[i].Shape))
			}
			known[o] = true
		}
	}
	if len(g.outputs) == 0 {
		return fmt.Errorf("the graph has no outputs")
	}
	for _, o := range g.outputs {
		if o.Tensor.g != g || !known[o.Tensor] && o.Tensor.value == nil {
			return fmt.Errorf("output %q is not computed", o.Name)
		}
		if o.Tensor.node == nil {
			// A graph input that is directly an output came back corrupted from ONNX
			// Runtime (microsoft/onnxruntime#21922).
			return fmt.Errorf("output %q is directly an input or a constant; put an Identity between", o.Name)
		}
	}
	for _, in := range g.inputs {
		if in.DType().Float() && !read[in] {
			return fmt.Errorf("input %s is read by nothing", in)
		}
	}
	return nil
}

func (g *Graph) verifyNames() error {
	taken := map[string]bool{}
	check := func(kind, name string) error {
		if name == "" || taken[name] {
			return fmt.Errorf("%s %q has no name, or one that another input or output has", kind, name)
		}
		taken[name] = true
		return nil
	}
	for _, in := range g.inputs {
		if err := check("input", in.name); err != nil {
			return err
		}
	}
	for _, o := range g.outputs {
		if err := check("output", o.Name); err != nil {
			return err
		}
	}
	return nil
}

// SafeInPlace reports whether an output may be bound to an input's memory: every reader
// of the input has run before the output is written, or is the writer itself and handles
// each element alone (or, for Gemm's addend and scatter's data, copies it first).
func (g *Graph) SafeInPlace(input, output string) error {
	var in, out *Tensor
	for _, t := range g.inputs {
		if t.name == input {
			in = t
		}
	}
	for _, o := range g.outputs {
		if o.Name == output {
			out = o.Tensor
		}
	}
	if in == nil || out == nil {
		return fmt.Errorf("no input %q or no output %q", input, output)
	}
	if in.DType() != out.DType() || !in.Shape().Equal(out.Shape()) {
		return fmt.Errorf("output %s cannot lie in the memory of input %s: types differ", out, in)
	}
	// A runtime may leave out a node that only passes memory on, so the writer is the node
	// that computes, and whoever reads a view of the input reads the input.
	writer := out.node
	for writer != nil && writer.passesMemoryOn() && writer.In[0].node != nil {
		writer = writer.In[0].node
	}
	if writer == nil {
		return fmt.Errorf("output %q is not computed", output)
	}
	views := []*Tensor{in}
	var before map[*Node]bool // the writer, where somebody else reads
	for _, n := range g.nodes {
		for i, t := range n.In {
			if !slices.Contains(views, t) {
				continue
			}
			if n.passesMemoryOn() && i == 0 {
				views = append(views, n.Out[0])
			}
			if n == writer && n.readsBeforeWriting(i) {
				continue
			}
			if before == nil {
				before = ancestors(writer)
			}
			if before[n] {
				continue
			}
			return fmt.Errorf("output %q in the memory of input %q: %s may read it after it is overwritten", output, input, n)
		}
	}
	return nil
}

// passesMemoryOn reports whether the output may be the first input's memory, seen
// another way.
func (n *Node) passesMemoryOn() bool {
	return n.Op.Name == "Reshape" || n.Op.Name == "Unsqueeze" || n.Op.Name == "Identity"
}

// readsBeforeWriting reports whether input i may share the output's memory.
func (n *Node) readsBeforeWriting(i int) bool {
	if out, ok := n.adds(i); ok {
		return n.Out[out].Shape().Equal(n.In[i].Shape())
	}
	if n.Op.Name == "Gemm" && i == 2 && n.Out[0].Dim(0) == 1 && n.In[i].Shape().Elements() == n.Out[0].Shape().Elements() {
		return true // a vector, as the only row
	}
	if !n.In[i].Shape().Equal(n.Out[0].Shape()) {
		return false
	}
	return n.Op.Elementwise || n.Op.Name == "AdamWStep" || n.Op.Name == "Gemm" && i == 2 || n.Op.Name == "ScatterElements" && i == 0
}

// ancestors are the nodes that must run before n.
func ancestors(n *Node) map[*Node]bool {
	seen := map[*Node]bool{}
	var visit func(n *Node)
	visit = func(n *Node) {
		for _, t := range n.In {
			if t != nil && t.node != nil && !seen[t.node] {
				seen[t.node] = true
				visit(t.node)
			}
		}
	}
	visit(n)
	return seen
}
