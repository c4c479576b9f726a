package runtime

import (
	"errors"
	"fmt"
)

// Upload and Download, and their forms for bytes, are the only ways data gets
// into and out of tensors, so that a tensor's memory can lie on any device.

var (
	errFreed        = errors.New("the buffer is freed")
	errTensorClosed = errors.New("the tensor is closed")
)

// Upload copies src into the tensor. Element type and number of elements must
// agree.
func Upload[T Element](t *Tensor, src []T) error {
	if err := check[T]("upload to", t, len(src)); err != nil {
		return err
	}
	return t.UploadBytes(asBytes(src))
}

// Download copies the tensor into dst. Element type and number of elements must
// agree.
func Download[T Element](t *Tensor, dst []T) error {
	if err := check[T]("download", t, len(dst)); err != nil {
		return err
	}
	return t.DownloadBytes(asBytes(dst))
}

func check[T Element](verb string, t *Tensor, n int) error {
	if want := elementTypeOf[T](); want != t.typ || n != t.count {
		return fmt.Errorf("%s tensor %s: got %d of %v, want %d of %v", verb, t, n, want, t.count, t.typ)
	}
	return nil
}

// UploadBytes copies src, elements in the machine's byte order, into the
// tensor, whatever its type.
func (t *Tensor) UploadBytes(src []byte) error {
	return t.access("upload to", len(src), func(mem []byte) { copy(mem, src) })
}

// DownloadBytes copies the tensor's memory into dst.
func (t *Tensor) DownloadBytes(dst []byte) error {
	return t.access("download", len(dst), func(mem []byte) { copy(dst, mem) })
}

func (t *Tensor) access(verb string, n int, f func(mem []byte)) error {
	if n != t.bytes {
		return fmt.Errorf("%s tensor %s: got %d bytes, want %d", verb, t, n, t.bytes)
	}
	r := t.buf.rt
	r.mu.Lock()
	if t.closed {
		r.mu.Unlock()
		return fmt.Errorf("%s tensor %s: %w", verb, t, errTensorClosed)
	}
	t.buf.access.RLock() // keeps Free out; it cannot have begun, for it holds r.mu
	r.mu.Unlock()
	defer t.buf.access.RUnlock()
	f(t.buf.mem[t.offset : t.offset+t.bytes])
	return nil
}
