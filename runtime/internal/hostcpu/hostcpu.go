// Package hostcpu tells how many processor cores this process may use and what
// they are called: affinity masks and container quotas count, not what the
// machine has. It decides nothing about how they are used. Start at Read.
package hostcpu

import "math"

// Info describes the processor as far as this process may use it.
type Info struct {
	Model    string  `json:"model"`           // as the system names it; "" where it does not
	Logical  int     `json:"logical"`         // hardware threads allowed to this process
	Physical int     `json:"physical"`        // cores those threads belong to
	Quota    float64 `json:"quota,omitempty"` // processors' worth of time granted by a container; 0: no limit
}

// Threads is the number of threads that keep the allowed cores busy without
// getting in each other's way: one a physical core, and no more than the quota
// pays for in full. It is at least 1.
func (i Info) Threads() int {
	n := i.Physical
	if i.Quota > 0 {
		n = min(n, int(math.Floor(i.Quota)))
	}
	return max(n, 1)
}
