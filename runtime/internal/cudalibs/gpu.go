package cudalibs

import "regexp"

// GPU is what the driver says of a device.
type GPU struct {
	Name       string `json:"name"`
	Memory     int64  `json:"memory"`     // bytes
	Capability string `json:"capability"` // compute capability, such as "9.0"
}

// Driver is NVIDIA's driver.
type Driver struct {
	Version string // of the kernel's part, such as "580.82.07"; "" where it is not told
	CUDA    string // the newest version of CUDA that it serves, such as "13.0"
}

var dotted = regexp.MustCompile(`\b[0-9]{3,}\.[0-9]+(\.[0-9]+)?\b`)

// driverVersion finds the version in the text of /proc/driver/nvidia/version.
func driverVersion(text string) string { return dotted.FindString(text) }
