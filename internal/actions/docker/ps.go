package docker

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type ps struct{}

// PsArgs are the arguments of docker.ps.
type PsArgs struct {
	Service string `arg:"service" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"only this one; by default all of the project"`
}

// Services is the result of docker.ps.
type Services struct {
	Services      []Service   `json:"services" help:"those that should be there and those that are"`
	Containers    []Container `json:"containers" help:"of all services, stopped ones too"`
	ServicesOK    int         `json:"services_ok" help:"services with every container running, and healthy where a check exists"`
	ServicesTotal int         `json:"services_total" help:"services that should be there, and those that are there besides"`
	AllOK         bool        `json:"all_ok" help:"there are services, and all are ok"`
	DesiredKnown  bool        `json:"desired_known" help:"what should be there is known, from the configuration or the Compose file; else a service without a container is not missed"`
}

// A Service is what runs of one Compose service, against what should.
type Service struct {
	Name         string        `json:"name"`
	Desired      int           `json:"desired" help:"containers that should run"`
	Running      int           `json:"running"`
	Health       string        `json:"health" help:"healthy, unhealthy, starting, or none where no check exists; the worst of the containers"`
	ExitCode     int           `json:"exit_code" help:"of a container that stopped; 137 is killed"`
	RestartCount int           `json:"restart_count" help:"restarts by the engine itself; the most of one container"`
	OOMKilled    bool          `json:"oom_killed" help:"a container was killed for want of memory"`
	Restarting   bool          `json:"restarting" help:"a container is between two restarts"`
	ImageID      string        `json:"image_id" help:"of the running containers; several are separated by spaces"`
	Uptime       time.Duration `json:"uptime" help:"of the container that started last; 0 if none runs"`
	OK           bool          `json:"ok" help:"as many run as should, and all are healthy where a check exists"`
	Color        string        `json:"color" help:"blue is Compose's own; green is one that docker.run started beside it"`
}

// A Container is one container of a service.
type Container struct {
	ID           string        `json:"id"`
	Name         string        `json:"name"`
	Service      string        `json:"service"`
	Number       int           `json:"number" help:"that Compose gave it; not always from 1"`
	Color        string        `json:"color"`
	State        string        `json:"state" help:"created, running, paused, restarting, removing, exited or dead"`
	Health       string        `json:"health" help:"healthy, unhealthy, starting, or none where no check exists"`
	ExitCode     int           `json:"exit_code"`
	OOMKilled    bool          `json:"oom_killed"`
	RestartCount int           `json:"restart_count"`
	Image        string        `json:"image" help:"as it was named when the container was made"`
	ImageID      string        `json:"image_id"`
	Uptime       time.Duration `json:"uptime" help:"0 if it does not run"`
	Serves       bool          `json:"serves" help:"of a green one, in docker.ps: the proxy sends traffic to it, or no proxy of the service is known"`
}

// Found says the result in one line.
func (r Services) Found() string {
	text := fmt.Sprintf("%d of %s ok", r.ServicesOK, things(r.ServicesTotal, "service"))
	var bad []string
	for _, s := range r.Services {
		if !s.OK {
			bad = append(bad, s.Name+" "+s.trouble())
		}
	}
	if len(bad) > 0 {
		text += ": " + strings.Join(bad, ", ")
	}
	if !r.DesiredKnown {
		text += "; what should be there is not configured"
	}
	return text
}

func (ps) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "docker.ps",
		Summary: "Compare the services that should run with the containers that do.",
		Timeout: 20 * time.Second,
		Args:    PsArgs{},
		Result:  Services{},
	}
}

func (ps) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := both[PsArgs](call)
	if err != nil {
		return nil, err
	}
	r, err := c.services(ctx, args.Service)
	if err != nil {
		return nil, err
	}
	if len(r.Services) == 0 && !r.DesiredKnown {
		return nil, fault.New(fault.NotFound, "The Compose project %s has no containers.", c.config.Project).
			Hinted("Was it started (compose.up), and is the connection's project right?")
	}
	if args.Service != "" && len(r.Services) == 0 {
		return nil, fault.New(fault.NotFound, "There is no service %s in the project %s.", args.Service, c.config.Project).
			Hinted("docker.ps without a service lists all.")
	}
	for _, b := range r.Containers {
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\texit %d\t%d restarts\t%s\n", b.Name, b.Service, b.State, b.Health, b.ExitCode, b.RestartCount, b.Image)
	}
	return r, nil
}

