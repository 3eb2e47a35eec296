package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"opsbot/runbooks"
)

type composeScale struct{}

// ComposeScaleArgs are the arguments of compose.scale.
type ComposeScaleArgs struct {
	Service  string        `arg:"service" required:"true" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"of the Compose file, without a container_name and without a single published port"`
	Replicas int           `arg:"replicas" required:"true" min:"1" max:"50" help:"containers of the service; at most the connection's max_replicas, by default 8"`
	Wait     time.Duration `arg:"wait" default:"120s" min:"5s" max:"600s" help:"until all are healthy, or running where no check exists"`
}

// A Scaled is the result of compose.scale.
type Scaled struct {
	ReplicasBefore int       `json:"replicas_before" help:"for a rollback"`
	ReplicasAfter  int       `json:"replicas_after"`
	Services       []Service `json:"services" help:"the service afterwards"`
	AllOK          bool      `json:"all_ok" help:"every replica runs, and is healthy where a check exists"`
}

// Found says the result in one line.
func (r Scaled) Found() string {
	return fmt.Sprintf("from %d to %s", r.ReplicasBefore, things(r.ReplicasAfter, "replica"))
}

func (composeScale) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "compose.scale",
		Summary: "Run a number of replicas of a service; what runs already is not touched.",
		Effect:  runbooks.Change,
		Timeout: 12 * time.Minute,
		Args:    ComposeScaleArgs{},
		Result:  Scaled{},
	}
}

func (composeScale) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return nil, errors.ErrUnsupported
}
