package host

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type verifyDump struct{}

// VerifyDumpArgs are the arguments of file.verify_dump.
type VerifyDumpArgs struct {
	Files  string   `arg:"files" default:"backups" pattern:"^[a-z][a-z0-9_-]{0,59}$" help:"name of the files in the connection's configuration"`
	Path   string   `arg:"path" help:"of file.latest_backup; none: the newest"`
	Tables []string `arg:"tables" help:"tables that must have rows in it, with their schema; none: any"`
}

// A Verified is the result of file.verify_dump.
type Verified struct {
	Path     string         `json:"path"`
	Bytes    int            `json:"bytes" help:"of the file"`
	SQLBytes int            `json:"sql_bytes" help:"of SQL, unpacked"`
	Modified time.Time      `json:"modified"`
	Age      time.Duration  `json:"age" help:"what was written since would be lost by a restore"`
	SHA256   string         `json:"sha256" help:"of the file, for postgres.restore"`
	Rows     map[string]int `json:"rows" help:"by table with its schema"`
	Total    int            `json:"total" help:"rows of all tables"`
}

// Found says the result in one line.
func (r Verified) Found() string {
	return fmt.Sprintf("%s is whole: %d rows of %d tables, %s old, sha256 %.12s…", r.Path, r.Total, len(r.Rows), runbooks.DurationText(r.Age.Round(time.Second)), r.SHA256)
}

func (verifyDump) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "file.verify_dump",
		Summary: "Read a dump of PostgreSQL to its end and count its rows.",
		Timeout: 10 * time.Minute,
		Args:    VerifyDumpArgs{},
		Result:  Verified{},
	}
}

func (verifyDump) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := both[VerifyDumpArgs](call)
	if err != nil {
		return nil, err
	}
	var f file
	if args.Path == "" {
		f, _, err = c.newest(args.Files)
	} else {
		f, err = c.one(args.Files, args.Path)
	}
	if err != nil {
		return nil, err
	}
	if c.config.Scan == nil {
		return nil, fmt.Errorf("nothing reads dumps for %s", c.Address())
	}
	d, err := c.config.Scan(ctx, f.path)
	if err != nil {
		return nil, err
	}
	r := Verified{Path: f.path, Bytes: int(f.bytes), SQLBytes: d.SQLBytes, Modified: f.modified.UTC(), SHA256: d.SHA256, Rows: d.Rows}
	if r.Age, err = f.age(time.Now()); err != nil {
		return nil, err
	}
	for _, n := range d.Rows {
		r.Total += n
	}
	fmt.Fprintln(out, r.Found())
	empty := slices.DeleteFunc(slices.Clone(args.Tables), func(t string) bool { return d.Rows[t] > 0 })
	if len(empty) > 0 {
		return r, fault.New(fault.Conflict, "The dump %s is whole, but has no rows of %s.", f.path, strings.Join(empty, ", ")).
			Hinted("Was it made of the right database, and with all its tables?")
	}
	return r, nil
}
