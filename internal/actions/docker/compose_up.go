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

type composeUp struct{}

// ComposeUpArgs are the arguments of compose.up.
type ComposeUpArgs struct {
	Service  string        `arg:"service" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"only this one, without what it depends on"`
	Services []string      `arg:"services" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"only these, with what they depend on; by default all of the file"`
	Recreate bool          `arg:"recreate" help:"make the containers anew even if nothing changed, so that a new environment reaches them"`
	Start    bool          `arg:"start" default:"true" help:"false: only create the containers"`
	Wait     time.Duration `arg:"wait" default:"120s" min:"5s" max:"600s" help:"until all are healthy, or running where no check exists"`
	ImageTag string        `arg:"image_tag" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$" help:"IMAGE_TAG for the file, above the env file; without it no service may get another image than it has"`
	ImageID  string        `arg:"image_id" pattern:"^(sha256:)?[0-9a-f]{12,64}$" help:"id that the service's image has to have, as recorded by docker.images; needs a service"`
	Pull     string        `arg:"pull" default:"missing" values:"missing|never" help:"whether images that are not here may be fetched"`
}

// An Up is the result of compose.up and compose.start.
type Up struct {
	Services     []Service         `json:"services" help:"afterwards"`
	Changed      []string          `json:"changed" help:"what Compose did, line by line"`
	ImagesBefore map[string]string `json:"images_before" help:"service → id; a service that had no container is not in it"`
	ImagesAfter  map[string]string `json:"images_after" help:"service → id"`
	AllOK        bool              `json:"all_ok" help:"every service that was asked for is ok"`
	ReadyAfter   time.Duration     `json:"ready_after" help:"until all were"`
}

// Found says the result in one line.
func (r Up) Found() string {
	ok := 0
	for _, s := range r.Services {
		if s.OK {
			ok++
		}
	}
	text := fmt.Sprintf("%d of %s ok after %s", ok, things(len(r.Services), "service"), brief(r.ReadyAfter))
	var swapped []string
	for _, s := range r.Services {
		if was, is := r.ImagesBefore[s.Name], r.ImagesAfter[s.Name]; was != "" && is != "" && was != is {
			swapped = append(swapped, fmt.Sprintf("%s %s → %s", s.Name, short(was), short(is)))
		}
	}
	if len(swapped) > 0 {
		text += "; new image: " + strings.Join(swapped, ", ")
	}
	return text
}

func (composeUp) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "compose.up",
		Summary: "Create and start services as the Compose file says, and wait until they are healthy.",
		Effect:  runbooks.Change,
		Timeout: 15 * time.Minute,
		Args:    ComposeUpArgs{},
		Result:  Up{},
	}
}

func (composeUp) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return nil, errors.ErrUnsupported
}
