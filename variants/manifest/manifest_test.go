package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// small is a manifest of three parameters and one graph.
func small(t testing.TB) *Manifest {
	m := &Manifest{
		Format: Format, Producer: "march", Study: "sharing", Variant: "baseline", Arch: "decoder", Config: json.RawMessage(`{"d":4}`),
		Target: "portable", Precision: "fp32", Opset: 18, Batch: 2, Length: 3, MaxLength: 4, Vocab: 5, Seed: 1<<64 - 1, Budget: json.RawMessage(`{}`),
		Parameters: []Parameter{{Name: "a", Shape: []int{3, 5}, Decay: true}, {Name: "b", Shape: []int{64, 64}, Decay: true}, {Name: "c", Shape: []int{7}}},
		Graphs: map[string]*Graph{"grad": {File: "grad.onnx", Inputs: []Port{{"tokens", "int64", []int{2, 3}}}, Outputs: []Port{{"loss_sum", "float32", []int{}}},
			Nodes: 3, Operators: map[string]int{"Add": 3}}},
		Files: map[string]Digest{"grad.onnx": {Bytes: 3, SHA256: digest("abc")}},
	}
	var err error
	if m.Ranges, err = Layout(m.Parameters); err != nil {
		t.Fatal(err)
	}
	return m
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// TestLayout: decayed parameters first, each at a multiple of 256 bytes, each range of whole rows.
func TestLayout(t *testing.T) {
	m := small(t)
	for i, want := range []int{0, 256, 32768} {
		if got := m.Parameters[i].Offset; got != want {
			t.Errorf("parameter %s lies at %d, wanted %d", m.Parameters[i].Name, got, want)
		}
	}
	want := []Range{{"decayed", 0, 8192, true}, {"plain", 32768, 4096, false}}
	if !reflect.DeepEqual(m.Ranges, want) {
		t.Errorf("ranges %+v, wanted %+v", m.Ranges, want)
	}
	if got := m.BufferBytes(); got != 32768+16384 {
		t.Errorf("buffers of %d bytes", got)
	}
	for name, params := range map[string][]Parameter{
		"none": nil, "decayed alone": {{Name: "a", Shape: []int{2}, Decay: true}}, "plain alone": {{Name: "a", Shape: []int{}}},
	} {
		ranges, err := Layout(params)
		if err != nil || len(ranges) != len(params) {
			t.Errorf("%s: %+v, %v", name, ranges, err)
		}
	}
	if (&Manifest{}).BufferBytes() != 0 {
		t.Error("no parameters need a buffer")
	}
	if _, err := Layout([]Parameter{{Name: "a", Shape: []int{1}}, {Name: "b", Shape: []int{1}, Decay: true}}); err == nil || !strings.Contains(err.Error(), "parameter b: decayed parameters must come first") {
		t.Errorf("decayed behind plain: error %v", err)
	}
	// No two slices touch, whatever the sizes.
	var params []Parameter
	for i := 1; i < 200; i++ {
		params = append(params, Parameter{Name: "p", Shape: []int{i * i % 97, 1 + i%7}, Decay: i < 120})
	}
	for i := range params {
		params[i].Shape[0]++
	}
	ranges, err := Layout(params)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range params {
		r := ranges[0]
		if !p.Decay {
			r = ranges[1]
		}
		end := r.Offset + 4*r.Elements
		if i+1 < len(params) && params[i+1].Decay == p.Decay {
			end = params[i+1].Offset
		}
		if p.Offset%Alignment != 0 || p.Offset < r.Offset || p.Offset+4*p.Elements() > end || r.Offset%RangeAlignment != 0 || 4*r.Elements%RangeAlignment != 0 {
			t.Fatalf("parameter %d %v at %d leaves its slice, which ends at %d, or range %+v is crooked", i, p.Shape, p.Offset, end, r)
		}
	}
	if ranges[0].Offset+4*ranges[0].Elements > ranges[1].Offset {
		t.Errorf("ranges overlap: %+v", ranges)
	}
}

func TestWriteRead(t *testing.T) {
	dir, m := t.TempDir(), small(t)
	if err := m.Write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*Manifest{got, m} { // indented alike
		if x.Config, err = json.Marshal(x.Config); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(got, m) {
		t.Errorf("read %+v, wrote %+v", got, m)
	}
	if _, err := Read(filepath.Join(dir, "nowhere")); err == nil || !strings.Contains(err.Error(), "is not a program folder (march gen makes one)") {
		t.Errorf("no folder: error %v", err)
	}
}

// TestHostile: whatever a manifest holds that does not fit together is an error that
// names the file and what is wrong.
func TestHostile(t *testing.T) {
	b, err := json.Marshal(small(t))
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	replace := func(old, new string) string {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	for _, c := range []struct{ name, json, want string }{
		{"as it is", good, ""},
		{"white space behind", good + "\n \n", ""},
		{"empty", "", "EOF"},
		{"no JSON", "hello", "invalid character"},
		{"a list", "[]", "cannot unmarshal array"},
		{"nothing in it", "{}", "format 0, wanted 1: made by another version of march"},
		{"null", "null", "format 0, wanted 1"},
		{"another version", replace(`"format":1`, `"format":2`), "format 2, wanted 1"},
		{"an unknown key", replace(`"format":1`, `"format":1,"extra":3`), `unknown field "extra"`},
		{"cut off", good[:len(good)/2], "EOF"},
		{"two manifests", good + good, "something follows"},
		{"a word behind", good + "x", "something follows"},
		{"a number too large", replace(`"batch":2`, `"batch":1e30`), "cannot unmarshal number"},
		{"a negative dimension", replace(`"shape":[7]`, `"shape":[-7]`), "parameter c has the shape [-7]"},
		{"an empty dimension", replace(`"shape":[7]`, `"shape":[0]`), "parameter c has the shape [0]"},
		{"sizes that overflow", replace(`"shape":[7]`, `"shape":[4294967296,4294967296,4294967296]`), "parameter c has the shape"},
		{"a parameter twice", replace(`"name":"c"`, `"name":"a"`), "parameter a stands twice"},
		{"another offset", replace(`"offset":256`, `"offset":128`), "parameter b lies at 128, wanted 256"},
		{"an offset before the start", replace(`"offset":256`, `"offset":-4`), "parameter b lies at -4"},
		{"another shape", replace(`"shape":[64,64]`, `"shape":[64,640]`), "parameter c lies at 32768, wanted"},
		{"decayed behind plain", replace(`"decay":true}`, `"decay":false}`), "decayed parameters must come first"},
		{"a range too short", replace(`"elements":8192`, `"elements":4096`), "range decayed is"},
		{"a range elsewhere", replace(`{"name":"plain","offset":32768`, `{"name":"plain","offset":0`), "range plain is"},
		{"no ranges", replace(`"ranges":[`, `"ranges":[],"budget":[`), "0 ranges, wanted 2"},
		{"a graph of nothing", replace(`{"file":"grad.onnx"`, `null,"update":{"file":"grad.onnx"`), "graph grad is empty"},
		{"a graph outside", replace(`{"file":"grad.onnx"`, `{"file":"../grad.onnx"`), `graph grad: file "../grad.onnx" is not among the files`},
		{"a graph that is a folder", replace(`{"file":"grad.onnx"`, `{"file":".."`), `graph grad: file ".." is not among the files`},
		{"a graph without a digest", replace(`"files":{"grad.onnx"`, `"files":{"other.onnx"`), `graph grad: file "grad.onnx" is not among the files`},
		{"a file outside", replace(`"files":{`, `"files":{"../secret":{"bytes":1,"sha256":""},`), `file "../secret" is not in the folder`},
		{"a file that is the folder", replace(`"files":{`, `"files":{"..":{"bytes":1,"sha256":""},`), `file ".." is not in the folder`},
		{"nested deeply", strings.Repeat("[", 20000), "exceeded max depth"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, File), []byte(c.json), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Read(dir)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), File)):
			t.Errorf("%s: error %v, wanted %q and the file's name in it", c.name, err, c.want)
		}
	}
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, File))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(maxBytes + 1); err != nil { // holes, no disk space
		t.Fatal(err)
	}
	f.Close()
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "larger than 64 MiB") {
		t.Errorf("a file that is too large: error %v", err)
	}
}

