package docker

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type run struct{}

// RunArgs are the arguments of docker.run.
type RunArgs struct {
	Template string `arg:"template" required:"true" pattern:"^[a-z][a-z0-9_-]{0,39}$" help:"name of a template of the connection: a one-shot command, or a green instance"`
	Image    string `arg:"image" pattern:"^[a-z0-9][A-Za-z0-9._/:@-]{0,254}$" help:"that is here already; by default the one of the service"`
}

// A Ran is the result of docker.run.
type Ran struct {
	ContainerID  string        `json:"container_id"`
	Name         string        `json:"name" help:"for docker.remove"`
	ImageID      string        `json:"image_id"`
	ExitCode     int           `json:"exit_code" help:"of a one-shot command; 0 for one that goes on"`
	Lines        []string      `json:"lines" help:"that a one-shot command wrote, at most 1,000; the step's output has all"`
	HealthyAfter time.Duration `json:"healthy_after" help:"of one that goes on: from start to healthy"`
	Address      string        `json:"address" help:"host:port on the engine's loopback, of one that goes on and publishes a port"`
}

// Found says the result in one line.
func (r Ran) Found() string {
	if r.HealthyAfter == 0 {
		return fmt.Sprintf("%s ended with exit code %d, %s", r.Name, r.ExitCode, things(len(r.Lines), "line"))
	}
	text := fmt.Sprintf("%s is up after %s", r.Name, brief(r.HealthyAfter))
	if r.Address != "" {
		text += " at " + r.Address
	}
	return text
}

func (run) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "docker.run",
		Summary: "Run a one-shot command, or a green instance, like a service's container but with another image.",
		Effect:  runbooks.Change,
		Timeout: 15 * time.Minute,
		Args:    RunArgs{},
		Result:  Ran{},
	}
}

// template is the configured template that a call names, and a container of
// its service to be like.
func (run) template(ctx context.Context, c *Conn, args *RunArgs) (Template, box, error) {
	t, ok := c.config.Templates[args.Template]
	if !ok {
		return t, box{}, fault.New(fault.NotFound, "The connection has no template named %s.", args.Template).
			Hinted("docker.run starts what is listed under templates in the configuration: %s.", named(slices.Sorted(maps.Keys(c.config.Templates))))
	}
	list, err := c.of(ctx, t.Service, blue)
	if fault.KindOf(err) == fault.NotFound {
		return t, box{}, fault.New(fault.NotFound, "Service %s has no container to be like.", t.Service).
			Hinted("Create one first, which need not be started: compose.up with service and start: false.").Because(err)
	}
	if err != nil {
		return t, box{}, err
	}
	if list[0].HostConfig.Privileged {
		return t, box{}, fault.New(fault.Forbidden, "%s is privileged; docker.run starts nothing that is.", list[0].name())
	}
	if t.Argv == nil { // a green instance: one at a time
		if greens, err := c.of(ctx, t.Service, green); err == nil {
			return t, box{}, fault.New(fault.Conflict, "Service %s has a green instance already: %s.", t.Service, greens[0].name()).
				Hinted("Remove it first with docker.remove, unless it serves.")
		} else if fault.KindOf(err) != fault.NotFound {
			return t, box{}, err
		}
	}
	return t, list[0], nil
}

// picture is the image that a call means; it has to be here.
func (run) picture(ctx context.Context, c *Conn, args *RunArgs, like box) (image.InspectResponse, error) {
	name := like.Image
	if args.Image != "" {
		if err := c.allowed(args.Image); err != nil {
			return image.InspectResponse{}, err
		}
		name = args.Image
	}
	in, err := c.client.ImageInspect(ctx, name)
	if cerrdefs.IsNotFound(err) {
		return in, fault.New(fault.NotFound, "The image %s is not here.", name).Hinted("docker.pull fetches it.").Because(err)
	}
	return in, c.explain("look for the image "+name, err)
}

