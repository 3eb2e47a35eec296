package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"opsbot/runbooks"
)

type evidence struct{}

// EvidenceArgs are the arguments of docker.evidence.
type EvidenceArgs struct {
	Service string `arg:"service" required:"true" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"of the Compose project"`
	Color   string `arg:"color" default:"blue" values:"blue|green" help:"green: the one that docker.run started beside it"`
	Lines   int    `arg:"lines" default:"5000" min:"1" max:"5000" help:"of each container's log, the newest"`
}

// An Evidence is the result of docker.evidence; the step's output has the rest.
type Evidence struct {
	Containers []Container `json:"containers"`
	LogLines   int         `json:"log_lines" help:"that were kept"`
	Processes  int         `json:"processes" help:"that ran"`
}

// Found says the result in one line.
func (r Evidence) Found() string {
	return fmt.Sprintf("kept %s, %s and the state of %s",
		things(r.LogLines, "log line"), things(r.Processes, "process"), things(len(r.Containers), "container"))
}

func (evidence) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "docker.evidence",
		Summary: "Keep a service's state, load, processes and log before anything is touched.",
		Timeout: time.Minute,
		Args:    EvidenceArgs{},
		Result:  Evidence{},
	}
}

func (evidence) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return nil, errors.ErrUnsupported
}
