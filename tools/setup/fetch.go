package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"march/runtime/ortlib"
)

// source is an archive of a registry that holds the libraries, and the
// registry's client that fetches it.
type source struct {
	client    string // as messages name it
	archive   ortlib.File
	libraries []library // written in this order
	fetch     fetcher
	read      func(archive string, libraries []library, write func(library, io.Reader) error) error
}

// fetcher leaves the archive in dir. It calls announce once it knows that the
// client is there.
type fetcher func(ctx context.Context, dir string, announce func()) error

// library is a file inside an archive and its name where it is installed.
type library struct {
	ortlib.File
	as string
}

func fetchNPM(requirement string) fetcher {
	return func(ctx context.Context, dir string, announce func()) error {
		if _, err := exec.LookPath("npm"); err != nil {
			return errors.New("not installed")
		}
		announce()
		// npm writes the archive into the working directory. Short waits between
		// its attempts: without a network it should say so soon.
		return command(ctx, dir, "npm", "pack", "--loglevel=error", "--ignore-scripts",
			"--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000", requirement)
	}
}

func fetchPip(requirement, platformTag string) fetcher {
	return func(ctx context.Context, dir string, announce func()) error {
		// All that names a wheel is given, so that every Python fetches the same.
		args := []string{"download", "--quiet", "--no-input", "--disable-pip-version-check", "--retries", "1",
			"--no-deps", "--only-binary", ":all:", "--platform", platformTag, "--python-version", ortlib.WheelPython,
			"--implementation", "cp", "--abi", "cp" + strings.ReplaceAll(ortlib.WheelPython, ".", ""),
			"--dest", dir, requirement}
		var first error
		for _, pip := range [][]string{{"python3", "-m", "pip"}, {"python", "-m", "pip"}, {"pip3"}, {"pip"}} {
			if _, err := exec.LookPath(pip[0]); err != nil {
				continue
			}
			if first == nil {
				announce()
			}
			err := command(ctx, dir, append(pip[:len(pip):len(pip)], args...)...)
			if err == nil {
				return nil
			}
			if first == nil {
				first = err
			}
		}
		if first == nil {
			first = errors.New("neither Python nor pip is installed")
		}
		return first
	}
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
