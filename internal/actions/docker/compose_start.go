package docker

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type composeStart struct{}

// ComposeStartArgs are the arguments of compose.start.
type ComposeStartArgs struct {
	Service string        `arg:"service" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"only this one; by default all of the project, in the order of their dependencies"`
	Wait    time.Duration `arg:"wait" default:"120s" min:"5s" max:"600s" help:"until all are healthy, or running where no check exists"`
}

func (composeStart) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "compose.start",
		Summary: "Start containers that exist and stopped; nothing is created, no image changes.",
		Effect:  runbooks.Change,
		Timeout: 15 * time.Minute,
		Args:    ComposeStartArgs{},
		Result:  Up{},
	}
}

// meant are the containers that a call starts.
func (composeStart) meant(ctx context.Context, call runbooks.Call) (*Conn, *compose, *ComposeStartArgs, []box, error) {
	c, args, err := both[ComposeStartArgs](call)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	k, err := c.composed()
	if err != nil {
		return nil, nil, nil, nil, err
	}
	all, err := c.boxes(ctx, args.Service)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	list := slices.DeleteFunc(slices.Clone(all), func(b box) bool { return b.color != blue })
	if err := c.onlyBlue("compose.start", servicesOf(list), all); err != nil {
		return nil, nil, nil, nil, err
	}
	if len(list) == 0 {
		return nil, nil, nil, nil, fault.New(fault.NotFound, "There is no container of %s to start.", cmp.Or(args.Service, c.config.Project)).
			Hinted("compose.up creates them.")
	}
	return c, k, args, list, mayTouch(list)
}

// Preview says what is started, with the image it has.
func (s composeStart) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, _, _, list, err := s.meant(ctx, call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	id, err := c.Identity(ctx)
	if err != nil {
		return runbooks.Preview{}, err
	}
	p := runbooks.Preview{Identity: id, Effect: runbooks.Change, Live: frozen(list)}
	for _, b := range list {
		if !b.State.Running {
			p.Impact = append(p.Impact, "starts "+b.oneLine())
		}
	}
	if p.Impact == nil {
		p.Impact = []string{"changes nothing: all of it runs"}
	}
	return p, nil
}

func (s composeStart) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, k, args, list, err := s.meant(ctx, call)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	r := Up{ImagesBefore: map[string]string{}}
	for _, b := range list {
		r.ImagesBefore[b.service] = b.Image
	}
	names := servicesOf(list)
	line := []string{"start"}
	if args.Service != "" {
		line = append(line, args.Service)
	}
	_, stderr, err := k.run(ctx, "start "+strings.Join(names, ", "), "", out, line...)
	if err != nil {
		return nil, c.blame(ctx, names, err)
	}
	r.Changed = changes(stderr)
	for _, b := range list {
		if _, err := c.untilUp(ctx, b.ID, max(args.Wait-time.Since(began), time.Second)); err != nil {
			return nil, err
		}
	}
	r.ReadyAfter = time.Since(began)
	if err := c.outcome(ctx, names, &r); err != nil {
		return nil, err
	}
	if err := c.reloadProxy(ctx, names, out); err != nil {
		return nil, err
	}
	return r, nil
}
