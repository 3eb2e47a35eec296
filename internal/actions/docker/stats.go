package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"opsbot/runbooks"
)

type stats struct{}

// StatsArgs are the arguments of docker.stats.
type StatsArgs struct {
	Service string        `arg:"service" required:"true" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"of the Compose project"`
	Color   string        `arg:"color" default:"blue" values:"blue|green" help:"green: the one that docker.run started beside it"`
	For     time.Duration `arg:"for" default:"2s" min:"1s" max:"60s" help:"how long to measure"`
}

// A Load is the result of docker.stats: of each figure, the worst replica's.
type Load struct {
	CPUPctOfCapacity float64       `json:"cpu_pct_of_capacity" help:"0 to 100; of the container's limit, or of all processors if it has none"`
	MemBytes         int           `json:"mem_bytes" help:"in use, without the page cache that can be given back"`
	MemPctLimit      float64       `json:"mem_pct_limit" help:"0 to 100; of the container's limit, or of the host's memory if it has none"`
	Throttled        float64       `json:"throttled" help:"0 to 1; share of periods in which the processor limit was hit"`
	Replicas         []ReplicaLoad `json:"replicas"`
}

// A ReplicaLoad is the load of one container.
type ReplicaLoad struct {
	Container        string  `json:"container"`
	Number           int     `json:"number"`
	CPUPctOfCapacity float64 `json:"cpu_pct_of_capacity"`
	MemBytes         int     `json:"mem_bytes"`
	MemLimit         int     `json:"mem_limit" help:"bytes; 0: none"`
	MemPctLimit      float64 `json:"mem_pct_limit"`
	Throttled        float64 `json:"throttled"`
	Processes        int     `json:"processes" help:"processes and threads"`
}

// Found says the result in one line.
func (r Load) Found() string {
	return fmt.Sprintf("%.0f %% of processor, %s (%.0f %%) of memory, the worst of %s",
		r.CPUPctOfCapacity, size(r.MemBytes), r.MemPctLimit, things(len(r.Replicas), "replica"))
}

func (stats) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "docker.stats",
		Summary: "Measure processor and memory of a service's containers.",
		Timeout: 90 * time.Second,
		Args:    StatsArgs{},
		Result:  Load{},
	}
}

func (stats) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return nil, errors.ErrUnsupported
}
