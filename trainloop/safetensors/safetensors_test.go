package safetensors

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var save = flag.String("save", "", "TestGolden writes its file here, for tools/oracle/safetensors_vectors.py check")

// golden lists the tensors of testdata/python.safetensors in the order of the script that made it,
// tools/oracle/safetensors_vectors.py: byte i of tensor n is (37n + 11i) mod 251.
func golden() ([]Tensor, map[string]string) {
	tensors := []Tensor{
		{Name: "z.f32", DType: "F32", Shape: []int{2, 3}},
		{Name: "a.f32", DType: "F32", Shape: []int{4}},
		{Name: "f64", DType: "F64", Shape: []int{2, 1, 2}},
		{Name: "f16", DType: "F16", Shape: []int{3}},
		{Name: "bf16", DType: "BF16", Shape: []int{5}},
		{Name: "i64", DType: "I64", Shape: []int{2}},
		{Name: "u64", DType: "U64", Shape: []int{1}},
		{Name: "i32", DType: "I32", Shape: []int{3}},
		{Name: "u32", DType: "U32", Shape: []int{3}},
		{Name: "i16", DType: "I16", Shape: []int{3}},
		{Name: "u16", DType: "U16", Shape: []int{1}},
		{Name: "i8", DType: "I8", Shape: []int{3}},
		{Name: "u8", DType: "U8", Shape: []int{2, 2}},
		{Name: "f8_e4m3", DType: "F8_E4M3", Shape: []int{3}},
		{Name: "f8_e5m2", DType: "F8_E5M2", Shape: []int{3}},
		{Name: "f8_e8m0", DType: "F8_E8M0", Shape: []int{2}},
		{Name: "f8_e4m3fnuz", DType: "F8_E4M3FNUZ", Shape: []int{1}},
		{Name: "f8_e5m2fnuz", DType: "F8_E5M2FNUZ", Shape: []int{1}},
		{Name: "c64", DType: "C64", Shape: []int{2}},
		{Name: "bool", DType: "BOOL", Shape: []int{3}},
		{Name: "scalar", DType: "F32", Shape: []int{}},
		{Name: "empty", DType: "F32", Shape: []int{0, 3}},
		{Name: `üml "quoted"`, DType: "F32", Shape: []int{1}},
	}
	for n := range tensors {
		t := &tensors[n]
		size, err := byteCount(t.DType, t.Shape)
		if err != nil {
			panic(err)
		}
		t.Data = make([]byte, size)
		for i := range t.Data {
			t.Data[i] = byte((37*n + 11*i) % 251)
			if t.DType == "BOOL" {
				t.Data[i] %= 2
			}
		}
	}
	return tensors, map[string]string{"format": "march \"test\" ü\n"}
}

