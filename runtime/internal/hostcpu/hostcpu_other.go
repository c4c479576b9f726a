//go:build !linux && !darwin

package hostcpu

import goruntime "runtime"

// Read counts every hardware thread as a core.
func Read() Info {
	return Info{Logical: goruntime.NumCPU(), Physical: goruntime.NumCPU()}
}
