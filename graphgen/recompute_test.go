package graphgen

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const testBlocks = 3

// blocks is a model of several blocks with dropout, whose second block's keys the last one reads
// too, computed anew or not.
func blocks(t *testing.T, d DType, anew, accumulate bool) *Graph {
	t.Helper()
	const rows, width, hidden, vocab = 32, 16, 64, 48
	g := New()
	err := Build(func() error {
		var params []*Tensor
		into := map[*Tensor]*Tensor{}
		param := func(name string, shape ...int) *Tensor {
			p := g.Input(name, Float32, shape...)
			params = append(params, p)
			if accumulate {
				into[p] = g.Input(name+".grad", Float32, shape...)
			}
			return Cast(p, d)
		}
		ids, labels, seed := g.Input("ids", Int64, rows), g.Input("labels", Int64, rows), g.Input("seed", Int64)
		table, shared := param("table", vocab, width), param("shared", width, width)
		x := Embedding(table, ids)
		var keys *Tensor
		for i := range testBlocks {
			g.In(fmt.Sprint("decoder.", i), func() {
				build := func() {
					name := func(s string) string { return fmt.Sprint("decoder.", i, ".", s) }
					h := LayerNorm(x, param(name("norm"), width), param(name("norm.bias"), width), 1e-5)
					q, k, v := Linear(h, shared, nil), Linear(h, param(name("wk"), width, width), nil), Linear(h, param(name("wv"), width, width), nil)
					if i == 1 {
						keys = k
					}
					if i == 2 {
						k = Add(k, Linear(keys, shared, nil))
					}
					mask := DropoutMask(seed, name("weights"), 0.1, d, 2, 2, 16, 16)
					y := Attention{Batch: 2, Queries: 16, Keys: 16, Heads: 2, Scale: 0.3, Causal: true}.Apply(q, k, v, AttentionInputs{Dropout: mask})
					y = Linear(y, param(name("wo"), width, width), param(name("bo"), width))
					x = Add(x, Mul(y, DropoutMask(seed, name("attn"), 0.1, d, rows, width)))
					h = RMSNorm(x, param(name("norm2"), width), 1e-5)
					h = Activation("gelu_tanh", Linear(h, param(name("up"), width, hidden), param(name("up.bias"), hidden)))
					x = Add(x, Linear(h, param(name("down"), hidden, width), nil))
				}
				if anew {
					g.Recomputed(build)
				} else {
					build()
				}
			})
		}
		loss := LossHead(x, table, nil, labels)
		g.Output("loss", loss)
		grads, err := Gradients(loss, params, into)
		if err != nil {
			return err
		}
		if accumulate {
			for i, p := range params {
				g.Output(p.Name()+".grad.new", grads[i])
			}
			return nil
		}
		s := AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Clip: 1}.Begin(grads, LabelCount(labels), g.Input("lr", Float32), g.Input("step", Int64))
		g.Output("norm", s.Norm)
		for i, p := range params {
			p2, m, v := s.Update(p, g.Input(p.Name()+".m", Float32, p.Shape()...), g.Input(p.Name()+".v", Float32, p.Shape()...), grads[i], false)
			for j, o := range []*Tensor{p2, m, v} {
				g.Output(fmt.Sprint(p.Name(), ".new", j), o)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestRecomputed: of a block's inside the gradients read only what is computed anew; a block is computed
// directly before its gradients, the products of its output and of what others read not again.
func TestRecomputed(t *testing.T) {
	for _, target := range Targets() {
		for _, d := range []DType{Float32, BFloat16} {
			for _, accumulate := range []bool{true, false} {
				name := fmt.Sprintf("%s, %s, accumulated %t", target, d, accumulate)
				p, err := blocks(t, d, true, accumulate).Compile(target)
				if err != nil {
					t.Fatal(name, err)
				}
				checkRecomputed(t, name, p)
				plain, err := blocks(t, d, false, accumulate).Compile(target)
				if err != nil {
					t.Fatal(name, err)
				}
				if with, without := p.Graph.Peak(), plain.Graph.Peak(); accumulate && with > without*3/4 {
					t.Errorf("%s: holds %d bytes, %d without", name, with, without)
				}
			}
		}
	}
}

func checkRecomputed(t *testing.T, name string, p *Program) {
	t.Helper()
	block := func(n *Node, prefix string) int {
		for i := range testBlocks {
			if n.Scope == fmt.Sprint(prefix, "decoder.", i) {
				return i
			}
		}
		return -1
	}
	inside := map[*Tensor]int{} // large tensors of blocks, by the number of gradients that read them
	products := map[string]int{}
	current := testBlocks // whose gradients are being computed
	for _, n := range p.Graph.nodes {
		for _, o := range n.Out {
			if block(n, "") >= 0 && o.Shape().Elements() >= 32*16 && o.DType().Float() && n.Op.Name != "Cast" {
				inside[o] = 0
			}
		}
		anew, grad := block(n, "anew."), block(n, "grad.")
		if anew >= 0 && anew != current {
			if anew != current-1 {
				t.Errorf("%s: %s follows block %d", name, n, current)
			}
			current = anew
		}
		if grad >= 0 && grad != current {
			t.Errorf("%s: %s runs beside block %d", name, n, current)
		}
		if anew >= 0 || grad >= 0 {
			for _, x := range n.In {
				if _, ok := inside[x]; ok {
					inside[x]++
				}
			}
		}
		switch {
		case anew >= 0 && (n.Op.Name == "Gemm" || n.Op.Name == "Linear"):
			products[n.Scope]++
		case anew >= 0 && n.Op.Name == "Projections":
			products[n.Scope] += len(n.Out)
		}
	}
	kept := map[int]int{}
	for x, readers := range inside {
		if readers > 0 {
			kept[block(x.node, "")]++
		}
	}
	// Of a block its output (the last one's only the loss reads) and of the second the keys that the third reads.
	if want := map[int]int{0: 1, 1: 2}; kept[0] > want[0] || kept[1] > want[1] || kept[2] > 0 {
		t.Errorf("%s: gradients read %v arrays of the blocks, wanted %v", name, kept, want)
	}
	// q, k, v, wo and up; of the second block not k, and in the last the product with the kept keys too.
	if products["anew.decoder.0"] != 5 || products["anew.decoder.1"] != 4 || products["anew.decoder.2"] != 6 {
		t.Errorf("%s: products computed anew: %v", name, products)
	}
	if p.Target == Portable {
		checkWaits(t, name, p.Graph, block)
	}
	checkOrder(t, name, p.Graph)
}

// checkWaits: whatever order a runtime takes, no block is computed anew before the gradients of all
// parameters of the block behind it.
func checkWaits(t *testing.T, name string, g *Graph, block func(*Node, string) int) {
	t.Helper()
	for i := range testBlocks - 1 {
		at := slices.IndexFunc(g.nodes, func(n *Node) bool { return n.Op.Name == "LayerNormalization" && block(n, "anew.") == i })
		before := ancestors(g.nodes[at])
		missing := 0
		for _, n := range g.nodes {
			if n.Op.Name == "Gemm" && n.Attrs.bool("transA") && block(n, "grad.") == i+1 && !before[n] && !strings.Contains(n.String(), "norm") {
				missing++
			}
		}
		if missing > 0 {
			t.Errorf("%s: block %d does not wait for %d products of the block behind it", name, i, missing)
		}
	}
}

// checkOrder: the order of a file for ONNX Runtime is one in which nodes can run, and read as ONNX Runtime
// does it holds hardly more than the graph's own.
func checkOrder(t *testing.T, name string, g *Graph) {
	t.Helper()
	file := New()
	file.nodes, file.outputs = g.runtimeOrder(), g.outputs
	at := map[*Node]int{}
	for i, n := range file.nodes {
		at[n] = i
		for _, x := range n.In {
			if x != nil && x.node != nil {
				if _, there := at[x.node]; !there {
					t.Fatalf("%s: %s stands before what it reads", name, n)
				}
			}
		}
	}
	if len(at) != len(g.nodes) {
		t.Fatalf("%s: %d nodes of %d", name, len(at), len(g.nodes))
	}
	run := New()
	run.nodes, run.outputs = depthFirst(file), g.outputs
	if own, got := g.Peak(), run.Peak(); got > own*5/4 {
		t.Errorf("%s: as ONNX Runtime runs it, %d bytes, %d in the graph's order", name, got, own)
	}
}

// depthFirst is the order in which ONNX Runtime runs a file's nodes (GraphViewer's default, reverse depth-first).
func depthFirst(g *Graph) (order []*Node) {
	at, read, done := map[*Node]int{}, map[*Node]bool{}, map[*Node]bool{}
	for i, n := range g.nodes {
		at[n] = i
		for _, t := range n.In {
			if t != nil {
				read[t.node] = true
			}
		}
	}
	var visit func(n *Node)
	visit = func(n *Node) {
		if done[n] {
			return
		}
		done[n] = true
		var in []*Node
		for _, t := range n.In {
			if t != nil && t.node != nil {
				in = append(in, t.node)
			}
		}
		slices.SortFunc(in, func(a, b *Node) int { return at[b] - at[a] })
		for _, p := range in {
			visit(p)
		}
		order = append(order, n)
	}
	for _, n := range slices.Backward(g.nodes) {
		if !read[n] {
			visit(n)
		}
	}
	return order
}

// TestRecomputedNested: a block within a block is an error at the place.
func TestRecomputedNested(t *testing.T) {
	err := Build(func() error {
		g := New()
		g.In("decoder.0", func() { g.Recomputed(func() { g.Recomputed(func() {}) }) })
		return nil
	})
	if err == nil || err.Error() != "decoder.0: a block that is computed anew within another" {
		t.Errorf("error %v", err)
	}
}
