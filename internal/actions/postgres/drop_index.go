package postgres

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type dropIndex struct{}

// An IndexDropped is the result of postgres.drop_index.
type IndexDropped struct {
	Name    string `json:"name" help:"with its schema"`
	Dropped bool   `json:"dropped" help:"false: it was not there"`
	Bytes   int    `json:"bytes" help:"that were set free"`
}

// Found says the result in one line.
func (r IndexDropped) Found() string {
	if !r.Dropped {
		return r.Name + " was not there"
	}
	return "removed " + r.Name + ", " + size(r.Bytes)
}

func (dropIndex) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.drop_index",
		Summary: "Remove a configured index without blocking writes.",
		Effect:  runbooks.Change,
		Timeout: 10 * time.Minute,
		Args:    IndexArgs{},
		Result:  IndexDropped{},
	}
}

// removable refuses an index that is not the configured one.
func (i Index) removable(s indexState) error {
	switch {
	case s.there && !s.same:
		return i.other(s)
	case s.bound:
		return fault.New(fault.Conflict, "%s belongs to a constraint and cannot be removed alone.", i.fullName())
	}
	return nil
}

// Preview says what would be removed, and whether it is used.
func (dropIndex) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, i, err := indexOf(call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	p := runbooks.Preview{Effect: runbooks.Change}
	if p.Identity, err = c.Identity(ctx); err != nil {
		return runbooks.Preview{}, err
	}
	err = c.maintain(ctx, "look at an index of", func(conn *pgx.Conn) error {
		s, err := i.inspect(ctx, conn)
		if err == nil {
			err = i.removable(s)
		}
		if err != nil {
			return err
		}
		p.Live = []runbooks.Live{{Name: "index " + i.fullName(), Text: s.word(), Tolerance: runbooks.Exact}}
		if !s.there {
			p.Impact = []string{i.fullName() + " is not there: nothing is removed"}
			return nil
		}
		p.Impact = []string{fmt.Sprintf("removes %s on %s (%s), used %s since the statistics began", i.fullName(), i.Table, size(s.bytes), things(s.scans, "time"))}
		return nil
	})
	return p, err
}

func (dropIndex) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, i, err := indexOf(call)
	if err != nil {
		return nil, err
	}
	r := IndexDropped{Name: i.fullName()}
	err = c.maintain(ctx, "remove an index of", func(conn *pgx.Conn) error {
		s, err := i.inspect(ctx, conn)
		if err == nil {
			err = i.removable(s)
		}
		if err != nil || !s.there {
			return err
		}
		f := c.follow(ctx, conn.PgConn().PID(), out)
		err = run(ctx, conn, "DROP INDEX CONCURRENTLY "+i.quoted())
		f.stop()
		r.Dropped, r.Bytes = err == nil, s.bytes
		return c.blocked(err, f.blocker)
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(out, r.Found())
	return r, nil
}
