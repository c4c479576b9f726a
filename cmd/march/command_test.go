package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

// waitCommand waits for a signal; with --stubborn for ever.
var waitCommand = command{name: "wait", setup: func(f *pflag.FlagSet) action {
	stubborn := f.Bool("stubborn", false, "do not stop at a signal")
	return func(ctx context.Context, e *env, _ []string) error {
		fmt.Fprintln(e.stdout, "waiting")
		<-ctx.Done()
		if *stubborn {
			fmt.Fprintln(e.stdout, "stubborn")
			time.Sleep(time.Minute)
		}
		return fmt.Errorf("saved at step 7; --resume goes on: %w", context.Cause(ctx))
	}
}}

// TestSignals: the first signal lets a command save, the second ends the process.
func TestSignals(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		signals []syscall.Signal
		code    int
		stderr  string
	}{
		{[]syscall.Signal{syscall.SIGINT}, 130, "march: wait: saved at step 7; --resume goes on: interrupted\n"},
		{[]syscall.Signal{syscall.SIGTERM}, 143, "march: wait: saved at step 7; --resume goes on: interrupted\n"},
		{[]syscall.Signal{syscall.SIGTERM, syscall.SIGINT}, 130, ""},
	} {
		args := []string{"wait"}
		if len(x.signals) > 1 {
			args = append(args, "--stubborn")
		}
		cmd := exec.Command(os.Args[0], args...)
		cmd.Env = append(os.Environ(), "MARCH_TEST_AS_MAIN=1")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for _, s := range x.signals {
			buf := make([]byte, 64)
			if _, err := stdout.Read(buf); err != nil { // it is where it waits for a signal
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
		}
		io.Copy(io.Discard, stdout)
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != x.code || stderr.String() != x.stderr {
			t.Errorf("%v: exit code %d, want %d; stderr %q, want %q", x.signals, code, x.code, stderr.String(), x.stderr)
		}
	}
}

// does makes a command of an action.
func does(act action) []command {
	return []command{{name: "do", setup: func(*pflag.FlagSet) action { return act }}}
}

type brokenWriter struct{ err error }

func (b brokenWriter) Write([]byte) (int, error) { return 0, b.err }

// What actions come to.
func TestOutcomes(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	fail := func(err error) action { return func(context.Context, *env, []string) error { return err } }
	says := func(_ context.Context, e *env, _ []string) error { fmt.Fprintln(e.stdout, "result"); return nil }
	stop := func(s syscall.Signal) context.Context {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(interrupt{s})
		return ctx
	}
	for name, x := range map[string]struct {
		ctx    context.Context
		act    action
		stdout io.Writer
		code   int
		stderr string
	}{
		"done":                  {act: says},
		"failed":                {act: fail(errors.New("no")), code: 1, stderr: "march: do: no\n"},
		"several":               {act: fail(errors.Join(errors.New("one"), errors.New("two"))), code: 1, stderr: "march: do: one\nmarch: two\n"},
		"details":               {act: fail(errors.New("no; tried:\n  this\n  that")), code: 1, stderr: "march: do: no; tried:\n  this\n  that\n"},
		"wrong use":             {act: fail(usagef("--x: wanted %d", 1)), code: 2, stderr: "march: do: --x: wanted 1\n"},
		"wrong use, wrapped":    {act: fail(fmt.Errorf("here: %w", usagef("no"))), code: 2, stderr: "march: do: here: no\n"},
		"interrupted":           {ctx: stop(syscall.SIGINT), act: fail(context.Canceled), code: 130, stderr: "march: do: interrupted\n"},
		"terminated":            {ctx: stop(syscall.SIGTERM), act: fail(fmt.Errorf("saved: %w", context.Canceled)), code: 143, stderr: "march: do: saved: interrupted\n"},
		"done despite a signal": {ctx: stop(syscall.SIGINT), act: says},
		"pipe closed":           {act: says, stdout: brokenWriter{&os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.EPIPE}}},
		"disk full":             {act: says, stdout: brokenWriter{&os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.ENOSPC}}, code: 1, stderr: "march: writing the results: /dev/stdout: no space left on device\n"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stdout := x.ctx, x.stdout
			if ctx == nil {
				ctx = t.Context()
			}
			if stdout == nil {
				stdout = io.Discard
			}
			var stderr bytes.Buffer
			if code := runTable(ctx, does(x.act), []string{"do"}, nil, stdout, &stderr); code != x.code || stderr.String() != x.stderr {
				t.Errorf("exit code %d, want %d; stderr %q, want %q", code, x.code, stderr.String(), x.stderr)
			}
		})
	}
}

