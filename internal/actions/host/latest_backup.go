package host

import (
	"context"
	"fmt"
	"io"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type latestBackup struct{}

// LatestBackupArgs are the arguments of file.latest_backup.
type LatestBackupArgs struct {
	Files    string        `arg:"files" default:"backups" pattern:"^[a-z][a-z0-9_-]{0,59}$" help:"name of the files in the connection's configuration"`
	MinBytes int           `arg:"min_bytes" default:"1" min:"1" help:"a smaller file is a failure"`
	MaxAge   time.Duration `arg:"max_age" default:"26h" min:"1m" help:"an older file is a failure"`
}

// A Backup is the result of file.latest_backup.
type Backup struct {
	Path     string        `json:"path"`
	Bytes    int           `json:"bytes"`
	Modified time.Time     `json:"modified"`
	Age      time.Duration `json:"age" help:"what was written since would be lost by a restore"`
	Count    int           `json:"count" help:"how many there are in all"`
}

// Found says the result in one line.
func (r Backup) Found() string {
	return fmt.Sprintf("%s, %s, %s old, the newest of %d", r.Path, size(r.Bytes), runbooks.DurationText(r.Age.Round(time.Second)), r.Count)
}

func (latestBackup) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "file.latest_backup",
		Summary: "Find the newest backup and check its size and age.",
		Timeout: 30 * time.Second,
		Args:    LatestBackupArgs{},
		Result:  Backup{},
	}
}

// Run fails, with kind Conflict, if the newest file is too small or too old,
// and never falls back on another one. The result is there all the same.
func (latestBackup) Run(_ context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := both[LatestBackupArgs](call)
	if err != nil {
		return nil, err
	}
	newest, n, err := c.newest(args.Files)
	if err != nil {
		return nil, err
	}
	r := Backup{Path: newest.path, Bytes: int(newest.bytes), Modified: newest.modified.UTC(), Count: n}
	if r.Age, err = newest.age(time.Now()); err != nil {
		return r, err
	}
	fmt.Fprintln(out, r.Found())
	switch {
	case r.Bytes < args.MinBytes:
		return r, fault.New(fault.Conflict, "The newest backup %s has only %s, less than %s.", r.Path, size(r.Bytes), size(args.MinBytes)).
			Hinted("Did the job that writes it fail? An older one may be whole.")
	case r.Age > args.MaxAge:
		return r, fault.New(fault.Conflict, "The newest backup %s is %s old, more than %s.", r.Path, runbooks.DurationText(r.Age.Round(time.Second)), runbooks.DurationText(args.MaxAge)).
			Hinted("Does the job that writes them still run?")
	}
	return r, nil
}
