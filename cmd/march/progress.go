package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress shows what goes on: on a terminal one line that is drawn over, elsewhere a
// line now and then. Several things may go on at once.
type progress struct {
	e        *env
	terminal bool

	mu     sync.Mutex
	drawn  int       // width of the line on the terminal
	last   time.Time // of the last line
	states []state   // of what goes on, in the order of their beginning
}

// state is how far one thing is.
type state struct {
	of   string
	text func() string
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

// show notes how far the thing named of is, and draws it with all others that go on,
// unless a line was drawn a moment ago.
func (p *progress) show(of string, text func() string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.IndexFunc(p.states, func(s state) bool { return s.of == of }); i >= 0 {
		p.states[i].text = text
	} else {
		p.states = append(p.states, state{of, text})
	}
	wait := logLine
	if p.terminal {
		wait = redraw
	}
	if time.Since(p.last) < wait {
		return
	}
	p.last = time.Now()
	texts := make([]string, len(p.states))
	for i, s := range p.states {
		texts[i] = s.text()
	}
	line := strings.Join(texts, " | ")
	if !p.terminal {
		p.e.logf("%s", line)
		return
	}
	if w := terminalWidth(p.e); w > 1 && len(line) >= w {
		line = line[:w-1]
	}
	fmt.Fprintf(p.e.stderr, "\r%s%s", line, strings.Repeat(" ", max(0, p.drawn-len(line))))
	p.drawn = len(line)
}

// ended forgets a thing that no longer goes on.
func (p *progress) ended(of string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.states = slices.DeleteFunc(p.states, func(s state) bool { return s.of == of })
}

// clear makes room for another line.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
}

func (p *progress) erase() {
	if p.drawn > 0 {
		fmt.Fprintf(p.e.stderr, "\r%s\r", strings.Repeat(" ", p.drawn))
		p.drawn = 0
	}
}

// note writes a line that stays.
func (p *progress) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
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