// The reference library's file is read value by value, and written again byte by byte; so what is
// written here is what the reference library reads.
func TestGolden(t *testing.T) {
	const path = "testdata/python.safetensors"
	want, metadata := golden()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := f.Metadata(); !reflect.DeepEqual(got, metadata) {
		t.Errorf("metadata %q, want %q", got, metadata)
	}
	if got := len(f.Tensors()); got != len(want) {
		t.Errorf("%d tensors, want %d", got, len(want))
	}
	for _, w := range want {
		info, ok := f.Lookup(w.Name)
		if !ok || info.DType != w.DType || !slices.Equal(info.Shape, w.Shape) || info.Bytes != int64(len(w.Data)) {
			t.Errorf("%s: %+v, want %s %v", w.Name, info, w.DType, w.Shape)
			continue
		}
		got := make([]byte, info.Bytes)
		if err := f.ReadInto(w.Name, got); err != nil || !bytes.Equal(got, w.Data) {
			t.Errorf("%s: %v %v, want %v", w.Name, got, err, w.Data)
		}
	}

	var b bytes.Buffer
	if err := Write(&b, want, metadata); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), file) {
		t.Errorf("wrote\n%q\nthe reference library wrote\n%q", b.Bytes(), file)
	}
	if *save != "" {
		if err := WriteFile(*save, want, metadata); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.safetensors")
	f32 := []float32{1.5, float32(math.Inf(-1)), math.MaxFloat32, math.SmallestNonzeroFloat32, 0, -2}
	f64 := []float64{math.Pi}
	i64 := []int64{math.MinInt64, math.MaxInt64}
	i32 := []int32{-7, 1 << 30}
	u8 := []uint8{0, 255, 3}
	metadata := map[string]string{"b": "2", "a": "<&>\u2028", "": ""}
	err := WriteFile(path, []Tensor{
		New("f32", []int{2, 3}, f32), New("f64", nil, f64), New("i64", []int{2}, i64),
		New("i32", []int{1, 2}, i32), New("u8", []int{3}, u8), New("none", []int{0}, []float32{}),
	}, metadata)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := f.Metadata(); !reflect.DeepEqual(got, metadata) {
		t.Errorf("metadata %q, want %q", got, metadata)
	}
	readBack(t, f, "f32", f32)
	readBack(t, f, "f64", f64)
	readBack(t, f, "i64", i64)
	readBack(t, f, "i32", i32)
	readBack(t, f, "u8", u8)
	readBack(t, f, "none", []float32{})
	for _, info := range f.Tensors() {
		if _, size, _ := layout(info.DType); info.Offset%int64(size) != 0 {
			t.Errorf("%s begins at byte %d, not aligned to its element", info.Name, info.Offset)
		}
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{Read(f, "f32", make([]float32, 5)), `tensor "f32" has 6 values (shape [2 3]), want 5`},
		{Read(f, "f32", make([]int32, 6)), `tensor "f32" is F32, want I32`},
		{Read(f, "other", make([]int32, 6)), `no tensor "other" among its 6`},
		{f.ReadInto("f32", make([]byte, 23)), `tensor "f32" has 24 bytes (F32 [2 3]), want 23`},
		{f.ReadInto("other", nil), `no tensor "other"`},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) || !strings.HasPrefix(c.err.Error(), path) {
			t.Errorf("error %v, want the file and %q", c.err, c.want)
		}
	}
}

func readBack[T Element](t *testing.T, f *File, name string, want []T) {
	t.Helper()
	got := make([]T, len(want))
	if err := Read(f, name, got); err != nil || !slices.Equal(got, want) {
		t.Errorf("%s: %v %v, want %v", name, got, err, want)
	}
}

func TestOrderDoesNotMatter(t *testing.T) {
	tensors, metadata := golden()
	metadata["b"], metadata["a"] = "1", "2"
	var a, b bytes.Buffer
	if err := Write(&a, tensors, metadata); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(tensors)
	if err := Write(&b, tensors, metadata); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("the order of the argument changes the file")
	}
}

