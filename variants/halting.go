package variants

import "march/graphgen"

// halting runs the uses with adaptive computation time (Graves, 2016; Dehghani et al.,
// Universal Transformers, 2019): before each use a position's state gives a halting
// probability, and the result is the sum of the uses' outputs weighted with them. A
// position halts in the use in which its probabilities reach the threshold, or in the
// last; what is left to one, the remainder, is its weight there. Every position goes on
// being computed, so a halted one only stops contributing. What adds up to one is float32,
// whatever the states are.
func (s *stack) halting(x *graphgen.Tensor) (sum *graphgen.Tensor) {
	c, g, n := s.c, s.g, s.rows()
	column := func(v float64) *graphgen.Tensor { return graphgen.Expand(g.Fill(graphgen.Float32, v, 1, 1), n, 1) }
	none := column(0)
	running, spent, steps, remainders := column(1), none, none, none // [N,1]
	for use := range c.Share.Uses {
		var weight *graphgen.Tensor
		s.in(use, func() {
			x = s.stepped(use, x)
			w, b := s.matrix(s.name+".halting.weight", c.D, 1), s.vector(s.name+".halting.bias", "ones", 1)
			p := graphgen.Cast(graphgen.Sigmoid(graphgen.Linear(x, w, b)), graphgen.Float32)
			halts := running // all that still run, in the last use
			if use < c.Share.Uses-1 {
				reached := graphgen.GreaterOrEqual(graphgen.Add(spent, p), g.Scalar(graphgen.Float32, c.Halting.Threshold))
				halts = graphgen.Where(reached, running, none)
			}
			steps = graphgen.Add(steps, running)
			running = graphgen.Sub(running, halts)
			remainder, share := graphgen.Mul(halts, graphgen.OneMinus(spent)), graphgen.Mul(running, p)
			weight = graphgen.Add(remainder, share)
			remainders, spent = graphgen.Add(remainders, remainder), graphgen.Add(spent, share)
			x = s.layer(use, x)
			y := graphgen.Mul(x, graphgen.Cast(weight, s.compute))
			if sum == nil {
				sum = y
			} else {
				sum = graphgen.Add(sum, y)
			}
		})
	}
	s.steps, s.ponder = graphgen.Reshape(steps, n), graphgen.Reshape(graphgen.Add(steps, remainders), n)
	return sum
}
