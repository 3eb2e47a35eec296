package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

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

func (execute) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return nil, errors.ErrUnsupported
}
