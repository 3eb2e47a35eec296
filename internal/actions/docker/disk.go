package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"opsbot/runbooks"
)

type disk struct{}

// DiskArgs are the arguments of docker.disk.
type DiskArgs struct {
	Service string `arg:"service" required:"true" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"of the Compose project"`
	Path    string `arg:"path" pattern:"^/[^\\x00-\\x1f]{0,255}$" help:"in the container; by default its PGDATA, else /"`
}

// A Disk is the result of docker.disk.
type Disk struct {
	Path          string   `json:"path"`
	Mount         string   `json:"mount" help:"where the volume is mounted"`
	TotalBytes    int      `json:"total_bytes"`
	FreeBytes     int      `json:"free_bytes" help:"that an ordinary user may fill"`
	FreePct       float64  `json:"free_pct" help:"0 to 100"`
	Inodes        int      `json:"inodes" help:"0: the file system does not count them"`
	FreeInodes    int      `json:"free_inodes"`
	FreeInodesPct *float64 `json:"free_inodes_pct" help:"0 to 100; no data where the file system does not count them"`
}

// Found says the result in one line.
func (r Disk) Found() string {
	text := fmt.Sprintf("%s of %s free (%.0f %%) on %s", size(r.FreeBytes), size(r.TotalBytes), r.FreePct, r.Mount)
	if r.FreeInodesPct != nil {
		text += fmt.Sprintf(", %.0f %% of inodes", *r.FreeInodesPct)
	}
	return text
}

func (disk) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "docker.disk",
		Summary: "Measure how much of a volume is free, from inside a service's container.",
		Timeout: 30 * time.Second,
		Args:    DiskArgs{},
		Result:  Disk{},
	}
}

func (disk) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return nil, errors.ErrUnsupported
}
