package safetensors

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMake: tensors that are made when their turn comes give the same file; what is made wrongly is named.
func TestMake(t *testing.T) {
	a, b := []float32{1, 2, 3}, []float32{4, 5}
	var at, made bytes.Buffer
	if err := Write(&at, []Tensor{New("a", []int{3}, a), New("b", []int{2}, b)}, nil); err != nil {
		t.Fatal(err)
	}
	live := 0
	lazy := func(name string, v []float32, n int) Tensor {
		return Tensor{Name: name, DType: "F32", Shape: []int{n}, Make: func() ([]byte, error) { live++; return Bytes(v), nil }}
	}
	if err := Write(&made, []Tensor{lazy("b", b, 2), lazy("a", a, 3)}, nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(at.Bytes(), made.Bytes()) || live != 2 {
		t.Errorf("%d tensors were made, and the file is %q, wanted %q", live, made.Bytes(), at.Bytes())
	}
	if err := Write(&made, []Tensor{lazy("a", a, 4)}, nil); err == nil || !strings.Contains(err.Error(), `tensor "a": 12 bytes were made, but F32 [4] is 16 bytes`) {
		t.Errorf("a tensor that is too short: %v", err)
	}
	broken := Tensor{Name: "c", DType: "F32", Shape: []int{1}, Make: func() ([]byte, error) { return nil, errors.New("no such run") }}
	if err := Write(&made, []Tensor{broken}, nil); err == nil || !strings.Contains(err.Error(), `tensor "c": no such run`) {
		t.Errorf("a tensor that cannot be made: %v", err)
	}
}

// TestDigest: the digest is that of the file, of tensors that are there and of such that are made.
func TestDigest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	var list []Tensor
	for i := range 50 {
		v := slices.Repeat([]float32{float32(i)}, 1000*i)
		x := New(fmt.Sprint("t", i), []int{len(v)}, v)
		if i%2 == 0 {
			data := x.Data
			x.Data, x.Make = nil, func() ([]byte, error) { return data, nil }
		}
		list = append(list, x)
	}
	n, digest, err := WriteFileDigest(path, list, map[string]string{"k": "v"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := Digest(b); digest != want || n != int64(len(b)) {
		t.Errorf("%d bytes with %s, wanted %d with %s", n, digest, len(b), want)
	}
	list[30].Make = func() ([]byte, error) { return nil, errors.New("lost") }
	if _, _, err := WriteFileDigest(path, list, nil); err == nil || !strings.Contains(err.Error(), `tensor "t30": lost`) {
		t.Errorf("a tensor that cannot be made: %v", err)
	}
	if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, b) {
		t.Errorf("the file that was there is no longer whole (%v)", err)
	}
}

// TestWriterFails while tensors are being made: its error is returned, and no more are made.
func TestWriterFails(t *testing.T) {
	made := 0
	var list []Tensor
	for i := range 100 {
		list = append(list, Tensor{Name: fmt.Sprintf("t%02d", i), DType: "U8", Shape: []int{10}, Make: func() ([]byte, error) { made++; return make([]byte, 10), nil }})
	}
	head, err := header(list, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(&failAfter{len(head) + 35}, list, nil); err == nil || err.Error() != "full" || made > 6 {
		t.Errorf("%v after %d tensors", err, made)
	}
}
