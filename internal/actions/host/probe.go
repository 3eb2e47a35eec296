package host

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
		Name:    "exec.probe",
		Summary: "Run a configured command that only looks, on opsbot's machine.",
		Timeout: 5 * time.Minute,
		Args:    RunArgs{},
		Result:  Ran{},
	}
}

func (probe) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := both[RunArgs](call)
	if err != nil {
		return nil, err
	}
	cmd, err := c.command(args)
	if err != nil {
		return nil, err
	}
	if cmd.Effect != runbooks.Read {
		return nil, fault.New(fault.Forbidden, "The command %s does more than look.", args.Command).
			Hinted("Run it with exec.run, which asks first; or declare its effect as read, if it is one.")
	}
	return c.start(ctx, cmd, args.AnyCode, out)
}
