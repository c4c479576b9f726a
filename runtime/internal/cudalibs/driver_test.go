package cudalibs

import "testing"

func TestDriverVersion(t *testing.T) {
	for text, want := range map[string]string{
		"NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 16:14:05 UTC 2021\nGCC version:  gcc version 9.3.0\n":                                       "470.57.02",
		"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (root@host)  Tue Sep 23 09:55:41 UTC 2025\nGCC version:  gcc version 12.2.0\n": "580.95.05",
		"nothing": "",
	} {
		if got := driverVersion(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
