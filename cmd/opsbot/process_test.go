package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// A session is one person at a terminal of this machine: a command that runs
// in this process, with its input held open.
type session struct {
	h         *house
	in        *io.PipeWriter
	out, errs syncBuffer
	done      chan struct{}
	code      int
}

// sit starts a command line with the house's configuration.
func (h *house) sit(args ...string) *session {
	h.t.Helper()
	r, w := io.Pipe()
	s := &session{h: h, in: w, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(s.done)
		s.code = Main(ctx, append(args, "--config", h.file), Streams{In: r, Out: &s.out, Err: &s.errs})
	}()
	h.t.Cleanup(func() {
		cancel()
		<-s.done
		_ = w.Close()
		if h.t.Failed() {
			h.t.Logf("opsbot %s wrote:\n%s\n%s", strings.Join(args, " "), s.out.String(), s.errs.String())
		}
	})
	return s
}

// reads waits until the person has read a text on the error stream.
func (s *session) reads(text string) {
	s.h.t.Helper()
	poll(s.h.t, "the terminal shows "+text, func() bool {
		select {
		case <-s.done:
			if !strings.Contains(s.errs.String(), text) {
				s.h.t.Fatalf("the command ended with exit code %d and never showed %q:\n%s", s.code, text, s.errs.String())
			}
		default:
		}
		return strings.Contains(s.errs.String(), text)
	})
}

// types answers a question.
func (s *session) types(line string) {
	s.h.t.Helper()
	if _, err := io.WriteString(s.in, line+"\n"); err != nil {
		s.h.t.Fatal(err)
	}
}

// ends waits for the command's exit code.
func (s *session) ends(want int) {
	s.h.t.Helper()
	<-s.done
	if s.code != want {
		s.h.t.Errorf("the exit code is %d, want %d:\n%s\n%s", s.code, want, s.out.String(), s.errs.String())
	}
}

// A program is opsbot as a process of its own, as a shell starts it.
type program struct {
	t         *testing.T
	cmd       *exec.Cmd
	out, errs syncBuffer
	done      chan struct{}
}

// start runs opsbot with variables beside this process's own.
func start(t *testing.T, env []string, args ...string) *program {
	t.Helper()
	p := &program{t: t, done: make(chan struct{})}
	p.cmd = &exec.Cmd{Path: os.Args[0], Args: append([]string{"opsbot"}, args...), Env: append(os.Environ(), env...)}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.errs
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("opsbot %s wrote:\n%s\n%s", strings.Join(args, " "), p.out.String(), p.errs.String())
		}
	})
	return p
}

// prints waits until standard output has a text.
func (p *program) prints(text string) string {
	p.t.Helper()
	poll(p.t, "the program prints "+text, func() bool {
		select {
		case <-p.done:
			p.t.Fatalf("the program ended with exit code %d", p.cmd.ProcessState.ExitCode())
		default:
		}
		return strings.Contains(p.out.String(), text)
	})
	return p.out.String()
}

// ends sends a signal, unless it is 0, and waits for the exit code.
func (p *program) ends(sig syscall.Signal, want int) {
	p.t.Helper()
	if sig != 0 {
		if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			p.t.Fatal(err)
		}
	}
	<-p.done
	if got := p.cmd.ProcessState.ExitCode(); got != want {
		p.t.Errorf("the exit code is %d, want %d", got, want)
	}
}

// after is what follows the first occurrence of a mark in text, up to the end
// of the line.
func after(t *testing.T, text, mark string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, mark)
	if !ok {
		t.Fatalf("there is no %q in:\n%s", mark, text)
	}
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}
