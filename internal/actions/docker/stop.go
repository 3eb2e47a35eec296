package docker

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"opsbot/runbooks"
)

type stop struct{}

// StopArgs are the arguments of docker.stop and docker.restart.
type StopArgs struct {
	Service string        `arg:"service" required:"true" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"of the Compose project"`
	Color   string        `arg:"color" values:"blue|green" help:"blue: Compose's own; green: the one that docker.run started beside it; by default the one that the proxy sends traffic to, else blue"`
	Grace   time.Duration `arg:"grace" default:"0s" min:"0s" max:"300s" help:"before it is killed; 0s: the container's own, else 10s, and 60s for a database"`
	Signal  string        `arg:"signal" values:"SIGTERM|SIGINT|SIGQUIT|SIGHUP" help:"that asks it to stop; by default the container's own, and SIGINT for PostgreSQL"`
}

// A Restarted is the result of docker.restart, docker.stop and docker.start.
type Restarted struct {
	ImageBefore  string        `json:"image_before" help:"id; several are separated by spaces"`
	ImageAfter   string        `json:"image_after" help:"id; the same, or something is wrong"`
	Killed       bool          `json:"killed" help:"a container did not stop in time and was killed"`
	StoppedAfter time.Duration `json:"stopped_after" help:"of the slowest container; 0: none was stopped"`
	HealthyAfter time.Duration `json:"healthy_after" help:"from start to healthy, or to steady where no check exists, of the slowest; 0: none was started"`
	ExitCode     int           `json:"exit_code" help:"with which the last container stopped"`
	Containers   []Touched     `json:"containers" help:"in the order in which they were touched"`
}

// A Touched is one container that was stopped or started.
type Touched struct {
	ID           string        `json:"id"`
	Name         string        `json:"name"`
	Number       int           `json:"number"`
	ExitCode     int           `json:"exit_code"`
	Killed       bool          `json:"killed"`
	StoppedAfter time.Duration `json:"stopped_after"`
	HealthyAfter time.Duration `json:"healthy_after"`
}

// Found says the result in one line.
func (r Restarted) Found() string {
	var parts []string
	for _, c := range r.Containers {
		text := c.Name
		switch {
		case c.Killed:
			text += fmt.Sprintf(" killed after %s", brief(c.StoppedAfter))
		case c.StoppedAfter > 0:
			text += fmt.Sprintf(" stopped in %s (exit code %d)", brief(c.StoppedAfter), c.ExitCode)
		}
		if c.HealthyAfter > 0 {
			text += fmt.Sprintf(" up in %s", brief(c.HealthyAfter))
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return "nothing to do"
	}
	return strings.Join(parts, ", ")
}

func (stop) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "docker.stop",
		Summary: "Stop a service's containers, gracefully first.",
		Effect:  runbooks.Change,
		Timeout: 15 * time.Minute,
		Args:    StopArgs{},
		Result:  Restarted{},
	}
}

// Preview says what is stopped and what that loses.
func (stop) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, args, err := both[StopArgs](call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	return c.preview(ctx, args, false)
}

func (stop) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
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
	r := Restarted{ImageBefore: imagesOf(list)}
	for _, b := range list {
		t, err := c.halt(ctx, b, c.mannerOf(b, args))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(out, "%s: exit code %d after %s\n", t.Name, t.ExitCode, brief(t.StoppedAfter))
		r.add(t)
	}
	return c.finish(ctx, &r, args)
}
