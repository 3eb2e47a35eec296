package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

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

func (nginxSwitch) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return nil, errors.ErrUnsupported
}
