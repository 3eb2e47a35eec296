package docker

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"

	"opsbot/runbooks"
)

type composeDown struct{}

// ComposeDownArgs are the arguments of compose.down.
type ComposeDownArgs struct {
	Grace time.Duration `arg:"grace" min:"1s" max:"300s" help:"before a container is killed; by default the container's own"`
	Lines int           `arg:"lines" default:"5000" min:"1" max:"5000" help:"of each container's log that are kept, the newest"`
}

// A Down is the result of compose.down.
type Down struct {
	Removed  []string `json:"removed" help:"containers, by name"`
	LogLines int      `json:"log_lines" help:"that were kept in the step's output"`
	Volumes  []string `json:"volumes" help:"of the project, which stayed"`
}

// Found says the result in one line.
func (r Down) Found() string {
	return fmt.Sprintf("removed %s, kept %s and %s", things(len(r.Removed), "container"),
		things(r.LogLines, "log line"), things(len(r.Volumes), "volume"))
}

func (composeDown) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "compose.down",
		Summary: "Stop and remove the project's containers after keeping their logs; volumes stay.",
		Effect:  runbooks.Destructive,
		Timeout: 10 * time.Minute,
		Args:    ComposeDownArgs{},
		Result:  Down{},
	}
}

// meant are the containers that go.
func (composeDown) meant(ctx context.Context, call runbooks.Call) (*Conn, *compose, *ComposeDownArgs, []box, error) {
	c, args, err := both[ComposeDownArgs](call)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	k, err := c.composed()
	if err != nil {
		return nil, nil, nil, nil, err
	}
	all, err := c.boxes(ctx, "")
	if err != nil {
		return nil, nil, nil, nil, err
	}
	list := slices.DeleteFunc(all, func(b box) bool { return b.color != blue })
	return c, k, args, list, mayTouch(list)
}

// volumes are the project's named volumes.
func (c *Conn) volumes(ctx context.Context) ([]string, error) {
	found, err := c.client.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(filters.Arg("label", composeProject+"="+c.config.Project))})
	if err != nil {
		return nil, c.explain("list the volumes of "+c.config.Project, err)
	}
	names := []string{}
	for _, v := range found.Volumes {
		names = append(names, v.Name)
	}
	slices.Sort(names)
	return names, nil
}

// Preview says what goes and what stays.
func (d composeDown) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, _, _, list, err := d.meant(ctx, call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	id, err := c.Identity(ctx)
	if err != nil {
		return runbooks.Preview{}, err
	}
	volumes, err := c.volumes(ctx)
	if err != nil {
		return runbooks.Preview{}, err
	}
	p := runbooks.Preview{Identity: id, Effect: runbooks.Destructive, Live: frozen(list)}
	for _, b := range list {
		p.Impact = append(p.Impact, "removes "+b.oneLine())
	}
	p.Impact = append(p.Impact, "removes their logs, after the newest lines were kept")
	if len(volumes) > 0 {
		p.Impact = append(p.Impact, "keeps the volumes "+strings.Join(volumes, ", "))
	}
	if why := c.destroys(list); why != "" {
		p.Reasons = []string{why}
	}
	return p, nil
}

// settleDatabases stops what Compose would stop with the wrong signal, after
// all that works with it.
func (c *Conn) settleDatabases(ctx context.Context, k *compose, list []box, args *ComposeDownArgs) error {
	how := &StopArgs{Grace: args.Grace}
	var careful []box
	others := []string{"stop"}
	for _, b := range list {
		if b.State.Running && c.mannerOf(b, how).signal != "" {
			careful = append(careful, b)
		} else if !slices.Contains(others, b.service) {
			others = append(others, b.service)
		}
	}
	if len(careful) == 0 {
		return nil
	}
	if len(others) > 1 {
		if _, _, err := k.run(ctx, "stop what works with the database", "", io.Discard, others...); err != nil {
			return err
		}
	}
	for _, b := range careful {
		if _, err := c.halt(ctx, b, c.mannerOf(b, how)); err != nil {
			return err
		}
	}
	return nil
}

func (d composeDown) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, k, args, list, err := d.meant(ctx, call)
	if err != nil {
		return nil, err
	}
	kept, err := c.keep(ctx, list, args.Lines, out)
	if err != nil {
		return nil, err // what cannot be kept is not removed
	}
	if err := c.settleDatabases(ctx, k, list, args); err != nil {
		return nil, err
	}
	line := []string{"down"} // never with --volumes
	if args.Grace > 0 {
		line = append(line, "--timeout", strconv.Itoa(int(math.Ceil(args.Grace.Seconds()))))
	}
	if _, _, err := k.run(ctx, "take "+c.config.Project+" down", "", out, line...); err != nil {
		return nil, err
	}
	r := Down{Removed: []string{}, LogLines: kept.LogLines}
	for _, b := range list {
		r.Removed = append(r.Removed, b.name())
	}
	if r.Volumes, err = c.volumes(ctx); err != nil {
		return nil, err
	}
	return r, nil
}
