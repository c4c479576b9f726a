package runtime

import (
	"bytes"
	"errors"
	"math"
	"os"
	"testing"
	"time"
	"unsafe"
)

func TestAlloc(t *testing.T) {
	r := open(t, 1)
	for _, n := range []int{1, 4096, 4097, 1 << 20} {
		b := must[*Buffer](t)(r.Alloc(n))
		if b.Len() != n {
			t.Errorf("length %d, want %d", b.Len(), n)
		}
		if at := uintptr(unsafe.Pointer(&b.mem[0])); at%uintptr(os.Getpagesize()) != 0 {
			t.Errorf("%d bytes at %#x: not at a page", n, at)
		}
		if len(bytes.Trim(b.mem, "\x00")) != 0 {
			t.Errorf("%d bytes are not zero", n)
		}
	}
	for _, n := range []int{0, -1, math.MinInt, 1 << 62} {
		_, err := r.Alloc(n)
		wantError(t, err, "allocate")
	}
}

func TestTensorBounds(t *testing.T) {
	r := open(t, 1)
	b := must[*Buffer](t)(r.Alloc(64))
	for _, test := range []struct {
		offset int
		typ    ElementType
		shape  []int64
		want   string // "": allowed
	}{
		{0, Float32, []int64{16}, ""},
		{0, Float32, []int64{4, 4}, ""},
		{0, Float32, nil, ""}, // scalar
		{60, Float32, nil, ""},
		{60, Float32, []int64{1}, ""},
		{63, Bool, []int64{1, 1, 1}, ""},
		{56, Int64, []int64{1}, ""},
		{0, Float32, []int64{17}, "needs 68 bytes, the buffer has 64"},
		{4, Float32, []int64{16}, "at offset 4"},
		{64, Float32, nil, "at offset 64"},
		{64, Bool, []int64{1}, "at offset 64"},
		{1 << 40, Float32, []int64{1}, "the buffer has 64"},
		{-4, Float32, []int64{1}, "multiple of 4"},
		{2, Float32, []int64{1}, "multiple of 4"},
		{4, Float64, []int64{1}, "multiple of 8"},
		{0, Float32, []int64{0}, "dimension 0 is 0"},
		{0, Float32, []int64{2, -1}, "dimension 1 is -1"},
		{0, Float32, []int64{1 << 40, 1 << 40}, "too large"},
		{0, Float32, []int64{math.MaxInt64}, "too large"},
		{0, Float64, []int64{1 << 58}, "the buffer has 64"},
		{0, ElementType(8), []int64{1}, "element type 8"}, // string
		{0, ElementType(0), []int64{1}, "element type 0"},
	} {
		x, err := b.Tensor(test.offset, test.typ, test.shape...)
		if test.want != "" {
			wantError(t, err, test.want)
			continue
		}
		if err != nil {
			t.Errorf("%v%v at %d: %v", test.typ, test.shape, test.offset, err)
			continue
		}
		if x.Type() != test.typ || len(x.Shape()) != len(test.shape) || x.Bytes() != x.Len()*test.typ.Size() {
			t.Errorf("got %s of %d elements, %d bytes", x, x.Len(), x.Bytes())
		}
	}
	_, err := r.NewTensor(Float32, 2, 0)
	wantError(t, err, "dimension 1 is 0")
	_, err = r.NewTensor(ElementType(8), 2)
	wantError(t, err, "element type 8")
	_, err = r.NewTensor(Float32, 1<<50)
	wantError(t, err, "allocate")
}

func TestTransfer(t *testing.T) {
	r := open(t, 1)
	b := must[*Buffer](t)(r.Alloc(32))
	all := must[*Tensor](t)(b.Tensor(0, Float32, 8))
	part := must[*Tensor](t)(b.Tensor(8, Float32, 2, 2)) // elements 2 to 5
	if err := Upload(all, []float32{0, 1, 2, 3, 4, 5, 6, 7}); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 4)
	if err := Download(part, got); err != nil || got[0] != 2 || got[3] != 5 {
		t.Errorf("the view holds %v, %v", got, err)
	}
	if err := Upload(part, []float32{-2, -3, -4, -5}); err != nil {
		t.Fatal(err)
	}
	whole := make([]float32, 8)
	if err := Download(all, whole); err != nil || whole[1] != 1 || whole[2] != -2 || whole[5] != -5 || whole[6] != 6 {
		t.Errorf("the buffer holds %v, %v", whole, err)
	}
	shape := part.Shape()
	shape[0] = 99
	if part.Shape()[0] != 2 {
		t.Error("Shape gives the tensor's own slice away")
	}

	wantError(t, Upload(part, make([]float32, 3)), "float32[2 2]", "got 3", "want 4")
	wantError(t, Download(part, make([]float32, 5)), "got 5", "want 4")
	wantError(t, Upload(part, make([]int32, 4)), "int32", "want 4 of float32")
	wantError(t, Download(part, make([]float64, 2)), "float64")
	wantError(t, part.UploadBytes(make([]byte, 15)), "15 bytes", "16")
	wantError(t, part.DownloadBytes(nil), "0 bytes", "16")

	if err := b.Zero(); err != nil {
		t.Fatal(err)
	}
	if err := Download(all, whole); err != nil || whole[5] != 0 || whole[7] != 0 {
		t.Errorf("after Zero: %v, %v", whole, err)
	}

	for range 2 {
		if err := part.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, Upload(part, make([]float32, 4)), "tensor is closed")
	for range 2 {
		if err := b.Free(); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, Upload(all, whole), "tensor is closed")
	wantError(t, b.Zero(), "freed")
	_, err := b.Tensor(0, Float32, 1)
	wantError(t, err, "freed")
	if b.Len() != 32 || all.Close() != nil {
		t.Error("a freed buffer and its tensors lost their manners")
	}
}

