package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"

	"opsbot/internal/fault"
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

// An upPlan is what a call of compose.up would do.
type upPlan struct {
	c        *Conn
	k        *compose
	model    model
	boxes    []box    // of the services that are meant
	names    []string // of the services that are meant
	args     []string // for Compose
	images   map[string]string
	scaled   []string // services that keep more containers than the file says
	replaces []string // services that get another image, in words
	greens   []box    // that run beside the services that are meant
	beside   []string // greens of the same image, in words
}

// plan works out what a call would do, or why it may not.
func (composeUp) plan(ctx context.Context, call runbooks.Call) (*upPlan, *ComposeUpArgs, error) {
	c, args, err := both[ComposeUpArgs](call)
	if err != nil {
		return nil, nil, err
	}
	k, err := c.composed()
	if err != nil {
		return nil, nil, err
	}
	switch {
	case args.Service != "" && len(args.Services) > 0:
		return nil, nil, fault.New(fault.Invalid, "compose.up takes either a service or services.")
	case args.ImageID != "" && args.Service == "":
		return nil, nil, fault.New(fault.Invalid, "compose.up checks an image_id of one service only: name it.")
	}
	p := &upPlan{c: c, k: k, images: map[string]string{}}
	if p.model, err = k.model(ctx, args.ImageTag); err != nil {
		return nil, nil, err
	}
	if p.names = args.Services; args.Service != "" {
		p.names = []string{args.Service}
	}
	declared := slices.Sorted(maps.Keys(p.model.Services))
	for _, name := range p.names {
		if !slices.Contains(declared, name) {
			return nil, nil, fault.New(fault.NotFound, "%s declares no service %s.", k.file, name).Hinted("It has %s.", named(declared))
		}
	}
	p.args = []string{"up", "--no-build", "--pull", args.Pull, "--quiet-pull"}
	if args.Start {
		seconds := strconv.Itoa(int(math.Ceil(args.Wait.Seconds())))
		p.args = append(p.args, "-d", "--wait", "--wait-timeout", seconds)
	} else {
		p.args = append(p.args, "--no-start")
	}
	if args.Recreate {
		p.args = append(p.args, "--force-recreate")
	}
	if args.Service != "" {
		p.args = append(p.args, "--no-deps")
	}
	all, err := c.boxes(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	p.keepScale(all, declared)
	p.args = append(p.args, p.names...)
	if p.names == nil {
		p.names = declared
	}
	for _, b := range all {
		switch {
		case !slices.Contains(p.names, b.service):
		case b.color == green && b.State.Running:
			p.greens = append(p.greens, b)
		case b.color == blue:
			p.boxes = append(p.boxes, b)
		}
	}
	if err := mayTouch(p.boxes); err != nil {
		return nil, nil, err
	}
	if err := p.compareImages(ctx, args); err != nil {
		return nil, nil, err
	}
	return p, args, p.compareGreens(all)
}

// compareGreens refuses to bring up another version beside a green instance
// that serves, or may serve where no proxy is known. The very image that it runs
// is how its deployment is finished.
func (p *upPlan) compareGreens(all []box) error {
	for _, g := range p.greens {
		serves, err := p.c.serves(g, all)
		if err != nil {
			return err
		}
		if !serves {
			p.beside = append(p.beside, fmt.Sprintf("leaves the green instance %s alone, which gets no traffic", g.name()))
			continue
		}
		if id := p.images[g.service]; id != g.Image {
			return fault.New(fault.Conflict, "A green instance of %s is live (%s, %s, %s): Compose would start %s (%s) beside it.", g.service, g.name(),
				g.Config.Image, short(g.Image), p.model.Services[g.service].Image, short(id)).Hinted("%s", g.finish())
		}
		p.beside = append(p.beside, fmt.Sprintf("brings up %s beside the green instance %s, which serves the same image (%s)", g.service, g.name(), short(g.Image)))
	}
	return nil
}

// keepScale pins how many containers services have: without it, up returns to
// what the file says. The containers that exist are the memory of a scale.
func (p *upPlan) keepScale(all []box, declared []string) {
	for _, name := range declared {
		have := 0
		for _, b := range all {
			if b.service == name && b.color == blue {
				have++
			}
		}
		if says := p.model.Services[name].replicas(); have > says && says > 0 {
			p.args = append(p.args, "--scale", name+"="+strconv.Itoa(have))
			p.scaled = append(p.scaled, fmt.Sprintf("keeps %s at %s; the file says %d", name, things(have, "container"), says))
		}
	}
}

// compareImages finds the image that each service would get. Another one than
// it has is a deployment, which has to be asked for.
func (p *upPlan) compareImages(ctx context.Context, args *ComposeUpArgs) error {
	for _, name := range p.names {
		image := p.model.Services[name].Image
		if image == "" {
			continue
		}
		in, err := p.c.client.ImageInspect(ctx, image)
		if err != nil && !cerrdefs.IsNotFound(err) {
			return p.c.explain("look for the image "+image, err)
		}
		id := in.ID
		if args.ImageID != "" && !strings.HasPrefix(strings.TrimPrefix(id, "sha256:"), strings.TrimPrefix(args.ImageID, "sha256:")) {
			return fault.New(fault.Conflict, "The image %s is %s here, not %s as recorded.", image, cmp.Or(short(id), "missing"), short(args.ImageID)).
				Hinted("The tag was moved since; deploy by another that leads to the recorded image.")
		}
		p.images[name] = cmp.Or(id, image)
		for _, b := range p.boxes {
			if b.service != name || id == b.Image || id == "" && image == b.Config.Image {
				continue
			}
			if args.ImageTag == "" {
				return fault.New(fault.Conflict, "compose.up would change the image of %s from %s (%s) to %s (%s), and nobody asked for that.", name, b.Config.Image, short(b.Image), image, cmp.Or(short(id), "not here yet")).
					Hinted("Is the env file the one it was deployed with? To deploy, give image_tag; to bring back what stopped, use compose.start.")
			}
			p.replaces = append(p.replaces, fmt.Sprintf("replaces the image of %s: %s (%s) → %s (%s)", b.name(), b.Config.Image, short(b.Image), image, cmp.Or(short(id), "to be pulled")))
		}
	}
	return nil
}

// Preview says what Compose would do, by its own dry run.
func (u composeUp) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	p, args, err := u.plan(ctx, call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	id, err := p.c.Identity(ctx)
	if err != nil {
		return runbooks.Preview{}, err
	}
	would, err := p.k.rehearse(ctx, args.ImageTag, p.args)
	if err != nil {
		return runbooks.Preview{}, err
	}
	var images []string
	for _, name := range p.names {
		if p.images[name] != "" {
			images = append(images, name+" "+p.images[name])
		}
	}
	preview := runbooks.Preview{
		Identity: id, Effect: runbooks.Change,
		Impact: slices.Concat(p.beside, p.replaces, p.scaled, would),
		Live: append(frozen(slices.Concat(p.boxes, p.greens)),
			runbooks.Live{Name: "planned images", Text: strings.Join(images, ", "), Tolerance: runbooks.Exact},
			runbooks.Live{Name: "configuration", Text: p.model.hash, Tolerance: runbooks.Exact}),
	}
	if len(would) == 0 {
		preview.Impact = append(preview.Impact, "changes nothing: all of it is there as the file says")
	}
	if args.Recreate || len(p.replaces) > 0 {
		if why := p.c.destroys(p.boxes); why != "" {
			preview.Effect, preview.Reasons = runbooks.Destructive, []string{why}
		}
	}
	return preview, nil
}

func (u composeUp) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	p, args, err := u.plan(ctx, call)
	if err != nil {
		return nil, err
	}
	r := Up{ImagesBefore: map[string]string{}}
	for _, b := range p.boxes {
		r.ImagesBefore[b.service] = b.Image
	}
	began := time.Now()
	_, stderr, err := p.k.run(ctx, "bring up "+strings.Join(p.names, ", "), args.ImageTag, out, p.args...)
	r.Changed, r.ReadyAfter = changes(stderr), time.Since(began)
	if err != nil {
		return nil, p.c.blame(ctx, p.names, err)
	}
	if err := p.c.outcome(ctx, p.names, &r); err != nil {
		return nil, err
	}
	if err := p.c.reloadProxy(ctx, p.names, out); err != nil {
		return nil, err
	}
	return r, nil
}

