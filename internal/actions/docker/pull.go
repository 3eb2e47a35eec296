package docker

import (
	"context"
	"errors"
	"io"
	"time"

	"opsbot/runbooks"
)

type pull struct{}

// PullArgs are the arguments of docker.pull.
type PullArgs struct {
	Image string `arg:"image" required:"true" pattern:"^[a-z0-9][A-Za-z0-9._/:@-]{0,254}$" help:"with a tag other than latest, or a digest; from a registry that the connection allows"`
	Fresh bool   `arg:"fresh" help:"ask the registry even if an image of that name is here"`
}

// A Pulled is the result of docker.pull.
type Pulled struct {
	ID     string `json:"id" help:"of the image, here"`
	Digest string `json:"digest" help:"in its registry; empty for an image that was built or loaded here"`
	Pulled bool   `json:"pulled" help:"the registry was asked; false: it was here already"`
}

// Found says the result in one line.
func (r Pulled) Found() string {
	if r.Pulled {
		return "pulled " + short(r.ID)
	}
	return short(r.ID) + " was here already"
}

func (pull) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "docker.pull",
		Summary: "Fetch an image from an allowed registry, unless it is here already.",
		Timeout: 10 * time.Minute,
		Args:    PullArgs{},
		Result:  Pulled{},
	}
}

func (pull) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return nil, errors.ErrUnsupported
}
