// Command setup installs the pinned ONNX Runtime library, which march loads at
// run time, into the user's cache folder; with --cuda the build for NVIDIA's
// GPUs, beside the other. It fetches an official package with that package
// registry's own client, npm or else pip, checks the sha256 of the package and
// of each library, and puts them into place when all are right; it touches
// nothing else and does nothing where they are already there and right. It is
// not a package manager: versions and digests are data in runtime/ortlib. Start
// at installer.install.
//
//	go run ./tools/setup [--cuda] [--archive FILE]
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/pflag"

	"march/runtime/ortlib"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit code: 0 done, 1 failed, 2 wrong use, 130 interrupted.
// The library's path goes to stdout, everything else to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := pflag.NewFlagSet("setup", pflag.ContinueOnError)
	flags.SetOutput(stderr)
	archive := flags.String("archive", "", "install from this `FILE`, "+ortlib.NPMArchive.Name+" or the wheel, instead of fetching it")
	cuda := flags.Bool("cuda", false, fmt.Sprintf("install the build for NVIDIA's GPUs (CUDA 13; %s/%s only; %d MB to fetch)",
		ortlib.CUDA.OS, ortlib.CUDA.Arch, ortlib.CUDA.Wheel.Size/1_000_000))
	flags.Usage = func() {
		fmt.Fprintf(stderr, "Installs ONNX Runtime %s for march.\n\nUsage:\n  go run ./tools/setup [flags]\n\nFlags:\n%s", ortlib.Version, flags.FlagUsages())
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case err == nil && flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
		fallthrough
	case err != nil:
		fmt.Fprintln(stderr, "setup:", err)
		return 2
	}
	path, err := setup(ctx, *archive, *cuda, stderr)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "setup: interrupted")
		return 130
	case err != nil:
		fmt.Fprintln(stderr, "setup:", err)
		return 1
	}
	fmt.Fprintln(stdout, path)
	return 0
}

// setup returns the path of the library that march will load.
func setup(ctx context.Context, archive string, cuda bool, log io.Writer) (string, error) {
	if own := os.Getenv(ortlib.EnvVar); own != "" && archive == "" {
		if _, err := os.Stat(own); err != nil {
			return "", fmt.Errorf("%s: %w; unset it to install the pinned library", ortlib.EnvVar, err)
		}
		fmt.Fprintf(log, "setup: %s is set, so march uses that library and there is nothing to install\n", ortlib.EnvVar)
		return own, nil
	}
	if cuda {
		build, err := ortlib.CurrentCUDA()
		if err != nil {
			return "", err
		}
		dir, err := build.Folder()
		if err != nil {
			return "", err
		}
		return filepath.Join(dir, build.Core()), forCUDA(build, dir, log).install(ctx, archive)
	}
	platform, err := ortlib.Current()
	if err != nil {
		return "", err
	}
	path, err := platform.Path()
	if err != nil {
		return "", err
	}
	return path, forCPU(platform, path, log).install(ctx, archive)
}