// Preview says what is started, like what, and with which image.
func (r run) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, args, err := both[RunArgs](call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	t, like, err := r.template(ctx, c, args)
	if err != nil {
		return runbooks.Preview{}, err
	}
	in, err := r.picture(ctx, c, args, like)
	if err != nil {
		return runbooks.Preview{}, err
	}
	id, err := c.Identity(ctx)
	if err != nil {
		return runbooks.Preview{}, err
	}
	p := runbooks.Preview{
		Identity: id, Effect: runbooks.Change,
		Live: []runbooks.Live{{Name: "image", Text: in.ID, Tolerance: runbooks.Exact}},
	}
	imageText := fmt.Sprintf("image %s (%s)", cmp.Or(args.Image, like.Config.Image), short(in.ID))
	if in.ID == like.Image {
		imageText += ", the one that " + t.Service + " has"
	}
	if t.Argv != nil {
		p.Impact = []string{"runs " + clean(strings.Join(t.Argv, " ")) + " once, like " + like.name(), imageText}
		return p, nil
	}
	p.Impact = []string{"starts a green instance of " + t.Service + " beside " + like.oneLine(), imageText}
	return p, nil
}

func (r run) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := both[RunArgs](call)
	if err != nil {
		return nil, err
	}
	t, like, err := r.template(ctx, c, args)
	if err != nil {
		return nil, err
	}
	in, err := r.picture(ctx, c, args, like)
	if err != nil {
		return nil, err
	}
	made, err := c.make(ctx, t, args, call.Run, like, in)
	if err != nil {
		return nil, err
	}
	result, err := c.follow(ctx, t, made, out)
	if err != nil || t.Argv != nil {
		// What failed is no use to anybody but as a log, which is kept.
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopSlack)
		defer cancel()
		if e := c.discard(tidy, made, defaultGrace, out); e != nil && err == nil {
			err = e
		}
	}
	if err != nil {
		return nil, err
	}
	return result, nil
}

// follow starts a container and waits for its end, or until it is healthy.
func (c *Conn) follow(ctx context.Context, t Template, b box, out io.Writer) (any, error) {
	r := Ran{ContainerID: b.ID, Name: b.name(), ImageID: b.Image, Lines: []string{}}
	if t.Argv == nil {
		var w Touched
		if err := c.client.ContainerStart(ctx, b.ID, container.StartOptions{}); err != nil {
			return nil, c.explain("start "+b.name(), err)
		}
		var err error
		if w.HealthyAfter, err = c.untilUp(ctx, b.ID, cmp.Or(t.Timeout, upWithin)); err != nil {
			return nil, err
		}
		r.HealthyAfter = w.HealthyAfter
		in, err := c.client.ContainerInspect(ctx, b.ID)
		if err != nil {
			return nil, c.explain("look after "+b.name(), err)
		}
		for _, at := range in.NetworkSettings.Ports {
			if len(at) > 0 {
				r.Address = net.JoinHostPort(at[0].HostIP, at[0].HostPort)
			}
		}
		return r, nil
	}
	within := cmp.Or(t.Timeout, 5*time.Minute)
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	over, failed := c.client.ContainerWait(limited, b.ID, container.WaitConditionNextExit)
	if err := c.client.ContainerStart(limited, b.ID, container.StartOptions{}); err != nil {
		return nil, c.explain("start "+b.name(), err)
	}
	select {
	case w := <-over:
		r.ExitCode = int(w.StatusCode)
	case err := <-failed:
		if limited.Err() != nil && ctx.Err() == nil {
			return nil, fault.New(fault.Unavailable, "%s ran longer than %s and was ended.", b.name(), brief(within)).Because(err)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, c.explain("wait for the end of "+b.name(), err)
	}
	lines, _, err := c.read(ctx, b, reading{tail: logTail})
	if err != nil {
		return nil, err
	}
	for _, l := range lines[max(0, len(lines)-inResult):] {
		r.Lines = append(r.Lines, l.text)
	}
	return r, nil
}
