package docker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type nginxSwitch struct{}

// NginxSwitchArgs are the arguments of nginx.switch.
type NginxSwitchArgs struct {
	To     string `arg:"to" required:"true" values:"blue|green" help:"blue: Compose's containers of the service; green: the one that docker.run started"`
	Probes int    `arg:"probes" default:"10" min:"3" max:"100" help:"new connections that all have to be answered by the right instance"`
}

// A Switched is the result of nginx.switch.
type Switched struct {
	PreviousUpstream string         `json:"previous_upstream" help:"blue, green, or other"`
	Upstream         string         `json:"upstream" help:"that gets the traffic now"`
	Servers          []string       `json:"servers" help:"addresses of the upstream"`
	Seen             map[string]int `json:"seen" help:"instance → answers to new connections"`
}

// Found says the result in one line.
func (r Switched) Found() string {
	var seen []string
	for _, name := range slices.Sorted(maps.Keys(r.Seen)) {
		seen = append(seen, fmt.Sprintf("%s %d times", name, r.Seen[name]))
	}
	return fmt.Sprintf("from %s to %s; answered: %s", r.PreviousUpstream, r.Upstream, strings.Join(seen, ", "))
}

func (nginxSwitch) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "nginx.switch",
		Summary: "Send nginx's traffic to the other instance, prove it, and go back if it is not so.",
		Effect:  runbooks.Change,
		Timeout: 2 * time.Minute,
		Args:    NginxSwitchArgs{},
		Result:  Switched{},
	}
}

// A switchPlan is what a call of nginx.switch would do.
type switchPlan struct {
	c        *Conn
	old, new []byte
	from     string
	proxies  []box
	targets  []box
}

// plan works out what a call would do, or why it may not.
func (nginxSwitch) plan(ctx context.Context, call runbooks.Call) (*switchPlan, *NginxSwitchArgs, error) {
	c, args, err := both[NginxSwitchArgs](call)
	if err != nil {
		return nil, nil, err
	}
	n := c.config.Nginx
	if n == nil {
		return nil, nil, fault.New(fault.Invalid, "The connection says nothing of a proxy.").Hinted("Add nginx to it in the configuration.")
	}
	p := &switchPlan{c: c}
	if p.proxies, err = c.proxies(ctx); err != nil {
		return nil, nil, err
	}
	if p.old, err = n.read(); err != nil {
		return nil, nil, err
	}
	if p.from, err = c.colorOf(ctx, p.old); err != nil {
		return nil, nil, err
	}
	list, err := c.of(ctx, n.Of, args.To)
	if err != nil {
		return nil, nil, err
	}
	for _, b := range list {
		if b.State.Running && !b.State.Restarting && (b.health() == "healthy" || b.health() == noCheck) {
			p.targets = append(p.targets, b)
		}
	}
	if len(p.targets) == 0 {
		return nil, nil, fault.New(fault.Conflict, "No %s instance of %s is up and healthy: traffic would be lost.", args.To, n.Of).
			Hinted("%s. Start it first.", list[0].oneLine())
	}
	host := n.Of // Docker's name for all of them
	if args.To == green {
		host = p.targets[0].name()
	}
	p.new = []byte(n.text(host))
	return p, args, nil
}

// servers are the names that traffic goes to.
func (p *switchPlan) servers() []string {
	var names []string
	for _, b := range p.targets {
		names = append(names, b.name())
	}
	return names
}

// right reports whether an instance that names itself so is one of the targets:
// by the container's host name, id or name.
func (p *switchPlan) right(who string) bool {
	return slices.ContainsFunc(p.targets, func(b box) bool { return b.answersTo(who) })
}

// Preview shows the change of the file.
func (s nginxSwitch) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	p, args, err := s.plan(ctx, call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	id, err := p.c.Identity(ctx)
	if err != nil {
		return runbooks.Preview{}, err
	}
	sum := sha256.Sum256(p.old)
	preview := runbooks.Preview{
		Identity: id, Effect: runbooks.Change,
		Impact: []string{fmt.Sprintf("sends the traffic of %s from %s to %s", p.c.config.Nginx.URL, p.from, args.To)},
		Live:   append(frozen(p.targets), runbooks.Live{Name: "upstream file", Text: hex.EncodeToString(sum[:8]), Tolerance: runbooks.Exact}),
	}
	for _, b := range p.targets {
		preview.Impact = append(preview.Impact, "to "+b.oneLine())
	}
	is := hosts(p.new)
	if was := hosts(p.old); !slices.Equal(was, is) {
		preview.Impact = append(preview.Impact, fmt.Sprintf("in %s: server %s → %s", p.c.config.Nginx.File, cmp.Or(strings.Join(was, ", "), "none"), is[0]))
	} else {
		preview.Impact = append(preview.Impact, "the file says so already; it is written and loaded again")
	}
	preview.Impact = append(preview.Impact, fmt.Sprintf("proves it with %d new connections, and goes back if one is answered by another", args.Probes))
	return preview, nil
}

func (s nginxSwitch) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	p, args, err := s.plan(ctx, call)
	if err != nil {
		return nil, err
	}
	r := Switched{PreviousUpstream: p.from, Upstream: args.To, Servers: p.servers()}
	n := p.c.config.Nginx
	if err := n.write(p.new); err != nil {
		return nil, err
	}
	err = p.c.reload(ctx, p.proxies, out)
	if err == nil {
		r.Seen, err = p.c.prove(ctx, args.Probes, p.right)
	}
	if err != nil {
		return nil, s.goBack(ctx, p, err, out)
	}
	fmt.Fprintln(out, r.Found())
	return r, nil
}

// goBack puts the old file in force again.
func (nginxSwitch) goBack(ctx context.Context, p *switchPlan, cause error, out io.Writer) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopSlack)
	defer cancel()
	err := p.c.config.Nginx.write(p.old)
	if err == nil {
		err = p.c.reload(ctx, p.proxies, out)
	}
	if err != nil {
		return fault.New(fault.Conflict, "The switch failed, and so did the way back: look at the proxy now.").
			Hinted("First: %s Then: %s", fault.Say(cause), fault.Say(err)).Because(cmp.Or(cause, err))
	}
	var e *fault.Error
	if errors.As(cause, &e) {
		return e.Hinted("%s Traffic goes to %s as before.", e.Hint, p.from)
	}
	return cause
}
