package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"opsbot/runbooks"
)

type composeDown struct{}

// ComposeDownArgs are the arguments of compose.down.
type ComposeDownArgs struct {
	Grace time.Duration `arg:"grace" min:"1s" max:"300s" help:"before a container is killed; by default the container's own"`
	Lines int           `arg:"lines" default:"5000" min:"1" max:"5000" help:"of each container's log that are kept, the newest"`
}

// A Down is the result of compose.down.
type Down struct {
	Removed  []string `json:"removed" help:"containers, by name"`
	LogLines int      `json:"log_lines" help:"that were kept in the step's output"`
	Volumes  []string `json:"volumes" help:"of the project, which stayed"`
}

// Found says the result in one line.
func (r Down) Found() string {
	return fmt.Sprintf("removed %s, kept %s and %s", things(len(r.Removed), "container"),
		things(r.LogLines, "log line"), things(len(r.Volumes), "volume"))
}

func (composeDown) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "compose.down",
		Summary: "Stop and remove the project's containers after keeping their logs; volumes stay.",
		Effect:  runbooks.Destructive,
		Timeout: 10 * time.Minute,
		Args:    ComposeDownArgs{},
		Result:  Down{},
	}
}

func (composeDown) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return nil, errors.ErrUnsupported
}