func TestWriteRefuses(t *testing.T) {
	ok := New("a", []int{1}, []float32{1})
	cases := []struct {
		name     string
		tensors  []Tensor
		metadata map[string]string
		want     string
	}{
		{"twice", []Tensor{ok, ok}, nil, `two tensors are named "a"`},
		{"reserved", []Tensor{New("__metadata__", []int{1}, []float32{1})}, nil, "reserved"},
		{"name not UTF-8", []Tensor{New("\xff", []int{1}, []float32{1})}, nil, "not UTF-8"},
		{"metadata not UTF-8", []Tensor{ok}, map[string]string{"k": "\xff"}, `metadata "k": not UTF-8`},
		{"shape and values", []Tensor{New("a", []int{2}, []float32{1})}, nil, `tensor "a": 4 bytes of data, but F32 [2] is 8 bytes`},
		{"negative", []Tensor{New("a", []int{-1, -1}, []float32{1})}, nil, "negative dimension"},
		{"overflow", []Tensor{New("a", []int{1 << 31, 1 << 31, 2}, []float32{1})}, nil, "more bytes than can be counted"},
		{"rank", []Tensor{New("a", slices.Repeat([]int{1}, 65), []float32{1})}, nil, "65 dimensions"},
		{"dtype", []Tensor{{Name: "a", DType: "float32"}}, nil, `unknown dtype "float32"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := Write(&b, c.tensors, c.metadata); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if b.Len() > 0 {
				t.Errorf("%d bytes were written before the error", b.Len())
			}
			path := filepath.Join(t.TempDir(), "f")
			if err := WriteFile(path, c.tensors, c.metadata); err == nil || !strings.HasPrefix(err.Error(), "write "+path+": ") {
				t.Errorf("error %v does not name the file", err)
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("a file appeared")
			}
		})
	}
}

// file joins a header and data with the right length before them.
func file(header, data string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header+data...)
}

func withLength(n uint64, rest string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, n), rest...)
}

const one = `"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}`

// hostile holds what a file may claim and must not get away with.
var hostile = []struct {
	name string
	file []byte
	want string
}{
	{"empty", nil, "too few"},
	{"length alone", withLength(0, ""), "too few"},
	{"header of 0 bytes", withLength(0, "{}"), "ends too early"},
	{"header longer than the file", withLength(1000, "{}"), "header of 1000 bytes in a file of 10"},
	{"header beyond the bound", withLength(MaxHeader+1, "{}"), "at most 100000000"},
	{"header of 2^64-1 bytes", withLength(math.MaxUint64, "{}"), "at most 100000000"},
	{"header of 2^63 bytes", withLength(1<<63, "{}"), "at most 100000000"},
	{"no object", file(`[1]`, ""), "begins with '['"},
	{"leading space", file(` {}`, ""), "begins with ' '"},
	{"not JSON", file(`{a}`, ""), "invalid character 'a'"},
	{"cut off", file(`{`+one, "x"), "ends too early"},
	{"cut off in a string", file(`{"a`, "x"), "ends too early"},
	{"trailing object", file(`{}{}`, ""), "more text after"},
	{"padded with zeros", file("{}\x00\x00", ""), "more text after"},
	{"not UTF-8", file("{\"\xff\":"+one[4:]+"}", "x"), "not UTF-8"},
	{"deep nesting", file(strings.Repeat(`{"a":`, 10_000), ""), `unknown key "a"`},
	{"tensor is a list", file(`{"a":[]}`, ""), "found [, want {"},
	{"tensor is null", file(`{"a":null}`, ""), "found null, want {"},
	{"duplicate tensor", file(`{`+one+`,`+one+`}`, "x"), `"a" appears twice`},
	{"duplicate by escape", file(`{`+one+`,"\u0061"`+one[3:]+`}`, "x"), `"a" appears twice`},
	{"duplicate key", file(`{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, "x"), `"dtype" appears twice`},
	{"duplicate metadata", file(`{"__metadata__":{"k":"1","k":"2"}}`, ""), `"k" appears twice`},
	{"metadata twice", file(`{"__metadata__":{},"__metadata__":{}}`, ""), `"__metadata__" appears twice`},
	{"metadata not text", file(`{"__metadata__":{"k":1}}`, ""), `metadata "k": found 1, want a string`},
	{"metadata null", file(`{"__metadata__":null}`, ""), "found null"},
	{"unknown key", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}}`, "x"), `unknown key "x"`},
	{"no dtype", file(`{"a":{"shape":[1],"data_offsets":[0,1]}}`, "x"), `"dtype" is missing`},
	{"no shape", file(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, "x"), `"shape" is missing`},
	{"no range", file(`{"a":{"dtype":"U8","shape":[1]}}`, "x"), `"data_offsets" is missing`},
	{"unknown dtype", file(`{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,1]}}`, "x"), `unknown dtype "F31"`},
	{"long dtype", file(`{"a":{"dtype":"`+strings.Repeat("x", 1000)+`","shape":[1],"data_offsets":[0,1]}}`, "x"), `xxx…"`},
	{"dtype is a number", file(`{"a":{"dtype":8,"shape":[1],"data_offsets":[0,1]}}`, "x"), "dtype: found 8, want a string"},
	{"negative dimension", file(`{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}`, "x"), "found -1, want a whole number"},
	{"two negative dimensions", file(`{"a":{"dtype":"U8","shape":[-1,-1],"data_offsets":[0,1]}}`, "x"), "found -1, want a whole number"},
	{"fractional dimension", file(`{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}`, "x"), "found 1.0, want a whole number"},
	{"exponent", file(`{"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}}`, "x"), "found 1e0, want a whole number"},
	{"minus zero", file(`{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}`, ""), "found -0, want a whole number"},
	{"dimension of 2^64", file(`{"a":{"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,1]}}`, "x"), "want a whole number"},
	{"dimension of 2^63", file(`{"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1]}}`, "x"), "want a whole number"},
	{"dimension is text", file(`{"a":{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}}`, "x"), `found "1", want a number`},
	{"overflow to the right size", file(`{"a":{"dtype":"F64","shape":[2305843009213693952,8],"data_offsets":[0,0]}}`, ""), "more bytes than can be counted"},
	{"overflow to zero", file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, ""), "more bytes than can be counted"},
	{"65 dimensions", file(`{"a":{"dtype":"U8","shape":[1`+strings.Repeat(",1", 64)+`],"data_offsets":[0,1]}}`, "x"), "more than 64 numbers"},
	{"shape and range differ", file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,1]}}`, "x"), "span 1 bytes, but F32 [1] is 4 bytes"},
	{"range of one number", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1]}}`, "x"), "want [begin, end]"},
	{"range of three numbers", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}}`, "x"), "more than 2 numbers"},
	{"range backwards", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}`, "x"), "begin ≤ end"},
	{"negative range", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}}`, "x"), "want a whole number"},
	{"range behind the file", file(`{`+one+`}`, ""), "ends at byte 1 of 0"},
	{"range far behind the file", file(`{"a":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]}}`, "x"), "ends at byte 9223372036854775807 of 1"},
	{"range begins behind the file", file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[9223372036854775807,9223372036854775807]}}`, ""), "belong to no tensor"},
	{"same range twice", file(`{`+one+`,"b"`+one[3:]+`}`, "x"), `tensor "b" begins at byte 0, inside`},
	{"overlap", file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}}`, "12345"), "inside the one before"},
	{"empty tensor inside another", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}}`, "12"), "inside the one before"},
	{"gap", file(`{`+one+`,"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, "xyz"), "bytes 1 to 2"},
	{"gap at the start", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, "xy"), "bytes 0 to 1"},
	{"trailing data", file(`{`+one+`}`, "xyz"), "1 bytes of tensors are followed by 2 more"},
	{"data without tensors", file(`{}`, "x"), "followed by 1 more"},
}

func TestHostile(t *testing.T) {
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewFile("f", bytes.NewReader(c.file), int64(len(c.file)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			if !strings.HasPrefix(err.Error(), "f: not a valid safetensors file: ") || len(err.Error()) > 400 {
				t.Errorf("message %q", err)
			}
		})
	}
}

// unusual files that are valid all the same.
var unusual = []struct {
	name string
	file []byte
}{
	{"no tensors", file(`{}`, "")},
	{"padding of every kind", file("{} \n\t\r ", "")},
	{"header not a multiple of 8", file(`{`+one+`} `, "x")},
	{"empty name", file(`{""`+one[3:]+`}`, "x")},
	{"unaligned", file(`{`+one+`,"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}`, "x1234")},
	{"not in the order of names", file(`{"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},`+one+`}`, "xy")},
	{"empty tensors at one place", file(`{"c":{"dtype":"U8","shape":[0],"data_offsets":[1,1]},"b":{"dtype":"F32","shape":[2,0],"data_offsets":[1,1]},`+one+`}`, "x")},
	{"empty tensor with a huge dimension", file(`{"a":{"dtype":"U8","shape":[0,9223372036854775807,2],"data_offsets":[0,0]}}`, "")},
	{"metadata alone", file(`{"__metadata__":{}}`, "")},
}

func TestUnusual(t *testing.T) {
	for _, c := range unusual {
		t.Run(c.name, func(t *testing.T) { readAndRewrite(t, c.file, true) })
	}
}

// readAndRewrite reads a file as far as it is valid, and checks that what was read is written and
// read again the same.
func readAndRewrite(t *testing.T, data []byte, valid bool) {
	f, err := NewFile("f", bytes.NewReader(data), int64(len(data)))
	if err != nil {
		if valid {
			t.Fatal(err)
		}
		return
	}
	tensors := readAll(t, f, int64(len(data)))
	var b bytes.Buffer
	if err := Write(&b, tensors, f.Metadata()); err != nil {
		t.Fatalf("what was read cannot be written: %v", err)
	}
	g, err := NewFile("g", bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatalf("what was written cannot be read: %v", err)
	}
	again := readAll(t, g, int64(b.Len()))
	slices.SortFunc(tensors, byLayout)
	slices.SortFunc(again, byLayout) // empty tensors share a place, so the file's order may differ
	if !reflect.DeepEqual(tensors, again) || !reflect.DeepEqual(f.Metadata(), g.Metadata()) {
		t.Fatalf("read %+v %q, after writing %+v %q", tensors, f.Metadata(), again, g.Metadata())
	}
}

func readAll(t *testing.T, f *File, size int64) []Tensor {
	var out []Tensor
	var total int64
	for _, info := range f.Tensors() {
		if total += info.Bytes; total > size || info.Bytes < 0 {
			t.Fatalf("%d bytes of tensors in a file of %d", total, size)
		}
		data := make([]byte, info.Bytes)
		if err := f.ReadInto(info.Name, data); err != nil {
			t.Fatal(err)
		}
		out = append(out, Tensor{Name: info.Name, DType: info.DType, Shape: info.Shape, Data: data})
	}
	return out
}

func FuzzRead(f *testing.F) {
	for _, c := range hostile {
		f.Add(c.file)
	}
	for _, c := range unusual {
		f.Add(c.file)
	}
	data, err := os.ReadFile("testdata/python.safetensors")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) { readAndRewrite(t, data, false) })
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("hello, this is text"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{bad, dir, filepath.Join(dir, "missing"), os.DevNull} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Open(%s): %v", path, err)
		}
	}
}

