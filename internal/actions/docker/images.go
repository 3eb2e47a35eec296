package docker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"

	"opsbot/internal/fault"
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

func (images) Run(ctx context.Context, call runbooks.Call, _ io.Writer) (any, error) {
	c, args, err := both[ImagesArgs](call)
	if err != nil {
		return nil, err
	}
	list, err := c.boxes(ctx, args.Service)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fault.New(fault.NotFound, "There is no container of %s to record.", cmp.Or(args.Service, c.config.Project))
	}
	r := Deployment{}
	var hashes []string
	seen := map[[3]string]bool{}
	for _, b := range list {
		hashes = append(hashes, b.service+" "+b.Config.Labels[composeHash])
		k := [3]string{b.service, b.color, b.Image}
		if seen[k] {
			continue // a replica
		}
		seen[k] = true
		s := ServiceImage{Service: b.service, Color: b.color, Image: b.Config.Image, ImageID: b.Image, Tag: tagOf(b.Config.Image)}
		in, err := c.client.ImageInspect(ctx, b.Image)
		switch {
		case cerrdefs.IsNotFound(err): // removed by force; the container goes on
		case err != nil:
			return nil, c.explain("inspect the image of "+b.name(), err)
		default:
			s.Digest = digestOf(in.RepoDigests, b.Config.Image)
			s.Created, _ = time.Parse(time.RFC3339Nano, in.Created)
		}
		r.Services = append(r.Services, s)
	}
	slices.Sort(hashes)
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(hashes), "\n")))
	r.ConfigHash = hex.EncodeToString(sum[:8])
	return r, nil
}

// tagOf is the tag of an image's name; "" if it has none.
func tagOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if strings.HasPrefix(image, "sha256:") {
		return ""
	}
	last := image[strings.LastIndexByte(image, '/')+1:]
	_, tag, _ := strings.Cut(last, ":")
	return tag
}

// nameOf is an image's name without its tag and digest.
func nameOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if tag := tagOf(image); tag != "" {
		image = strings.TrimSuffix(image, ":"+tag)
	}
	return image
}

// digestOf is the digest that an image has in its registry.
func digestOf(digests []string, image string) string {
	for _, d := range digests {
		if name, sum, ok := strings.Cut(d, "@"); ok && name == nameOf(image) {
			return sum
		}
	}
	return ""
}
