package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type composeScale struct{}

// ComposeScaleArgs are the arguments of compose.scale.
type ComposeScaleArgs struct {
	Service  string        `arg:"service" required:"true" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"of the Compose file, without a container_name and without a single published port"`
	Replicas int           `arg:"replicas" required:"true" min:"1" max:"50" help:"containers of the service; at most the connection's max_replicas, by default 8"`
	Wait     time.Duration `arg:"wait" default:"120s" min:"5s" max:"600s" help:"until all are healthy, or running where no check exists"`
}

// A Scaled is the result of compose.scale.
type Scaled struct {
	ReplicasBefore int       `json:"replicas_before" help:"for a rollback"`
	ReplicasAfter  int       `json:"replicas_after"`
	Services       []Service `json:"services" help:"the service afterwards"`
	AllOK          bool      `json:"all_ok" help:"every replica runs, and is healthy where a check exists"`
}

// Found says the result in one line.
func (r Scaled) Found() string {
	return fmt.Sprintf("from %d to %s", r.ReplicasBefore, things(r.ReplicasAfter, "replica"))
}

func (composeScale) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "compose.scale",
		Summary: "Run a number of replicas of a service; what runs already is not touched.",
		Effect:  runbooks.Change,
		Timeout: 12 * time.Minute,
		Args:    ComposeScaleArgs{},
		Result:  Scaled{},
	}
}

// plan checks whether the service can have so many replicas, and returns those
// it has.
func (composeScale) plan(ctx context.Context, call runbooks.Call) (*Conn, *compose, *ComposeScaleArgs, []box, error) {
	fail := func(err error) (*Conn, *compose, *ComposeScaleArgs, []box, error) { return nil, nil, nil, nil, err }
	c, args, err := both[ComposeScaleArgs](call)
	if err != nil {
		return fail(err)
	}
	k, err := c.composed()
	if err != nil {
		return fail(err)
	}
	if args.Replicas > c.config.MaxReplicas {
		return fail(fault.New(fault.Invalid, "%d replicas of %s are more than the %d that this connection allows.", args.Replicas, args.Service, c.config.MaxReplicas).
			Hinted("max_replicas on the connection is the limit."))
	}
	m, err := k.model(ctx, "")
	if err != nil {
		return fail(err)
	}
	s, ok := m.Services[args.Service]
	if !ok {
		return fail(fault.New(fault.NotFound, "%s declares no service %s.", k.file, args.Service).Hinted("It has %s.", named(slices.Sorted(maps.Keys(m.Services)))))
	}
	all, err := c.boxes(ctx, args.Service)
	if err != nil {
		return fail(err)
	}
	if err := c.onlyBlue("compose.scale", []string{args.Service}, all); err != nil {
		return fail(err)
	}
	list := slices.DeleteFunc(all, func(b box) bool { return b.color != blue })
	if args.Replicas > 1 {
		if err := s.mayScale(args.Service); err != nil {
			return fail(err)
		}
	}
	if err := mayTouch(list); err != nil {
		return fail(err)
	}
	for _, b := range list {
		if b.database() != "" && args.Replicas > 1 {
			return fail(fault.New(fault.Forbidden, "%s is a database (%s): two on one volume destroy it.", args.Service, b.database()))
		}
	}
	if args.Replicas >= len(list) {
		if err := c.oneImage(ctx, s.Image, args, list); err != nil {
			return fail(err)
		}
	}
	if args.Replicas > len(list) {
		if err := c.fits(ctx, args, list); err != nil {
			return fail(err)
		}
	}
	return c, k, args, list, nil
}

// oneImage refuses replicas of another image than those that are there: more of
// them would be a deployment of a part.
func (c *Conn) oneImage(ctx context.Context, image string, args *ComposeScaleArgs, list []box) error {
	if len(list) == 0 {
		return nil
	}
	for _, b := range list {
		if b.Image != list[0].Image {
			return fault.New(fault.Conflict, "The containers of %s have more than one image already: %s has %s (%s), %s has %s (%s).", args.Service,
				list[0].name(), list[0].Config.Image, short(list[0].Image), b.name(), b.Config.Image, short(b.Image)).
				Hinted("Bring them to one first, with compose.up and image_tag.")
		}
	}
	if args.Replicas == len(list) || image == "" {
		return nil
	}
	in, err := c.client.ImageInspect(ctx, image)
	if err != nil && !cerrdefs.IsNotFound(err) {
		return c.explain("look for the image "+image, err)
	}
	if in.ID != list[0].Image {
		return fault.New(fault.Conflict, "compose.scale would run %s (%s) of %s beside %s (%s), which is there now.", image, cmp.Or(short(in.ID), "not here"),
			args.Service, list[0].Config.Image, short(list[0].Image)).
			Hinted("Is IMAGE_TAG in the env file the one that was deployed? Put it right, then scale; another version is a deployment of its own.")
	}
	return nil
}

