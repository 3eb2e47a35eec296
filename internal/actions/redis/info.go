package redis

import (
	"context"
	"io"
	"strings"
	"time"

	"opsbot/runbooks"
)

type info struct{}

// An Info is the result of redis.info.
type Info struct {
	Role        string        `json:"role" help:"master or slave, in Redis's words"`
	Loading     bool          `json:"loading" help:"still reading its data from disk"`
	LastSaveOK  bool          `json:"last_save_ok" help:"the last snapshot and, if used, the append-only file were written"`
	LastSave    time.Time     `json:"last_save" help:"when the last snapshot was written, or the server started"`
	Unsaved     int           `json:"unsaved" help:"changes since the last snapshot"`
	Saving      bool          `json:"saving" help:"a snapshot or the append-only file is being written"`
	Clients     int           `json:"clients" help:"connections, opsbot's own included"`
	Rejected    int           `json:"rejected" help:"connections refused for want of a slot, since the server started"`
	UsedMemory  int           `json:"used_memory" help:"bytes"`
	MaxMemory   int           `json:"max_memory" help:"bytes; 0 is no limit"`
	UsedPct     *float64      `json:"used_pct" help:"used by max_memory, of a hundred; no data without a limit"`
	RSSMemory   int           `json:"rss_memory" help:"bytes that the operating system gave"`
	FragRatio   float64       `json:"frag_ratio" help:"rss by used memory; meaningless below some 100 MiB"`
	Policy      string        `json:"policy" help:"what happens when memory is full"`
	EvictedKeys int           `json:"evicted_keys" help:"since the server started"`
	Uptime      time.Duration `json:"uptime" help:"since the server started"`
	Version     string        `json:"version" help:"of the server"`
	RunID       string        `json:"run_id" help:"changes with every start"`
}

// Found says the result in one line.
func (r Info) Found() string {
	role := r.Role
	switch role {
	case "master":
		role = "primary"
	case "slave":
		role = "replica"
	}
	memory := size(r.UsedMemory) + " without a limit"
	if r.MaxMemory > 0 {
		memory = size(r.UsedMemory) + " of " + size(r.MaxMemory)
	}
	parts := []string{role, things(r.Clients, "client"), memory, r.Policy}
	if r.Loading {
		parts = append(parts, "still loading")
	}
	if r.Rejected > 0 {
		parts = append(parts, things(r.Rejected, "connection")+" refused")
	}
	if !r.LastSaveOK {
		parts = append(parts, "last save failed")
	}
	return strings.Join(parts, ", ")
}

func (info) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "redis.info",
		Summary: "Read role, memory, clients and the state of the last save.",
		Timeout: 5 * time.Second,
		Result:  Info{},
	}
}

func (info) Run(ctx context.Context, call runbooks.Call, _ io.Writer) (any, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, err
	}
	s, err := c.state(ctx)
	if err != nil {
		return nil, err
	}
	return s.Info, nil
}