// services compares what is there with what should be; an empty name means all.
func (c *Conn) services(ctx context.Context, only string) (Services, error) {
	list, err := c.boxes(ctx, only)
	if err != nil {
		return Services{}, err
	}
	wanted, known, err := c.wanted(ctx)
	if err != nil {
		return Services{}, err
	}
	r := tally(list, wanted, known, only)
	for i, b := range list { // the containers of a tally are in the same order
		if b.color == green {
			if r.Containers[i].Serves, err = c.serves(b, list); err != nil {
				return Services{}, err
			}
		}
	}
	return r, nil
}

// wanted says how many containers each service should have at least, and
// whether anybody said so.
func (c *Conn) wanted(ctx context.Context) (map[string]int, bool, error) {
	if c.config.Services != nil {
		wanted := map[string]int{}
		for _, s := range c.config.Services {
			wanted[s] = 1
		}
		return wanted, true, nil
	}
	if c.compose == nil {
		return nil, false, nil
	}
	model, err := c.compose.model(ctx, "")
	if err != nil {
		return nil, false, err
	}
	wanted := map[string]int{}
	for name, s := range model.Services {
		wanted[name] = s.replicas()
	}
	return wanted, true, nil
}

// tally judges services by their containers. The containers that exist are the
// memory of a service's scale: one that is stopped is missed, too.
func tally(list []box, wanted map[string]int, known bool, only string) Services {
	r := Services{Services: []Service{}, Containers: []Container{}, DesiredKnown: known}
	type key struct{ service, color string }
	groups := map[key][]box{}
	for _, b := range list {
		k := key{b.service, b.color}
		groups[k] = append(groups[k], b)
		r.Containers = append(r.Containers, b.container())
	}
	for name, n := range wanted {
		if (only == "" || only == name) && n > 0 && groups[key{name, blue}] == nil {
			groups[key{name, blue}] = []box{}
		}
	}
	for k, boxes := range groups {
		s := summary(k.service, k.color, boxes)
		if k.color == blue {
			s.Desired = max(len(boxes), wanted[k.service])
			if g := summary(k.service, green, groups[key{k.service, green}]); s.Running == 0 && g.Running > 0 {
				s.Desired = 0 // it stands by while green serves
			}
		} else {
			s.Desired = len(boxes)
		}
		s.OK = s.Running == s.Desired && !s.Restarting && (s.Health == "healthy" || s.Health == noCheck)
		if s.Desired == 0 {
			s.OK = true
		}
		r.Services = append(r.Services, s)
	}
	slices.SortFunc(r.Services, func(a, b Service) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Color, b.Color))
	})
	r.ServicesTotal = len(r.Services)
	for _, s := range r.Services {
		if s.OK {
			r.ServicesOK++
		}
	}
	r.AllOK = r.ServicesTotal > 0 && r.ServicesOK == r.ServicesTotal
	return r
}

// summary adds up the containers of one service and color.
func summary(name, color string, boxes []box) Service {
	s := Service{Name: name, Color: color, Health: noCheck}
	worse := map[string]int{noCheck: 0, "healthy": 1, "starting": 2, "unhealthy": 3}
	var running []box
	for _, b := range boxes {
		s.RestartCount = max(s.RestartCount, b.RestartCount)
		s.OOMKilled = s.OOMKilled || b.State.OOMKilled
		s.Restarting = s.Restarting || b.State.Restarting
		if b.State.Running && !b.State.Restarting && !b.State.Paused {
			running = append(running, b)
			if h := b.health(); worse[h] > worse[s.Health] {
				s.Health = h
			}
			if s.Uptime == 0 || b.uptime() < s.Uptime {
				s.Uptime = b.uptime()
			}
		} else if b.State.ExitCode != 0 {
			s.ExitCode = b.State.ExitCode
		}
	}
	s.Running, s.ImageID = len(running), imagesOf(running)
	return s
}

// trouble says what is wrong with a service that is not ok.
func (s Service) trouble() string {
	switch {
	case s.Restarting:
		return fmt.Sprintf("restarts again and again (%d times)", s.RestartCount)
	case s.Running == 0 && s.OOMKilled:
		return "was killed for want of memory"
	case s.Running == 0 && s.ExitCode != 0:
		return fmt.Sprintf("is stopped (exit code %d)", s.ExitCode)
	case s.Running == 0:
		return "does not run"
	case s.Running < s.Desired:
		return fmt.Sprintf("runs %d of %d", s.Running, s.Desired)
	default:
		return "is " + s.Health
	}
}
