package docker

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type remove struct{}

// RemoveArgs are the arguments of docker.remove.
type RemoveArgs struct {
	Name    string        `arg:"name" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$" help:"of one container that docker.run made"`
	Service string        `arg:"service" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"instead: all that docker.run made beside this service"`
	Grace   time.Duration `arg:"grace" default:"10s" min:"1s" max:"300s" help:"before one that runs is killed"`
}

// A Removed is the result of docker.remove.
type Removed struct {
	Removed []string `json:"removed" help:"names; empty: there was none"`
}

// Found says the result in one line.
func (r Removed) Found() string {
	if len(r.Removed) == 0 {
		return "nothing to remove"
	}
	return "removed " + strings.Join(r.Removed, ", ")
}

func (remove) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "docker.remove",
		Summary: "Remove a container that docker.run made, and no other.",
		Effect:  runbooks.Change,
		Timeout: 6 * time.Minute,
		Args:    RemoveArgs{},
		Result:  Removed{},
	}
}

// chosen are the containers that a call means: those that docker.run made.
func (remove) chosen(ctx context.Context, c *Conn, args *RemoveArgs) ([]box, error) {
	if (args.Name == "") == (args.Service == "") {
		return nil, fault.New(fault.Invalid, "docker.remove needs either a name or a service.")
	}
	f := filters.NewArgs(filters.Arg("label", ownProject+"="+c.config.Project))
	if args.Service != "" {
		f.Add("label", ownService+"="+args.Service)
	}
	found, err := c.client.ContainerList(ctx, container.ListOptions{All: true, Filters: f})
	if err != nil {
		return nil, c.explain("list what docker.run made", err)
	}
	boxes := []box{}
	for _, s := range found {
		in, err := c.client.ContainerInspect(ctx, s.ID)
		if cerrdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, c.explain("inspect what docker.run made", err)
		}
		b := box{in, s.Labels[ownService], s.Labels[ownColor], 0}
		if args.Name == "" || args.Name == b.name() || args.Name == b.ID {
			boxes = append(boxes, b)
		}
	}
	if args.Name != "" && len(boxes) == 0 {
		if _, err := c.client.ContainerInspect(ctx, args.Name); err == nil {
			return nil, fault.New(fault.Forbidden, "%s was not made by docker.run, so docker.remove does not touch it.", args.Name).
				Hinted("compose.down and compose.scale remove what Compose made.")
		}
	}
	if err := mayTouch(boxes); err != nil {
		return nil, err
	}
	return boxes, c.mayGo(boxes)
}

// mayGo refuses to remove what the proxy sends traffic to: nobody would answer
// any more, and nginx does not load a file with a name that is gone.
func (c *Conn) mayGo(boxes []box) error {
	n := c.config.Nginx
	if n == nil || len(boxes) == 0 {
		return nil
	}
	text, err := n.read()
	if err != nil {
		return err
	}
	names := hosts(text)
	for _, b := range boxes {
		if slices.ContainsFunc(names, b.answersTo) {
			return fault.New(fault.Conflict, "%s gets the traffic of %s: removing it would be an outage.", b.name(), n.URL).
				Hinted("Send the traffic to blue first, with nginx.switch. %s names it.", n.File)
		}
	}
	return nil
}

// Preview says what is removed.
func (r remove) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, args, err := both[RemoveArgs](call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	boxes, err := r.chosen(ctx, c, args)
	if err != nil {
		return runbooks.Preview{}, err
	}
	id, err := c.Identity(ctx)
	if err != nil {
		return runbooks.Preview{}, err
	}
	p := runbooks.Preview{Identity: id, Effect: runbooks.Change, Live: frozen(boxes)}
	for _, b := range boxes {
		p.Impact = append(p.Impact, "removes "+b.oneLine())
	}
	if len(boxes) == 0 {
		p.Impact = []string{"removes nothing: there is no such container any more"}
	}
	return p, nil
}

func (r remove) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := both[RemoveArgs](call)
	if err != nil {
		return nil, err
	}
	boxes, err := r.chosen(ctx, c, args)
	if err != nil {
		return nil, err
	}
	result := Removed{Removed: []string{}}
	for _, b := range boxes {
		if err := c.discard(ctx, b, args.Grace, out); err != nil {
			return nil, err
		}
		result.Removed = append(result.Removed, b.name())
	}
	return result, nil
}

// discard stops and removes one container, after its log was kept.
func (c *Conn) discard(ctx context.Context, b box, grace time.Duration, out io.Writer) error {
	if _, err := c.halt(ctx, b, manner{grace: grace}); err != nil {
		return err
	}
	if _, err := c.keep(ctx, []box{b}, logTail, out); err != nil {
		return err
	}
	err := c.client.ContainerRemove(ctx, b.ID, container.RemoveOptions{RemoveVolumes: true}) // anonymous ones only
	if err != nil && !cerrdefs.IsNotFound(err) {
		return c.explain("remove "+b.name(), err)
	}
	return nil
}
