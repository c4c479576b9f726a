package runtime

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
)

func TestInPlace(t *testing.T) {
	r := open(t, 2)
	const n = 10_000
	s := must[*Session](t)(r.SessionBytes(increment(n).encode(), SessionOptions{}))
	buf := must[*Buffer](t)(r.Alloc(3 * n * 4))
	x := must[*Tensor](t)(buf.Tensor(n*4, Float32, n)) // the middle third
	y := must[*Tensor](t)(buf.Tensor(n*4, Float32, n)) // another view of it
	for name, out := range map[string]*Tensor{"same tensor": x, "same memory": y} {
		b := must[*Binding](t)(s.Bind(map[string]*Tensor{"x": x}, map[string]*Tensor{"y": out}))
		if err := buf.Zero(); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if err := b.Run(); err != nil {
				t.Fatal(err)
			}
		}
		got := make([]float32, 3*n)
		all := must[*Tensor](t)(buf.Tensor(0, Float32, 3*n))
		if err := Download(all, got); err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			want := float32(0) // what lies around it is not touched
			if i >= n && i < 2*n {
				want = 100
			}
			if v != want {
				t.Fatalf("%s: element %d is %v after 100 runs, want %v", name, i, v, want)
			}
		}
	}
}

// An upload between runs reaches the next one: inputs are not copied.
func TestUploadBetweenRuns(t *testing.T) {
	r := open(t, 1)
	s := must[*Session](t)(r.SessionBytes(checkModel, SessionOptions{}))
	x, y := must[*Tensor](t)(r.NewTensor(Float32, 4)), must[*Tensor](t)(r.NewTensor(Float32, 4))
	b := must[*Binding](t)(s.Bind(map[string]*Tensor{"x": x}, map[string]*Tensor{"y": y}))
	for i := range 5 {
		v := float32(i)
		got := make([]float32, 4)
		if err := Upload(x, []float32{v, v, v, v}); err != nil {
			t.Fatal(err)
		}
		if err := b.Run(); err != nil {
			t.Fatal(err)
		}
		if err := Download(y, got); err != nil || got[3] != v+1 {
			t.Errorf("run %d: %v, %v", i, got, err)
		}
	}
}

