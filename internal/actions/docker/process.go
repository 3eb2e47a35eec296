package docker

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"opsbot/internal/fault"
)

// A Process is a program to run in a service's container.
type Process struct {
	Service string
	Color   string   // "" is the one that serves
	Argv    []string // never through a shell
	User    string   // "" is the container's
	Env     []string // KEY=value, besides the container's; secrets belong here, not into Argv

	// Streams may be nil: no input, and output that is thrown away. Stdout and
	// Stderr are written to by one goroutine.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

const (
	// pollEvery is how often a running process is looked at.
	pollEvery = 250 * time.Millisecond
	// drainFor is how long the streams of a process that ended may be silent
	// before they are closed.
	drainFor = 2 * time.Second
	// endWithin bounds what is done to end a process whose time is up.
	endWithin = 15 * time.Second
	// mark names the variable by which a process is found again to be ended.
	mark = "OPSBOT_EXEC"
)

// Exec runs a program in the first running container of a service, to its end,
// and returns its exit code. An exit code other than 0 is no error. When ctx
// ends, the program is ended too, not only the wait for it; if that is not
// possible the error says so. A container that does not run and a program that
// the image lacks are errors of kind Conflict and NotFound.
func (c *Conn) Exec(ctx context.Context, p Process) (int, error) {
	list, err := c.of(ctx, p.Service, p.Color)
	if err != nil {
		return 0, err
	}
	for _, b := range list {
		if b.State.Running && !b.State.Restarting && !b.State.Paused {
			return c.execIn(ctx, b, p)
		}
	}
	return 0, fault.New(fault.Conflict, "No container of %s runs.", p.Service).Hinted("Start it first.")
}

func (c *Conn) execIn(ctx context.Context, b box, p Process) (int, error) {
	id := rand.Text()
	argv := p.Argv
	if deadline, ok := ctx.Deadline(); ok && c.hasTimeout(ctx, b) {
		// Should opsbot itself be gone by then, the program still ends.
		left := max(1, int(math.Ceil(time.Until(deadline).Seconds()))+1)
		argv = append([]string{"timeout", "-k", "5", strconv.Itoa(left)}, argv...)
	}
	doing := fmt.Sprintf("run %s in %s", p.Argv[0], b.name())
	made, err := c.client.ContainerExecCreate(ctx, b.ID, container.ExecOptions{
		User: p.User, Env: append([]string{mark + "=" + id}, p.Env...), Cmd: argv,
		AttachStdin: p.Stdin != nil, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return 0, c.explain(doing, err)
	}
	conn, err := c.client.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return 0, c.explain(doing, err)
	}
	defer conn.Close()
	if p.Stdin != nil {
		go func() { // ends with the connection, at the latest
			_, _ = io.Copy(conn.Conn, p.Stdin)
			_ = conn.CloseWrite()
		}()
	}
	head := new(headOf)
	watched := &watchedReader{r: conn.Reader}
	copied := make(chan error, 1)
	go func() {
		_, err := stdcopy.StdCopy(tee(p.Stdout, head), tee(p.Stderr, head), watched)
		copied <- err
	}()
	if err := c.untilOver(ctx, made.ID, watched, copied, conn.Close); err != nil {
		if ctx.Err() != nil {
			conn.Close()
			return 0, c.end(ctx, b, p, made.ID, id)
		}
		return 0, c.explain(doing, err)
	}
	state, err := c.client.ContainerExecInspect(ctx, made.ID)
	if err != nil {
		return 0, c.explain(doing, err)
	}
	text := head.String()
	// Both the engine and timeout say so in the program's own place.
	if (state.ExitCode == 126 || state.ExitCode == 127) && (strings.Contains(text, "OCI runtime exec failed") || strings.HasPrefix(text, "timeout: ")) {
		return state.ExitCode, fault.New(fault.NotFound, "The image of %s has no %s.", b.name(), p.Argv[0]).
			Hinted("Docker said: %s", clip(text, 200))
	}
	return state.ExitCode, nil
}

// untilOver waits until the streams are over. The engine keeps them open as
// long as it can still write input that nobody reads: once the process has
// ended and they are silent, they are closed from here.
func (c *Conn) untilOver(ctx context.Context, exec string, streams *watchedReader, copied <-chan error, hangUp func()) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var silentSince time.Time
	seen := int64(-1)
	for {
		select {
		case err := <-copied:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if n := streams.read.Load(); n != seen {
			seen, silentSince = n, time.Now()
			continue
		}
		state, err := c.client.ContainerExecInspect(ctx, exec)
		if err != nil {
			return err
		}
		if !state.Running && time.Since(silentSince) > drainFor {
			hangUp()
			<-copied
			return nil
		}
	}
}

// end makes sure that a process whose time is up is gone. Closing the
// connection does not do that.
func (c *Conn) end(ctx context.Context, b box, p Process, exec, id string) error {
	cause := context.Cause(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	gone := func() bool {
		state, err := c.client.ContainerExecInspect(ctx, exec)
		return err == nil && !state.Running
	}
	for _, signal := range []string{"TERM", "KILL"} {
		if gone() {
			break
		}
		c.signal(ctx, b, p.User, signal, id)
		for until := time.Now().Add(3 * time.Second); time.Now().Before(until) && !gone(); {
			time.Sleep(pollEvery / 2)
		}
	}
	if gone() {
		return cause
	}
	return fault.New(fault.Unavailable, "%s in %s did not end when its time was up, and may still run.", p.Argv[0], b.name()).
		Hinted("Look with docker top %s.", b.name()).Because(cause)
}

// signal sends a signal to all processes of the container with the mark of one
// exec. It needs a shell in the image; without one nothing happens.
func (c *Conn) signal(ctx context.Context, b box, user, signal, id string) {
	script := `for p in /proc/[0-9]*; do if tr '\0' '\n' <$p/environ 2>/dev/null | grep -qx "` + mark + `=$1"; then kill -` + signal + ` ${p#/proc/}; fi; done`
	made, err := c.client.ContainerExecCreate(ctx, b.ID, container.ExecOptions{User: user, Cmd: []string{"sh", "-c", script, "sh", id}})
	if err == nil {
		_ = c.client.ContainerExecStart(ctx, made.ID, container.ExecStartOptions{Detach: true})
	}
}

// hasTimeout reports whether the container's image has a timeout program.
func (c *Conn) hasTimeout(ctx context.Context, b box) bool {
	for _, path := range []string{"/usr/bin/timeout", "/bin/timeout"} {
		if _, err := c.client.ContainerStatPath(ctx, b.ID, path); err == nil {
			return true
		}
	}
	return false
}

// A watchedReader counts what was read.
type watchedReader struct {
	r    io.Reader
	read atomic.Int64
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.read.Add(int64(n))
	return n, err
}

// A headOf keeps the first bytes that are written to it.
type headOf struct{ bytes.Buffer }

func (h *headOf) Write(p []byte) (int, error) {
	if room := 4096 - h.Len(); room > 0 {
		h.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func tee(w io.Writer, head io.Writer) io.Writer {
	if w == nil {
		return head
	}
	return io.MultiWriter(w, head)
}
