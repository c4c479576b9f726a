package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interrupt is the cause of a context that a signal cancelled.
type interrupt struct{ signal syscall.Signal }

func (interrupt) Error() string { return "interrupted" }

// code is the exit code that a shell would show: 130 for SIGINT, 143 for SIGTERM.
func (i interrupt) code() int { return 128 + int(i.signal) }

// onSignals gives a context that the first SIGINT or SIGTERM cancels, so that a command
// can save and stop. The second ends the process at once.
func onSignals() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		cancel(asInterrupt(<-signals))
		os.Exit(asInterrupt(<-signals).code())
	}()
	// Taken, not ignored: a closed pipe then is an error of the write, and deferred
	// functions run.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return ctx
}

func asInterrupt(s os.Signal) interrupt {
	number, ok := s.(syscall.Signal)
	if !ok {
		number = syscall.SIGINT
	}
	return interrupt{number}
}
