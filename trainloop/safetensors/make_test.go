package safetensors

import (
	"bytes"
	"errors"
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
