// Command opsbot serves, lints and demonstrates runbooks.
//
// This package is all wiring: it reads flags and configuration, opens what a
// command needs, and leaves the work to the other packages. Main can be
// started any number of times in one process, which the tests do.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // schedules have zones, and not every machine does
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := Main(ctx, os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}

// Streams are where a command reads and writes: data goes to Out, everything
// else to Err.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}
