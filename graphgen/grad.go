package graphgen

import "fmt"

// Gradients differentiates the scalar loss with respect to tensors of the same graph, by
// reverse accumulation. Where into has a tensor for a target, the result is that tensor
// plus the gradient: an accumulator costs no pass of its own, since the sum is folded
// into the operator that makes the gradient. Only a graph's inputs can have one, for what
// is added to an inner tensor's gradient would flow on. A target that the loss does not
// depend on is an error.
func Gradients(loss *Tensor, targets []*Tensor, into map[*Tensor]*Tensor) ([]*Tensor, error) {
	var out []*Tensor
	err := Build(func() error {
		var err error
		out, err = gradients(loss, targets, into)
		return err
	})
	return out, err
}

func gradients(loss *Tensor, targets []*Tensor, into map[*Tensor]*Tensor) ([]*Tensor, error) {
	g := loss.g
	if loss.Rank() != 0 || !loss.DType().Float() {
		return nil, fmt.Errorf("gradients of %s: the loss must be a floating-point scalar", loss)
	}
	for t, acc := range into {
		if t.node != nil || acc.DType() != t.DType() || !acc.Shape().Equal(t.Shape()) {
			return nil, fmt.Errorf("%s cannot take the gradient of %s: wanted an accumulator of an input's own type", acc, t)
		}
	}
	needed := dependents(g, targets)
	sum := map[*Tensor]*Tensor{loss: g.Scalar(loss.DType(), 1)}
	again := newRecomputation(g, needed)
	nodes := g.nodes // those of the forward pass; the rules below append more
	for i := len(nodes) - 1; i >= 0; i-- {
		n := nodes[i]
		dy, reached := make([]*Tensor, len(n.Out)), false
		for j, o := range n.Out {
			dy[j] = sum[o]
			reached = reached || dy[j] != nil
		}
		if !reached || !needed[n.Out[0]] {
			continue
		}
		if n.Op.Grad == nil {
			return nil, fmt.Errorf("%s: operator %s has no gradient (%s)", n, n.Op.Name, n.Op.NoGrad)
		}
		var err error
		m := again.anew(n, dy, sum)
		g.inGradientOf(n, func() { err = g.pullBack(n, m, dy, sum, into, again) })
		if err != nil {
			return nil, err
		}
	}
	out := make([]*Tensor, len(targets))
	for i, t := range targets {
		if sum[t] == nil {
			return nil, fmt.Errorf("the loss does not depend on %s", t)
		}
		out[i] = sum[t]
	}
	again.forget(out)
	return out, nil
}

// pullBack applies one node's rule and adds the results to its inputs' gradients. The rule
// sees m, which is the node itself or computes the same anew.
func (g *Graph) pullBack(n, m *Node, dy []*Tensor, sum, into map[*Tensor]*Tensor, again *recomputation) error {
	dx := n.Op.Grad(g, m, dy)
	if len(dx) != len(n.In) {
		return fmt.Errorf("%s: the gradient rule of %s gave %d results for %d inputs", n, n.Op.Name, len(dx), len(n.In))
	}
	for i, x := range n.In {
		if x == nil || dx[i] == nil || !again.needed[x] {
			continue
		}
		if d := dx[i].DType(); d != x.DType() && d != summedType(x.DType()) || !x.Shape().spreadsTo(dx[i].Shape()) {
			return fmt.Errorf("%s: gradient %d of %s is %s for %s", n, i, n.Op.Name, dx[i], x)
		}
		d := sumTo(dx[i], x.Shape())
		if of := x.copyOf(); of != nil {
			x = of // the gradients of a copy's readers add up unrounded, in the accumulator
		}
		d = Cast(d, x.DType())
		if sum[x] == nil {
			sum[x] = into[x]
		}
		if sum[x] == nil {
			sum[x] = d
		} else {
			sum[x] = Add(sum[x], d)
		}
		again.note(x)
	}
	return nil
}

// inGradientOf names what f builds after the node that it differentiates.
func (g *Graph) inGradientOf(n *Node, f func()) {
	saved := g.scope
	g.scope = []string{"grad"}
	if n.Scope != "" {
		g.scope = append(g.scope, n.Scope)
	}
	defer func() { g.scope = saved }()
	f()
}

// dependents marks the tensors that depend on the targets, so that a gradient is worth
// having there.
func dependents(g *Graph, targets []*Tensor) map[*Tensor]bool {
	needed := map[*Tensor]bool{}
	for _, t := range targets {
		needed[t] = true
	}
	for _, n := range g.nodes {
		for _, in := range n.In {
			if in != nil && needed[in] {
				for _, o := range n.Out {
					needed[o] = o.DType().Float()
				}
				break
			}
		}
	}
	return needed
}
