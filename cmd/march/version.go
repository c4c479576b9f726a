package main

import (
	"context"
	"fmt"
	goruntime "runtime"
	"runtime/debug"

	"github.com/spf13/pflag"

	"march/runtime/ortlib"
)

var versionCommand = command{
	name: "version", group: groupMachine,
	short:    "print march's version",
	examples: []example{{"march version --json", "for a script or a bug report"}},
	setup: func(f *pflag.FlagSet) action {
		asJSON := jsonFlag(f)
		return func(_ context.Context, e *env, _ []string) error {
			v := struct {
				March       string `json:"march"`
				Go          string `json:"go"`
				Platform    string `json:"platform"`
				ONNXRuntime string `json:"onnxruntime_pinned"`
				Least       string `json:"onnxruntime_least"`
			}{marchVersion(), goruntime.Version(), goruntime.GOOS + "/" + goruntime.GOARCH, ortlib.Version, ortlib.MinVersion}
			if *asJSON {
				return printJSON(e.stdout, v)
			}
			fmt.Fprintf(e.stdout, "march %s (%s, %s); ONNX Runtime %s is what the set-up installs, %s or later will do\n", v.March, v.Go, v.Platform, v.ONNXRuntime, v.Least)
			return nil
		}
	},
}

// version is set by the linker for a release.
var version string

// marchVersion names this build: a release, a module version, or a commit.
func marchVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	commit, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	switch {
	case commit != "":
		return "devel " + commit + dirty
	case info.Main.Version != "" && info.Main.Version != "(devel)":
		return info.Main.Version
	}
	return "devel"
}
