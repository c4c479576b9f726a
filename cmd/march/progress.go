package main

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/term"
)

// progress shows what goes on: on a terminal one line that is drawn over, elsewhere a
// line now and then.
type progress struct {
	e        *env
	terminal bool
	drawn    int       // width of the line on the terminal
	last     time.Time // of the last line
}

// How often progress is shown: on a terminal, and in a log.
const (
	redraw  = 100 * time.Millisecond
	logLine = 10 * time.Second
)

func newProgress(e *env) *progress {
	p := &progress{e: e}
	if f, ok := asFile(e.stderr); ok {
		p.terminal = term.IsTerminal(int(f.Fd()))
	}
	if !p.terminal {
		p.last = time.Now() // the first line of a log comes after a while, too
	}
	return p
}

// show draws a state, unless one was drawn a moment ago.
func (p *progress) show(text func() string) {
	wait := logLine
	if p.terminal {
		wait = redraw
	}
	if time.Since(p.last) < wait {
		return
	}
	p.last = time.Now()
	if !p.terminal {
		p.e.logf("%s", text())
		return
	}
	line := text()
	if w := terminalWidth(p.e); w > 1 && len(line) >= w {
		line = line[:w-1]
	}
	fmt.Fprintf(p.e.stderr, "\r%s%s", line, strings.Repeat(" ", max(0, p.drawn-len(line))))
	p.drawn = len(line)
}

// clear makes room for another line.
func (p *progress) clear() {
	if p.drawn > 0 {
		fmt.Fprintf(p.e.stderr, "\r%s\r", strings.Repeat(" ", p.drawn))
		p.drawn = 0
	}
}

// note writes a line that stays.
func (p *progress) note(format string, args ...any) {
	p.clear()
	p.e.logf(format, args...)
}

func terminalWidth(e *env) int {
	if f, ok := asFile(e.stderr); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			return w
		}
	}
	return 0
}

// seconds prints a time in the two largest units that it has: 1m40s, 2h05m.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second)).Round(time.Second)
	switch {
	case d >= time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%.1fs", s)
}
