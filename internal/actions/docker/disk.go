package docker

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"opsbot/internal/fault"
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

func (disk) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := both[DiskArgs](call)
	if err != nil {
		return nil, err
	}
	boxes, err := c.of(ctx, args.Service, "")
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(boxes, func(b box) bool { return b.State.Running && !b.State.Restarting })
	if i < 0 {
		return nil, fault.New(fault.Conflict, "No container of %s runs.", args.Service).Hinted("Start it first.")
	}
	r, err := c.disk(ctx, boxes[i], args.Path, out)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// disk asks df in a container about the volume of a path; "" is where its
// database is, or else /.
func (c *Conn) disk(ctx context.Context, b box, path string, out io.Writer) (Disk, error) {
	r := Disk{Path: cmp.Or(path, b.pgData(), "/")}
	df := func(flags string) ([]string, error) {
		stdout, stderr := new(lineTail), new(lineTail)
		code, err := c.execIn(ctx, b, Process{Argv: []string{"df", flags, "--", r.Path}, Env: []string{"LC_ALL=C"}, Stdout: stdout, Stderr: stderr})
		if err != nil {
			return nil, err
		}
		stdout.flush()
		stderr.flush()
		for _, line := range slices.Concat(stdout.lines, stderr.lines) {
			fmt.Fprintln(out, line)
		}
		if code != 0 {
			return nil, fault.New(fault.NotFound, "df could not look at %s in %s.", r.Path, b.name()).
				Hinted("It said: %s", clip(strings.Join(slices.Concat(stderr.lines, stdout.lines), " "), 200))
		}
		return stdout.lines, nil
	}
	bytes, err := df("-PB1")
	if err != nil {
		return r, err
	}
	var ok bool
	if r.TotalBytes, r.FreeBytes, r.Mount, ok = readDF(bytes); !ok || r.TotalBytes == 0 {
		return r, fault.New(fault.Unavailable, "df in %s answered what opsbot does not understand.", b.name()).
			Hinted("It said: %s", clip(strings.Join(bytes, " / "), 200))
	}
	r.FreePct = 100 * float64(r.FreeBytes) / float64(r.TotalBytes)
	inodes, err := df("-Pi")
	if err != nil {
		return r, err
	}
	if total, free, _, ok := readDF(inodes); ok && total > 0 {
		pct := 100 * float64(free) / float64(total)
		r.Inodes, r.FreeInodes, r.FreeInodesPct = total, free, &pct
	}
	return r, nil
}

// minFree is how much of its disk a database needs to come back after a stop.
const minFree = 10.0

// comesBack refuses to stop a database that could not start again because its
// disk is full. Where that cannot be measured it says why.
func (c *Conn) comesBack(ctx context.Context, b box) (unknown string, err error) {
	if b.database() == "" || !b.State.Running || b.State.Restarting {
		return "", nil
	}
	d, err := c.disk(ctx, b, "", io.Discard)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return fmt.Sprintf("how full the disk of %s is cannot be measured: %s", b.service, fault.Say(err)), nil
	case d.FreePct < minFree || d.FreeInodesPct != nil && *d.FreeInodesPct < minFree:
		return "", fault.New(fault.Conflict, "%s might not come back: %s.", b.name(), d.Found()).
			Hinted("Free at least %.0f %% first, by hand; a restart does not help a full disk.", minFree)
	}
	return "", nil
}

// readDF reads what df -P wrote of one file system: its size, what is free of
// it, and where it is mounted.
func readDF(lines []string) (total, free int, mount string, ok bool) {
	if len(lines) < 2 {
		return 0, 0, "", false
	}
	// A device may have blanks in its name: count from the percentage.
	fields := strings.Fields(lines[len(lines)-1])
	for i := len(fields) - 2; i >= 4; i-- {
		if strings.HasSuffix(fields[i], "%") || fields[i] == "-" {
			total, err1 := strconv.Atoi(fields[i-3])
			free, err2 := strconv.Atoi(fields[i-1])
			return total, free, strings.Join(fields[i+1:], " "), err1 == nil && err2 == nil
		}
	}
	return 0, 0, "", false
}