// mayScale refuses what allows one container only.
func (s modelService) mayScale(name string) error {
	if s.ContainerName != "" {
		return fault.New(fault.Conflict, "Service %s has a container_name, so there can be only one of it.", name).
			Hinted("Take container_name out of the Compose file.")
	}
	for _, p := range s.Ports {
		if p.Published != "" && p.Published != "0" && !strings.Contains(p.Published, "-") {
			return fault.New(fault.Conflict, "Port %s of %s is fixed in the Compose file, so there can be only one of it.", p.Published, name).
				Hinted("Publish a range, such as %s-%s:%d, or reach the replicas through the proxy.", p.Published, p.Published+"9", p.Target)
		}
	}
	return nil
}

// fits refuses more replicas than the host's memory holds, by what the present
// ones use. It is a lower bound: others live on the host too.
func (c *Conn) fits(ctx context.Context, args *ComposeScaleArgs, list []box) error {
	if !slices.ContainsFunc(list, func(b box) bool { return b.State.Running && !b.State.Restarting }) {
		return nil // nothing to measure
	}
	load, err := c.load(ctx, args.Service, list, time.Second)
	if err != nil {
		return err
	}
	host, err := c.client.Info(ctx)
	if err != nil {
		return c.explain("ask for the engine's host", err)
	}
	if need := load.MemBytes * args.Replicas; float64(need) > 0.8*float64(host.MemTotal) {
		return fault.New(fault.Conflict, "%d replicas of %s would need %s, more than 80 %% of the host's %s.", args.Replicas, args.Service, size(need), size(int(host.MemTotal))).
			Hinted("Fewer replicas, or a bigger host.")
	}
	return nil
}

// Preview says from how many to how many.
func (s composeScale) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, k, args, list, err := s.plan(ctx, call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	id, err := c.Identity(ctx)
	if err != nil {
		return runbooks.Preview{}, err
	}
	p := runbooks.Preview{
		Identity: id, Effect: runbooks.Change, Live: frozen(list),
		Impact: []string{fmt.Sprintf("%s from %d to %s", args.Service, len(list), things(args.Replicas, "replica"))},
	}
	would, err := k.rehearse(ctx, "", s.line(args))
	if err != nil {
		return runbooks.Preview{}, err
	}
	p.Impact = append(p.Impact, would...)
	return p, nil
}

func (composeScale) line(args *ComposeScaleArgs) []string {
	seconds := strconv.Itoa(int(math.Ceil(args.Wait.Seconds())))
	return []string{"up", "-d", "--no-deps", "--no-build", "--no-recreate", "--pull", "never", "--wait", "--wait-timeout", seconds,
		"--scale", args.Service + "=" + strconv.Itoa(args.Replicas), args.Service}
}

func (s composeScale) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, k, args, before, err := s.plan(ctx, call)
	if err != nil {
		return nil, err
	}
	_, _, err = k.run(ctx, fmt.Sprintf("scale %s to %d", args.Service, args.Replicas), "", out, s.line(args)...)
	if err != nil {
		err = c.blame(ctx, []string{args.Service}, err)
		return nil, errors.Join(err, c.sweep(ctx, args.Service, before, out))
	}
	after, err := c.boxes(ctx, args.Service)
	if err != nil {
		return nil, err
	}
	r := Scaled{ReplicasBefore: len(before), Services: []Service{}}
	for _, service := range tally(after, map[string]int{args.Service: args.Replicas}, true, args.Service).Services {
		if service.Color == blue {
			r.ReplicasAfter, r.AllOK = service.Running, service.OK
			r.Services = append(r.Services, service)
		}
	}
	if err := c.reloadProxy(ctx, []string{args.Service}, out); err != nil {
		return nil, err
	}
	return r, nil
}

// sweep removes what a failed scaling left: containers that were made and never
// started, which a later up would try to start again.
func (c *Conn) sweep(ctx context.Context, service string, before []box, out io.Writer) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopSlack)
	defer cancel()
	after, err := c.boxes(ctx, service)
	if err != nil {
		return err
	}
	for _, b := range after {
		known := slices.ContainsFunc(before, func(was box) bool { return was.ID == b.ID })
		if known || b.color != blue || b.State.Status != "created" {
			continue
		}
		if err := c.client.ContainerRemove(ctx, b.ID, container.RemoveOptions{RemoveVolumes: true}); err != nil {
			return c.explain("remove "+b.name()+", which was made and never started", err)
		}
		fmt.Fprintf(out, "removed %s, which was made and never started\n", b.name())
	}
	return nil
}
