package cudadrv

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"
)

// device opens the first GPU, or skips the test where there is none, saying why.
func device(t *testing.T) *Device {
	t.Helper()
	if _, err := GPUs(); err != nil {
		t.Skip("no GPU: ", err)
	}
	d, err := Open(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// Without a driver every entry says so and nothing crashes.
func TestNoDriver(t *testing.T) {
	if _, err := Driver(); err == nil {
		t.Skip("there is a driver")
	}
	for range 2 {
		_, err := Open(0)
		if err == nil || !strings.Contains(err.Error(), "NVIDIA driver") {
			t.Fatalf("got %v, want an error that names the driver", err)
		}
	}
}

func TestBadIndex(t *testing.T) {
	device(t)
	if _, err := Open(99); err == nil || !strings.Contains(err.Error(), "GPU 99") {
		t.Errorf("got %v, want an error that names GPU 99", err)
	}
}

// Uploads are ordered and their source may change at once, whatever their size.
func TestTransfers(t *testing.T) {
	d := device(t)
	const n = staged + 1<<20
	p, err := d.Alloc(n)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Free(p)
	got := make([]byte, n)
	if err := d.Download(got, p); err != nil || !bytes.Equal(got, make([]byte, n)) {
		t.Fatalf("memory is not zeroed (%v)", err)
	}
	want := make([]byte, n)
	src := make([]byte, n)
	for range 200 {
		at, size := rand.IntN(n-1), 1+rand.IntN(200_000)
		size = min(size, n-at)
		for i := range src[:size] {
			src[i] = byte(rand.Uint32())
		}
		copy(want[at:], src[:size])
		if err := d.Upload(unsafe.Add(p, at), src[:size]); err != nil {
			t.Fatal(err)
		}
		clear(src[:size])
	}
	if err := d.Download(got, p); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("what came back is not what went up (%v)", err)
	}
	if err := d.Upload(p, want); err != nil {
		t.Fatal(err)
	}
	q, err := d.Alloc(n)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Free(q)
	if err := d.Copy(q, p, n); err != nil {
		t.Fatal(err)
	}
	if err := d.Download(got, q); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the copy differs (%v)", err)
	}
}

func TestOutOfMemory(t *testing.T) {
	d := device(t)
	_, err := d.Alloc(1 << 50)
	if err == nil || !strings.Contains(err.Error(), ErrMemory.Error()) {
		t.Errorf("got %v, want %v", err, ErrMemory)
	}
}
