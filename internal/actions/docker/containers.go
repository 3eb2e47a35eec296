package docker

import (
	"cmp"
	"context"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// Labels by which containers are found.
const (
	composeProject = "com.docker.compose.project"
	composeService = "com.docker.compose.service"
	composeNumber  = "com.docker.compose.container-number"
	composeOneoff  = "com.docker.compose.oneoff"
	composeHash    = "com.docker.compose.config-hash"

	ownProject  = "opsbot.project"
	ownService  = "opsbot.service"
	ownColor    = "opsbot.color"
	ownTemplate = "opsbot.template"
	ownRun      = "opsbot.run"
	// self marks containers that no action may touch: opsbot's own, its
	// database, its proxy.
	self = "opsbot.self"
)

const (
	blue  = "blue"
	green = "green"
	// noCheck is the health of a container without a health check.
	noCheck = "none"
)

// A box is one container as the engine describes it.
type box struct {
	container.InspectResponse
	service, color string
	number         int
}

// boxes lists the containers of the project, stopped ones too, by service,
// color and number. An empty service means all.
func (c *Conn) boxes(ctx context.Context, service string) ([]box, error) {
	var list []box
	for _, by := range []struct{ color, project, service, more string }{
		{blue, composeProject, composeService, composeOneoff + "=False"},
		{green, ownProject, ownService, ownColor + "=" + green},
	} {
		f := filters.NewArgs(filters.Arg("label", by.project+"="+c.config.Project), filters.Arg("label", by.more))
		if service != "" {
			f.Add("label", by.service+"="+service)
		}
		found, err := c.client.ContainerList(ctx, container.ListOptions{All: true, Filters: f})
		if err != nil {
			return nil, c.explain("list the containers of "+c.config.Project, err)
		}
		for _, s := range found {
			in, err := c.client.ContainerInspect(ctx, s.ID)
			if cerrdefs.IsNotFound(err) {
				continue // removed meanwhile
			}
			if err != nil {
				return nil, c.explain("inspect a container of "+c.config.Project, err)
			}
			number, _ := strconv.Atoi(s.Labels[composeNumber])
			list = append(list, box{in, s.Labels[by.service], by.color, number})
		}
	}
	slices.SortFunc(list, func(a, b box) int {
		return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.color, b.color), cmp.Compare(a.number, b.number), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

// of lists the containers of one service and color, by default the one that
// serves; none is an error.
func (c *Conn) of(ctx context.Context, service, color string) ([]box, error) {
	all, err := c.boxes(ctx, "")
	if err != nil {
		return nil, err
	}
	if color == "" {
		serving, err := c.greenServing(service, all)
		if err != nil {
			return nil, err
		}
		if color = blue; serving != nil {
			color = green
		}
	}
	var list []box
	var known []string
	for _, b := range all {
		if b.service == service && b.color == color {
			list = append(list, b)
		}
		known = append(known, b.service)
	}
	switch {
	case len(list) > 0:
		return list, nil
	case color == green:
		return nil, fault.New(fault.NotFound, "Service %s has no green instance.", service).
			Hinted("docker.run starts one beside Compose's own.")
	case len(known) == 0:
		return nil, fault.New(fault.NotFound, "The Compose project %s has no containers.", c.config.Project).
			Hinted("Was it started (compose.up), and is the connection's project right?")
	}
	return nil, fault.New(fault.NotFound, "Service %s has no container.", service).
		Hinted("Was it started (compose.up)? There are containers of %s.", strings.Join(slices.Compact(known), ", "))
}

// mayTouch refuses what opsbot itself lives on.
func mayTouch(list []box) error {
	host, _ := os.Hostname()
	for _, b := range list {
		_, marked := b.Config.Labels[self]
		if marked || len(host) == 12 && strings.HasPrefix(b.ID, host) {
			return fault.New(fault.Forbidden, "%s is a part of opsbot itself, which it does not touch.", b.name()).
				Hinted("Do it by hand: a runbook could not end what ends it.")
		}
	}
	return nil
}

func (b box) name() string { return strings.TrimPrefix(b.Name, "/") }

// answersTo reports whether the name is one by which the networks of the
// container know it alone.
func (b box) answersTo(name string) bool {
	return name != "" && (name == b.name() || name == b.Config.Hostname || name == b.ID || name == short(b.ID))
}

// health is healthy, unhealthy, starting or none.
func (b box) health() string {
	if b.State.Health == nil || b.State.Health.Status == "" {
		return noCheck
	}
	return b.State.Health.Status
}

// started is when the present or last process began; zero if none ever did.
func (b box) started() time.Time {
	t, _ := time.Parse(time.RFC3339Nano, b.State.StartedAt)
	if t.Year() < 1970 {
		return time.Time{}
	}
	return t
}

// idle is a moment before the present or last process began and after the one
// before it ended. Docker notes the start only once the process runs: its first
// words can be older than started.
func (b box) idle() time.Time {
	start := b.started()
	before, _ := time.Parse(time.RFC3339Nano, b.State.FinishedAt)
	if before.Year() < 1970 {
		before, _ = time.Parse(time.RFC3339Nano, b.Created)
	}
	if before.Year() < 1970 || !before.Before(start) { // it has ended
		return start.Add(-time.Second)
	}
	return before
}

func (b box) uptime() time.Duration {
	if !b.State.Running || b.State.Restarting {
		return 0
	}
	return max(time.Since(b.started()), time.Millisecond)
}

// container describes the box for a result.
func (b box) container() Container {
	return Container{
		ID: b.ID, Name: b.name(), Service: b.service, Number: b.number, Color: b.color,
		State: b.State.Status, Health: b.health(), ExitCode: b.State.ExitCode, OOMKilled: b.State.OOMKilled,
		RestartCount: b.RestartCount, Image: b.Config.Image, ImageID: b.Image, Uptime: b.uptime(),
	}
}

// crashing reports whether the engine restarts the container again and again.
// Restarts by hand do not raise the count.
func (b box) crashing() bool {
	return b.State.Restarting || b.RestartCount >= 3 && b.State.Running && b.uptime() < time.Minute
}

// database reports what kind of database the container is; "" if none.
func (b box) database() string {
	argv := append(slices.Clone([]string(b.Config.Entrypoint)), b.Config.Cmd...)
	for _, word := range argv {
		for _, field := range strings.Fields(word) { // the argument of sh -c, too
			switch name := path.Base(field); name {
			case "postgres", "postmaster", "mysqld", "mariadbd", "mongod":
				return name
			}
		}
	}
	if slices.ContainsFunc(b.Config.Env, func(kv string) bool { return strings.HasPrefix(kv, "PGDATA=") }) {
		return "postgres"
	}
	return ""
}

// pgData is the data directory that the container's environment names.
func (b box) pgData() string {
	for _, kv := range b.Config.Env {
		if dir, ok := strings.CutPrefix(kv, "PGDATA="); ok {
			return dir
		}
	}
	return ""
}

// servicesOf names the services of the boxes, which come by service.
func servicesOf(list []box) []string {
	var names []string
	for _, b := range list {
		names = append(names, b.service)
	}
	return slices.Compact(names)
}

// imagesOf joins the ids of the boxes' images.
func imagesOf(list []box) string {
	var ids []string
	for _, b := range list {
		ids = append(ids, b.Image)
	}
	slices.Sort(ids)
	return strings.Join(slices.Compact(ids), " ")
}

// frozen are the live values that hold an approval to these very containers.
func frozen(list []box) []runbooks.Live {
	var ids []string
	for _, b := range list {
		ids = append(ids, short(b.ID))
	}
	return []runbooks.Live{
		{Name: "containers", Text: strings.Join(ids, " "), Tolerance: runbooks.Exact},
		{Name: "images", Text: imagesOf(list), Tolerance: runbooks.Exact},
	}
}

// oneLine says what a container is and how it is.
func (b box) oneLine() string {
	text := b.name() + " (" + short(b.ID) + ", " + b.Config.Image + " " + short(b.Image) + ") "
	if b.State.Running && !b.State.Restarting {
		text += "running for " + brief(b.uptime())
		if h := b.health(); h != noCheck {
			text += ", " + h
		}
	} else {
		text += b.State.Status + ", exit code " + strconv.Itoa(b.State.ExitCode)
	}
	if b.RestartCount > 0 {
		text += ", " + things(b.RestartCount, "restart") + " by the engine"
	}
	return text
}
