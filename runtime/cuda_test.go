package runtime

import (
	"bytes"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// openGPU opens the GPU that MARCH_TEST_DEVICE names, or skips the test, saying why.
func openGPU(t *testing.T, o Options) *Runtime {
	t.Helper()
	device, err := ParseDevice(os.Getenv("MARCH_TEST_DEVICE"))
	if err != nil {
		t.Fatal(err)
	}
	if device.Kind != "cuda" {
		t.Skip("needs a GPU; MARCH_TEST_DEVICE=cuda says there is one")
	}
	o.Device = device
	r, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// A machine without a GPU says so, and "auto" takes the CPU there.
func TestNoGPU(t *testing.T) {
	if os.Getenv("MARCH_TEST_DEVICE") != "" {
		t.Skip("there may be a GPU")
	}
	if _, err := os.Stat("/dev/nvidiactl"); err == nil {
		t.Skip("there is a GPU")
	}
	_, err := Open(Options{Device: Device{Kind: "cuda"}})
	wantError(t, err, "device cuda:0", "NVIDIA driver")
	r, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Device() != (Device{Kind: "cpu"}) || r.GPU() != "" || r.Unused() != "" {
		t.Errorf("device %v, GPU %q, unused %q", r.Device(), r.GPU(), r.Unused())
	}
}

func TestGPUTensors(t *testing.T) {
	r := openGPU(t, Options{})
	b := must[*Buffer](t)(r.Alloc(1 << 20))
	x := must[*Tensor](t)(b.Tensor(256, Float32, 3, 5))
	y := must[*Tensor](t)(b.Tensor(4096, Float32, 15))
	want := make([]float32, 15)
	for i := range want {
		want[i] = float32(i) - 7.5
	}
	got := make([]float32, 15)
	if err := Download(x, got); err != nil || got[3] != 0 {
		t.Errorf("fresh memory holds %v (%v)", got, err)
	}
	if err := Upload(x, want); err != nil {
		t.Fatal(err)
	}
	if err := y.CopyFrom(x); err != nil {
		t.Fatal(err)
	}
	if err := Download(y, got); err != nil || !bytes.Equal(asBytes(got), asBytes(want)) {
		t.Errorf("got %v, want %v (%v)", got, want, err)
	}
	if err := b.Zero(); err != nil {
		t.Fatal(err)
	}
	if err := Download(y, got); err != nil || got[0] != 0 {
		t.Errorf("after Zero: %v (%v)", got, err)
	}
	_, err := r.Alloc(1 << 48)
	if wantError(t, err, "out of memory"); !IsOutOfMemory(err) {
		t.Errorf("%v is not told as running out of memory", err)
	}
	if r.Hardware() != r.GPU() {
		t.Errorf("hardware %q, GPU %q", r.Hardware(), r.GPU())
	}
	if n, err := r.GPUMemoryInUse(); err != nil || n < 1<<20 {
		t.Errorf("%d bytes in use (%v)", n, err)
	}
}

// CUDA's start replaces the signal handlers of the process; Go's must be there afterwards.
func TestGPUSignals(t *testing.T) {
	r := openGPU(t, Options{})
	if err := r.selfTest(); err != nil {
		t.Fatal(err)
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt)
	defer signal.Stop(c)
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c:
	case <-time.After(5 * time.Second):
		t.Error("the signal did not arrive")
	}
}

func TestGPUIndex(t *testing.T) {
	openGPU(t, Options{})
	_, err := Open(Options{Device: Device{Kind: "cuda", Index: 77}})
	wantError(t, err, "cuda:77", "counted from 0")
}
