package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"opsbot/internal/fault"
	"opsbot/internal/redact"
)

const (
	// maxOutput bounds what is kept of a command's output, from its end.
	maxOutput = 256 << 10
	// maxLines is how many lines a result has.
	maxLines = 1000
	// maxLine bounds a line, in characters.
	maxLine = 2000
	// grace is how long a command may take to end when it is asked to, and how
	// long its output may stay open when it has ended.
	grace = 5 * time.Second
)

// command returns the configured command of a call, with its values filled in.
func (c *Conn) command(args *RunArgs) (Command, error) {
	cmd, ok := c.config.Commands[args.Command]
	if !ok {
		err := fault.New(fault.NotFound, "The connection has no command named %s.", args.Command)
		if len(c.config.Commands) > 0 {
			err = err.Hinted("It has %s.", strings.Join(slices.Sorted(maps.Keys(c.config.Commands)), ", "))
		}
		return cmd, err
	}
	values := map[string]string{}
	for _, a := range cmd.Args {
		v, given := args.Args[a.Name]
		switch {
		case given:
			if err := c.fits(args.Command, a, v); err != nil {
				return cmd, err
			}
		case a.Default != "":
			v = a.Default
		default:
			return cmd, fault.New(fault.Invalid, "The command %s needs a value for %s.", args.Command, a.Name)
		}
		values[a.Name] = v
	}
	for _, name := range slices.Sorted(maps.Keys(args.Args)) {
		if _, known := values[name]; !known {
			return cmd, fault.New(fault.Invalid, "The command %s has no value named %s.", args.Command, clip(name))
		}
	}
	cmd.Argv = slices.Clone(cmd.Argv)
	for i, word := range cmd.Argv {
		cmd.Argv[i] = hole.ReplaceAllStringFunc(word, func(h string) string { return values[h[1:len(h)-1]] })
	}
	return cmd, nil
}

// shown is a command as people may see it.
func (cmd Command) shown() string {
	words := make([]string, len(cmd.Argv))
	for i, w := range cmd.Argv {
		if words[i] = w; w == "" || strings.ContainsAny(w, " \t\n'\"\\$`*?;&|<>()") {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return redact.Secrets(strings.Join(words, " "))
}

// start runs a command to its end. Its children end with it when its time is
// up. An exit code other than 0 is an error of kind Conflict unless any will
// do; the result is there all the same.
func (c *Conn) start(ctx context.Context, cmd Command, anyCode bool, out io.Writer) (Ran, error) {
	limit := cmp.Or(cmd.Timeout, defaultTimeout)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	p := exec.CommandContext(ctx, cmd.Argv[0], cmd.Argv[1:]...)
	p.Dir = cmp.Or(cmd.Dir, "/")
	p.Env = []string{"PATH=" + os.Getenv("PATH")}
	for _, name := range cmd.Env {
		if v, set := os.LookupEnv(name); set && name != "PATH" {
			p.Env = append(p.Env, name+"="+v)
		}
	}
	stdout, all := new(tail), new(tail)
	p.Stdout, p.Stderr = io.MultiWriter(stdout, all), all
	p.WaitDelay = grace
	endGroup := group(p)
	begun := time.Now()
	err := p.Run()
	r := Ran{ExitCode: -1, Took: time.Since(begun), Truncated: all.cut}
	left := errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil
	if ctx.Err() != nil || left {
		endGroup()
	}
	if p.ProcessState != nil {
		r.ExitCode = p.ProcessState.ExitCode()
	}
	text := all.lines()
	for _, line := range text {
		fmt.Fprintln(out, line)
	}
	r.Lines = stdout.lines()
	if n := len(r.Lines) - maxLines; n > 0 {
		r.Lines, r.Truncated = r.Lines[n:], true
	}
	name, failed := cmd.Argv[0], (*exec.ExitError)(nil)
	switch {
	case err == nil:
		return r, nil
	case left:
		fmt.Fprintln(out, "(a process that it left behind kept its output open, and was ended)")
		return r, nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return r, fault.New(fault.Unavailable, "%s ran longer than %s and was ended.", name, limit.Round(time.Second)).Because(err)
	case ctx.Err() != nil:
		return r, fmt.Errorf("run %s: %w", name, ctx.Err())
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return r, fault.New(fault.NotFound, "%s cannot be run here.", name).
			Hinted("Is it installed where opsbot runs, and is there a folder %s?", p.Dir).Because(err)
	case errors.Is(err, os.ErrPermission):
		return r, fault.New(fault.Forbidden, "opsbot's account may not run %s.", name).Because(err)
	case errors.As(err, &failed) && r.ExitCode < 0:
		return r, fault.New(fault.Conflict, "%s was ended by a signal: %s.", name, failed).Because(err)
	case errors.As(err, &failed) && anyCode:
		return r, nil
	case errors.As(err, &failed):
		e := fault.New(fault.Conflict, "%s ended with code %d.", name, r.ExitCode).Because(err)
		if n := len(text); n > 0 {
			e = e.Hinted("It said: %s", clip(text[n-1]))
		}
		return r, e
	}
	return r, fault.New(fault.Unavailable, "%s could not be started.", name).Because(err)
}

// A tail keeps the end of what is written to it. It is safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	text []byte
	cut  bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - maxOutput; over > 0 {
		t.text, t.cut = append(t.text[:0], t.text[over:]...), true
	}
	return len(p), nil
}

// lines gives what was kept as people may see it. A line whose beginning is
// missing is left out: what is secret could not be told there.
func (t *tail) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.ToValidUTF8(string(t.text), "�")
	if t.cut {
		_, text, _ = strings.Cut(text, "\n")
	}
	list := []string{}
	for line := range strings.Lines(redact.Secrets(text)) {
		line = strings.TrimRight(line, "\r\n")
		if r := []rune(line); len(r) > maxLine {
			line = string(r[:maxLine]) + "…"
		}
		list = append(list, line)
	}
	return list
}
