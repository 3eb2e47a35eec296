package docker

import (
	"context"
	"errors"
	"io"
	"time"

	"opsbot/runbooks"
)

type probe struct{}

func (probe) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "docker.probe",
		Summary: "Run a configured command that only looks, in its service's container.",
		Timeout: time.Minute,
		Args:    ExecArgs{},
		Result:  Executed{},
	}
}

func (probe) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return nil, errors.ErrUnsupported
}
