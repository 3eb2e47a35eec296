package docker

import (
	"context"
	"errors"
	"io"
	"time"

	"opsbot/runbooks"
)

type restart struct{}

func (restart) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "docker.restart",
		Summary: "Restart a service's containers one by one, the next only when the last is healthy.",
		Effect:  runbooks.Change,
		Timeout: 20 * time.Minute,
		Args:    StopArgs{},
		Result:  Restarted{},
	}
}

func (restart) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return nil, errors.ErrUnsupported
}
