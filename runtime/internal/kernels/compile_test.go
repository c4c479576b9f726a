package kernels

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"march/runtime/internal/nvrtc"
)

// everyMacro is nodes whose kernels have, between them, each value of each macro, and of norm.cu's and loss.cu's layouts
// of a row some small, usual and the largest ones.
func everyMacro() (nodes []Node) {
	add := func(op string, in, out []Tensor, ints map[string]int, kind string) {
		nodes = append(nodes, Node{Op: op, Ints: ints, Strings: map[string]string{"kind": kind}, In: in, Out: out})
	}
	for _, t := range []Type{Float32, BFloat16} {
		for _, weight := range []Type{Float32, BFloat16} {
			if t == Float32 && weight == BFloat16 {
				continue
			}
			for _, d := range []int{1, 512, 1001, 8192} {
				x, w := tensor(t, 9, d), tensor(weight, d)
				add("Normalize", []Tensor{x, w}, []Tensor{x, f32(9, 2)}, nil, "")
				add("NormalizeGrad", []Tensor{x, w, f32(9, 2), x}, []Tensor{x, f32(d), f32(d)}, nil, "")
				if weight == Float32 {
					add("SoftmaxGrad", []Tensor{x, x}, []Tensor{x}, nil, "")
				}
			}
		}
		for _, columns := range []int{64, 65} {
			x := tensor(t, 99, columns)
			for _, kind := range activations {
				if kind != "gelu" && (t == Float32 || columns != 64) {
					continue // the others' code differs no more than this one's
				}
				add("ActivateGrad", []Tensor{x, x}, []Tensor{x, f32(columns)}, nil, kind)
			}
			add("ColumnSum", []Tensor{x}, []Tensor{f32(columns)}, nil, "")
			add("EmbeddingSum", []Tensor{i64(99), x}, []Tensor{f32(50, columns)}, map[string]int{"rows": 50}, "")
		}
		for _, vocab := range []int{1, 16384, 65536, 70000} {
			h, table := tensor(t, 9, 8), tensor(t, vocab, 8)
			add("FusedLossHead", []Tensor{h, table, f32(vocab), i64(9)}, []Tensor{f32(), h, f32(vocab, 8), f32(vocab)}, nil, "")
		}
		add("DropoutMaskOf", []Tensor{i64()}, []Tensor{tensor(t, 9)}, dropPlace(), "")
	}
	for _, out := range []Type{Float32, BFloat16} {
		x, w := half(4096, 512), half(512, 512)
		add("Projections", []Tensor{x, w}, []Tensor{tensor(out, 4096, 512)}, nil, "")
		add("ProjectionsGrad", []Tensor{x, absent, x, w}, []Tensor{tensor(out, 4096, 512), f32(512, 512), f32(512)}, nil, "")
	}
	add("SumSquares", []Tensor{f32(9)}, []Tensor{f32()}, nil, "")
	for decay := range 2 {
		n := adamNode()
		n.Ints = map[string]int{"decay": decay}
		nodes = append(nodes, n)
	}
	return nodes
}

// compiled compiles what the nodes launch, each source once with the same macros, for a generation of GPUs. Where NVRTC is not
// there the test is skipped, unless MARCH_TEST_NVRTC asks for it (make test-kernels).
func compiled(t *testing.T, capability string, nodes []Node) {
	t.Helper()
	compiler, err := nvrtc.Open(capability)
	if err != nil {
		if os.Getenv("MARCH_TEST_NVRTC") != "" {
			t.Fatal(err)
		}
		t.Skip("make test-kernels brings it along: ", err)
	}
	seen := map[string]bool{}
	for _, n := range nodes {
		p := planOf(t, n)
		if p.Elsewhere != nil && capability != "9.0" {
			p = *p.Elsewhere
		}
		for _, step := range p.Steps {
			l, ok := step.(Launch)
			key := fmt.Sprint(l.Source, l.Defines)
			if !ok || seen[key] {
				continue
			}
			seen[key] = true
			source, err := Source(l.Source)
			if err == nil {
				_, err = compiler.Compile(l.Source, source, l.Defines)
			}
			if err != nil {
				t.Errorf("%s for %s: %v", l.Kernel, capability, err)
			}
		}
	}
}

// TestArguments: what planners give a kernel is what it takes, in number, order and size.
func TestArguments(t *testing.T) {
	nodes, seen := everyMacro(), 0
	for _, n := range nodes {
		for _, step := range planOf(t, n).Steps {
			l, ok := step.(Launch)
			if !ok {
				continue
			}
			source, err := Source(l.Source)
			if err != nil {
				t.Fatal(err)
			}
			found := regexp.MustCompile(`__global__[^;{}]*?\b` + l.Kernel + `\(([^{]*)\) \{`).FindStringSubmatch(source)
			if found == nil {
				continue // made by a macro
			}
			seen++
			var want, got []string
			for _, parameter := range strings.Split(found[1], ",") {
				switch {
				case strings.Contains(parameter, " Map "):
					want = append(want, "map")
				case strings.Contains(parameter, "*"), strings.Contains(parameter, "long long"):
					want = append(want, "8 bytes")
				case strings.Contains(parameter, "int "), strings.Contains(parameter, "u32 "), strings.Contains(parameter, "float "):
					want = append(want, "4 bytes")
				default:
					want = append(want, strings.TrimSpace(parameter))
				}
			}
			for _, a := range l.Args {
				if a.Rows > 0 {
					got = append(got, "map")
				} else {
					got = append(got, fmt.Sprintf("%d bytes", a.Size))
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s of %s:\ngot    %v\nwanted %v", l.Kernel, n.Op, got, want)
			}
		}
	}
	if seen < 10 {
		t.Errorf("%d kernels found: the test no longer reads the sources", seen)
	}
}

// TestCompiles compiles each source with all that planners define, for the GPU that the kernels are written for, and what
// asks for the architecture without that one's own instructions.
func TestCompiles(t *testing.T) {
	nodes := everyMacro()
	compiled(t, "9.0", nodes)
	compiled(t, "8.0", slices.DeleteFunc(nodes, func(n Node) bool { return n.Op != "EmbeddingSum" }))
}
