package hostcpu

import (
	goruntime "runtime"

	"golang.org/x/sys/unix"
)

// Read never fails: what the system does not tell is counted as one core a
// thread. On processors with two kinds of cores only the fast ones count as
// physical: a share of a matrix product on a slow core holds up the others.
func Read() Info {
	i := Info{Logical: goruntime.NumCPU(), Physical: goruntime.NumCPU()}
	i.Model, _ = unix.Sysctl("machdep.cpu.brand_string")
	for _, name := range []string{"hw.perflevel0.physicalcpu", "hw.physicalcpu"} {
		if n, err := unix.SysctlUint32(name); err == nil && n > 0 {
			i.Physical = int(n)
			break
		}
	}
	return i
}
