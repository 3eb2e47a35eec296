package docker

import (
	"context"
	"io"
	"time"

	"opsbot/internal/fault"
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

func (probe) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := both[ExecArgs](call)
	if err != nil {
		return nil, err
	}
	cmd, err := c.command(args.Command)
	if err != nil {
		return nil, err
	}
	if cmd.Effect != runbooks.Read {
		return nil, fault.New(fault.Forbidden, "The command %s does more than look.", args.Command).
			Hinted("Run it with docker.exec, which asks first; or declare its effect as read, if it is one.")
	}
	return c.execute(ctx, cmd, out)
}
