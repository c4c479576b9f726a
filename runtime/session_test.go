package runtime

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"march/runtime/ortlib"
)

// twoSided is y[B,S] = x[B,S] + scale (a scalar) and n[B] = sum of mask[B,S]
// over S; one output for the scalar, too.
func twoSided() testModel {
	return testModel{
		nodes: []testNode{
			{op: "Add", name: "shift", in: []string{"x", "scale"}, out: []string{"y"}},
			{op: "ReduceSum", name: "count", in: []string{"mask", "axis"}, out: []string{"n"}, ints: map[string]int64{"keepdims": 0}},
			{op: "ReduceSum", name: "total", in: []string{"x"}, out: []string{"sum"}, ints: map[string]int64{"keepdims": 0}},
		},
		inputs: []testValue{{"x", Float32, dims("B", "S")}, {"scale", Float32, dims()}, {"mask", Int64, dims("B", "S")}, {"axis", Int64, dims(1)}},
		outputs: []testValue{{"y", Float32, dims("B", "S")}, {"n", Int64, dims("B")},
			{"sum", Float32, dims()}},
	}
}

func TestDescription(t *testing.T) {
	r := open(t, 1)
	s := must[*Session](t)(r.SessionBytes(twoSided().encode(), SessionOptions{}))
	var got []string
	for _, i := range append(s.Inputs(), s.Outputs()...) {
		got = append(got, i.String())
	}
	want := "x float32[B S], scale float32[], mask int64[B S], axis int64[1], y float32[B S], n int64[B], sum float32[]"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
	x := s.Inputs()[0]
	if x.Shape[0] != -1 || x.Shape[1] != -1 || x.Symbols[1] != "S" {
		t.Errorf("%+v", x)
	}
}

