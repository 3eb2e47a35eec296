package docker

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

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

func (remove) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return nil, errors.ErrUnsupported
}
