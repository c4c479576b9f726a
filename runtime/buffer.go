package runtime

import (
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"march/runtime/internal/ortc"
)

// Buffer is memory on the runtime's device. It lies outside the Go heap: the
// garbage collector neither scans, moves nor counts it.
type Buffer struct {
	rt      *Runtime
	size    int
	tensors map[*Tensor]struct{} // guarded by rt.mu
	freed   bool                 // guarded by rt.mu

	// access is held for reading while the memory is touched, for writing to give
	// it back. data is nil afterwards.
	access sync.RWMutex
	data   unsafe.Pointer
	mem    []byte // the same, of a host's memory; nil of a GPU's
}

// Alloc returns a buffer of that many bytes, zeroed, starting at a page, on a GPU at a
// multiple of 256 bytes.
func (r *Runtime) Alloc(bytes int) (*Buffer, error) {
	if bytes <= 0 {
		return nil, fmt.Errorf("allocate %d bytes: want at least 1", bytes)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	b := &Buffer{rt: r, size: bytes, tensors: map[*Tensor]struct{}{}}
	if r.gpu != nil {
		var err error
		if b.data, err = r.gpu.Alloc(bytes); err != nil {
			return nil, fmt.Errorf("allocate %d bytes: %w", bytes, err)
		}
		r.buffers[b] = struct{}{}
		return b, nil
	}
	// The system gives zeroed pages, and gives each one only when it is first
	// touched.
	mem, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("allocate %d bytes: %w", bytes, err)
	}
	b.mem, b.data = mem, unsafe.Pointer(unsafe.SliceData(mem))
	r.buffers[b] = struct{}{}
	return b, nil
}

// Len is the size in bytes.
func (b *Buffer) Len() int { return b.size }

// Zero sets every byte to zero.
func (b *Buffer) Zero() error {
	b.access.RLock()
	defer b.access.RUnlock()
	switch {
	case b.data == nil:
		return errFreed
	case b.mem == nil:
		return b.rt.gpu.Zero(b.data, b.size)
	}
	clear(b.mem)
	return nil
}

// Free closes the buffer's tensors and gives the memory back. It is an error
// while a binding uses one of them.
func (b *Buffer) Free() error {
	r := b.rt
	r.mu.Lock()
	defer r.mu.Unlock()
	if b.freed {
		return nil
	}
	for t := range b.tensors {
		if t.bound > 0 {
			return fmt.Errorf("free a buffer of %d bytes: its tensor %s is bound; close the binding first", b.size, t)
		}
	}
	for t := range b.tensors {
		t.release()
	}
	b.freed = true
	delete(r.buffers, b)
	b.access.Lock()
	defer b.access.Unlock()
	data, mem := b.data, b.mem
	b.data, b.mem = nil, nil
	var err error
	if mem == nil {
		err = r.gpu.Free(data)
	} else {
		err = unix.Munmap(mem)
	}
	if err != nil {
		return fmt.Errorf("free %d bytes: %w", b.size, err)
	}
	return nil
}

// Tensor is a view of a part of a buffer, which inputs and outputs can be bound
// to.
type Tensor struct {
	buf    *Buffer
	offset int // bytes
	bytes  int
	count  int // elements
	typ    ElementType
	shape  []int64
	own    bool // the buffer is the tensor's own and goes with it

	handle unsafe.Pointer // OrtValue
	value  ortc.Value     // the same, in the form that binds

	// Guarded by rt.mu.
	closed bool
	bound  int // open bindings that use it
}

// Tensor returns a view of the buffer from offset, in bytes, on. offset must be
// a multiple of the element's size. No dimension makes a scalar. Views may
// overlap.
func (b *Buffer) Tensor(offset int, t ElementType, shape ...int64) (*Tensor, error) {
	count, err := countElements(shape)
	if err != nil {
		return nil, err
	}
	return b.tensor(offset, count, t, shape)
}

// Empty returns a tensor without elements, one of whose dimensions is 0: the keys of no tokens.
func (b *Buffer) Empty(t ElementType, shape ...int64) (*Tensor, error) {
	if !slices.Contains(shape, 0) || slices.ContainsFunc(shape, func(d int64) bool { return d < 0 }) {
		return nil, fmt.Errorf("empty tensor %v%v: want a dimension of 0, and none below", t, shape)
	}
	return b.tensor(0, 0, t, shape)
}

func (b *Buffer) tensor(offset, count int, t ElementType, shape []int64) (*Tensor, error) {
	size := t.Size()
	switch {
	case size == 0:
		return nil, fmt.Errorf("tensor of %v: not supported", t)
	case offset < 0 || offset%size != 0:
		return nil, fmt.Errorf("tensor of %v at offset %d: want a multiple of %d bytes", t, offset, size)
	case offset > b.size || count*size > b.size-offset:
		return nil, fmt.Errorf("tensor %v%v at offset %d: needs %d bytes, the buffer has %d", t, shape, offset, count*size, b.size)
	}
	r := b.rt
	r.mu.Lock()
	defer r.mu.Unlock()
	if b.freed {
		return nil, errFreed
	}
	tensor := &Tensor{
		buf: b, offset: offset, bytes: count * size, count: count, typ: t,
		shape: append([]int64{}, shape...),
	}
	gpu := ortc.Host
	if r.gpu != nil {
		gpu = r.device.Index
	}
	var err error
	tensor.handle, err = r.lib.NewTensor(gpu, unsafe.Add(b.data, offset), tensor.bytes, tensor.shape, int(t))
	if err != nil {
		return nil, fmt.Errorf("tensor %v%v: %w", t, shape, tidy(err))
	}
	if tensor.value, err = ortc.NewValue(tensor.handle); err != nil {
		r.lib.ReleaseValue(tensor.handle)
		return nil, err
	}
	b.tensors[tensor] = struct{}{}
	return tensor, nil
}

// NewTensor returns a zeroed tensor with a buffer of its own.
func (r *Runtime) NewTensor(t ElementType, shape ...int64) (*Tensor, error) {
	count, err := countElements(shape)
	if err != nil {
		return nil, err
	}
	if t.Size() == 0 {
		return nil, fmt.Errorf("tensor of %v: not supported", t)
	}
	b, err := r.Alloc(count * t.Size())
	if err != nil {
		return nil, err
	}
	tensor, err := b.Tensor(0, t, shape...)
	if err != nil {
		b.Free()
		return nil, err
	}
	tensor.own = true
	return tensor, nil
}

// Shape is a copy of the dimensions; empty for a scalar.
func (t *Tensor) Shape() []int64 { return append([]int64{}, t.shape...) }

// Type is the elements' type.
func (t *Tensor) Type() ElementType { return t.typ }

// Len is the number of elements.
func (t *Tensor) Len() int { return t.count }

// Bytes is the size in bytes.
func (t *Tensor) Bytes() int { return t.bytes }

// String is the type and shape, such as "float32[8 128]".
func (t *Tensor) String() string { return fmt.Sprintf("%v%v", t.typ, t.shape) }

// Close gives the view up, and its memory where that is its own. It is an error
// while a binding uses it.
func (t *Tensor) Close() error {
	if t.own {
		return t.buf.Free()
	}
	r := t.buf.rt
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.closed {
		return nil
	}
	if t.bound > 0 {
		return fmt.Errorf("close tensor %s: it is bound; close the binding first", t)
	}
	t.release()
	return nil
}

// release is called with rt.mu held.
func (t *Tensor) release() {
	t.buf.rt.lib.ReleaseValue(t.handle)
	t.handle, t.value, t.closed = nil, ortc.Value{}, true
	delete(t.buf.tensors, t)
}
