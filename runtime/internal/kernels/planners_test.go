package kernels

import (
	"fmt"
	"strings"
	"testing"
)

func tensor(t Type, shape ...int) Tensor { return Tensor{t, shape} }

func f32(shape ...int) Tensor  { return tensor(Float32, shape...) }
func half(shape ...int) Tensor { return tensor(BFloat16, shape...) }
func i64(shape ...int) Tensor  { return tensor(Int64, shape...) }

var absent Tensor

func TestLayoutCoversRows(t *testing.T) {
	for _, typ := range []Type{Float32, BFloat16} {
		for _, most := range []int{16, 32} {
			for columns := 1; columns <= maxNormColumns; columns++ {
				l := layoutOf(typ, columns, most)
				if l.items*l.lanes*l.vec < columns || l.lanes%32 != 0 || l.lanes > 1024 || columns%l.vec != 0 {
					t.Fatalf("%v rows of %d: %+v", typ, columns, l)
				}
				if l.lanes == 32 && l.items*l.vec > most || l.lanes > 32 && l.items*l.vec > 8 {
					t.Fatalf("%v rows of %d: %+v keeps too much in registers", typ, columns, l)
				}
			}
		}
	}
}

func TestCutCoversMatrix(t *testing.T) {
	for _, rows := range []int{1, 7, 8, 130, 16384, 1 << 20} {
		for _, columns := range []int{1, 8, 31, 512, 2048, 50000} {
			for _, vec := range []int{1, 8} {
				s := cut(rows, columns, vec, 3)
				if s.across*32*vec < columns || s.down*s.span < rows || (s.down-1)*s.span >= rows || s.down > 65535 {
					t.Errorf("[%d,%d] in accesses of %d: %+v", rows, columns, vec, s)
				}
			}
		}
	}
}

func TestNormGrids(t *testing.T) {
	for _, rows := range []int{1, 8, 9, 16384} {
		for _, d := range []int{7, 512, 2048} {
			n := Node{Op: "Normalize", In: []Tensor{half(rows, d), f32(d), f32(d), half(rows, d)}, Out: []Tensor{half(rows, d), f32(rows, 2), half(rows, d)}}
			l := planOf(t, n).Steps[0].(Launch)
			if groups := layoutOf(BFloat16, d, 32).groups(); l.Grid[0]*groups < rows || (l.Grid[0]-1)*groups >= rows {
				t.Errorf("[%d,%d]: a grid of %v", rows, d, l.Grid)
			}
			n = Node{Op: "NormalizeGrad", In: []Tensor{half(rows, d), f32(d), f32(rows, 2), half(rows, d)}, Out: []Tensor{half(rows, d), f32(d), f32(d)}}
			p := planOf(t, n)
			if blocks := p.Steps[0].(Launch).Grid[0]; p.Scratch != blocks*2*d*4 {
				t.Errorf("[%d,%d]: %d bytes of scratch for %d blocks", rows, d, p.Scratch, blocks)
			}
		}
	}
}

// Numbers that a source and its planner must share.
func TestSourcesAgree(t *testing.T) {
	for _, c := range []struct{ file, text string }{
		{"norm.cu", fmt.Sprintf("#if LANES == 32\n#define GROUPS %d\n", rowLayout{lanes: 32}.groups())},
		{"norm.cu", fmt.Sprintf("#else\n#define GROUPS %d\n", rowLayout{lanes: 64}.groups())},
		{"embedding.cu", fmt.Sprintf("#define OWN %d\n", own)},
		{"product.cu", fmt.Sprintf("#define STEP %d ", sumStep)},
		{"product.cu", fmt.Sprintf("#define ROWS %d ", tileRows/2)},
		{"product.cu", fmt.Sprintf("#define COLUMNS %d ", tileColumns)},
		{"product.cu", fmt.Sprintf("__launch_bounds__(%d, 1)", tileThreads)},
	} {
		if source, err := Source(c.file); err != nil || !strings.Contains(source, c.text) {
			t.Errorf("%s lacks %q (%v)", c.file, c.text, err)
		}
	}
	for _, kind := range activations {
		if source, _ := Source("activation.cu"); !strings.Contains(source, "struct "+kind+" {") {
			t.Errorf("activation.cu lacks %s", kind)
		}
	}
}

