package docker

import (
	"context"
	"errors"
	"io"
	"time"

	"opsbot/runbooks"
)

type start struct{}

// StartArgs are the arguments of docker.start.
type StartArgs struct {
	Service string `arg:"service" required:"true" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"of the Compose project"`
	Color   string `arg:"color" default:"blue" values:"blue|green" help:"green: the one that docker.run started beside it"`
}

func (start) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "docker.start",
		Summary: "Start a service's stopped containers again, with the image they have.",
		Effect:  runbooks.Change,
		Timeout: 10 * time.Minute,
		Args:    StartArgs{},
		Result:  Restarted{},
	}
}

func (start) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return nil, errors.ErrUnsupported
}
