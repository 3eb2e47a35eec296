package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"

	"opsbot/internal/fault"
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

// allowed refuses images that say nothing certain, or come from anywhere.
func (c *Conn) allowed(image string) error {
	if tag := tagOf(image); !strings.Contains(image, "@sha256:") && (tag == "" || tag == "latest") {
		return fault.New(fault.Invalid, "%s does not say which version is meant.", image).
			Hinted("Give a tag other than latest, or a digest.")
	}
	return nil
}

func (pull) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := both[PullArgs](call)
	if err != nil {
		return nil, err
	}
	if err := c.allowed(args.Image); err != nil {
		return nil, err
	}
	if !args.Fresh {
		in, err := c.client.ImageInspect(ctx, args.Image)
		if err == nil {
			return Pulled{ID: in.ID, Digest: digestOf(in.RepoDigests, args.Image)}, nil
		}
		if !cerrdefs.IsNotFound(err) {
			return nil, c.explain("look for the image "+args.Image, err)
		}
	}
	if !slices.ContainsFunc(c.config.Registries, func(r string) bool {
		return strings.HasPrefix(args.Image, strings.TrimSuffix(r, "/")+"/")
	}) {
		return nil, fault.New(fault.Forbidden, "%s is not here, and comes from no registry that this connection allows.", args.Image).
			Hinted("Allowed: %s. More belong under registries in the configuration.", named(c.config.Registries))
	}
	stream, err := c.client.ImagePull(ctx, args.Image, image.PullOptions{})
	if err != nil {
		return nil, c.explain("pull "+args.Image, err)
	}
	defer stream.Close()
	if err := drain(stream, out); err != nil {
		return nil, c.explain("pull "+args.Image, err)
	}
	in, err := c.client.ImageInspect(ctx, args.Image)
	if err != nil {
		return nil, c.explain("look for the image "+args.Image, err)
	}
	return Pulled{ID: in.ID, Digest: digestOf(in.RepoDigests, args.Image), Pulled: true}, nil
}

// drain reads a progress stream to its end: the engine answers 200 first, and
// tells of a failure in the stream.
func drain(stream io.Reader, out io.Writer) error {
	for d := json.NewDecoder(stream); ; {
		var m struct {
			Status string `json:"status"`
			ID     string `json:"id"`
			Error  string `json:"error"`
		}
		switch err := d.Decode(&m); {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("read the progress: %w", err)
		case m.Error != "":
			return errors.New(m.Error)
		case m.ID == "" && m.Status != "":
			fmt.Fprintln(out, m.Status)
		}
	}
}