func TestElementwiseGrids(t *testing.T) {
	for _, count := range []int{1, 7, 8, 2047, 2048, 2049, 1 << 25} {
		n := Node{Op: "Activate", Strings: map[string]string{"kind": "silu"}, In: []Tensor{half(count)}, Out: []Tensor{half(count)}}
		l := planOf(t, n).Steps[0].(Launch)
		if threads := l.Grid[0] * l.Block[0]; threads < count/8+count%8 {
			t.Errorf("%d elements: %d threads", count, threads)
		}
	}
}

func lossNode(rows, d, vocab, chunk int, bias bool) Node {
	n := Node{Op: "FusedLossHead", Ints: map[string]int{"rows": chunk},
		In:  []Tensor{half(rows, d), half(vocab, d), absent, i64(rows), f32(vocab, d)},
		Out: []Tensor{f32(), half(rows, d), f32(vocab, d)}}
	if bias {
		n.In[2] = f32(vocab)
		n.Out = append(n.Out, f32(vocab))
	}
	return n
}

// Chunks cover each row once; each lies behind the last in all tensors; the gradient of the table starts from its addend
// and is added to from then on.
func TestLossHeadChunks(t *testing.T) {
	for _, c := range []struct{ rows, chunk, vocab int }{{16384, 0, 16384}, {100, 7, 37}, {5, 100, 70001}, {4096, 0, 50257}} {
		const d = 16
		p := planOf(t, lossNode(c.rows, d, c.vocab, c.chunk, true))
		next, chunks := 0, 0
		for i, s := range p.Steps {
			l, ok := s.(Launch)
			if !ok || !strings.HasPrefix(l.Kernel, "loss_") {
				continue
			}
			logits, dh, dtable := p.Steps[i-1].(Product), p.Steps[i+1].(Product), p.Steps[i+2].(Product)
			count := l.Grid[0]
			if logits.M != count || dh.M != count || dtable.K != count {
				t.Errorf("%+v: products of %d, %d, %d rows in a chunk of %d", c, logits.M, dh.M, dtable.K, count)
			}
			if at := uint64(next * d * 2); logits.A.Bits != at || dh.D.Bits != at || dtable.B.Bits != at || l.Args[1].Bits != uint64(next*8) {
				t.Errorf("%+v: the chunk from row %d lies elsewhere", c, next)
			}
			if first := next == 0; dtable.Accumulate == first || (dtable.C == In(4)) != first {
				t.Errorf("%+v: at row %d dtable has the addend %+v, adds %v", c, next, dtable.C, dtable.Accumulate)
			}
			if logits.LDD%8 != 0 || logits.LDD < c.vocab || logits.LDD*count*2 > l.Args[2].Index {
				t.Errorf("%+v: logits [%d,%d] reach into the losses at %d", c, count, logits.LDD, l.Args[2].Index)
			}
			next += count
			chunks++
		}
		if next != c.rows || c.chunk > 0 && chunks != (c.rows+c.chunk-1)/c.chunk {
			t.Errorf("%+v: %d chunks have %d rows", c, chunks, next)
		}
	}
}

func TestLossRowsCoverVocabulary(t *testing.T) {
	for _, typ := range []Type{Float32, BFloat16} {
		for _, vocab := range []int{1, 37, 2048, 16384, 32000, 50257, 65536, 70001, 262144} {
			l := lossRows(typ, 1, vocab, Round(vocab, typ.pack()), In(3), Scratch(0)).(Launch)
			if l.Kernel == "loss_long_rows" {
				if vocab <= 8*1024*typ.pack() {
					t.Errorf("%v: %d fit registers", typ, vocab)
				}
				continue
			}
			var items, threads int
			for _, d := range l.Defines {
				switch name, value, _ := strings.Cut(d, "="); name {
				case "ITEMS":
					items = atoi(t, value)
				case "THREADS":
					threads = atoi(t, value)
				}
			}
			if threads != l.Block[0] || items*threads*typ.pack() < vocab || items > 8 {
				t.Errorf("%v: %d columns, %d items of %d threads, a block of %v", typ, vocab, items, threads, l.Block)
			}
		}
	}
}

func atoi(t *testing.T, s string) (n int) {
	for _, c := range s {
		if c < '0' || c > '9' {
			t.Fatalf("%q is no number", s)
		}
		n = 10*n + int(c-'0')
	}
	return n
}