// roundTrip goes through ONNX Runtime, so it also shows that the numbers of the
// element types are right.
func roundTrip[T Element](t *testing.T, r *Runtime, typ ElementType, values ...T) {
	t.Helper()
	x := must[*Tensor](t)(r.NewTensor(typ, int64(len(values))))
	y := must[*Tensor](t)(r.NewTensor(typ, int64(len(values))))
	if err := Upload(x, values); err != nil {
		t.Fatal(err)
	}
	runIdentity(t, r, typ, x, y)
	got := make([]T, len(values))
	if err := Download(y, got); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if got[i] != values[i] {
			t.Errorf("%v: %v became %v", typ, values, got)
			break
		}
	}
}

func runIdentity(t *testing.T, r *Runtime, typ ElementType, x, y *Tensor) {
	t.Helper()
	m := testModel{
		nodes:   []testNode{{op: "Identity", name: "same", in: []string{"x"}, out: []string{"y"}}},
		inputs:  []testValue{{"x", typ, dims("N")}},
		outputs: []testValue{{"y", typ, dims("N")}},
	}
	s := must[*Session](t)(r.SessionBytes(m.encode(), SessionOptions{}))
	defer s.Close()
	b := must[*Binding](t)(s.Bind(map[string]*Tensor{"x": x}, map[string]*Tensor{"y": y}))
	if err := b.Run(); err != nil {
		t.Fatal(err)
	}
}

func TestElementTypes(t *testing.T) {
	r := open(t, 1)
	roundTrip(t, r, Float32, -1.5, float32(math.Inf(1)), math.MaxFloat32)
	roundTrip(t, r, Float64, -1.5, math.Inf(-1), math.MaxFloat64)
	roundTrip(t, r, Int64, math.MinInt64, int64(-1), math.MaxInt64)
	roundTrip(t, r, Int32, math.MinInt32, int32(-1), math.MaxInt32)
	roundTrip(t, r, Uint8, uint8(0), 255)
	roundTrip(t, r, Bool, true, false, true)
	for typ := range elementTypes { // the others through bytes
		x := must[*Tensor](t)(r.NewTensor(typ, 3))
		y := must[*Tensor](t)(r.NewTensor(typ, 3))
		want := bytes.Repeat([]byte{1, 0}, 100)[:x.Bytes()]
		if err := x.UploadBytes(want); err != nil {
			t.Fatal(err)
		}
		runIdentity(t, r, typ, x, y)
		got := make([]byte, y.Bytes())
		if err := y.DownloadBytes(got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %v became %v, %v", typ, want, got, err)
		}
	}
}

// TestEmpty: a tensor without elements has a dimension of 0, and binds where a model takes it.
func TestEmpty(t *testing.T) {
	r := open(t, 1)
	b, err := r.Alloc(8)
	if err != nil {
		t.Fatal(err)
	}
	if x, err := b.Empty(Float32, 1, 2, 0, 4); err != nil {
		t.Error(err)
	} else if err := Upload(x, []float32{}); err != nil {
		t.Error(err)
	}
	for _, shape := range [][]int64{{1, 2}, {}, {0, -1}} {
		if x, err := b.Empty(Float32, shape...); err == nil {
			t.Errorf("shape %v made %s", shape, x)
		}
	}
}

// A copy and the end of the memory that it reads may meet: the copy is made, or refused, and neither waits for ever.
func TestCopyWhileFreed(t *testing.T) {
	rt := open(t, 1)
	to, err := rt.NewTensor(Float32, 1<<14)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	defer close(stop)
	for range 8 { // who else uses the runtime, so that every step of the two waits for its turn
		go func() {
			for {
				select {
				case <-stop:
					return
				default:
					if x, err := rt.NewTensor(Float32, 1); err == nil {
						x.Close()
					}
				}
			}
		}()
	}
	done := make(chan error, 1)
	go func() {
		for range 500 {
			from, err := rt.NewTensor(Float32, 1<<14)
			if err != nil {
				done <- err
				return
			}
			freed := make(chan error)
			go func() { freed <- from.Close() }()
			if err := to.CopyFrom(from); err != nil && !errors.Is(err, errTensorClosed) {
				done <- err
				return
			}
			if err := <-freed; err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(15 * time.Second):
		panic("a copy and Free wait for each other") // and Close, which the test ends with, for both
	}
}
