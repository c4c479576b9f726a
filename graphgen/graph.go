package graphgen

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// Graph holds tensors and the nodes between them, in an order in which they can run.
//
// Nodes are shared by construction: asking twice for the same operator on the same
// inputs gives the same tensor. So casts, transposes and masks are computed once
// however many layers ask, and a gradient that rebuilds what the forward pass has costs nothing.
type Graph struct {
	inputs  []*Tensor
	outputs []Output
	nodes   []*Node
	tensors int
	unique  map[string][]*Tensor // key of a node or constant → its outputs
	symbols []symbol
	scope   []string
	gpu     bool // see ForGPU
	blocks  int  // built by Recomputed
	block   int  // the one that is being built; 0: none
}

// Output is a named result of a graph.
type Output struct {
	Name   string
	Tensor *Tensor
}

// Node is one use of an operator.
type Node struct {
	Op    *Op
	In    []*Tensor // nil where an optional input is left out
	Out   []*Tensor
	Attrs Attrs
	Scope string // the place in the model that asked for it, such as decoder.3.attn
	block int    // that it belongs to, from 1 on ([Graph.Recomputed]); 0: none
}

func (n *Node) String() string {
	if n.Scope == "" {
		return n.Op.Name
	}
	return n.Scope + "/" + n.Op.Name
}

// symbol is a dimension that is known only when the graph runs.
type symbol struct {
	name    string
	factors []int // of a product
	terms   []int // of a sum; both nil for a plain symbol
}

// New returns an empty graph.
func New() *Graph { return &Graph{unique: map[string][]*Tensor{}} }

// ForGPU says that the graph is to run on a GPU: compiled graphs in float32 then compute what a GPU is
// quicker with and a CPU slower, and dropout's seeds have no parts ([DropoutPart]); and those of target fused, in bfloat16, too, have a GPU's kernels, others a CPU's. The results are the same to float32's rounding, but for the slopes of a GELU ([slopeFineness]).
func (g *Graph) ForGPU() { g.gpu = true }

// onGPU reports a large array in float32 of a graph for a GPU.
func (t *Tensor) onGPU() bool { return t.g.gpu && t.DType() == Float32 && t.large() }

// Inputs are the graph's inputs in the order of their declaration.
func (g *Graph) Inputs() []*Tensor { return g.inputs }

// Outputs are the graph's outputs in the order of their declaration.
func (g *Graph) Outputs() []Output { return g.outputs }

// Nodes are the graph's nodes, each behind those it depends on.
func (g *Graph) Nodes() []*Node { return g.nodes }

// Name is an input's name, "" for any other tensor.
func (t *Tensor) Name() string { return t.name }

// Symbol declares a dimension known only when the graph runs; an input must have it.
func (g *Graph) Symbol(name string) int {
	g.symbols = append(g.symbols, symbol{name: name})
	return -len(g.symbols)
}

// Product is the dimension a·b: a number where both are, else a symbol.
func (g *Graph) Product(a, b int) int {
	if a >= 0 && b >= 0 {
		return a * b
	}
	if a == 1 {
		return b
	}
	if b == 1 {
		return a
	}
	for i, s := range g.symbols {
		if len(s.factors) == 2 && s.factors[0] == a && s.factors[1] == b {
			return -i - 1
		}
	}
	g.symbols = append(g.symbols, symbol{name: g.formatDim(a) + "*" + g.formatDim(b), factors: []int{a, b}})
	return -len(g.symbols)
}

// Sum is the dimension a+b: a number where both are, else a symbol.
func (g *Graph) Sum(a, b int) int {
	if a >= 0 && b >= 0 {
		return a + b
	}
	for i, s := range g.symbols {
		if len(s.terms) == 2 && s.terms[0] == a && s.terms[1] == b {
			return -i - 1
		}
	}
	g.symbols = append(g.symbols, symbol{name: g.formatDim(a) + "+" + g.formatDim(b), terms: []int{a, b}})
	return -len(g.symbols)
}

func (g *Graph) formatDim(d int) string {
	if d < 0 && -d <= len(g.symbols) {
		return g.symbols[-d-1].name
	}
	return strconv.Itoa(d)
}

