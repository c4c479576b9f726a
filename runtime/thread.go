package runtime

import goruntime "runtime"

// thread is a thread of the operating system that runs functions one after the other.
//
// ONNX Runtime's CUDA provider keeps recorded graphs by thread. Go moves goroutines between
// threads; on another one a run would find nothing recorded, and record anew: it would run the
// model more than once, adding to sums each time.
type thread struct{ work chan func() }

func newThread() *thread {
	t := &thread{make(chan func())}
	go func() {
		goruntime.LockOSThread() // for good: the thread ends with the goroutine
		for f := range t.work {
			f()
		}
	}()
	return t
}

// do runs f on the thread and waits for it.
func (t *thread) do(f func() error) (err error) {
	done := make(chan struct{})
	t.work <- func() {
		defer close(done)
		err = f()
	}
	<-done
	return err
}

// stop ends the thread; do must not be called any more.
func (t *thread) stop() { close(t.work) }