func TestModelsThatDoNotLoad(t *testing.T) {
	r := open(t, 1)
	change := func(f func(m *testModel)) []byte {
		m := increment(4)
		f(&m)
		return m.encode()
	}
	for _, test := range []struct {
		name  string
		model []byte
		want  []string
	}{
		{"empty", nil, []string{"empty"}},
		{"junk", []byte("hello world"), []string{"protobuf parsing failed"}},
		{"cut off", increment(4).encode()[:40], []string{"protobuf"}},
		{"unknown operator", change(func(m *testModel) { m.nodes[0].op = "Nope" }), []string{"node 'increment'", "Nope"}},
		{"unknown domain", change(func(m *testModel) { m.nodes[0].domain, m.domains = "march", []string{"march"} }), []string{"march:Add", "not a registered"}},
		{"dangling input", change(func(m *testModel) { m.nodes[0].in[0] = "gone" }), []string{"gone"}},
		{"dangling output", change(func(m *testModel) { m.outputs[0].name = "gone" }), []string{"gone"}},
		{"wrong type", change(func(m *testModel) { m.outputs[0].typ = Int64 }), []string{"increment", "int64"}},
		{"new IR version", change(func(m *testModel) { m.ir = 999 }), []string{"IR version: 999"}},
		{"no kernel", change(func(m *testModel) {
			m.inputs[0].typ, m.outputs[0].typ, m.consts, m.nodes[0].in[1] = BFloat16, BFloat16, nil, "x"
		}), []string{"Add", "increment"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := r.SessionBytes(test.model, SessionOptions{})
			wantError(t, err, append(test.want, "model of ")...)
			if err != nil && (strings.Contains(err.Error(), "onnxruntime::") || strings.Contains(err.Error(), ".cc:")) {
				t.Errorf("the error speaks C++: %v", err)
			}
		})
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	_, err := r.Session(path, SessionOptions{})
	wantError(t, err, path, "no such file")
	_, err = r.Session(dir, SessionOptions{})
	wantError(t, err, dir, "folder")
	os.WriteFile(path, nil, 0o644)
	_, err = r.Session(path, SessionOptions{})
	wantError(t, err, path, "empty")
	os.WriteFile(path, []byte("junk"), 0o644)
	_, err = r.Session(path, SessionOptions{})
	wantError(t, err, path, "rotobuf")
	if err != nil && strings.Count(err.Error(), path) != 1 {
		t.Errorf("the error repeats itself: %v", err)
	}
	os.WriteFile(path, increment(4).encode(), 0o644)
	_, err = r.Session(path, SessionOptions{Optimization: "most"})
	wantError(t, err, `optimization "most"`, "basic")
	_, err = r.Session(path, SessionOptions{ProfilePrefix: filepath.Join(dir, "gone", "p")})
	wantError(t, err, "no folder", "gone")
	for _, level := range []string{"", "all", "extended", "basic", "disable"} {
		s, err := r.Session(path, SessionOptions{Optimization: level})
		if err != nil {
			t.Errorf("%q: %v", level, err)
			continue
		}
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		_, err = s.Bind(nil, nil)
		wantError(t, err, "not bound")
		if _, err := s.EndProfiling(); err == nil {
			t.Error("a closed session ended its profiling")
		}
	}
}

// TestDataElsewhere: data of a model that lie outside its folder are not read, wherever the path leads; ONNX Runtime sees to it.
func TestDataElsewhere(t *testing.T) {
	r := open(t, 1)
	dir := t.TempDir()
	inside := filepath.Join(dir, "model")
	for _, folder := range []string{inside, filepath.Join(dir, "other")} {
		if err := os.Mkdir(folder, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "w.bin"), make([]byte, 16), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"link.bin": "../other/w.bin", "folder": "../other"} {
		if err := os.Symlink(to, filepath.Join(inside, name)); err != nil {
			t.Skip("no symbolic links can be made here: ", err)
		}
	}
	for file, want := range map[string]string{"w.bin": "", "../other/w.bin": "w.bin", filepath.Join(dir, "other", "w.bin"): "bsolute", "link.bin": "link.bin", "folder/w.bin": "folder", "none.bin": "none.bin"} {
		m := increment(4)
		m.consts = []testConst{{name: "one", dims: []int64{4}, file: file}}
		path := filepath.Join(inside, "m.onnx")
		if err := os.WriteFile(path, m.encode(), 0o666); err != nil {
			t.Fatal(err)
		}
		s, err := r.Session(path, SessionOptions{})
		if want == "" && err == nil {
			err = s.Close()
		}
		if want == "" && err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if want != "" {
			wantError(t, err, path, want)
		}
	}
}

// runProfiled runs increment that often with profiling on.
func runProfiled(t *testing.T, r *Runtime, runs int) *Session {
	t.Helper()
	s := must[*Session](t)(r.SessionBytes(increment(1000).encode(), SessionOptions{ProfilePrefix: filepath.Join(t.TempDir(), "p")}))
	x := must[*Tensor](t)(r.NewTensor(Float32, 1000))
	b := must[*Binding](t)(s.Bind(map[string]*Tensor{"x": x}, map[string]*Tensor{"y": x}))
	for range runs {
		if err := b.Run(); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestProfile(t *testing.T) {
	r := open(t, 1)
	plain := must[*Session](t)(r.SessionBytes(checkModel, SessionOptions{}))
	_, err := plain.EndProfiling()
	wantError(t, err, "ProfilePrefix")

	s := runProfiled(t, r, 5)
	path := must[string](t)(s.EndProfiling())
	if again := must[string](t)(s.EndProfiling()); again != path {
		t.Errorf("%s, then %s", path, again)
	}
	p := must[*ProfileSummary](t)(SummarizeProfile(path, 2))
	if p.Runs != 3 || len(p.Ops) != 1 || p.Ops[0].Name != "Add" || p.Ops[0].Count != 3 || len(p.Nodes) != 1 || p.Nodes[0].Name != "increment" ||
		p.Nodes[0].Op != "Add" || p.Nodes[0].Provider != "CPUExecutionProvider" || p.RunTime < p.Kernels {
		t.Errorf("%+v", p)
	}
	if r.Version() == ortlib.Version && p.PeakBytes <= 0 { // old versions do not tell
		t.Errorf("peak memory: %d bytes", p.PeakBytes)
	}
	_, err = SummarizeProfile(path, 5)
	wantError(t, err, path, "5 runs")

	// Closing the session, or the runtime, ends profiling too.
	s = runProfiled(t, r, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path, err = s.EndProfiling()
	if err != nil {
		t.Errorf("after Close: %v", err)
	}
	if p, err := SummarizeProfile(path, 0); err != nil || p.Runs != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}

// The profile tells which threads of a session have worked: the caller's and the rest.
// A busy machine may leave one without work for long, so a session that shows too few is
// asked again, with more runs.
func TestThreads(t *testing.T) {
	for _, threads := range []int{1, 3} {
		r, most := open(t, threads), 0
		for runs := 50; runs <= 50<<10; runs *= 2 {
			most = workers(t, runProfiled(t, r, runs))
			if most >= threads-1 {
				break
			}
		}
		if most != threads-1 {
			t.Errorf("%d threads: the session has %d beside the caller's", threads, most)
		}
	}
}

// workers counts the threads beside the caller's that a profiled session gave work.
func workers(t *testing.T, s *Session) int {
	t.Helper()
	text, err := os.ReadFile(must[string](t)(s.EndProfiling()))
	if err != nil {
		t.Fatal(err)
	}
	var events []struct {
		Args struct {
			Threads json.RawMessage `json:"thread_scheduling_stats"` // an empty string for one thread
		} `json:"args"`
	}
	if err := json.Unmarshal(text, &events); err != nil {
		t.Fatal(err)
	}
	most := 0
	for _, e := range events {
		var stats struct {
			Sub map[string]any `json:"sub_threads"`
		}
		if json.Unmarshal(e.Args.Threads, &stats) == nil {
			most = max(most, len(stats.Sub)) // the identifier of one that has not started yet changes
		}
	}
	return most
}

func TestSummarize(t *testing.T) {
	node := func(name, op string, dur string) string {
		return `{"cat":"Node","name":"` + name + `_kernel_time","dur":` + dur + `,"args":{"op_name":"` + op + `","provider":"P","mem_in_use_peak":"` + dur + `","x":{"y":[1]}}},`
	}
	run := func(dur string) string { return `{"cat":"Session","name":"model_run","dur":` + dur + `,"args":{}}` }
	text := `[{"cat":"Session","name":"session_initialization","dur":5000,"args":{}},` +
		node("a", "MatMul", "500") + node("b", "Add", "100") + run("700") + "," +
		node("a", "MatMul", "50") + node("b", "Add", "10") + node("c", "MatMul", "20") + `{"cat":"Node","name":"c_fence_before","dur":9,"args":{"op_name":"MatMul"}},` + run("100") + "," +
		node("a", "MatMul", "30") + node("b", "Add", "90") + node("c", "MatMul", "0") + run("130") + "]"
	p, err := summarize(strings.NewReader(text), 1)
	if err != nil {
		t.Fatal(err)
	}
	us := time.Microsecond
	if p.Runs != 2 || p.RunTime != 230*us || p.Kernels != 200*us || p.PeakBytes != 500 {
		t.Errorf("%+v", p)
	}
	check := func(what string, got []ProfileEntry, want ...ProfileEntry) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%s: %+v", what, got)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: got %+v, want %+v", what, got[i], want[i])
			}
		}
	}
	check("operators", p.Ops, ProfileEntry{"Add", "Add", "P", 2, 100 * us, 0.5}, ProfileEntry{"MatMul", "MatMul", "P", 4, 100 * us, 0.5})
	check("nodes", p.Nodes, ProfileEntry{"b", "Add", "P", 2, 100 * us, 0.5}, ProfileEntry{"a", "MatMul", "P", 2, 80 * us, 0.4}, ProfileEntry{"c", "MatMul", "P", 2, 20 * us, 0.1})

	for _, bad := range []struct{ text, want string }{
		{"", "JSON array"}, {"{}", "JSON array"}, {"hello", "JSON array"}, {"[]", "0 runs"},
		{text[:len(text)-1], "cut off"}, {text[:len(text)/2], "cut off"}, {`[{"cat":1}]`, "damaged"},
	} {
		_, err := summarize(strings.NewReader(bad.text), 0)
		wantError(t, err, bad.want)
	}
	_, err = SummarizeProfile(filepath.Join(t.TempDir(), "gone.json"), 0)
	wantError(t, err, "gone.json")
}
