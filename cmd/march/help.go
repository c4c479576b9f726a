package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/term"
)

// helpWidth bounds the width of help, however wide the terminal.
const helpWidth = 100

// help prints what a command does, to stdout: it was asked for.
func (c command) help(e *env) error {
	width := e.width()
	if width <= 0 || width > helpWidth {
		width = helpWidth
	}
	var b strings.Builder
	switch {
	case c.name == "":
		b.WriteString("march turns the name of a transformer variant into ONNX training graphs, trains and evaluates\nthem on ONNX Runtime, and prints the comparison.\n\nUsage: march COMMAND [flags]\n")
		c.index(&b)
		b.WriteString("\nmarch COMMAND --help shows a command's flags and examples.\nResults go to stdout, logs to stderr. Exit codes: 0 done, 1 failed, 2 wrong use, 130 or 143 interrupted.\n")
	case c.sub != nil:
		c.about(&b, width)
		fmt.Fprintf(&b, "\nUsage: march %s COMMAND [flags]\n", c.name)
		c.index(&b)
		c.showExamples(&b)
		fmt.Fprintf(&b, "\nmarch %s COMMAND --help shows its flags and examples.\n", c.name)
	default:
		c.about(&b, width)
		fmt.Fprintf(&b, "\nUsage: %s\n", strings.Join(strings.Fields("march "+c.name+" "+c.operands+" [flags]"), " "))
		c.showExamples(&b)
		f := c.flags()
		c.setup(f)
		f.BoolP("help", "h", false, "this text")
		fmt.Fprintf(&b, "\nFlags:\n%s", f.FlagUsagesWrapped(width))
	}
	_, err := fmt.Fprint(e.stdout, b.String())
	return err
}

func (c command) about(b *strings.Builder, width int) {
	text := c.long
	if text == "" {
		text = strings.ToUpper(c.short[:1]) + c.short[1:] + "."
	}
	for _, line := range wrap(text, width) {
		fmt.Fprintln(b, line)
	}
}

func (c command) showExamples(b *strings.Builder) {
	if len(c.examples) == 0 {
		return
	}
	b.WriteString("\nExamples:\n")
	for _, x := range c.examples {
		fmt.Fprintf(b, "  # %s\n  %s\n", x.about, x.line)
	}
}

// index lists the subcommands under their headings.
func (c command) index(b *strings.Builder) {
	var groups []string
	widest := 0
	for _, s := range c.sub {
		if !slices.Contains(groups, s.group) {
			groups = append(groups, s.group)
		}
		widest = max(widest, len(s.name))
	}
	for _, g := range groups {
		fmt.Fprintf(b, "\n%s:\n", cmp.Or(g, "Commands"))
		for _, s := range c.sub {
			if s.group == g {
				fmt.Fprintf(b, "  %-*s  %s\n", widest, s.name, s.short)
			}
		}
	}
}

// helpFor is "march help COMMAND…".
func helpFor(e *env, c command, words []string) error {
	for _, word := range words {
		if strings.HasPrefix(word, "-") {
			continue // march help --help
		}
		sub, err := c.find(word)
		if err != nil {
			return err
		}
		c = sub
	}
	return c.help(e)
}

// width is the width of the terminal that results go to; where they go elsewhere,
// $COLUMNS if it is set, else 0: no bound.
func (e *env) width() int {
	if f, ok := asFile(e.out); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			return w
		}
	}
	return columns()
}
