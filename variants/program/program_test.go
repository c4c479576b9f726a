package program

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"march/graphgen"
	"march/graphgen/onnxpb"
	"march/trainloop/safetensors"
	"march/variants"
	"march/variants/manifest"
)

// micro is a variant that is made in milliseconds.
func micro(t testing.TB) variants.Variant {
	v, err := variants.Find("baseline+share.unique=2+share.uses=4+share.assignment=cycle+d=16+heads=2+qkv_dim=8+ff=32+vocab=64+length=16", "tiny", "")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func model(t testing.TB, path string) *onnxpb.ModelProto {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(b, m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestWrite writes a program for each target and holds every file against the manifest.
func TestWrite(t *testing.T) {
	v := micro(t)
	for _, target := range graphgen.Targets() {
		t.Run(string(target), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "sharing", "micro") // made on the way
			m, err := Write(dir, v, Options{Target: target, Batch: 2, Seed: 5})
			if err != nil {
				t.Fatal(err)
			}
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			if want := []string{"eval.onnx", "grad.onnx", "infer.onnx", "init.safetensors", "manifest.json", "score.onnx", "step.onnx", "update.onnx"}; !slices.Equal(names, want) {
				t.Errorf("the folder holds %v, wanted %v", names, want)
			}
			read, err := manifest.Read(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := read.Verify(dir); err != nil {
				t.Error(err)
			}
			if len(read.Files) != len(names)-1 {
				t.Errorf("digests of %d files, wanted all but the manifest's own", len(read.Files))
			}
			if a, b := fmt.Sprintf("%+v", m.Graphs["grad"]), fmt.Sprintf("%+v", read.Graphs["grad"]); a != b {
				t.Errorf("Write says %s, the folder %s", a, b)
			}
			checkDescription(t, read, v, target)
			checkStart(t, dir, v)
			for _, name := range Graphs() {
				checkGraph(t, dir, name, read, target)
			}
		})
	}
}

func checkDescription(t *testing.T, m *manifest.Manifest, v variants.Variant, target graphgen.Target) {
	var c variants.Config
	if err := json.Unmarshal(m.Config, &c); err != nil || c != v.Config {
		t.Errorf("the manifest's config differs by %v (%v)", c.Difference(v.Config), err)
	}
	var b variants.Budget
	want, err := v.Config.Budget()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(m.Budget, &b); err != nil || b != want {
		t.Errorf("the manifest's budget is %+v, wanted %+v (%v)", b, want, err)
	}
	if m.Study != "sharing" || m.Variant != v.Name() || m.Scale != "tiny" || m.Arch != "decoder" || m.Target != string(target) || m.Opset != graphgen.Opset ||
		m.Batch != 2 || m.Length != 16 || m.MaxLength != 16 || m.Vocab != 64 || m.Seed != 5 || m.Precision != "fp32" || m.About == "" || m.Source == "" {
		t.Errorf("the manifest says %+v", m)
	}
	params, err := v.Config.Parameters()
	if err != nil || len(params) != len(m.Parameters) {
		t.Fatalf("%d parameters, wanted %d (%v)", len(m.Parameters), len(params), err)
	}
	for i, p := range params {
		if q := m.Parameters[i]; q.Name != p.Name || !slices.Equal(q.Shape, p.Shape) || q.Decay != p.Decay {
			t.Errorf("parameter %d is %+v, wanted %+v", i, q, p)
		}
	}
}

// checkStart compares the start values with the variant's own, and where infer.onnx looks
// for each with what lies there.
func checkStart(t *testing.T, dir string, v variants.Variant) {
	f, err := safetensors.Open(filepath.Join(dir, InitFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	whole, err := os.ReadFile(filepath.Join(dir, InitFile))
	if err != nil {
		t.Fatal(err)
	}
	weights := map[string]*onnxpb.TensorProto{}
	for _, x := range model(t, filepath.Join(dir, "infer.onnx")).Graph.Initializer {
		if x.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
			weights[x.GetName()] = x
		}
	}
	params, err := v.Config.Parameters()
	if err != nil {
		t.Fatal(err)
	}
	if len(weights) != len(params) || len(f.Tensors()) != len(params) {
		t.Errorf("%d weights and %d start values for %d parameters", len(weights), len(f.Tensors()), len(params))
	}
	for _, p := range params {
		want, got := p.Start(5), make([]float32, p.Elements())
		if err := safetensors.Read(f, p.Name, got); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s starts with other values (%v)", p.Name, err)
		}
		place := map[string]string{}
		for _, e := range weights[p.Name].GetExternalData() {
			place[e.GetKey()] = e.GetValue()
		}
		offset, _ := strconv.Atoi(place["offset"])
		length, _ := strconv.Atoi(place["length"])
		raw := make([]byte, 4*p.Elements())
		if err := f.ReadInto(p.Name, raw); err != nil {
			t.Fatal(err)
		}
		if place["location"] != InitFile || length != len(raw) || offset+length > len(whole) || !slices.Equal(whole[offset:offset+length], raw) {
			t.Errorf("infer.onnx looks for %s at %v, where something else lies", p.Name, place)
		}
	}
}

// checkGraph compares a file's inputs, outputs and operators with the manifest.
func checkGraph(t *testing.T, dir, name string, m *manifest.Manifest, target graphgen.Target) {
	g := m.Graphs[name]
	if g == nil || g.File != name+".onnx" {
		t.Fatalf("graph %s is %+v", name, g)
	}
	file := model(t, filepath.Join(dir, g.File))
	for kind, ports := range map[string]struct {
		file     []*onnxpb.ValueInfoProto
		manifest []manifest.Port
	}{"input": {file.Graph.Input, g.Inputs}, "output": {file.Graph.Output, g.Outputs}} {
		if len(ports.file) != len(ports.manifest) {
			t.Errorf("%s: %d %ss, the manifest lists %d", name, len(ports.file), kind, len(ports.manifest))
			continue
		}
		for i, x := range ports.file {
			shape := []int{}
			for _, d := range x.Type.GetTensorType().Shape.Dim {
				if d.GetDimParam() != "" {
					shape = append(shape, -1)
				} else {
					shape = append(shape, int(d.GetDimValue()))
				}
			}
			dtype := map[int32]string{1: "float32", 7: "int64"}[x.Type.GetTensorType().GetElemType()]
			if p := ports.manifest[i]; p.Name != x.GetName() || p.DType != dtype || !slices.Equal(p.Shape, shape) {
				t.Errorf("%s: %s %d is %s %s%v, the manifest says %+v", name, kind, i, x.GetName(), dtype, shape, p)
			}
		}
	}
	// Constants of some size are nodes of the file that the graph itself does not count.
	operators, nodes := map[string]int{}, 0
	for _, n := range file.Graph.Node {
		if n.GetOpType() == "ConstantOfShape" {
			continue
		}
		nodes++
		op := n.GetOpType()
		if n.GetDomain() != "" {
			op = n.GetDomain() + "." + op
		}
		operators[op]++
		if n.GetDomain() != "" && target == graphgen.Portable || n.GetDomain() != "" && n.GetDomain() != "com.microsoft" && (n.GetDomain() != "march" || target != graphgen.Fused) {
			t.Errorf("%s: operator %s for target %s", name, op, target)
		}
	}
	for op, n := range g.Operators {
		if operators[op] != n {
			t.Errorf("%s: %d nodes %s, the manifest says %d", name, operators[op], op, n)
		}
		nodes -= n
	}
	if nodes != 0 || g.Nodes == 0 {
		t.Errorf("%s: the manifest's histogram misses %d nodes", name, nodes)
	}
	properties := map[string]string{}
	for _, p := range file.MetadataProps {
		properties[p.GetKey()] = p.GetValue()
	}
	var c variants.Config
	if err := json.Unmarshal([]byte(properties["config"]), &c); err != nil {
		t.Errorf("%s: its config cannot be read: %v", name, err)
	}
	if properties["variant"] != m.Study+"/"+m.Variant || properties["target"] != string(target) || properties["graph"] != name || file.GetProducerName() != "march" {
		t.Errorf("%s: properties %v", name, properties)
	}
}

// TestReproducible: the same again is the same, byte for byte; another seed changes the
// start values alone.
func TestReproducible(t *testing.T) {
	write := func(seed uint64) *manifest.Manifest {
		m, err := Write(t.TempDir(), micro(t), Options{Batch: 1, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	a, b, c := write(1), write(1), write(2)
	for name := range a.Files {
		if a.Files[name] != b.Files[name] {
			t.Errorf("%s differs the second time", name)
		}
		if same := a.Files[name] == c.Files[name]; same != (name != InitFile) {
			t.Errorf("%s with another seed: the same %t", name, same)
		}
	}
}

// TestSomeGraphs writes a part of a program, and a program over another.
func TestSomeGraphs(t *testing.T) {
	dir := t.TempDir()
	m, err := Write(dir, micro(t), Options{Batch: 1, Graphs: []string{"grad", "eval"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Graphs) != 2 || len(m.Files) != 3 {
		t.Errorf("graphs %v, files %v", m.Graphs, m.Files)
	}
	v, err := micro(t).With([]string{"ff=48"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir, v, Options{Batch: 3, Target: graphgen.ORT}); err != nil {
		t.Fatal(err)
	}
	if m, err = manifest.Read(dir); err != nil || m.Verify(dir) != nil || m.Batch != 3 || m.Target != "ort" || len(m.Graphs) != len(Graphs()) {
		t.Errorf("over another program: %+v, %v", m, err)
	}
}

// TestRefused: what no program can be made of is an error that names the variant and the
// reason, and leaves what is there alone.
func TestRefused(t *testing.T) {
	dir, v := t.TempDir(), micro(t)
	if _, err := Write(dir, v, Options{Batch: 1, Graphs: []string{"eval"}}); err != nil {
		t.Fatal(err)
	}
	broken := v
	broken.Config.KVHeads = 7
	for _, c := range []struct {
		v    variants.Variant
		o    Options
		want string
	}{
		{v, Options{Target: "fast"}, `target "fast" is not one of [portable ort fused]`},
		{v, Options{Batch: -1}, "batch -1 × length 16"},
		{v, Options{Opset: 16}, "opset 16: wanted one from 17 to 28"},
		{v, Options{Length: 17}, "a length from 1 to 16"},
		{v, Options{Length: -3}, "length -3"},
		{v, Options{Graphs: []string{"grad", "train"}}, `graph "train" is not one of [grad update step eval score infer]`},
		{broken, Options{}, "kv_heads 7 does not divide heads 2"},
		{variants.Variant{}, Options{}, "is not one of decoder"},
	} {
		_, err := Write(dir, c.v, c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "variant ") {
			t.Errorf("%+v: error %v, wanted %q", c.o, err, c.want)
		}
		if m, err := manifest.Read(dir); err != nil || m.Verify(dir) != nil {
			t.Fatalf("%+v: the older program is gone: %v", c.o, err)
		}
	}
}

// TestFolders that cannot be written to are errors with their path.
func TestFolders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		if _, err := Write(dir, micro(t), Options{Batch: 1}); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: error %v", dir, err)
		}
	}
	locked := t.TempDir()
	if err := os.Chmod(locked, 0o555); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Create(filepath.Join(locked, "probe")); err == nil {
		f.Close()
		t.Skip("this user may write to read-only folders")
	}
	if _, err := Write(locked, micro(t), Options{Batch: 1}); err == nil || !strings.Contains(err.Error(), locked) {
		t.Errorf("a read-only folder: error %v", err)
	}
}

// TestManifestComesLast: a folder whose writing broke off has no manifest.
func TestManifestComesLast(t *testing.T) {
	dir := t.TempDir()
	if _, err := Write(dir, micro(t), Options{Batch: 1, Graphs: []string{"eval"}}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "eval.onnx")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "eval.onnx", "in the way"), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir, micro(t), Options{Batch: 1, Graphs: []string{"eval"}}); err == nil || !strings.Contains(err.Error(), "eval.onnx") {
		t.Errorf("error %v", err)
	}
	if _, err := manifest.Read(dir); err == nil {
		t.Error("a broken program has a manifest")
	}
}

func TestDefaultBatch(t *testing.T) {
	for _, c := range []struct{ tokens, length, want int }{
		{512, 128, 4}, {16_384, 512, 32}, {16_384 * 4, 512, 32}, {16_384 * 3, 512, 32}, {1 << 20, 1024, 16}, {100, 128, 1}, {512, 512, 1},
		{17 * 20_000, 20_000, 1}, {7 * 4096, 4096, 1}, {6 * 4096, 4096, 3},
	} {
		v := micro(t).Config
		v.Training.TokensPerStep = c.tokens
		got := DefaultBatch(v, c.length)
		if got != c.want || max(1, c.tokens/c.length)%got != 0 {
			t.Errorf("%d tokens a step of length %d: %d sequences at a time, wanted %d", c.tokens, c.length, got, c.want)
		}
	}
}

// TestReadBack: what onnx-go cannot read is an error, whatever it does with it.
func TestReadBack(t *testing.T) {
	for name, b := range map[string][]byte{"no protobuf": []byte("hello, world"), "nothing": nil, "a model without a graph": {8, 8}} {
		if err := ReadBack(b); err == nil || !strings.Contains(err.Error(), "onnx-go, reading the model back") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestPrecision: a program of bf16 says so, its micro-batch reads copies of the parameters,
// its update makes them, and what evaluates and serves is that of fp32.
func TestPrecision(t *testing.T) {
	v, wide, narrow := micro(t), t.TempDir(), t.TempDir()
	full, err := Write(wide, v, Options{Batch: 2})
	if err != nil {
		t.Fatal(err)
	}
	m, err := Write(narrow, v, Options{Batch: 2, Precision: "bf16"})
	if err != nil {
		t.Fatal(err)
	}
	if full.Precision != "fp32" || m.Precision != "bf16" {
		t.Errorf("the manifests say %s and %s", full.Precision, m.Precision)
	}
	port := func(ports []manifest.Port, name string) string {
		for _, p := range ports {
			if p.Name == name {
				return fmt.Sprint(p.DType, p.Shape)
			}
		}
		return ""
	}
	for _, p := range m.Parameters {
		shape := fmt.Sprint(p.Shape)
		grad := m.Graphs["grad"]
		if got := port(grad.Inputs, variants.CopyName(p.Name)); got != "bfloat16"+shape || port(grad.Inputs, p.Name) != "" {
			t.Errorf("grad.onnx takes %s as %s", p.Name, got)
		}
		if got := port(grad.Outputs, variants.NewName(variants.GradName(p.Name))); got != "float32"+shape {
			t.Errorf("grad.onnx gives the gradient of %s as %s", p.Name, got)
		}
	}
	for _, r := range m.Ranges {
		name, want := variants.NewName(variants.CopyName(r.Name)), fmt.Sprintf("bfloat16[%d]", r.Elements)
		if got := port(m.Graphs["update"].Outputs, name); got != want || port(full.Graphs["update"].Outputs, name) != "" {
			t.Errorf("update.onnx gives %s as %q, wanted %s", name, got, want)
		}
	}
	for _, name := range []string{"step", "eval", "score", "infer"} {
		if a, b := fmt.Sprint(full.Graphs[name].Inputs, full.Graphs[name].Outputs), fmt.Sprint(m.Graphs[name].Inputs, m.Graphs[name].Outputs); a != b {
			t.Errorf("%s.onnx takes and gives %s, in fp32 %s", name, b, a)
		}
	}
	if m.Graphs["step"].Operators["Cast"] <= full.Graphs["step"].Operators["Cast"] {
		t.Error("step.onnx has no casts of its parameters")
	}
	if _, err := Write(t.TempDir(), v, Options{Precision: "tf32"}); err == nil || !strings.Contains(err.Error(), `precision "tf32" is not one of [fp32 bf16]`) {
		t.Errorf("error %v", err)
	}
}

// TestShapes: graphs that do not train have sizes of their own choice, or a micro-batch's.
func TestShapes(t *testing.T) {
	for _, static := range []bool{false, true} {
		m, err := Write(t.TempDir(), micro(t), Options{Batch: 2, Length: 12, Static: static, Opset: 21, Graphs: []string{"eval", "infer"}})
		if err != nil {
			t.Fatal(err)
		}
		want := []int{-1, -1}
		if static {
			want = []int{2, 12}
		}
		for name, g := range m.Graphs {
			for _, p := range g.Inputs {
				if p.DType == "int64" && !slices.Equal(p.Shape, want) {
					t.Errorf("static %t: %s of %s is %v, wanted %v", static, p.Name, name, p.Shape, want)
				}
			}
			if static && (g.Operators["Shape"] > 0 || g.Operators["Range"] > 0) {
				t.Errorf("%s computes sizes that are known: %v", name, g.Operators)
			}
		}
		if m.Opset != 21 {
			t.Errorf("the manifest says opset %d", m.Opset)
		}
	}
}
