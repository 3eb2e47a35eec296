package docker

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"opsbot/runbooks"
)

type images struct{}

// ImagesArgs are the arguments of docker.images.
type ImagesArgs struct {
	Service string `arg:"service" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"only this one; by default all of the project"`
}

// A Deployment is the result of docker.images: what is deployed, for the record.
type Deployment struct {
	Services   []ServiceImage `json:"services"`
	ConfigHash string         `json:"config_hash" help:"of what Compose made the containers from; changes with the Compose file or its variables"`
}

// A ServiceImage is the image that a service's containers were made from.
type ServiceImage struct {
	Service string    `json:"service"`
	Color   string    `json:"color"`
	Image   string    `json:"image" help:"as it was named when the container was made"`
	ImageID string    `json:"image_id" help:"of the running container itself"`
	Tag     string    `json:"tag" help:"of that name; empty if it has none"`
	Digest  string    `json:"digest" help:"in its registry; empty for an image that was built or loaded here"`
	Created time.Time `json:"created" help:"when the image was built"`
}

// Found says the result in one line.
func (r Deployment) Found() string {
	var parts []string
	for _, s := range r.Services {
		parts = append(parts, s.Service+" "+s.Image+" ("+short(s.ImageID)+")")
	}
	return strings.Join(parts, ", ")
}

func (images) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "docker.images",
		Summary: "Name the very images that the services' containers were made from.",
		Timeout: 20 * time.Second,
		Args:    ImagesArgs{},
		Result:  Deployment{},
	}
}

func (images) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return nil, errors.ErrUnsupported
}
