package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"opsbot/runbooks"
)

type run struct{}

// RunArgs are the arguments of docker.run.
type RunArgs struct {
	Template string `arg:"template" required:"true" pattern:"^[a-z][a-z0-9_-]{0,39}$" help:"name of a template of the connection: a one-shot command, or a green instance"`
	Image    string `arg:"image" pattern:"^[a-z0-9][A-Za-z0-9._/:@-]{0,254}$" help:"that is here already; by default the one of the service"`
}

// A Ran is the result of docker.run.
type Ran struct {
	ContainerID  string        `json:"container_id"`
	Name         string        `json:"name" help:"for docker.remove"`
	ImageID      string        `json:"image_id"`
	ExitCode     int           `json:"exit_code" help:"of a one-shot command; 0 for one that goes on"`
	Lines        []string      `json:"lines" help:"that a one-shot command wrote, at most 1,000; the step's output has all"`
	HealthyAfter time.Duration `json:"healthy_after" help:"of one that goes on: from start to healthy"`
	Address      string        `json:"address" help:"host:port on the engine's loopback, of one that goes on and publishes a port"`
}

// Found says the result in one line.
func (r Ran) Found() string {
	if r.HealthyAfter == 0 {
		return fmt.Sprintf("%s ended with exit code %d, %s", r.Name, r.ExitCode, things(len(r.Lines), "line"))
	}
	text := fmt.Sprintf("%s is up after %s", r.Name, brief(r.HealthyAfter))
	if r.Address != "" {
		text += " at " + r.Address
	}
	return text
}

func (run) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "docker.run",
		Summary: "Run a one-shot command, or a green instance, like a service's container but with another image.",
		Effect:  runbooks.Change,
		Timeout: 15 * time.Minute,
		Args:    RunArgs{},
		Result:  Ran{},
	}
}

func (run) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return nil, errors.ErrUnsupported
}
