package cudalibs

import (
	"os"
	"regexp"
)

// DriverVersion is the version of the kernel's part of NVIDIA's driver, such as
// "580.82.07"; "" where there is none, or none that tells.
func DriverVersion() string {
	text, err := os.ReadFile("/proc/driver/nvidia/version")
	if err != nil {
		return ""
	}
	return driverVersion(string(text))
}

var dotted = regexp.MustCompile(`\b[0-9]{3,}\.[0-9]+(\.[0-9]+)?\b`)

// driverVersion finds the version in the text of /proc/driver/nvidia/version.
func driverVersion(text string) string { return dotted.FindString(text) }
