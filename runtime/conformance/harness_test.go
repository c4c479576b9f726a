package conformance

import (
	"flag"
	"fmt"
	"math"
	"os"
	"testing"

	"march/graphgen"
	"march/runtime"
	"march/trainloop/rng"
)

// rt is the runtime that all tests share, on the device that MARCH_TEST_DEVICE names.
var rt *runtime.Runtime

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		device, err := runtime.ParseDevice(os.Getenv("MARCH_TEST_DEVICE"))
		if device.Kind == "auto" {
			device.Kind = "cpu"
		}
		if err == nil {
			rt, err = runtime.Open(runtime.Options{Device: device, Threads: 2})
		}
		if err != nil {
			if device.Kind == "cuda" {
				fmt.Println("skipped: no such device here:", err)
				return 0
			}
			fmt.Println(err)
			return 1
		}
		defer rt.Close()
		return m.Run()
	}())
}

// loaded is a compiled graph with memory for its inputs and outputs.
type loaded struct {
	t       testing.TB
	binding *runtime.Binding
	tensor  map[string]*runtime.Tensor
}

var elementTypes = map[graphgen.DType]runtime.ElementType{
	graphgen.Float32: runtime.Float32, graphgen.Float64: runtime.Float64, graphgen.Int64: runtime.Int64, graphgen.Bool: runtime.Bool,
}

// encode compiles and encodes a graph.
func encode(t testing.TB, g *graphgen.Graph, target graphgen.Target, further ...func(*graphgen.Graph) *graphgen.Graph) []byte {
	t.Helper()
	if target == graphgen.Fused && rt.GPU() != "" {
		g.ForGPU()
	}
	p, err := g.Compile(target, further...)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Encode(graphgen.EncodeOptions{Name: "conformance"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// load compiles a graph and binds every input and output. sizes gives the dimensions of
// inputs and outputs that are dynamic, by name; shared binds an output to an input's memory.
func load(t testing.TB, g *graphgen.Graph, target graphgen.Target, o loadOptions) *loaded {
	t.Helper()
	r := o.runtime
	if r == nil {
		r = rt
	}
	s, err := r.SessionBytes(encode(t, g, target, o.passes...), runtime.SessionOptions{Optimization: o.optimization, Whole: o.sizes == nil, Kernels: target == graphgen.Fused})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	l := &loaded{t: t, tensor: map[string]*runtime.Tensor{}}
	in, out := map[string]*runtime.Tensor{}, map[string]*runtime.Tensor{}
	make := func(name string, d graphgen.DType, s graphgen.Shape) *runtime.Tensor {
		if given, ok := o.sizes[name]; ok {
			s = given
		}
		shape := make([]int64, len(s))
		for i, n := range s {
			shape[i] = int64(n)
		}
		x, err := r.NewTensor(elementTypes[d], shape...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		l.tensor[name] = x
		return x
	}
	for _, x := range g.Inputs() {
		in[x.Name()] = make(x.Name(), x.DType(), x.Shape())
	}
	for _, x := range g.Outputs() {
		if input, ok := o.shared[x.Name]; ok {
			out[x.Name], l.tensor[x.Name] = in[input], in[input]
			continue
		}
		out[x.Name] = make(x.Name, x.Tensor.DType(), x.Tensor.Shape())
	}
	if l.binding, err = s.Bind(in, out); err != nil {
		t.Fatal(err)
	}
	return l
}

type loadOptions struct {
	runtime      *runtime.Runtime // nil: rt
	optimization string
	sizes        map[string]graphgen.Shape
	shared       map[string]string // output → input
	passes       []func(*graphgen.Graph) *graphgen.Graph
}

// set uploads float64, int64 or bool values, rounded to the input's type.
func (l *loaded) set(name string, values any) {
	l.t.Helper()
	x, err := l.tensor[name], error(nil)
	switch v := values.(type) {
	case []float64:
		if x.Type() == runtime.Float32 {
			err = runtime.Upload(x, toFloat32(v))
		} else {
			err = runtime.Upload(x, v)
		}
	case []int64:
		err = runtime.Upload(x, v)
	case []bool:
		err = runtime.Upload(x, v)
	default:
		l.t.Fatalf("%s: values of type %T", name, values)
	}
	if err != nil {
		l.t.Fatalf("%s: %v", name, err)
	}
}

func (l *loaded) run() {
	l.t.Helper()
	if err := l.binding.Run(); err != nil {
		l.t.Fatal(err)
	}
}

// get downloads a floating-point tensor.
func (l *loaded) get(name string) []float64 {
	l.t.Helper()
	x := l.tensor[name]
	v, err := make([]float64, x.Len()), error(nil)
	if x.Type() == runtime.Float32 {
		single := make([]float32, x.Len())
		err = runtime.Download(x, single)
		for i, f := range single {
			v[i] = float64(f)
		}
	} else {
		err = runtime.Download(x, v)
	}
	if err != nil {
		l.t.Fatalf("%s: %v", name, err)
	}
	return v
}

// ints downloads an int64 tensor.
func (l *loaded) ints(name string) []int64 {
	l.t.Helper()
	v := make([]int64, l.tensor[name].Len())
	if err := runtime.Download(l.tensor[name], v); err != nil {
		l.t.Fatalf("%s: %v", name, err)
	}
	return v
}

func toFloat32(v []float64) []float32 {
	single := make([]float32, len(v))
	for i, f := range v {
		single[i] = float32(f)
	}
	return single
}

// normals are n standard normal numbers, cut off at ±2.5, that depend on the words alone.
func normals(n int, words ...string) []float64 {
	keys := make([]uint64, len(words))
	for i, w := range words {
		keys[i] = rng.Name(w)
	}
	s, v := rng.New(keys...), make([]float64, n)
	for i := range v {
		v[i] = max(-2.5, min(2.5, s.NormalAt(uint64(i))))
	}
	return v
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

// largest is the largest magnitude; NaN if there is one.
func largest(v []float64) float64 {
	m := 0.0
	for _, x := range v {
		if x = math.Abs(x); x > m || math.IsNaN(x) {
			m = x
		}
	}
	return m
}

// apart is the largest difference as a share of the largest value wanted.
func apart(got, want []float64) float64 {
	d := make([]float64, len(want))
	for i := range want {
		d[i] = got[i] - want[i]
	}
	return largest(d) / max(largest(want), 1e-300)
}
