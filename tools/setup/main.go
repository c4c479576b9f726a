// Command setup installs the pinned ONNX Runtime library, which march loads at
// run time, into the user's cache folder. It fetches an official package with
// that package registry's own client, npm or else pip, checks the sha256 of the
// package and of the library, and puts the library into place in one step; it
// touches nothing else and does nothing where the library is already there and
// right. It is not a package manager: versions and digests are data in
// runtime/ortlib. Start at installer.install.
//
//	go run ./tools/setup [--archive FILE]
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
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
	archive := flags.String("archive", "", "install from this file, "+ortlib.NPMArchive.Name+" or the wheel, instead of fetching it")
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
	path, err := setup(ctx, *archive, stderr)
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
func setup(ctx context.Context, archive string, log io.Writer) (string, error) {
	if own := os.Getenv(ortlib.EnvVar); own != "" && archive == "" {
		if _, err := os.Stat(own); err != nil {
			return "", fmt.Errorf("%s: %w; unset it to install the pinned library", ortlib.EnvVar, err)
		}
		fmt.Fprintf(log, "setup: %s is set, so march uses that library and there is nothing to install\n", ortlib.EnvVar)
		return own, nil
	}
	platform, err := ortlib.Current()
	if err != nil {
		return "", err
	}
	path, err := platform.Path()
	if err != nil {
		return "", err
	}
	i := installer{platform: platform, npm: ortlib.NPMArchive, path: path, log: log}
	return path, i.install(ctx, archive)
}
