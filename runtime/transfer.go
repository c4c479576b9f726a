package runtime

import (
	"errors"
	"fmt"
	"unsafe"

	"march/runtime/internal/cudadrv"
)

// Upload and Download, and their forms for bytes, are the only ways data gets
// into and out of tensors, so that a tensor's memory can lie on any device. On a GPU all
// of them follow what was queued before; Upload of up to 8 MiB returns at once, Download waits.

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
	return t.access("upload to", len(src), func(p unsafe.Pointer, gpu *cudadrv.Device) error {
		if gpu != nil {
			return gpu.Upload(p, src)
		}
		copy(unsafe.Slice((*byte)(p), len(src)), src)
		return nil
	})
}

// DownloadBytes copies the tensor's memory into dst.
func (t *Tensor) DownloadBytes(dst []byte) error {
	return t.access("download", len(dst), func(p unsafe.Pointer, gpu *cudadrv.Device) error {
		if gpu != nil {
			return gpu.Download(dst, p)
		}
		copy(dst, unsafe.Slice((*byte)(p), len(dst)))
		return nil
	})
}

// CopyFrom copies a tensor of the same type and number of elements, on the device.
func (t *Tensor) CopyFrom(src *Tensor) error {
	if src.typ != t.typ || src.count != t.count || src.buf.rt != t.buf.rt {
		return fmt.Errorf("copy tensor %s to %s: want the same type and number of elements, on the same device", src, t)
	}
	r := t.buf.rt
	r.mu.Lock()
	if src.closed || t.closed {
		r.mu.Unlock()
		return fmt.Errorf("copy tensor %s to %s: %w", src, t, errTensorClosed)
	}
	// Both at once: Free holds r.mu while it waits for who has its buffer, so that nobody who has one may wait for r.mu.
	src.buf.access.RLock()
	t.buf.access.RLock()
	r.mu.Unlock()
	defer src.buf.access.RUnlock()
	defer t.buf.access.RUnlock()
	to, from := unsafe.Add(t.buf.data, t.offset), unsafe.Add(src.buf.data, src.offset)
	if r.gpu == nil {
		copy(unsafe.Slice((*byte)(to), t.bytes), unsafe.Slice((*byte)(from), t.bytes))
		return nil
	}
	if err := r.gpu.Copy(to, from, t.bytes); err != nil {
		return fmt.Errorf("copy tensor %s to %s: %w", src, t, err)
	}
	return nil
}

func (t *Tensor) access(verb string, n int, f func(p unsafe.Pointer, gpu *cudadrv.Device) error) error {
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
	if err := f(unsafe.Add(t.buf.data, t.offset), r.gpu); err != nil {
		return fmt.Errorf("%s tensor %s: %w", verb, t, err)
	}
	return nil
}
