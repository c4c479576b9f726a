package ortc

/*
#if defined(__SSE2__)
#include <xmmintrin.h>
// Flush to zero and denormals are zero: bits 15 and 6 of the control register.
static unsigned ortc_flush_denormals(void) {
	unsigned before = _mm_getcsr();
	_mm_setcsr(before | 0x8040);
	return before;
}
static void ortc_restore_denormals(unsigned before) { _mm_setcsr(before); }
#else
static unsigned ortc_flush_denormals(void) { return 0; }
static void ortc_restore_denormals(unsigned before) { (void)before; }
#endif
*/
import "C"

import goruntime "runtime"

// FlushDenormals runs f with the calling thread's arithmetic set to take denormal
// numbers (below 1.2e-38 in float32) as zero, and sets it back. ONNX Runtime can do so
// for its own threads only, and does it for the first session's thread once and for
// good; but a run's calling thread takes its share of the work.
//
// Where the processor is not an x86 nothing is set.
func FlushDenormals(f func() error) error {
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	before := C.ortc_flush_denormals()
	defer C.ortc_restore_denormals(before)
	return f()
}