func TestBindRefuses(t *testing.T) {
	r := open(t, 1)
	s := must[*Session](t)(r.SessionBytes(twoSided().encode(), SessionOptions{}))
	tensor := func(typ ElementType, shape ...int64) *Tensor { return must[*Tensor](t)(r.NewTensor(typ, shape...)) }
	in := map[string]*Tensor{"x": tensor(Float32, 2, 3), "scale": tensor(Float32), "mask": tensor(Int64, 2, 3), "axis": tensor(Int64, 1)}
	out := map[string]*Tensor{"y": tensor(Float32, 2, 3), "n": tensor(Int64, 2), "sum": tensor(Float32)}
	if err := Upload(in["axis"], []int64{1}); err != nil {
		t.Fatal(err)
	}
	other := must[*Runtime](t)(Open(Options{Threads: 1}))
	defer other.Close()
	closed := tensor(Float32, 2, 3)
	closed.Close()
	shared := must[*Buffer](t)(r.Alloc(1024))

	for _, test := range []struct {
		name    string
		in, out map[string]*Tensor // changes; a nil tensor under the key "-name" takes it away
		want    []string
	}{
		{"all right", nil, nil, nil},
		{"outputs that are not wanted", nil, map[string]*Tensor{"-n": nil, "-sum": nil}, nil},
		{"missing input", map[string]*Tensor{"-mask": nil}, nil, []string{"1 of 4 inputs", "mask int64[B S]"}},
		{"no input", map[string]*Tensor{"-mask": nil, "-x": nil, "-scale": nil, "-axis": nil}, nil, []string{"4 of 4"}},
		{"no output", nil, map[string]*Tensor{"-n": nil, "-sum": nil, "-y": nil}, []string{"no output", "y, n, sum"}},
		{"unknown input", map[string]*Tensor{"tokens": in["x"]}, nil, []string{`no input "tokens"`, "x, scale, mask, axis"}},
		{"unknown output", nil, map[string]*Tensor{"loss": out["y"]}, []string{`no output "loss"`, "y, n, sum"}},
		{"an output's name among the inputs", map[string]*Tensor{"y": in["x"]}, nil, []string{`no input "y"`}},
		{"nil", map[string]*Tensor{"x": nil}, nil, []string{"input x", "nil"}},
		{"type", map[string]*Tensor{"mask": tensor(Int32, 2, 3)}, nil, []string{"input mask", "int32[2 3]", "want mask int64[B S]"}},
		{"output's type", nil, map[string]*Tensor{"n": tensor(Float32, 2)}, []string{"output n", "float32[2]", "int64[B]"}},
		{"rank", map[string]*Tensor{"x": tensor(Float32, 6)}, nil, []string{"input x", "2 dimensions"}},
		{"vector for a scalar", map[string]*Tensor{"scale": tensor(Float32, 1)}, nil, []string{"input scale", "0 dimensions"}},
		{"fixed dimension", map[string]*Tensor{"axis": tensor(Int64, 2)}, nil, []string{"input axis", "dimension 0 is 2, want 1"}},
		{"inputs disagree", map[string]*Tensor{"mask": tensor(Int64, 2, 4)}, nil, []string{"input mask", "S is 4 here and 3 in x"}},
		{"output disagrees", nil, map[string]*Tensor{"n": tensor(Int64, 3)}, []string{"output n", "B is 3 here and 2 in x"}},
		{"another runtime's", map[string]*Tensor{"x": must[*Tensor](t)(other.NewTensor(Float32, 2, 3))}, nil, []string{"another runtime"}},
		{"closed tensor", map[string]*Tensor{"x": closed}, nil, []string{"x", "closed"}},
		{"outputs overlap", nil, map[string]*Tensor{
			"y": must[*Tensor](t)(shared.Tensor(0, Float32, 2, 3)), "n": must[*Tensor](t)(shared.Tensor(16, Int64, 2))},
			[]string{"y and n share memory"}},
		{"outputs side by side", nil, map[string]*Tensor{
			"y": must[*Tensor](t)(shared.Tensor(0, Float32, 2, 3)), "n": must[*Tensor](t)(shared.Tensor(24, Int64, 2))}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			edit := func(m, changes map[string]*Tensor) map[string]*Tensor {
				m = maps.Clone(m)
				for name, x := range changes {
					if name[0] == '-' {
						delete(m, name[1:])
					} else {
						m[name] = x
					}
				}
				return m
			}
			b, err := s.Bind(edit(in, test.in), edit(out, test.out))
			if len(test.want) > 0 {
				wantError(t, err, append(test.want, "bind model")...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Run(); err != nil {
				t.Error(err)
			}
			b.Close()
		})
	}
}

func TestValues(t *testing.T) {
	r := open(t, 1)
	s := must[*Session](t)(r.SessionBytes(twoSided().encode(), SessionOptions{}))
	axis := must[*Tensor](t)(r.NewTensor(Int64, 1))
	scale := must[*Tensor](t)(r.NewTensor(Float32))
	if err := Upload(axis, []int64{1}); err != nil {
		t.Fatal(err)
	}
	if err := Upload(scale, []float32{10}); err != nil {
		t.Fatal(err)
	}
	// Dynamic dimensions: one session, bindings of several sizes, run in turn.
	type size struct{ b, s int64 }
	bindings := map[size]*Binding{}
	sums := map[size]*Tensor{}
	counts := map[size]*Tensor{}
	for _, z := range []size{{1, 1}, {2, 3}, {4, 7}} {
		n := z.b * z.s
		x, mask := must[*Tensor](t)(r.NewTensor(Float32, z.b, z.s)), must[*Tensor](t)(r.NewTensor(Int64, z.b, z.s))
		values, ones := make([]float32, n), make([]int64, n)
		for i := range values {
			values[i], ones[i] = 1, 1
		}
		if err := Upload(x, values); err != nil {
			t.Fatal(err)
		}
		if err := Upload(mask, ones); err != nil {
			t.Fatal(err)
		}
		sums[z], counts[z] = must[*Tensor](t)(r.NewTensor(Float32)), must[*Tensor](t)(r.NewTensor(Int64, z.b))
		bindings[z] = must[*Binding](t)(s.Bind(map[string]*Tensor{"x": x, "mask": mask, "axis": axis, "scale": scale},
			map[string]*Tensor{"y": must[*Tensor](t)(r.NewTensor(Float32, z.b, z.s)), "sum": sums[z], "n": counts[z]}))
	}
	for range 3 {
		for z, b := range bindings {
			if err := b.Run(); err != nil {
				t.Fatal(err)
			}
			sum, count := make([]float32, 1), make([]int64, z.b)
			Download(sums[z], sum)
			Download(counts[z], count)
			if sum[0] != float32(z.b*z.s) || count[z.b-1] != z.s {
				t.Errorf("%v: sum %v, counts %v", z, sum, count)
			}
		}
	}
}

// A run-time error names the node, and the binding still works afterwards.
func TestRunError(t *testing.T) {
	r := open(t, 1)
	m := testModel{
		nodes:   []testNode{{op: "Gather", name: "lookup", in: []string{"table", "ids"}, out: []string{"rows"}}},
		inputs:  []testValue{{"table", Float32, dims(4, 2)}, {"ids", Int64, dims(3)}},
		outputs: []testValue{{"rows", Float32, dims(3, 2)}},
	}
	s := must[*Session](t)(r.SessionBytes(m.encode(), SessionOptions{}))
	ids := must[*Tensor](t)(r.NewTensor(Int64, 3))
	b := must[*Binding](t)(s.Bind(map[string]*Tensor{"table": must[*Tensor](t)(r.NewTensor(Float32, 4, 2)), "ids": ids},
		map[string]*Tensor{"rows": must[*Tensor](t)(r.NewTensor(Float32, 3, 2))}))
	Upload(ids, []int64{0, 4, 1})
	wantError(t, b.Run(), "run model", "Gather node 'lookup'", "4")
	Upload(ids, []int64{0, 3, 1})
	if err := b.Run(); err != nil {
		t.Error(err)
	}

	// A shape that only the run can know.
	m.inputs[1].dims, m.outputs[0].dims = dims("N"), dims("M", 2)
	s = must[*Session](t)(r.SessionBytes(m.encode(), SessionOptions{}))
	b = must[*Binding](t)(s.Bind(map[string]*Tensor{"table": must[*Tensor](t)(r.NewTensor(Float32, 4, 2)), "ids": must[*Tensor](t)(r.NewTensor(Int64, 3))},
		map[string]*Tensor{"rows": must[*Tensor](t)(r.NewTensor(Float32, 5, 2))}))
	wantError(t, b.Run(), "Gather node 'lookup'", "{5,2}", "{3,2}")
}

func TestOwnership(t *testing.T) {
	r := open(t, 1)
	s := must[*Session](t)(r.SessionBytes(checkModel, SessionOptions{}))
	buf := must[*Buffer](t)(r.Alloc(16))
	view := must[*Tensor](t)(buf.Tensor(0, Float32, 4))
	own := must[*Tensor](t)(r.NewTensor(Float32, 4))
	in, out := map[string]*Tensor{"x": view}, map[string]*Tensor{"y": own}
	b := must[*Binding](t)(s.Bind(in, out))
	second := must[*Binding](t)(s.Bind(in, out))
	for range 2 {
		wantError(t, buf.Free(), "bound")
		wantError(t, view.Close(), "bound")
		wantError(t, own.Close(), "bound")
		if err := b.Run(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := second.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantError(t, second.Run(), "binding is closed")
	if err := s.Close(); err != nil { // and with it b
		t.Fatal(err)
	}
	wantError(t, b.Run(), "binding is closed")
	for _, c := range []func() error{b.Close, view.Close, own.Close, own.Close, buf.Free} {
		if err := c(); err != nil {
			t.Error(err)
		}
	}
	_, err := s.Bind(in, out)
	wantError(t, err, "session is closed")
	if len(r.sessions) != 0 || len(r.buffers) != 0 {
		t.Errorf("%d sessions and %d buffers left", len(r.sessions), len(r.buffers))
	}
}

// For the race detector: bindings of one session run at once, tensors come and
// go, and the session is closed in the middle of it all.
func TestConcurrency(t *testing.T) {
	r := open(t, 2)
	s := must[*Session](t)(r.SessionBytes(increment(1000).encode(), SessionOptions{}))
	var wg sync.WaitGroup
	started := make(chan bool, 8)
	for range 4 {
		x := must[*Tensor](t)(r.NewTensor(Float32, 1000))
		b := must[*Binding](t)(s.Bind(map[string]*Tensor{"x": x}, map[string]*Tensor{"y": x}))
		for range 2 { // two for each binding
			wg.Go(func() {
				for i := 0; ; i++ {
					if err := b.Run(); err != nil {
						wantError(t, err, "binding is closed")
						return
					}
					if i == 0 {
						started <- true
					}
					extra, err := r.NewTensor(Float32, 10)
					if err != nil {
						t.Error(err)
						return
					}
					extra.Close()
				}
			})
		}
	}
	for range 8 {
		<-started
	}
	for range 2 {
		wg.Go(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// mixed multiplies, normalises and sums: what the threads share out.
func mixed(n int) testModel {
	return testModel{
		nodes: []testNode{
			{op: "MatMul", name: "product", in: []string{"a", "b"}, out: []string{"ab"}},
			{op: "Softmax", name: "softmax", in: []string{"ab"}, out: []string{"p"}, ints: map[string]int64{"axis": -1}},
			{op: "MatMul", name: "again", in: []string{"p", "b"}, out: []string{"c"}},
			{op: "ReduceSum", name: "rows", in: []string{"c", "axis"}, out: []string{"sums"}, ints: map[string]int64{"keepdims": 0}},
			{op: "ReduceMean", name: "mean", in: []string{"c"}, out: []string{"mean"}, ints: map[string]int64{"keepdims": 0}},
		},
		inputs:  []testValue{{"a", Float32, dims(n, n)}, {"b", Float32, dims(n, n)}, {"axis", Int64, dims(1)}},
		outputs: []testValue{{"c", Float32, dims(n, n)}, {"sums", Float32, dims(n)}, {"mean", Float32, dims()}},
	}
}

func TestDeterminism(t *testing.T) {
	const n = 192
	model := mixed(n).encode()
	random := rand.New(rand.NewPCG(1, 2))
	av, bv := make([]float32, n*n), make([]float32, n*n)
	for i := range av {
		av[i], bv[i] = random.Float32()-0.5, random.Float32()-0.5
	}
	for _, threads := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(threads, " threads"), func(t *testing.T) {
			var first []byte
			for range 3 { // sessions
				r := open(t, threads)
				s := must[*Session](t)(r.SessionBytes(model, SessionOptions{}))
				a, b := must[*Tensor](t)(r.NewTensor(Float32, n, n)), must[*Tensor](t)(r.NewTensor(Float32, n, n))
				out := map[string]*Tensor{"c": must[*Tensor](t)(r.NewTensor(Float32, n, n)),
					"sums": must[*Tensor](t)(r.NewTensor(Float32, n)), "mean": must[*Tensor](t)(r.NewTensor(Float32))}
				Upload(a, av)
				Upload(b, bv)
				bound := must[*Binding](t)(s.Bind(map[string]*Tensor{"a": a, "b": b, "axis": must[*Tensor](t)(r.NewTensor(Int64, 1))}, out))
				for range 10 { // runs
					if err := bound.Run(); err != nil {
						t.Fatal(err)
					}
					var all []byte
					for _, name := range []string{"c", "sums", "mean"} {
						part := make([]byte, out[name].Bytes())
						if err := out[name].DownloadBytes(part); err != nil {
							t.Fatal(err)
						}
						all = append(all, part...)
					}
					if first == nil {
						first = all
					} else if !bytes.Equal(first, all) {
						t.Fatal("two runs on the same input differ")
					}
				}
			}
		})
	}
}
