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

type unarchive struct{}

// UnarchiveArgs are the arguments of postgres.unarchive.
type UnarchiveArgs struct {
	Table string `arg:"table" required:"true" help:"id of an archive in the connection's configuration"`
	Run   string `arg:"run" help:"whose rows come back; none: this run's"`
	Batch int    `arg:"batch" default:"5000" min:"1" max:"20000" help:"rows moved in one transaction"`
}

// Unarchived is the result of postgres.unarchive.
type Unarchived struct {
	Moved   int `json:"moved" help:"rows that are back"`
	Batches int `json:"batches"`
	Left    int `json:"left" help:"rows of that run that are still in the archive"`
}

// Found says the result in one line.
func (r Unarchived) Found() string {
	text := fmt.Sprintf("moved %s back in %s", things(r.Moved, "row"), batches(r.Batches))
	if r.Left > 0 {
		text += fmt.Sprintf(", %s left", number(r.Left))
	}
	return text
}

func (unarchive) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.unarchive",
		Summary: "Move the rows that a run has archived back.",
		Effect:  runbooks.Change,
		Timeout: 30 * time.Minute,
		Args:    UnarchiveArgs{},
		Result:  Unarchived{},
	}
}

func (unarchive) plan(call runbooks.Call) (*Conn, Archive, *UnarchiveArgs, error) {
	c, args, err := aimed[UnarchiveArgs](call)
	if err != nil {
		return nil, Archive{}, nil, err
	}
	a, err := lookUp(c, "archive", c.config.Archives, args.Table)
	if err == nil && a.RunColumn == "" {
		err = fault.New(fault.Conflict, "%s does not record which run has moved a row.", a.Into).
			Hinted("Move them by hand, by the first and last key that the archiving step has recorded; for the next time, set run_column.")
	}
	with := *args
	if with.Run == "" {
		with.Run = call.Run
	}
	return c, a, &with, err
}

func (a Archive) count(ctx context.Context, conn *pgx.Conn, run string) (n int, err error) {
	err = conn.QueryRow(ctx, "SELECT count(*) FROM "+a.archive()+" WHERE "+quoted(a.RunColumn)+" = $1", run).Scan(&n)
	return n, err
}

// Preview counts what would come back.
func (u unarchive) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, a, args, err := u.plan(call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	p := runbooks.Preview{Effect: runbooks.Change}
	if p.Identity, err = c.Identity(ctx); err != nil {
		return runbooks.Preview{}, err
	}
	err = c.maintain(ctx, "look at "+a.Into+" of", func(conn *pgx.Conn) error {
		if _, _, err := a.check(ctx, conn); err != nil {
			return err
		}
		n, err := a.count(ctx, conn, args.Run)
		p.Impact = []string{fmt.Sprintf("moves %s that the run %s has archived from %s back into %s", things(n, "row"), clip(args.Run, 60), a.Into, a.Table)}
		p.Live = []runbooks.Live{{Name: "rows to move back", Number: float64(n), Tolerance: runbooks.Within10Percent}}
		return err
	})
	return p, err
}

func (u unarchive) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, a, args, err := u.plan(call)
	if err != nil {
		return nil, err
	}
	var r Unarchived
	err = c.maintain(ctx, "move rows of", func(conn *pgx.Conn) error {
		if err := run(ctx, conn, "SET row_security = off"); err != nil {
			return err
		}
		columns, keyType, err := a.check(ctx, conn)
		if err != nil {
			return err
		}
		m := move{from: a.archive(), to: a.live(), key: a.Key, keyType: keyType, columns: columns,
			where: quoted(a.RunColumn) + " = $1", value: args.Run, batch: args.Batch}
		done, err := m.all(ctx, conn, time.Now().Add(24*time.Hour), out)
		r.Moved, r.Batches = done.rows, done.batches
		if err != nil {
			return err
		}
		r.Left, err = a.count(ctx, conn, args.Run)
		return err
	})
	if err != nil {
		return r, err
	}
	fmt.Fprintln(out, r.Found())
	return r, nil
}
