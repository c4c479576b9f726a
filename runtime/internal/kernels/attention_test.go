package kernels

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// flashNodes are the forward and the gradient's node of an attention; change alters the first's attributes and inputs.
func flashNodes(b, sq, sk, h, hkv, dk, dv int, change func(n *Node)) (forward, grad Node) {
	half := func(shape ...int) Tensor { return Tensor{BFloat16, shape} }
	f32 := func(shape ...int) Tensor { return Tensor{Float32, shape} }
	forward = Node{Op: "FlashAttention", Floats: map[string]float64{"scale": 0.125, "drop_scale": 2},
		Ints: map[string]int{"batch": b, "queries": sq, "keys": sk, "heads": h, "kv_heads": hkv},
		In:   []Tensor{half(b*sq, h*dk), half(b*sk, hkv*dk), half(b*sk, hkv*dv), {}, {}, {}},
		Out:  []Tensor{half(b*sq, h*dv), f32(b, h, sq)}}
	for i, name := range []string{"drop_fk", "drop_tk", "drop_fa", "drop_ta", "drop_fb", "drop_tb", "drop_keep"} {
		forward.Ints[name] = i + 1
	}
	if change != nil {
		change(&forward)
	}
	grad = Node{Op: "FlashAttentionGrad", Ints: forward.Ints, Floats: forward.Floats,
		In:  append(slices.Clone(forward.In), half(b*sq, h*dv), f32(b, h, sq), half(b*sq, h*dv)),
		Out: slices.Clone(forward.In[:3])}
	if grad.Has(3) {
		grad.Out = append(grad.Out, f32(grad.In[3].Shape...))
	}
	return forward, grad
}

