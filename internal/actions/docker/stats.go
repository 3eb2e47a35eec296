package docker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/docker/docker/api/types/container"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type stats struct{}

// StatsArgs are the arguments of docker.stats.
type StatsArgs struct {
	Service string        `arg:"service" required:"true" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"of the Compose project"`
	Color   string        `arg:"color" values:"blue|green" help:"blue: Compose's own; green: the one that docker.run started beside it; by default the one that the proxy sends traffic to, else blue"`
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

func (stats) Run(ctx context.Context, call runbooks.Call, _ io.Writer) (any, error) {
	c, args, err := both[StatsArgs](call)
	if err != nil {
		return nil, err
	}
	list, err := c.of(ctx, args.Service, args.Color)
	if err != nil {
		return nil, err
	}
	return c.load(ctx, args.Service, list, args.For)
}

// load measures the containers that run. One sample says nothing of the
// processor, so two are taken, some time apart.
func (c *Conn) load(ctx context.Context, service string, list []box, apart time.Duration) (Load, error) {
	var running []box
	for _, b := range list {
		if b.State.Running && !b.State.Restarting {
			running = append(running, b)
		}
	}
	if len(running) == 0 {
		return Load{}, fault.New(fault.Conflict, "No container of %s runs: there is nothing to measure.", service).
			Hinted("Start it, or read its log.")
	}
	host, err := c.client.Info(ctx)
	if err != nil {
		return Load{}, c.explain("ask for the engine's host", err)
	}
	before := make([]container.StatsResponse, len(running))
	for i, b := range running {
		if before[i], err = c.sample(ctx, b); err != nil {
			return Load{}, err
		}
	}
	select {
	case <-ctx.Done():
		return Load{}, ctx.Err()
	case <-time.After(apart):
	}
	r := Load{}
	for i, b := range running {
		after, err := c.sample(ctx, b)
		if err != nil {
			return Load{}, err
		}
		one, err := replicaLoad(b, before[i], after, host.NCPU, int(host.MemTotal))
		if err != nil {
			return Load{}, err
		}
		r.Replicas = append(r.Replicas, one)
		r.CPUPctOfCapacity = max(r.CPUPctOfCapacity, one.CPUPctOfCapacity)
		r.MemBytes = max(r.MemBytes, one.MemBytes)
		r.MemPctLimit = max(r.MemPctLimit, one.MemPctLimit)
		r.Throttled = max(r.Throttled, one.Throttled)
	}
	return r, nil
}

func (c *Conn) sample(ctx context.Context, b box) (container.StatsResponse, error) {
	var s container.StatsResponse
	answer, err := c.client.ContainerStatsOneShot(ctx, b.ID)
	if err != nil {
		return s, c.explain("measure "+b.name(), err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&s); err != nil {
		return s, c.explain("measure "+b.name(), err)
	}
	return s, nil
}

// replicaLoad compares two samples of a container on a host of that size.
func replicaLoad(b box, before, after container.StatsResponse, ncpu, memTotal int) (ReplicaLoad, error) {
	online := float64(cmp.Or(int(after.CPUStats.OnlineCPUs), len(after.CPUStats.CPUUsage.PercpuUsage), ncpu))
	system := float64(after.CPUStats.SystemUsage) - float64(before.CPUStats.SystemUsage)
	used := float64(after.CPUStats.CPUUsage.TotalUsage) - float64(before.CPUStats.CPUUsage.TotalUsage)
	if system <= 0 || used < 0 || online == 0 {
		return ReplicaLoad{}, fault.New(fault.Unavailable, "%s was restarted while it was measured, or does not run.", b.name()).
			Hinted("Measure again.")
	}
	h := b.HostConfig
	capacity := online
	switch {
	case h.NanoCPUs > 0:
		capacity = min(float64(h.NanoCPUs)/1e9, online)
	case h.CPUQuota > 0:
		capacity = min(float64(h.CPUQuota)/float64(cmp.Or(h.CPUPeriod, 100_000)), online)
	}
	r := ReplicaLoad{Container: b.name(), Number: b.number, Processes: int(after.PidsStats.Current), MemLimit: int(h.Memory)}
	r.CPUPctOfCapacity = used / system * online / capacity * 100
	r.MemBytes = memory(after.MemoryStats)
	if limit := float64(cmp.Or(r.MemLimit, memTotal)); limit > 0 {
		r.MemPctLimit = float64(r.MemBytes) / limit * 100
	}
	t := after.CPUStats.ThrottlingData
	if periods := t.Periods - before.CPUStats.ThrottlingData.Periods; periods > 0 {
		r.Throttled = float64(t.ThrottledPeriods-before.CPUStats.ThrottlingData.ThrottledPeriods) / float64(periods)
	}
	return r, nil
}

// memory is what is in use without what can be given back at once: cgroup v1
// and v2 name that differently.
func memory(m container.MemoryStats) int {
	for _, name := range []string{"total_inactive_file", "inactive_file"} {
		if cache, ok := m.Stats[name]; ok && cache < m.Usage {
			return int(m.Usage - cache)
		}
	}
	return int(m.Usage)
}
