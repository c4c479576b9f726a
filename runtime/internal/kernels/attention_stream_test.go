package kernels

import (
	"strings"
	"testing"
)

// Planners take the kernels whose tiles stream by for shapes that they are the quicker ones for and can do, on Hopper.
func TestAttentionStreams(t *testing.T) {
	causal := func(n *Node) { n.Ints["causal"] = 1 }
	and := func(change func(n *Node)) func(n *Node) { return func(n *Node) { causal(n); change(n) } }
	cases := []struct {
		what          string
		b, sq, sk     int
		h, hkv, dk    int
		change        func(n *Node)
		forward, grad bool
	}{
		{"P1", 32, 512, 512, 8, 8, 64, causal, true, true},
		{"long", 8, 2048, 2048, 8, 8, 64, causal, true, false},
		{"short", 128, 128, 128, 8, 8, 64, causal, false, true},
		{"both ways", 64, 512, 512, 8, 8, 64, nil, true, true},
		{"cross, lengths", 64, 512, 256, 8, 8, 64, func(n *Node) { n.In[4] = Tensor{Int64, []int{64}} }, true, true},
		{"192 heads", 32, 512, 512, 6, 6, 64, causal, true, true},
		{"140 heads", 35, 512, 512, 4, 4, 64, causal, false, true},
		{"grouped heads", 32, 512, 512, 8, 2, 64, causal, true, false},
		{"heads of 32", 32, 512, 512, 16, 16, 32, causal, true, true},
		{"heads of 32, both ways", 32, 512, 512, 16, 16, 32, nil, true, false},
		{"heads of 128", 32, 512, 512, 4, 4, 128, causal, false, false},
		{"heads of 48", 32, 512, 512, 8, 8, 48, causal, false, false},
		{"not a tile", 32, 500, 500, 8, 8, 64, causal, false, false},
		{"few heads", 1, 512, 512, 8, 8, 64, causal, false, false},
		{"window", 32, 512, 512, 8, 8, 64, and(func(n *Node) { n.Ints["window"] = 9 }), false, true},
		{"window, lengths", 32, 512, 512, 8, 8, 64, and(func(n *Node) { n.Ints["window"] = 9; n.In[4] = Tensor{Int64, []int{32}} }), false, true},
		{"window, fewer keys", 32, 512, 256, 8, 8, 64, and(func(n *Node) { n.Ints["window"] = 9 }), false, true},
		{"window, heads of 32", 32, 512, 512, 16, 16, 32, and(func(n *Node) { n.Ints["window"] = 128 }), false, false},
		{"window, both ways", 32, 512, 512, 8, 8, 64, func(n *Node) { n.Ints["window"] = 128 }, false, false},
		{"memory", 32, 256, 512, 8, 8, 64, and(func(n *Node) { n.Ints["memory"] = 256 }), true, false},
		{"a bias", 32, 512, 512, 8, 8, 64, and(withBias(8)), false, false},
		{"dropout", 32, 256, 256, 8, 8, 64, and(withSeed), false, false},
	}
	for _, c := range cases {
		forward, grad := flashNodes(c.b, c.sq, c.sk, c.h, c.hkv, c.dk, c.dk, c.change)
		for _, n := range []Node{forward, grad} {
			want := c.forward && n.Op == "FlashAttention" || c.grad && n.Op == "FlashAttentionGrad"
			p := planOf(t, n)
			l := p.Steps[0].(Launch)
			if got := strings.HasPrefix(l.Kernel, "attention_stream"); got != want || got != (p.Elsewhere != nil) {
				t.Errorf("%s, %s: begins with %s, else %v", c.what, n.Op, l.Kernel, p.Elsewhere)
				continue
			}
			if !want {
				continue
			}
			boxes := 0
			for _, a := range l.Args {
				if a.Rows > 0 {
					boxes++
					if a.Wide != c.dk || a.Columns%c.dk != 0 || a.Rows != c.b*c.sq && a.Rows != c.b*c.sk {
						t.Errorf("%s, %s: boxes of %d columns of [%d,%d]", c.what, n.Op, a.Wide, a.Rows, a.Columns)
					}
				}
			}
			// As much as launch.h and a block on a Hopper have room for.
			if boxes > 8 || len(l.Args) > 40 || l.Shared > 227<<10 || l.Grid[0] > multiprocessors {
				t.Errorf("%s, %s: %d boxes of %d arguments, %d bytes of shared memory, %v blocks", c.what, n.Op, boxes, len(l.Args), l.Shared, l.Grid)
			}
			if least := 4 * l.Grid[0] * c.sq * c.dk; n.Op == "FlashAttentionGrad" && p.Scratch < least {
				t.Errorf("%s: %d bytes of scratch memory, wanted %d at least", c.what, p.Scratch, least)
			}
		}
	}
}

func TestAttentionStreamCompiles(t *testing.T) {
	var nodes []Node
	for _, dk := range []int{32, 64} {
		forward, grad := flashNodes(33, 512, 512, 4, 4, dk, dk, func(n *Node) { n.Ints["causal"] = 1 })
		nodes = append(nodes, forward, grad)
	}
	compiled(t, "9.0", nodes)
	compiled(t, "8.0", nodes)
}