func TestEmbeddingSumOrders(t *testing.T) {
	n := Node{Op: "EmbeddingSum", Ints: map[string]int{"rows": 50}, In: []Tensor{i64(3, 4), half(12, 520), f32(50, 520)}, Out: []Tensor{f32(50, 520)}}
	if _, ok := planOf(t, n).Steps[0].(Copy); !ok {
		t.Error("the addend is not where the sums are added")
	}
	n.In[2] = absent
	if z, ok := planOf(t, n).Steps[0].(Zero); !ok || z.Bytes != 50*520*4 {
		t.Error("sums do not start from zero")
	}
	n.Ints["deterministic"] = 1
	l := planOf(t, n).Steps[0].(Launch)
	if l.Grid[0]*own < 50 || l.Grid[1]*l.Block[0]*8 < 520 || l.Shared != own*l.Block[0]*8*4 || l.Shared > 48<<10 {
		t.Errorf("%+v", l)
	}
}

// adamNode is an optimizer step of nine parameters.
func adamNode() Node {
	one, p := f32(), f32(9)
	return Node{Op: "AdamWStep", In: []Tensor{p, p, p, p, one, one, one, one, one, one, one, tensor(Bool), one}, Out: []Tensor{p, p, p}}
}

// dropPlace is constants of a place of dropout.
func dropPlace() map[string]int {
	return map[string]int{"drop_fk": 5, "drop_tk": 0, "drop_fa": 7, "drop_ta": 2147483647, "drop_fb": 1, "drop_tb": 2, "drop_keep": 100}
}