// outcome looks at the services that were meant.
func (c *Conn) outcome(ctx context.Context, names []string, r *Up) error {
	list, err := c.boxes(ctx, "")
	if err != nil {
		return err
	}
	wanted, known, err := c.wanted(ctx)
	if err != nil {
		return err
	}
	r.Services, r.ImagesAfter, r.AllOK = []Service{}, map[string]string{}, true
	for _, s := range tally(list, wanted, known, "").Services {
		if slices.Contains(names, s.Name) && s.Color == blue {
			r.Services = append(r.Services, s)
			r.AllOK = r.AllOK && s.OK
		}
	}
	for _, b := range list {
		if slices.Contains(names, b.service) && b.color == blue {
			r.ImagesAfter[b.service] = b.Image
		}
	}
	return nil
}

// blame adds to a failure what the container said that is to blame for it.
func (c *Conn) blame(ctx context.Context, names []string, err error) error {
	var e *fault.Error
	if !errors.As(err, &e) || ctx.Err() != nil {
		return err
	}
	list, failed := c.boxes(ctx, "")
	if failed != nil {
		return err
	}
	for _, b := range list {
		if b.color != blue || !slices.Contains(names, b.service) || b.State.Status == "created" {
			continue
		}
		switch {
		case b.State.Restarting || !b.State.Running && b.State.ExitCode != 0:
			return e.Hinted("%s %s ended with exit code %d. %s", e.Hint, b.name(), b.State.ExitCode, c.lastWords(ctx, b))
		case b.health() == "unhealthy":
			return e.Hinted("%s %s is unhealthy. %s", e.Hint, b.name(), checkSaid(b))
		}
	}
	return err
}