// A panic is one line that names a file with what a report needs.
func TestPanic(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var stderr bytes.Buffer
	code := runTable(t.Context(), does(func(context.Context, *env, []string) error {
		var list []int
		return fmt.Errorf("%d", list[len(os.Args)])
	}), []string{"do"}, nil, io.Discard, &stderr)
	before, path, _ := strings.Cut(strings.TrimSpace(stderr.String()), "please report it with the file ")
	if code != 1 || !strings.HasPrefix(before, "march: a bug in march: runtime error: index out of range") || strings.Count(stderr.String(), "\n") != 1 {
		t.Fatalf("exit code %d, stderr %q", code, stderr.String())
	}
	report, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(report), "command_test.go") || !strings.Contains(string(report), "arguments:") {
		t.Errorf("%v: report %q", err, report)
	}
}

// each calls f for every command that does something.
func each(table []command, prefix string, f func(c command)) {
	for _, c := range table {
		c.name = strings.TrimSpace(prefix + " " + c.name)
		if c.sub != nil {
			each(c.sub, c.name, f)
			continue
		}
		f(c)
	}
}

// Help fits a terminal, is the same by every way to it, and its examples are command
// lines that exist.
func TestHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"help"}, {"--help"}, {"-h"}} {
		if got := ok(t, args...); !strings.Contains(got, "Usage: march COMMAND") || !strings.Contains(got, "  doctor") {
			t.Errorf("march %v: %q", args, got)
		}
	}
	if got := ok(t, "data"); !strings.Contains(got, "Usage: march data COMMAND") || !strings.Contains(got, "  prepare") {
		t.Errorf("march data: %q", got)
	}
	each(commands(), "", func(c command) {
		words := strings.Fields(c.name)
		text := ok(t, append(slices.Clone(words), "--help")...)
		if again := ok(t, append([]string{"help"}, words...)...); again != text {
			t.Errorf("march help %s differs from march %[1]s --help", c.name)
		}
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(line); n > helpWidth+1 && !strings.HasPrefix(line, "  march ") {
				t.Errorf("march %s --help: a line of %d characters: %q", c.name, n, line)
			}
		}
		if c.short == "" || strings.HasSuffix(c.short, ".") || c.short[:1] != strings.ToLower(c.short[:1]) {
			t.Errorf("march %s: short is %q, want a line with a small letter and no full stop", c.name, c.short)
		}
		if len(c.examples) == 0 {
			t.Errorf("march %s has no example", c.name)
		}
		for _, x := range c.examples {
			line, _, _ := strings.Cut(x.line, " >")
			rest, found := strings.CutPrefix(line, "march "+c.name)
			f := c.flags()
			c.setup(f)
			if err := f.Parse(strings.Fields(strings.ReplaceAll(rest, "'", ""))); !found || err != nil {
				t.Errorf("march %s: example %q: %v", c.name, x.line, err)
			} else if err := c.count(f); err != nil {
				t.Errorf("march %s: example %q: %v", c.name, x.line, err)
			}
		}
		c.setup(c.flags())
	})
}

// Operands are counted as the usage says.
func TestCount(t *testing.T) {
	for _, x := range []struct {
		operands, args string
		want           string
	}{
		{"", "", ""}, {"", "a", `unexpected argument "a"`},
		{"V", "a", ""}, {"V", "", "V is missing"}, {"V", "a b", `unexpected argument "b"`},
		{"R…", "", "R is missing"}, {"R…", "a b c", ""},
		{"[R…]", "", ""}, {"[R…]", "a b", ""},
		{"A [B]", "a", ""}, {"A [B]", "a b", ""}, {"A [B]", "a b c", `unexpected argument "c"`},
	} {
		c := command{operands: x.operands}
		f := c.flags()
		if err := f.Parse(strings.Fields(x.args)); err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := c.count(f); err != nil {
			got = err.Error()
		}
		if got != x.want {
			t.Errorf("operands %q, arguments %q: %q, want %q", x.operands, x.args, got, x.want)
		}
	}
}
