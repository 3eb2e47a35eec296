//go:build unix

package postgres

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// impostor is a program in the place of psql.
func impostor(t *testing.T, script string) program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "psql")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return program{path: path, env: []string{"PATH=" + os.Getenv("PATH")}}
}

// The end of the step's time ends what psql has started, too.
func TestPsqlIsKilledWithItsChildren(t *testing.T) {
	t.Parallel()
	pidFile := filepath.Join(t.TempDir(), "pid")
	p := impostor(t, "sleep 1000 & echo $! > "+pidFile+".new; mv "+pidFile+".new "+pidFile+"; wait")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, PsqlSession{User: "u", Database: "d"}, strings.NewReader(""), io.Discard) }()
	var child int
	await(t, func() bool {
		text, err := os.ReadFile(pidFile)
		if err == nil {
			child, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err == nil
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v", err)
	}
	await(t, func() bool {
		if errors.Is(syscall.Kill(child, 0), syscall.ESRCH) {
			return true
		}
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(child) + "/stat") // nobody may have reaped it
		return err == nil && strings.Contains(string(stat), ") Z ")
	})
}

func await(t *testing.T, ok func() bool) {
	t.Helper()
	tick, deadline := time.NewTicker(10*time.Millisecond), time.NewTimer(time.Minute)
	defer tick.Stop()
	defer deadline.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("waited in vain")
		}
	}
}

// A psql that fails early does not leave the writer behind, and the password
// is in its environment alone.
func TestPsqlFails(t *testing.T) {
	t.Parallel()
	p := impostor(t, `echo "args: $*; password: $PGPASSWORD" >&2; exit 3`)
	err := p.Run(t.Context(), PsqlSession{User: "u", Password: "hunter2", Database: "d"}, endless{}, io.Discard)
	var said *PsqlError
	if !errors.As(err, &said) || said.ExitCode != 3 {
		t.Fatalf("Run returned %v", err)
	}
	args, password, _ := strings.Cut(said.Stderr, "; password: ")
	if strings.Contains(args, "hunter2") || !strings.Contains(password, "hunter2") || !strings.Contains(args, "-X") || !strings.Contains(args, "ON_ERROR_STOP=1") {
		t.Errorf("it was called with %s", said.Stderr)
	}
	p.path = "psql-that-is-not-there"
	if err := p.Run(t.Context(), PsqlSession{}, strings.NewReader(""), io.Discard); err == nil || !strings.Contains(err.Error(), "not installed") {
		t.Errorf("a missing program: %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