func TestVerify(t *testing.T) {
	dir, m := t.TempDir(), small(t)
	path := filepath.Join(dir, "grad.onnx")
	for _, c := range []struct{ content, want string }{
		{"abc", ""}, {"abd", "is damaged or was changed"}, {"ab", "is damaged or was changed"}, {"abcd", "march gen writes it anew"},
	} {
		if err := os.WriteFile(path, []byte(c.content), 0o666); err != nil {
			t.Fatal(err)
		}
		err := m.Verify(dir)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%q: %v, wanted %q and the path", c.content, err, c.want)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := m.Verify(dir); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("the file is gone: %v", err)
	}
}

// FuzzRead: no manifest panics, and what is read fits together.
func FuzzRead(f *testing.F) {
	b, err := json.Marshal(small(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format":1}`))
	f.Add([]byte(`{"format":1,"parameters":[{"name":"a","shape":[1099511627776,9]}],"ranges":[]}`))
	f.Add([]byte(`{"format":1,"parameters":[{"name":"a","shape":[],"offset":0,"decay":true}],"ranges":[{"name":"decayed","offset":0,"elements":4096,"decay":true}]}`))
	f.Add([]byte(`{"format":1,"graphs":{"grad":null}}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, File), b, 0o666); err != nil {
			t.Fatal(err)
		}
		m, err := Read(dir)
		if err != nil {
			return
		}
		end := m.BufferBytes()
		for _, p := range m.Parameters {
			if p.Offset < 0 || p.Elements() < 1 || p.Offset+4*p.Elements() > end {
				t.Errorf("parameter %+v lies outside the buffers of %d bytes", p, end)
			}
		}
		for name, g := range m.Graphs {
			if filepath.Base(g.File) != g.File {
				t.Errorf("graph %s is the file %s", name, g.File)
			}
		}
	})
}