func planOf(t *testing.T, n Node) Plan {
	t.Helper()
	p, err := PlanFor(n)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func withBias(heads int) func(n *Node) {
	return func(n *Node) { n.In[3] = Tensor{BFloat16, []int{heads, n.Ints["queries"], n.Ints["keys"]}} }
}

func withSeed(n *Node) { n.In[5] = Tensor{Int64, nil} }

// value is the number that a macro of a launch is defined as.
func value(t *testing.T, l Launch, name string) (v int) {
	t.Helper()
	for _, d := range l.Defines {
		if text, ok := strings.CutPrefix(d, name+"="); ok {
			if _, err := fmt.Sscan(text, &v); err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("%s: no macro %s in %v", l.Kernel, name, l.Defines)
	return 0
}

// Grids reach each row of each head once; no head needs more memory than the 99 KB that a block
// can have on all GPUs with these instructions.
func TestAttentionGrids(t *testing.T) {
	for _, shape := range [][4]int{{1, 1, 1, 1}, {32, 512, 512, 8}, {2, 4096, 77, 4}, {3, 65, 129, 6}, {70000, 16, 16, 3}} {
		for dk := 8; dk <= maxHeadSize; dk += 4 {
			b, sq, sk, h := shape[0], shape[1], shape[2], shape[3]
			forward, grad := flashNodes(b, sq, sk, h, 1, dk, max(8, 128-dk), withBias(1))
			p, g := planOf(t, forward), planOf(t, grad)
			if len(g.Steps) == 3 && g.Scratch != 2*4*b*h*sq {
				t.Errorf("%v heads of %d: %d bytes of scratch", shape, dk, g.Scratch)
			}
			for _, step := range append(p.Steps, g.Steps...) {
				l := step.(Launch)
				if l.Kernel == "attention_grad" { // TestAttentionOnePass
					continue
				}
				own, tile, d, dv := value(t, l, "WARPS")*16, value(t, l, "TILE"), value(t, l, "D"), value(t, l, "DV")
				tiles, heads := ceil(sq, own), h
				if l.Kernel == "attention_dkdv" {
					tiles, heads = ceil(sk, own), 1
				}
				good := l.Grid[1] == tiles && l.Grid[0]*l.Grid[2] >= b*heads && l.Grid[0]*(l.Grid[2]-1) < b*heads
				if l.Kernel == "attention_dbias" {
					good = l.Grid == [3]int{ceil(sk, tile), ceil(sq, own), 1}
				}
				if !good || l.Block[0] != 2*own {
					t.Errorf("%s of %v heads of %d: grid %v of %d threads", l.Kernel, shape, dk, l.Grid, l.Block[0])
				}
				if least := 2 * (own*max(d, dv) + 2*tile*(d+dv)); l.Shared > 99<<10 || l.Shared < least {
					t.Errorf("%s of heads of %d: %d bytes of shared memory, wanted %d at least", l.Kernel, dk, l.Shared, least)
				}
				if d < dk || d%16 != 0 || d >= dk+16 || value(t, l, "VEC") == 1 && (dk%8 != 0) || value(t, l, "TILE")%value(t, l, "CHUNK") != 0 {
					t.Errorf("%s of heads of %d: %v", l.Kernel, dk, l.Defines)
				}
			}
		}
	}
}

// One kernel makes the gradients of many heads of short causal attention, where a block has the memory.
func TestAttentionOnePass(t *testing.T) {
	causal := func(n *Node) { n.Ints["causal"] = 1 }
	and := func(change func(n *Node)) func(n *Node) { return func(n *Node) { causal(n); change(n) } }
	for _, c := range []struct {
		what           string
		b, sq, sk      int
		h, hkv         int
		dk, dv, shared int
		change         func(n *Node)
		one            bool
	}{
		{"P1", 32, 512, 512, 8, 8, 64, 64, 0, causal, true},
		{"not a tile", 43, 500, 500, 3, 3, 64, 64, 0, causal, true},
		{"heads of 32", 32, 512, 512, 4, 4, 32, 32, 0, causal, true},
		{"heads of 24 in tiles of 32", 32, 512, 512, 4, 4, 24, 32, 0, causal, true},
		{"window", 32, 512, 512, 8, 8, 64, 64, 0, and(func(n *Node) { n.Ints["window"] = 9 }), true},
		{"a bias", 32, 256, 256, 8, 8, 64, 64, 0, and(withBias(8)), true},
		{"dropout", 32, 256, 256, 8, 8, 64, 64, 0, and(withSeed), true},
		{"large heads where there is memory", 32, 512, 512, 4, 4, 128, 128, 227 << 10, causal, true},
		{"large heads where there is none", 32, 512, 512, 4, 4, 128, 128, 0, causal, false},
		{"heads of 48", 32, 512, 512, 8, 8, 48, 48, 0, causal, false},
		{"heads of 96", 32, 512, 512, 8, 8, 96, 96, 227 << 10, causal, false},
		{"odd heads", 32, 512, 512, 8, 8, 63, 63, 0, causal, false},
		{"long", 32, 513, 513, 8, 8, 64, 64, 0, causal, false},
		{"few heads", 8, 512, 512, 8, 8, 64, 64, 0, causal, false},
		{"both ways", 32, 512, 512, 8, 8, 64, 64, 0, nil, false},
		{"grouped heads", 32, 512, 512, 8, 2, 64, 64, 0, causal, false},
		{"memory", 32, 100, 200, 8, 8, 64, 64, 0, and(func(n *Node) { n.Ints["memory"] = 100 }), false},
	} {
		_, grad := flashNodes(c.b, c.sq, c.sk, c.h, c.hkv, c.dk, c.dv, c.change)
		grad.Shared = c.shared
		p := planOf(t, grad)
		if p.Elsewhere != nil { // than on Hopper
			p = *p.Elsewhere
		}
		l := p.Steps[0].(Launch)
		if one := l.Kernel == "attention_grad"; one != c.one {
			t.Errorf("%s: begins with %s", c.what, l.Kernel)
		}
		if !c.one {
			continue
		}
		if l.Grid != [3]int{c.b * c.h} || l.Block[0] != 256 {
			t.Errorf("%s: a grid %v of %d threads, wanted a block of 256 for each of %d heads", c.what, l.Grid, l.Block[0], c.b*c.h)
		}
		d, dv := value(t, l, "D"), value(t, l, "DV")
		// k, v, gradients of logits; twice q, y, dy and two floats beside each query; in scratch memory rows, and a sum of dq for each of its entries.
		least := 2*128*(d+dv+64) + 2*(2*64*(d+2*dv)+2*4*64)
		if l.Shared < least || l.Shared > max(c.shared, 99<<10) {
			t.Errorf("%s: %d bytes of shared memory, wanted from %d on", c.what, l.Shared, least)
		}
		if want := 2*4*c.b*c.h*c.sq + 4*c.b*c.h*((c.sq+63)/64*64)*d; p.Scratch < want {
			t.Errorf("%s: %d bytes of scratch memory, wanted %d at least", c.what, p.Scratch, want)
		}
		if grad.Has(3) != (len(p.Steps) == 2) {
			t.Errorf("%s: %d steps", c.what, len(p.Steps))
		}
	}
}

// A window as long as the queries bounds nothing.
func TestAttentionWindow(t *testing.T) {
	for window, want := range map[int]uint64{0: 0, 7: 7, 99: 99, 100: 0, 1 << 40: 0} {
		forward, _ := flashNodes(1, 100, 100, 2, 2, 64, 64, func(n *Node) { n.Ints["window"] = window })
		const at = 6 + 10 // behind the inputs and ten sizes
		if got := planOf(t, forward).Steps[0].(Launch).Args[at].Bits; got != want {
			t.Errorf("window %d of 100 queries: %d, wanted %d", window, got, want)
		}
	}
}

func TestAttentionRefuses(t *testing.T) {
	for _, c := range []struct {
		what, want string
		change     func(n *Node)
	}{
		{"large heads", "heads of 256", func(n *Node) { n.In[0].Shape, n.In[1].Shape = []int{10, 512}, []int{10, 512} }},
		{"float", "float32, wanted bfloat16", func(n *Node) { n.In[0].Type = Float32 }},
		{"uneven heads", "do not share", func(n *Node) { n.Ints["heads"], n.Ints["kv_heads"] = 3, 2 }},
		{"no heads", "heads is 0", func(n *Node) { n.Ints["heads"] = 0 }},
		{"negative window", "window is -1", func(n *Node) { n.Ints["window"] = -1 }},
		{"memory", "memory of 3", func(n *Node) { n.Ints["memory"] = 3 }},
		{"other keys", "input 1 (k) is [9 16]", func(n *Node) { n.In[1].Shape = []int{9, 16} }},
		{"bias of other heads", "input 3 (bias) is [3 10 10]", withBias(3)},
		{"float bias", "input 3 (bias) is float32", func(n *Node) { n.In[3] = Tensor{Float32, []int{1, 10, 10}} }},
		{"lengths", "input 4 (lengths)", func(n *Node) { n.In[4] = Tensor{Int64, []int{2}} }},
		{"seeds", "wanted a scalar", func(n *Node) { n.In[5] = Tensor{Int64, []int{2}} }},
		{"no place", "drop_keep", func(n *Node) { withSeed(n); n.Ints["drop_keep"] = -1 }},
		{"no lse", "output 1 (lse) is missing", func(n *Node) { n.Out = n.Out[:1] }},
		{"more outputs", "no output 2", func(n *Node) { n.Out = append(n.Out, n.Out[0]) }},
	} {
		forward, _ := flashNodes(1, 10, 10, 2, 2, 8, 8, c.change)
		if _, err := PlanFor(forward); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, wanted …%s…", c.what, err, c.want)
		}
	}
	_, grad := flashNodes(1, 10, 10, 2, 2, 8, 8, withBias(2))
	grad.Out = grad.Out[:3]
	if _, err := PlanFor(grad); err == nil || !strings.Contains(err.Error(), "output 3 (dbias) is missing") {
		t.Errorf("a gradient without dbias: %v", err)
	}
}

// All kernels compile for GPUs with and without instructions of warpgroups, with whatever is optional, at every layout of a tile.
func TestAttentionCompiles(t *testing.T) {
	both := func(n *Node) { withSeed(n); withBias(1)(n) }
	var nodes []Node
	for _, c := range []struct {
		dk, dv int
		change func(n *Node)
	}{{64, 64, nil}, {64, 64, both}, {10, 13, withBias(2)}, {48, 32, nil}, {128, 128, withSeed}} {
		forward, grad := flashNodes(2, 100, 100, 2, 2, c.dk, c.dv, c.change)
		nodes = append(nodes, forward, grad)
	}
	for _, c := range []struct {
		dk, dv int
		change func(n *Node)
	}{{64, 64, nil}, {32, 64, both}, {128, 128, withSeed}} {
		_, grad := flashNodes(64, 100, 100, 2, 2, c.dk, c.dv, c.change)
		grad.Ints["causal"], grad.Shared = 1, 227<<10
		nodes = append(nodes, grad)
	}
	compiled(t, "9.0", nodes)
	compiled(t, "8.0", nodes)
}

func TestSourceIncludes(t *testing.T) {
	source, err := Source("attention_dq.cu")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"u32 pack_bf16(", "u32 fifth(", "struct Tile {", "attention_dq(PARAMS"} {
		if n := strings.Count(source, part); n != 1 {
			t.Errorf("%q is %d times in the source, wanted once", part, n)
		}
	}
	if strings.Contains(source, "#include") {
		t.Error("the source still includes")
	}
	if _, err := Source("nothing.cu"); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a source that is not there: %v", err)
	}
}