// rehearse asks Compose what it would do.
func (k *compose) rehearse(ctx context.Context, imageTag string, args []string) ([]string, error) {
	var without []string // it would wait for the health of what it does not start
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "--wait":
		case "--wait-timeout":
			i++
		default:
			without = append(without, args[i])
		}
	}
	_, stderr, err := k.run(ctx, "rehearse", imageTag, io.Discard, append([]string{"--dry-run"}, without...)...)
	said := ""
	if err != nil {
		said = fault.Say(err) + stderr
	}
	if at := slices.Index(without, "up"); at >= 0 && (strings.Contains(said, "has no healthcheck configured") || strings.Contains(said, "dependency failed to start")) {
		// Others wait for the health of a container that does not run, which a
		// rehearsal does not start either: it has none yet, or has exited.
		_, stderr, err = k.run(ctx, "rehearse", imageTag, io.Discard, append([]string{"--dry-run"}, slices.Insert(slices.Clone(without), at+1, "--no-start")...)...)
		if err == nil {
			return append(changes(stderr), "starts what does not run"), nil
		}
	}
	if err != nil {
		return nil, err
	}
	return changes(stderr), nil
}

// done are the words of Compose for what it has done, with what they say here.
var done = map[string]string{
	"Created": "creates", "Recreated": "recreates", "Started": "starts", "Stopped": "stops",
	"Removed": "removes", "Restarted": "restarts", "Pulled": "pulls",
}

// changes picks out of Compose's progress what it did or would do. Networks and
// volumes are named, containers by name.
func changes(progress string) []string {
	list := []string{}
	for line := range strings.Lines(progress) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "DRY-RUN MODE -"))
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		verb, ok := done[fields[len(fields)-1]]
		if !ok {
			continue
		}
		what := strings.Join(fields[:len(fields)-1], " ")
		if text := verb + " " + strings.ToLower(what[:1]) + what[1:]; !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return list
}
