package main

import (
	"fmt"
	"os"
	goruntime "runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// guarded calls f and turns a panic, which is a bug in march, into an error that asks
// for a report; the stack lies in a file, for the report. What runs in a goroutine of its
// own needs a guard of its own.
func guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = bugReport(r, debug.Stack())
		}
	}()
	return f()
}

func bugReport(cause any, stack []byte) error {
	what := strings.ReplaceAll(fmt.Sprint(cause), "\n", "; ")
	text := fmt.Sprintf("march %s, %s, %s/%s\narguments: %q\n\n%v\n\n%s", marchVersion(), goruntime.Version(), goruntime.GOOS, goruntime.GOARCH, os.Args[1:], cause, stack)
	file, err := os.CreateTemp("", "march-bug-*.txt")
	if err == nil {
		_, err = file.WriteString(text)
		if e := file.Close(); err == nil {
			err = e
		}
	}
	if err != nil {
		return fmt.Errorf("a bug in march: %s; please report it with these lines:\n  %s", what, strings.ReplaceAll(text, "\n", "\n  "))
	}
	return fmt.Errorf("a bug in march: %s; please report it with the file %s", what, file.Name())
}

// columns is $COLUMNS, 0 where it says nothing.
func columns() int {
	n, err := strconv.Atoi(os.Getenv("COLUMNS"))
	if err != nil || n < 0 {
		return 0
	}
	return n
}
