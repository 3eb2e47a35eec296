package docker

import (
	"context"
	"errors"
	"io"
	"time"

	"opsbot/runbooks"
)

type composeStart struct{}

// ComposeStartArgs are the arguments of compose.start.
type ComposeStartArgs struct {
	Service string        `arg:"service" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"only this one; by default all of the project, in the order of their dependencies"`
	Wait    time.Duration `arg:"wait" default:"120s" min:"5s" max:"600s" help:"until all are healthy, or running where no check exists"`
}

func (composeStart) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "compose.start",
		Summary: "Start containers that exist and stopped; nothing is created, no image changes.",
		Effect:  runbooks.Change,
		Timeout: 15 * time.Minute,
		Args:    ComposeStartArgs{},
		Result:  Up{},
	}
}

func (composeStart) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return nil, errors.ErrUnsupported
}
