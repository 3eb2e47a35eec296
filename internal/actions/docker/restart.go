package docker

import (
	"context"
	"fmt"
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

// Preview says what is restarted, what that loses, and why it may not be.
func (restart) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, args, err := both[StopArgs](call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	return c.preview(ctx, args, true)
}

func (restart) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := both[StopArgs](call)
	if err != nil {
		return nil, err
	}
	list, err := c.of(ctx, args.Service, args.Color)
	if err != nil {
		return nil, err
	}
	if err := mayTouch(list); err != nil {
		return nil, err
	}
	for _, b := range list { // before the first is touched
		if err := c.mayRestart(ctx, b); err != nil {
			return nil, err
		}
		unknown, err := c.comesBack(ctx, b)
		if err != nil {
			return nil, err
		}
		if unknown != "" {
			fmt.Fprintln(out, unknown)
		}
	}
	r := Restarted{ImageBefore: imagesOf(list)}
	for _, b := range list {
		c.noteRestart(b)
		t, err := c.halt(ctx, b, c.mannerOf(b, args))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(out, "%s: stopped after %s with exit code %d\n", t.Name, brief(t.StoppedAfter), t.ExitCode)
		if err := c.wake(ctx, b, &t); err != nil {
			return nil, err // the next replica is left alone: it may be the last that works
		}
		fmt.Fprintf(out, "%s: up after %s\n", t.Name, brief(t.HealthyAfter))
		r.add(t)
	}
	if err := c.reloadProxy(ctx, []string{args.Service}, out); err != nil {
		return nil, err
	}
	return c.finish(ctx, &r, args)
}