func (g *Graph) formatShape(s Shape) string {
	parts := make([]string, len(s))
	for i, d := range s {
		parts[i] = g.formatDim(d)
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// Input declares a graph input.
func (g *Graph) Input(name string, d DType, shape ...int) *Tensor {
	g.newName("input", name)
	g.wantSizes("input "+strconv.Quote(name), shape)
	t := g.tensor(Type{d, shape})
	t.name = name
	g.inputs = append(g.inputs, t)
	return t
}

// Output declares a graph output.
func (g *Graph) Output(name string, t *Tensor) {
	g.newName("output", name)
	g.outputs = append(g.outputs, Output{name, t})
}

// wantSizes fails unless each dimension is a size or a symbol of the graph.
func (g *Graph) wantSizes(what string, shape Shape) {
	for i, n := range shape {
		if n == 0 || -n > len(g.symbols) {
			g.fail("%s: dimension %d is %d, wanted a size of at least 1 or a symbol", what, i, n)
		}
	}
}

// newName fails unless the name is free: inputs and outputs share one set of names.
func (g *Graph) newName(kind, name string) {
	if name == "" {
		g.fail("an %s without a name", kind)
	}
	for _, t := range g.inputs {
		if t.name == name {
			g.fail("%s %q: an input has that name", kind, name)
		}
	}
	for _, o := range g.outputs {
		if o.Name == name {
			g.fail("%s %q: an output has that name", kind, name)
		}
	}
}

// In puts what build asks for under a place in the model; places nest with dots.
func (g *Graph) In(place string, build func()) {
	g.scope = append(g.scope, place)
	defer func() { g.scope = g.scope[:len(g.scope)-1] }()
	build()
}

func (g *Graph) place() string { return strings.Join(g.scope, ".") }

func (g *Graph) tensor(t Type) *Tensor {
	g.tensors++
	return &Tensor{g: g, id: g.tensors, typ: t}
}

// Scalar is a constant of rank 0.
func (g *Graph) Scalar(d DType, v float64) *Tensor { return g.Fill(d, v) }

// Fill is a constant of the given shape filled with v.
func (g *Graph) Fill(d DType, v float64, shape ...int) *Tensor {
	if d.Float() {
		return g.constant(Type{d, shape}, &Value{Floats: []float64{v}})
	}
	return g.constant(Type{d, shape}, &Value{Ints: []int64{int64(v)}})
}

// Floats is a constant of rank 1, or of the given shape.
func (g *Graph) Floats(d DType, v []float64, shape ...int) *Tensor {
	if !d.Float() {
		g.fail("a constant of floating-point values cannot be %s", d)
	}
	if shape == nil {
		shape = []int{len(v)}
	}
	return g.constant(Type{d, shape}, &Value{Floats: v})
}

// Ints is an int64 constant of rank 1, or of the given shape.
func (g *Graph) Ints(v []int64, shape ...int) *Tensor {
	if shape == nil {
		shape = []int{len(v)}
	}
	return g.constant(Type{Int64, shape}, &Value{Ints: v})
}

func (g *Graph) constant(t Type, v *Value) *Tensor {
	n := max(len(v.Floats), len(v.Ints))
	if !t.Shape.Static() || n != 1 && n != t.Shape.Elements() {
		g.fail("a constant of shape %s cannot hold %d values", g.formatShape(t.Shape), n)
	}
	key := keyBuilder{'c'}
	key.number(int(t.DType))
	key.numbers(t.Shape)
	key.text(v.bits())
	if old, ok := g.unique[string(key)]; ok {
		return old[0]
	}
	c := g.tensor(t)
	c.value = v
	g.unique[string(key)] = []*Tensor{c}
	return c
}

// apply adds a node, or finds the equal one that is already there, and returns its outputs.
func (g *Graph) apply(name string, attrs Attrs, in ...*Tensor) []*Tensor {
	op := registry[name]
	key := append(make(keyBuilder, 0, 128), 'n')
	key.text(name)
	key.attrs(attrs)
	for i, t := range in {
		if t == nil {
			if !slices.Contains(op.Optional, i) {
				g.fail("%s: input %d is missing", op.Name, i)
			}
			key.number(-1)
			continue
		}
		if t.g != g {
			g.fail("%s: input %s belongs to another graph", op.Name, t)
		}
		key.number(t.id)
	}
	if out, ok := g.unique[string(key)]; ok {
		return out
	}
	n := &Node{Op: op, In: in, Attrs: attrs, Scope: g.place(), block: g.block}
	types := op.Infer(g, n)
	for i, t := range types {
		out := g.tensor(t)
		out.node, out.out = n, i
		n.Out = append(n.Out, out)
	}
	g.nodes = append(g.nodes, n)
	g.unique[string(key)] = n.Out
	return n.Out
}

// BuildError says what is wrong with a graph, where in the model, and where in the code.
type BuildError struct {
	Place   string // in the model: decoder.3.attn
	Message string
	Caller  string // file:line that asked for the node, for march's own developers
}

func (e *BuildError) Error() string {
	if e.Place == "" {
		return e.Message
	}
	return e.Place + ": " + e.Message
}

// fail panics with a BuildError; Build turns it into an error.
func (g *Graph) fail(format string, args ...any) {
	panic(&BuildError{Place: g.place(), Message: fmt.Sprintf(format, args...), Caller: callerOutside()})
}

// callerOutside names the nearest line outside this package's operator files.
func callerOutside() string {
	pc := make([]uintptr, 32)
	frames := runtime.CallersFrames(pc[:runtime.Callers(3, pc)])
	for {
		f, more := frames.Next()
		if !strings.Contains(f.Function, "march/graphgen.") {
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		if !more {
			return ""
		}
	}
}

// Build runs f and returns the BuildError of a graph that f built wrongly.
func Build(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*BuildError)
			if !ok {
				panic(r)
			}
			err = e
		}
	}()
	return f()
}
