// Package cudadrv holds what march needs of NVIDIA's driver: which GPUs there are, memory
// on one of them, and a stream of its own that copies, fills and ONNX Runtime's kernels
// follow each other on. The driver's library is opened at run time: march builds and
// starts without it. It knows nothing of tensors. Start at Open.
package cudadrv

/*
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "cudadrv.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"unsafe"
)

// ErrMemory is wrapped by errors of a GPU that has no memory left.
var ErrMemory = errors.New("out of memory on the GPU")

// take turns a C message into an error and frees it.
func take(message *C.char) error {
	if message == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(message))
	text := C.GoString(message)
	if rest, ok := strings.CutPrefix(text, ErrMemory.Error()); ok {
		return fmt.Errorf("%w%s", ErrMemory, rest)
	}
	return errors.New(text)
}

// GPU is what the driver says of a device.
type GPU struct {
	Name            string `json:"name"`
	Memory          int64  `json:"memory"`     // bytes
	Capability      string `json:"capability"` // such as "9.0"
	Multiprocessors int    `json:"multiprocessors"`
	Clock           int    `json:"clock_khz"`   // at most
	Bandwidth       int64  `json:"bytes_per_s"` // of the memory, by its clock and width; 0: not known
}

// Driver loads the driver and returns the CUDA version that it serves, such as "13.0".
func Driver() (version string, err error) {
	var v C.int
	if err := take(C.cudadrv_load(&v)); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d.%d", v/1000, v%1000/10), nil
}

// GPUs lists the devices that this process may use. No driver is an error.
func GPUs() ([]GPU, error) {
	if _, err := Driver(); err != nil {
		return nil, err
	}
	var n C.int
	if err := take(C.cudadrv_count(&n)); err != nil {
		return nil, err
	}
	list := make([]GPU, n)
	for i := range list {
		var info C.cudadrv_info
		if err := take(C.cudadrv_describe(C.int(i), &info)); err != nil {
			return nil, err
		}
		list[i] = GPU{Name: C.GoString(&info.name[0]), Memory: int64(info.memory),
			Capability: fmt.Sprintf("%d.%d", info.major, info.minor), Multiprocessors: int(info.multiprocessors),
			Clock: int(info.clock), Bandwidth: 2 * 1000 * int64(info.memory_clock) * int64(info.bus) / 8}
	}
	return list, nil
}

// Device is a GPU with a stream, on which all its methods queue their work in order.
// They may be called from several goroutines.
type Device struct {
	GPU
	index           int
	context, stream unsafe.Pointer

	mu    sync.Mutex // guards staging
	slots [32]slot
	next  int
}

// slot is memory that uploads go through: the device reads it by itself, when the stream
// comes to it, while the caller goes on.
type slot struct {
	memory unsafe.Pointer
	size   int
	event  unsafe.Pointer // recorded behind the copy that reads memory
	used   bool
}

// Open makes a device ready.
func Open(index int) (*Device, error) {
	gpus, err := GPUs()
	if err != nil {
		return nil, err
	}
	if index < 0 || index >= len(gpus) {
		return nil, fmt.Errorf("GPU %d: there are %d, counted from 0", index, len(gpus))
	}
	d := &Device{GPU: gpus[index], index: index}
	if err := take(C.cudadrv_open(C.int(index), &d.context, &d.stream)); err != nil {
		return nil, fmt.Errorf("GPU %d: %w", index, err)
	}
	return d, nil
}

// Context is the CUcontext.
func (d *Device) Context() unsafe.Pointer { return d.context }

// Stream is the CUstream.
func (d *Device) Stream() unsafe.Pointer { return d.stream }

// Close waits for the work queued so far and gives everything back but memory from Alloc.
func (d *Device) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.context == nil {
		return
	}
	d.Synchronize()
	for i := range d.slots {
		if s := &d.slots[i]; s.memory != nil {
			take(C.cudadrv_free_host(d.context, s.memory))
			take(C.cudadrv_free_event(d.context, s.event))
			*s = slot{}
		}
	}
	C.cudadrv_close(C.int(d.index), d.context, d.stream)
	d.context, d.stream = nil, nil
}

// Alloc returns device memory at an address that is a multiple of 256 bytes. It waits until the memory is zeroed:
// ONNX Runtime copies constants to a graph's outputs in the default stream, which does not wait for this one, and the
// zeros would come after them.
func (d *Device) Alloc(bytes int) (unsafe.Pointer, error) {
	var p unsafe.Pointer
	if err := take(C.cudadrv_alloc(d.context, C.size_t(bytes), &p)); err != nil {
		return nil, err
	}
	if err := errors.Join(d.Zero(p, bytes), d.Synchronize()); err != nil {
		d.Free(p)
		return nil, err
	}
	return p, nil
}

// Free waits for the device and gives memory back.
func (d *Device) Free(p unsafe.Pointer) error { return take(C.cudadrv_free(d.context, p)) }

// Zero fills with zeros.
func (d *Device) Zero(p unsafe.Pointer, bytes int) error {
	return take(C.cudadrv_zero(d.context, d.stream, p, C.size_t(bytes)))
}

// Copy copies within the device.
func (d *Device) Copy(to, from unsafe.Pointer, bytes int) error {
	return take(C.cudadrv_copy(d.context, d.stream, to, from, C.size_t(bytes)))
}

// staged is up to which size an upload is copied aside, so that the caller need not wait.
const staged = 1 << 20

// Upload copies src to the device, behind what is queued. src may be changed afterwards.
func (d *Device) Upload(to unsafe.Pointer, src []byte) error {
	if len(src) == 0 {
		return nil
	}
	if len(src) > staged {
		// The driver copies memory that it has not pinned in pieces of its own.
		err := take(C.cudadrv_upload(d.context, d.stream, to, unsafe.Pointer(unsafe.SliceData(src)), C.size_t(len(src))))
		return errors.Join(err, d.Synchronize())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.slots[d.next]
	d.next = (d.next + 1) % len(d.slots)
	if s.used {
		if err := take(C.cudadrv_wait(d.context, s.event)); err != nil {
			return err
		}
	}
	if err := d.grow(s, len(src)); err != nil {
		return err
	}
	copy(unsafe.Slice((*byte)(s.memory), len(src)), src)
	if err := take(C.cudadrv_upload(d.context, d.stream, to, s.memory, C.size_t(len(src)))); err != nil {
		return err
	}
	s.used = true
	return take(C.cudadrv_record(d.context, d.stream, s.event))
}

func (d *Device) grow(s *slot, bytes int) error {
	if s.event == nil {
		if err := take(C.cudadrv_event(d.context, &s.event)); err != nil {
			return err
		}
	}
	if s.size >= bytes {
		return nil
	}
	if s.memory != nil {
		if err := take(C.cudadrv_free_host(d.context, s.memory)); err != nil {
			return err
		}
		s.memory, s.size = nil, 0
	}
	size := 64 << 10
	for size < bytes {
		size *= 2
	}
	if err := take(C.cudadrv_alloc_host(d.context, C.size_t(size), &s.memory)); err != nil {
		return err
	}
	s.size = size
	return nil
}

// Download waits for what is queued and copies to dst.
func (d *Device) Download(dst []byte, from unsafe.Pointer) error {
	if len(dst) == 0 {
		return nil
	}
	return take(C.cudadrv_download(d.context, d.stream, unsafe.Pointer(unsafe.SliceData(dst)), from, C.size_t(len(dst))))
}

// Synchronize waits for what is queued.
func (d *Device) Synchronize() error { return take(C.cudadrv_synchronize(d.context, d.stream)) }

// MemoryInUse is how much of the device's memory all processes have taken, in bytes.
func (d *Device) MemoryInUse() (int64, error) {
	var available, total C.size_t
	err := take(C.cudadrv_memory(d.context, &available, &total))
	return int64(total - available), err
}
