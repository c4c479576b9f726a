package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"march/runtime/ortlib"
)

// client is a package registry's client. fetch leaves the package in an empty
// folder and returns its path.
type client struct {
	name  string
	fetch func(ctx context.Context, i *installer, dir string) (string, error)
}

// clients in the order in which they are tried. npm comes first: its package is
// the same file for every platform.
var clients = []client{{"npm", fetchNPM}, {"pip", fetchPip}}

func fetchNPM(ctx context.Context, i *installer, dir string) (string, error) {
	if _, err := exec.LookPath("npm"); err != nil {
		return "", errors.New("not installed")
	}
	fmt.Fprintf(i.log, "setup: fetching %s with npm (%d MB)\n", i.npm.Name, i.npm.Size/1_000_000)
	// npm writes the archive into the working directory. Short waits between
	// its attempts: without a network it should say so soon.
	err := command(ctx, dir, "npm", "pack", "--loglevel=error", "--ignore-scripts",
		"--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000", ortlib.NPMPackage+"@"+ortlib.Version)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, i.npm.Name), nil
}

func fetchPip(ctx context.Context, i *installer, dir string) (string, error) {
	wheel := i.platform.Wheel
	// All that names a wheel is given, so that every Python fetches the same.
	args := []string{"download", "--quiet", "--no-input", "--disable-pip-version-check", "--retries", "1",
		"--no-deps", "--only-binary", ":all:", "--platform", i.platform.WheelTag, "--python-version", ortlib.WheelPython,
		"--implementation", "cp", "--abi", "cp" + strings.ReplaceAll(ortlib.WheelPython, ".", ""),
		"--dest", dir, ortlib.PipPackage + "==" + ortlib.Version}
	var failed []error
	for _, pip := range [][]string{{"python3", "-m", "pip"}, {"python", "-m", "pip"}, {"pip3"}, {"pip"}} {
		if _, err := exec.LookPath(pip[0]); err != nil {
			continue
		}
		if len(failed) == 0 {
			fmt.Fprintf(i.log, "setup: fetching %s with pip (%d MB)\n", wheel.Name, wheel.Size/1_000_000)
		}
		err := command(ctx, dir, append(pip[:len(pip):len(pip)], args...)...)
		if err == nil {
			return filepath.Join(dir, wheel.Name), nil
		}
		failed = append(failed, err)
	}
	if len(failed) == 0 {
		return "", errors.New("neither Python nor pip is installed")
	}
	return "", failed[0]
}

// command runs a program in a folder. Its output is shown only as part of an
// error.
func command(ctx context.Context, dir string, args ...string) error {
	var output bytes.Buffer
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Dir = dir
	c.Stdout, c.Stderr = &output, &output
	c.WaitDelay = 5 * time.Second // for grandchildren that hold the pipes open
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	if err := c.Run(); err != nil {
		text := strings.TrimSpace(output.String())
		const most = 600 // the end says what went wrong
		if len(text) > most {
			text = "… " + strings.ToValidUTF8(text[len(text)-most:], "")
		}
		if text != "" {
			text = ": " + text
		}
		return fmt.Errorf("%s: %w%s", strings.Join(args[:min(3, len(args))], " "), err, text)
	}
	return nil
}
