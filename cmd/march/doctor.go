package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"march/runtime"
	"march/runtime/ortlib"
)

var doctorCommand = command{
	name: "doctor", group: groupMachine,
	short: "check this machine: ONNX Runtime, GPUs, what is missing",
	long: "Looks for ONNX Runtime as every command does, loads it and runs a small model. Says what was found, what is missing and " +
		"how to get it: for NVIDIA's GPUs also driver, CUDA provider and the libraries that it needs. Exit code 0: models can run here.",
	examples: []example{
		{"march doctor", "what would be used"},
		{"march doctor --device cuda", "can models run on the GPU?"},
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
	if d.Unused != "" {
		rows = append(rows, []string{"on the CPU", "though there is a GPU: " + d.Unused})
	}
	rows = append(rows, cudaRows(d.CUDA, len(d.Problems) == 0)...)
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
		fmt.Fprintf(e.stdout, "%-15s%s\n", r[0], r[1])
	}
	return nil
}

// cudaRows says what there is for NVIDIA's GPUs: one line where there is none.
// Advice on what is needed belongs to the problems where there are any.
func cudaRows(c runtime.CUDADiagnosis, advise bool) [][]string {
	if c.None != "" {
		return [][]string{{"GPU", "none: " + c.None}}
	}
	var rows [][]string
	for i, g := range c.GPUs {
		rows = append(rows, []string{"GPU", fmt.Sprintf("cuda:%d, %s, %.1f GiB, compute capability %s", i, g.Name, float64(g.Memory)/(1<<30), g.Capability)})
	}
	driver := "serves CUDA " + c.DriverCUDA
	if c.Driver != "" {
		driver = c.Driver + ", " + driver
	}
	rows = append(rows, []string{"driver", driver})
	if c.Provider == "" {
		return append(rows, []string{"CUDA provider", "none beside this library; " + ortlib.SetupCUDACommand + " installs a build with it"})
	}
	version := c.ProviderVersion
	if version == "" {
		version = "unknown version"
	}
	rows = append(rows, []string{"CUDA provider", version + ", " + c.Provider})
	for i, l := range c.Libraries {
		title, text := "", l.Path
		if i == 0 {
			title = "NVIDIA's"
		}
		switch {
		case l.Path == "" && l.Elsewhere != "":
			text = "not found by the system's loader, but there is " + l.Elsewhere
		case l.Path == "":
			text = "not found"
			if !strings.Contains(l.Error, "No such file") {
				text += ": " + l.Error
			}
		}
		if l.Path == "" && !l.Needed {
			text += " (not needed but for " + l.For + ")"
		}
		rows = append(rows, []string{title, fmt.Sprintf("%-17s %s", l.Name, text)})
	}
	if advice := c.Advice(); advice != "" && advise {
		rows = append(rows, []string{"to have these", advice})
	} else if advice == "" && c.SearchPath != "" {
		rows = append(rows, []string{"to have these", c.Export()})
	}
	if len(c.InstallOptional) > 0 {
		rows = append(rows, []string{"optional", "python3 -m pip install '" + strings.Join(c.InstallOptional, "' '") + "'"})
	}
	return rows
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