func TestFileShrinks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := WriteFile(path, []Tensor{New("a", []int{1000}, make([]float32, 1000))}, nil); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if err := Read(f, "a", make([]float32, 1000)); err == nil || !strings.Contains(err.Error(), "shorter since") {
		t.Errorf("error %v", err)
	}
}

type failAfter struct{ n int }

func (w *failAfter) Write(p []byte) (int, error) {
	if w.n -= len(p); w.n < 0 {
		return 0, fmt.Errorf("full")
	}
	return len(p), nil
}

func TestWriteErrorIsReturned(t *testing.T) {
	tensors, metadata := golden()
	for _, n := range []int{0, 1500} {
		if err := Write(&failAfter{n}, tensors, metadata); err == nil || err.Error() != "full" {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	if err := Write(io.Discard, tensors, metadata); err != nil {
		t.Error(err)
	}
}

func TestBigEndian(t *testing.T) {
	data := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	reverseEach(data, 4)
	if want := []byte{4, 3, 2, 1, 8, 7, 6, 5}; !bytes.Equal(data, want) {
		t.Errorf("%v, want %v", data, want)
	}
}

func TestExpect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.safetensors")
	if err := WriteFile(path, []Tensor{New("a", []int{2}, []float32{1, 2}), New("b", []int{1}, []float32{3})}, nil); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	good := Digest(New("a", []int{2}, []float32{1, 2}).Data)
	for _, c := range []struct {
		digests map[string]string
		want    string
	}{
		{map[string]string{"a": good}, `tensor "b" was not there when the file was saved`},
		{map[string]string{"a": good, "b": "", "c": ""}, `no tensor "c"`},
	} {
		if err := f.Expect(c.digests); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	if err := f.Expect(map[string]string{"a": good, "b": good}); err != nil {
		t.Fatal(err)
	}
	if err := Read(f, "a", make([]float32, 2)); err != nil {
		t.Error(err)
	}
	if err := Read(f, "b", make([]float32, 1)); err == nil || !strings.Contains(err.Error(), `tensor "b" is damaged`) {
		t.Errorf("another tensor than was saved: %v", err)
	}
}
