package docker

import (
	"context"
	"fmt"
	"io"
	"time"

	"opsbot/runbooks"
)

type start struct{}

// StartArgs are the arguments of docker.start.
type StartArgs struct {
	Service string `arg:"service" required:"true" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"of the Compose project"`
	Color   string `arg:"color" values:"blue|green" help:"blue: Compose's own; green: the one that docker.run started beside it; by default the one that the proxy sends traffic to, else blue"`
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

// Preview says what is started, with which image.
func (start) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, args, err := both[StartArgs](call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	list, err := c.of(ctx, args.Service, args.Color)
	if err != nil {
		return runbooks.Preview{}, err
	}
	if err := mayTouch(list); err != nil {
		return runbooks.Preview{}, err
	}
	id, err := c.Identity(ctx)
	if err != nil {
		return runbooks.Preview{}, err
	}
	p := runbooks.Preview{Identity: id, Effect: runbooks.Change, Live: frozen(list)}
	for _, b := range list {
		verb := "starts "
		if b.State.Running {
			verb = "leaves running "
		}
		p.Impact = append(p.Impact, verb+b.oneLine())
	}
	return p, nil
}

func (start) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := both[StartArgs](call)
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
	r := Restarted{ImageBefore: imagesOf(list)}
	for _, b := range list {
		t := Touched{ID: b.ID, Name: b.name(), Number: b.number, ExitCode: b.State.ExitCode}
		if err := c.wake(ctx, b, &t); err != nil {
			return nil, err
		}
		fmt.Fprintf(out, "%s: up after %s\n", t.Name, brief(t.HealthyAfter))
		r.add(t)
	}
	if err := c.reloadProxy(ctx, []string{args.Service}, out); err != nil {
		return nil, err
	}
	return c.finish(ctx, &r, &StopArgs{Service: args.Service, Color: args.Color})
}
