package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"march/runtime"
)

var doctorCommand = command{
	name: "doctor", group: groupMachine,
	short: "check this machine: ONNX Runtime, its providers, what is missing",
	long: "Looks for ONNX Runtime as every command does, loads it and runs a small model. Says what was found, what is missing and " +
		"how to get it. Exit code 0: models can run here.",
	examples: []example{
		{"march doctor", "what would be used"},
		{"march doctor --lib /opt/onnxruntime/libonnxruntime.so", "would this library do?"},
	},
	setup: func(f *pflag.FlagSet) action {
		device := addDeviceFlags(f)
		asJSON := jsonFlag(f)
		return func(_ context.Context, e *env, _ []string) error {
			options, err := device.options()
			if err != nil {
				return err
			}
			d := runtime.Diagnose(options)
			if *asJSON {
				err = printJSON(e.stdout, d)
			} else {
				err = printDiagnosis(e, d)
			}
			if err == nil && !d.OK {
				err = fmt.Errorf("models cannot run here: %s", d.Problems[0].What)
			}
			return err
		}
	},
}

func printDiagnosis(e *env, d runtime.Diagnosis) error {
	library, version := "not found", "–"
	if d.Library != "" {
		library, version = d.Library, d.Version
	}
	rows := [][]string{
		{"march", fmt.Sprintf("%s, %s/%s", marchVersion(), d.OS, d.Arch)},
		{"processor", processor(d)},
		{"device", fmt.Sprintf("%s, %s", d.Device, counted(d.Threads, "thread"))},
		{"ONNX Runtime", fmt.Sprintf("%s (%s or later is needed; the set-up installs %s)", version, d.RequiredVersion, d.PinnedVersion)},
		{"library", library},
	}
	if d.Source != "" {
		rows = append(rows, []string{"found by", d.Source})
	}
	if d.Build != "" {
		rows = append(rows, []string{"build", d.Build})
	}
	if len(d.Providers) > 0 {
		rows = append(rows, []string{"built for", strings.Join(d.Providers, ", ")})
	}
	if d.Library == "" || !d.OK {
		for i, t := range d.Tried {
			title := ""
			if i == 0 {
				title = "looked at"
			}
			rows = append(rows, []string{title, t})
		}
	}
	for _, p := range d.Problems {
		rows = append(rows, []string{"problem", p.What})
		if p.Fix != "" {
			rows = append(rows, []string{"  to mend it", p.Fix})
		}
	}
	if d.OK {
		rows = append(rows, []string{"result", "all good: a model ran, with the right result"})
	}
	for _, r := range rows {
		fmt.Fprintf(e.stdout, "%-14s%s\n", r[0], r[1])
	}
	return nil
}

// processor describes the cores that march may use.
func processor(d runtime.Diagnosis) string {
	words := []string{}
	if d.CPU.Model != "" {
		words = append(words, d.CPU.Model)
	}
	words = append(words, fmt.Sprintf("%s with %s", counted(d.CPU.Physical, "core"), counted(d.CPU.Logical, "hardware thread")))
	if d.CPU.Quota > 0 {
		words = append(words, fmt.Sprintf("limited to the time of %g", d.CPU.Quota))
	}
	return strings.Join(words, ", ")
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
