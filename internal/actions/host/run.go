package host

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"opsbot/runbooks"
)

type run struct{}

// RunArgs are the arguments of exec.run and exec.probe.
type RunArgs struct {
	Command string            `arg:"command" required:"true" pattern:"^[a-z][a-z0-9_-]{0,59}$" help:"name of a command in the connection's configuration"`
	Args    map[string]string `arg:"args" help:"values for the command's {placeholders}"`
	AnyCode bool              `arg:"any_code" default:"false" help:"an exit code other than 0 is a result, not a failure"`
}

// Ran is the result of exec.run and exec.probe.
type Ran struct {
	ExitCode  int           `json:"exit_code" help:"-1: it was ended by a signal, or never began"`
	Lines     []string      `json:"lines" help:"of standard output, the last 1,000; the step's output has both streams"`
	Truncated bool          `json:"truncated" help:"there was more output than was kept"`
	Took      time.Duration `json:"took"`
}

// Found says the result in one line.
func (r Ran) Found() string {
	text := fmt.Sprintf("exit code %d, %d lines", r.ExitCode, len(r.Lines))
	if len(r.Lines) == 1 {
		text = strings.TrimSuffix(text, "s")
	}
	if r.Took >= time.Second {
		text += fmt.Sprintf(", after %s", r.Took.Round(time.Second))
	}
	if r.Truncated {
		text += " and more"
	}
	return text
}

func (run) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "exec.run",
		Summary: "Run a configured command on opsbot's machine.",
		Effect:  runbooks.Change,
		Timeout: 30 * time.Minute,
		Args:    RunArgs{},
		Result:  Ran{},
	}
}

// Preview says what would run, with its values filled in.
func (run) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, args, err := both[RunArgs](call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	cmd, err := c.command(args)
	if err != nil {
		return runbooks.Preview{}, err
	}
	id, err := c.Identity(ctx)
	if err != nil {
		return runbooks.Preview{}, err
	}
	p := runbooks.Preview{
		Identity: id,
		Effect:   max(cmd.Effect, runbooks.Change),
		Impact: []string{
			"runs " + cmd.shown(),
			fmt.Sprintf("on %s in %s, for at most %s", strings.TrimPrefix(c.Address(), "host "), cmp.Or(cmd.Dir, "/"), cmp.Or(cmd.Timeout, defaultTimeout)),
		},
		Live: []runbooks.Live{{Name: "command", Text: cmd.shown(), Tolerance: runbooks.Exact}},
	}
	if cmd.Effect == runbooks.Destructive {
		p.Reasons = []string{"the configuration says that this command destroys something"}
	}
	return p, nil
}

func (run) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := both[RunArgs](call)
	if err != nil {
		return nil, err
	}
	cmd, err := c.command(args)
	if err != nil {
		return nil, err
	}
	return c.start(ctx, cmd, args.AnyCode, out)
}