func TestRefusals(t *testing.T) {
	gelu := map[string]string{"kind": "gelu"}
	adam := adamNode().In
	for _, c := range []struct {
		n    Node
		want string
	}{
		{Node{Op: "Normalize", In: []Tensor{half(2, 9000), f32(9000)}, Out: []Tensor{half(2, 9000), f32(2, 2)}}, "rows of 9000: a block keeps at most 8192"},
		{Node{Op: "Normalize", In: []Tensor{half(2, 8), f32(7)}, Out: []Tensor{half(2, 8), f32(2, 2)}}, "input 1 (weight) is [7], wanted [8]"},
		{Node{Op: "Normalize", In: []Tensor{i64(2, 8), f32(8)}, Out: []Tensor{i64(2, 8), f32(2, 2)}}, "input 0 (x) is int64, wanted float32 or bfloat16"},
		{Node{Op: "Normalize", In: []Tensor{half(2, 8), f32(8)}, Out: []Tensor{half(2, 8)}}, "output 1 (stats) is missing"},
		{Node{Op: "Normalize", In: []Tensor{half(2, 8), f32(8), absent, half(2, 8)}, Out: []Tensor{half(2, 8), f32(2, 2)}}, "output 2 (sum) is missing"},
		{Node{Op: "NormalizeGrad", Ints: map[string]int{"rms": 1}, In: []Tensor{half(2, 8), f32(8), f32(2, 2), half(2, 8), absent, absent, f32(8)}, Out: []Tensor{half(2, 8), f32(8)}}, "RMS has no bias"},
		{Node{Op: "NormalizeGrad", In: []Tensor{half(2, 8), f32(8), f32(2, 2), half(2, 8)}, Out: []Tensor{half(2, 8), f32(8)}}, "output 2 (dbias) is missing"},
		{Node{Op: "SoftmaxGrad", In: []Tensor{half(2, 9000), half(2, 9000)}, Out: []Tensor{half(2, 9000)}}, "rows of 9000: a block keeps at most 8192"},
		{Node{Op: "SoftmaxGrad", In: []Tensor{half(2, 8), f32(2, 8)}, Out: []Tensor{half(2, 8)}}, "input 1 (dy) is float32, wanted bfloat16"},
		{Node{Op: "Activate", Strings: map[string]string{"kind": "mish"}, In: []Tensor{half(8)}, Out: []Tensor{half(8)}}, `kind "mish" is not one of [relu`},
		{Node{Op: "ActivateGrad", Strings: gelu, In: []Tensor{half(2, 8), half(2, 8), f32(8)}, Out: []Tensor{half(2, 8)}}, "input 2 (addend) belongs to an output"},
		{Node{Op: "Gate", Strings: gelu, In: []Tensor{half(2, 8), half(2, 7)}, Out: []Tensor{half(2, 8)}}, "input 1 (up) is [2 7], wanted [2 8]"},
		{Node{Op: "GateGrad", Strings: gelu, In: []Tensor{half(2, 8), half(2, 8), half(2, 8)}, Out: []Tensor{half(2, 8), half(2, 8), f32(8)}}, "output 3 (sums of dup) is missing"},
		{Node{Op: "ColumnSum", In: []Tensor{half(2, 8)}, Out: []Tensor{half(8)}}, "output 0 (sums) is bfloat16, wanted float32"},
		{Node{Op: "Projections", In: projectionsNode(8, 8, false, 8, 8).In, Out: []Tensor{half(8, 8), f32(8, 8)}}, "output 1 (y) is float32, wanted bfloat16"},
		{Node{Op: "Projections", In: []Tensor{half(8, 8), half(8, 9)}, Out: []Tensor{half(8, 8)}}, "input 1 (w) is [8 9], wanted [8 8]"},
		{Node{Op: "ProjectionsGrad", In: gradientsNode(8, 8, true, 8, 8).In, Out: gradientsNode(8, 8, true, 8, 8).Out[:4]}, "10 inputs and 4 outputs, wanted"},
		{Node{Op: "ProjectionsGrad", In: gradientsNode(8, 8, false, 8, 8).In, Out: []Tensor{half(8, 8), f32(8, 8), half(8, 8)}}, "output 2 (dw) is bfloat16, wanted float32"},
		{Node{Op: "SumSquares", In: []Tensor{f32(8)}, Out: []Tensor{f32(8)}}, "wanted a scalar"},
		{Node{Op: "SumSquares", In: []Tensor{f32(0)}, Out: []Tensor{f32()}}, "has no elements"},
		{Node{Op: "FusedLossHead", Ints: map[string]int{"rows": -1}, In: lossNode(8, 8, 8, 0, false).In, Out: lossNode(8, 8, 8, 0, false).Out}, "chunks of -1 rows"},
		{Node{Op: "FusedLossHead", In: []Tensor{half(4, 8), half(9, 7), absent, i64(4)}, Out: []Tensor{f32(), half(4, 8), f32(9, 7)}}, "input 1 (table) is [9 7], wanted [9 8]"},
		{Node{Op: "EmbeddingSum", Ints: map[string]int{"rows": 5}, In: []Tensor{i64(4), half(3, 8)}, Out: []Tensor{f32(5, 8)}}, "ids [4] for rows [3 8]"},
		{Node{Op: "AdamWStep", In: adam[:12], Out: []Tensor{f32(9), f32(9), f32(9)}}, "input 12 (keep) is missing"},
		{Node{Op: "AdamWStep", In: adam, Out: []Tensor{f32(9), f32(9), f32(9), f32(9)}}, "output 3 (p in bfloat16) is float32"},
		{Node{Op: "DropoutApply", Ints: map[string]int{}, In: []Tensor{half(9), i64()}, Out: []Tensor{half(9)}}, "the attribute drop_fk"},
		{Node{Op: "DropoutMaskOf", Ints: dropPlace(), In: []Tensor{i64()}, Out: []Tensor{half(1<<31 - 1)}}, "a mask has fewer"},
	} {
		if _, err := PlanFor(c.n); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "kernel "+c.n.Op) {
			t.Errorf("%s: %v, wanted %q", c.n.Op, err, c.want)
		}
	}
}

// What is left out is null to a kernel, whether or not the list of inputs reaches that far.
func TestAbsentInputsAreNull(t *testing.T) {
	n := Node{Op: "Normalize", In: []Tensor{half(2, 8), f32(8)}, Out: []Tensor{half(2, 8), f32(2, 2)}}
	if args := planOf(t, n).Steps[0].(Launch).Args; args[2] != null || args[3] != null || args[6] != null {
		t.Errorf("%+v", args)
	}
}

func TestPlus(t *testing.T) {
	if a := Scratch(256).Plus(64); a.Index != 320 {
		t.Errorf("%+v", a)
	}
	if a := Out(2).Plus(64).Plus(8); a.Index != 2 || a.Bits != 72 {
		t.Errorf("%+v", a)
	}
}
