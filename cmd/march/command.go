package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
)

// A command is added by a variable of this type in a file of its own and a line in
// commands. Its flags are local variables of setup, which returns what runs:
//
//	var helloCommand = command{
//		name: "hello", operands: "[NAME…]", group: groupModels,
//		short:    "greet somebody",
//		long:     "Greets every NAME, or the world.",
//		examples: []example{{"march hello --loud Ada", "greet Ada, loudly"}},
//		setup: func(f *pflag.FlagSet) action {
//			loud := f.Bool("loud", false, "in capitals")
//			model := selectFlags(f, "tiny") // flags that commands share: flags.go
//			return func(ctx context.Context, e *env, args []string) error {
//				e.logf("to stderr")
//				fmt.Fprintln(e.stdout, "to stdout")
//				return nil
//			}
//		},
//	}
//
// The framework counts operands, suggests what a mistyped flag may have meant, writes
// help, and turns the returned error into one line on stderr and an exit code: 1, or 2
// for one that [usagef] made (what stands on the command line is wrong, not what it leads
// to), or 130/143 where ctx was cancelled by a signal and an error came back. Such an error may say what was saved and how to go on:
// fmt.Errorf("stopped at step 120, saved; --resume goes on: %w", context.Cause(ctx)).
// A command that returns nil is done, signal or not.
type command struct {
	name     string
	operands string // usage of the arguments that are no flags, and their number: "" none, "V" one, "R…" one or more, "[R…]" any
	group    string // heading in march's help
	short    string // one line, small letter, no full stop
	long     string // paragraphs, wrapped by the help
	examples []example
	setup    func(*pflag.FlagSet) action
	sub      []command // a command with subcommands has no setup
}

// action does a command's work, once its flags are parsed.
type action func(ctx context.Context, e *env, args []string) error

// example is a command line and what it is for.
type example struct{ line, about string }

// The headings of march's help.
const (
	groupModels  = "Models"
	groupData    = "Data"
	groupTrain   = "Training and evaluation"
	groupResults = "Results"
	groupMachine = "This machine"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a command line that asks for nothing that exists.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// usagef makes an error of wrong use: exit code 2.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run is march: arguments without the program's name in, exit code out. A ctx that
// [onSignals] made carries the signal that cancelled it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return runTable(ctx, commands(), args, stdin, stdout, stderr)
}

// runTable is run for any table of commands.
func runTable(ctx context.Context, table []command, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	out := &output{w: stdout}
	e := &env{stdin: stdin, stdout: out, stderr: stderr, out: stdout}
	err := guarded(func() error { return dispatch(ctx, e, command{sub: table}, args) })
	switch {
	case errors.Is(err, syscall.EPIPE) || errors.Is(out.err, syscall.EPIPE):
		return exitDone // who reads the results has had enough
	case err == nil && out.err != nil:
		err = fmt.Errorf("writing the results: %w", plain(out.err))
	}
	if err == nil {
		return exitDone
	}
	signal, interrupted := context.Cause(ctx).(interrupt)
	text := err.Error()
	if interrupted {
		text = strings.ReplaceAll(text, context.Canceled.Error(), signal.Error())
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, " ") { // lines that begin with a space go on with the one above
			line = "march: " + line
		}
		fmt.Fprintln(stderr, strings.TrimRight(line, "\n"))
	}
	switch {
	case interrupted:
		return signal.code()
	case errors.As(err, new(usageError)):
		return exitUsage
	}
	return exitFailed
}

// dispatch finds the command that args begin with below parent, and runs it.
func dispatch(ctx context.Context, e *env, parent command, args []string) error {
	path := strings.TrimSpace("march " + parent.name)
	if len(args) == 0 {
		return parent.help(e)
	}
	word, rest := args[0], args[1:]
	switch {
	case word == "--help" || word == "-h":
		return parent.help(e)
	case word == "help":
		return helpFor(e, parent, rest)
	case word == "--version" && parent.name == "":
		return dispatch(ctx, e, parent, []string{"version"})
	case strings.HasPrefix(word, "-"):
		return usagef("unknown flag %s of %s; the command comes first, its flags behind it (see %[2]s --help)", word, path)
	}
	c, err := parent.find(word)
	switch {
	case err != nil:
		return err
	case c.sub != nil:
		return dispatch(ctx, e, c, rest)
	}
	return c.run(ctx, e, rest)
}

// find gives the subcommand of a name; its own name becomes the whole path.
func (c command) find(word string) (command, error) {
	i := slices.IndexFunc(c.sub, func(s command) bool { return s.name == word })
	if i < 0 {
		names := []string{"help"}
		for _, s := range c.sub {
			names = append(names, s.name)
		}
		path := strings.TrimSpace("march " + c.name)
		return c, usagef("unknown command %q%s (see %s --help)", strings.TrimSpace(c.name+" "+word), didYouMean(word, names, ""), path)
	}
	s := c.sub[i]
	s.name = strings.TrimSpace(c.name + " " + word)
	return s, nil
}

// run parses a command's flags, counts its operands and does its work.
func (c command) run(ctx context.Context, e *env, args []string) error {
	f := c.flags()
	act := c.setup(f)
	switch err := f.Parse(args); {
	case errors.Is(err, pflag.ErrHelp):
		return c.help(e)
	case err != nil:
		return c.wrong(flagError(f, err))
	}
	if err := c.count(f); err != nil {
		return c.wrong(err)
	}
	if err := act(ctx, e, f.Args()); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// wrong is a command line that cannot be read, with a hint to the help.
func (c command) wrong(err error) error {
	return usagef("%s: %w (see march %[1]s --help)", c.name, err)
}

func (c command) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}
	return f
}

// count compares the number of operands with what the usage says.
func (c command) count(f *pflag.FlagSet) error {
	low, high := 0, 0
	for word := range strings.FieldsSeq(c.operands) {
		if !strings.HasPrefix(word, "[") {
			low++
		}
		high++
		if strings.Contains(word, "…") {
			high = 1 << 30
		}
	}
	switch n := f.NArg(); {
	case n < low:
		return fmt.Errorf("%s is missing", strings.Trim(strings.Fields(c.operands)[n], "[…]"))
	case n > high:
		extra, hint := f.Arg(high), ""
		if f.Lookup("variant") != nil {
			hint = fmt.Sprintf("; did you mean --variant %s?", extra)
		}
		return fmt.Errorf("unexpected argument %q%s", extra, hint)
	}
	return nil
}

// env is what a command has of the world outside.
type env struct {
	stdin  io.Reader
	stdout io.Writer // results
	stderr io.Writer // logs and progress
	out    io.Writer // stdout itself
}

// logf writes a line to stderr.
func (e *env) logf(format string, args ...any) { fmt.Fprintf(e.stderr, format+"\n", args...) }

// output remembers the first error of a writer, so that commands may print without
// looking and a full disk is no success.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(p)
	o.err = err
	return n, err
}

// asFile is a stream's file, where it is one.
func asFile(stream any) (*os.File, bool) {
	f, ok := stream.(*os.File)
	return f, ok && f != nil
}
