package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type execute struct{}

// ExecArgs are the arguments of docker.exec and docker.probe.
type ExecArgs struct {
	Command string `arg:"command" required:"true" pattern:"^[a-z][a-z0-9_-]{0,39}$" help:"name of a command in the connection's exec list"`
}

// Executed is the result of docker.exec and docker.probe.
type Executed struct {
	Container string   `json:"container"`
	ExitCode  int      `json:"exit_code"`
	Lines     []string `json:"lines" help:"of standard output, at most 1,000; the step's output has both streams"`
}

// Found says the result in one line.
func (r Executed) Found() string {
	return fmt.Sprintf("exit code %d in %s, %s", r.ExitCode, r.Container, things(len(r.Lines), "line"))
}

func (execute) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "docker.exec",
		Summary: "Run a configured command in its service's container.",
		Effect:  runbooks.Change,
		Timeout: 10 * time.Minute,
		Args:    ExecArgs{},
		Result:  Executed{},
	}
}

// command is the configured command that a call names.
func (c *Conn) command(name string) (Command, error) {
	cmd, ok := c.config.Exec[name]
	if !ok {
		return Command{}, fault.New(fault.NotFound, "The connection has no command named %s.", name).
			Hinted("Commands that may run in a container are listed under exec in the configuration: %s.", named(slices.Sorted(maps.Keys(c.config.Exec))))
	}
	return cmd, nil
}

// named joins names for people.
func named(names []string) string {
	if len(names) == 0 {
		return "there is none"
	}
	return strings.Join(names, ", ")
}

// execute runs a configured command and keeps what it wrote.
func (c *Conn) execute(ctx context.Context, cmd Command, out io.Writer) (any, error) {
	running, err := c.of(ctx, cmd.Service, "")
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(running, func(b box) bool { return b.State.Running && !b.State.Restarting })
	if i < 0 {
		return nil, fault.New(fault.Conflict, "No container of %s runs.", cmd.Service).Hinted("Start it first.")
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(cmd.Timeout, 30*time.Second))
	defer cancel()
	stdout, stderr := new(lineTail), new(lineTail)
	code, err := c.execIn(ctx, running[i], Process{Argv: cmd.Argv, User: cmd.User, Stdout: stdout, Stderr: stderr})
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fault.New(fault.Unavailable, "%s ran longer than %s and was ended.", cmd.Argv[0], brief(cmp.Or(cmd.Timeout, 30*time.Second))).Because(err)
		}
		return nil, err
	}
	r := Executed{Container: running[i].name(), ExitCode: code, Lines: []string{}}
	for _, t := range []*lineTail{stdout, stderr} {
		t.flush()
		for n, line := range t.lines {
			line = clean(line)
			fmt.Fprintln(out, line)
			if t == stdout && n >= len(t.lines)-inResult {
				r.Lines = append(r.Lines, line)
			}
		}
	}
	return r, nil
}

// Preview says what runs where.
func (execute) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, args, err := both[ExecArgs](call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	cmd, err := c.command(args.Command)
	if err != nil {
		return runbooks.Preview{}, err
	}
	boxes, err := c.of(ctx, cmd.Service, "")
	if err != nil {
		return runbooks.Preview{}, err
	}
	if err := mayTouch(boxes); err != nil {
		return runbooks.Preview{}, err
	}
	id, err := c.Identity(ctx)
	if err != nil {
		return runbooks.Preview{}, err
	}
	p := runbooks.Preview{
		Identity: id, Effect: max(cmd.Effect, runbooks.Change), Live: frozen(boxes),
		Impact: []string{"runs " + clean(strings.Join(cmd.Argv, " ")), "in " + boxes[0].oneLine()},
	}
	if cmd.Effect == runbooks.Destructive {
		p.Reasons = []string{"the configuration says that this command destroys something"}
	}
	return p, nil
}

func (execute) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := both[ExecArgs](call)
	if err != nil {
		return nil, err
	}
	cmd, err := c.command(args.Command)
	if err != nil {
		return nil, err
	}
	boxes, err := c.of(ctx, cmd.Service, "")
	if err != nil {
		return nil, err
	}
	if err := mayTouch(boxes); err != nil {
		return nil, err
	}
	return c.execute(ctx, cmd, out)
}
