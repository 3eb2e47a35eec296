package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

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

func (ps) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return nil, errors.ErrUnsupported
}
