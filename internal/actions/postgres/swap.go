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

type swap struct{}

// SwapArgs are the arguments of postgres.swap.
type SwapArgs struct {
	Replacement string `arg:"replacement" required:"true" help:"the database that takes the connection's name: a restored one, or a kept one to swap back"`
}

// A Swapped is the result of postgres.swap.
type Swapped struct {
	Database string `json:"database" help:"the name that clients use"`
	Kept     string `json:"kept" help:"new name of the database that had it before; swap it in again to go back"`
	Ended    int    `json:"ended" help:"sessions that were cut"`
}

// Found says the result in one line.
func (r Swapped) Found() string {
	return fmt.Sprintf("%s is now another database, the former is kept as %s, %s were cut", r.Database, r.Kept, things(r.Ended, "session"))
}

func (swap) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.swap",
		Summary: "Give the database's name to another one, and keep the former.",
		Effect:  runbooks.Destructive,
		Timeout: time.Minute,
		Args:    SwapArgs{},
		Result:  Swapped{},
	}
}

// cutWithin bounds how long sessions may take to end.
const cutWithin = 20 * time.Second

// A side is one of the two databases of a swap.
type side struct {
	oid      uint32
	admits   bool // clients
	bytes    int
	sessions int
	open     int // transactions
}

func (swap) plan(call runbooks.Call) (*Conn, string, error) {
	c, args, err := aimed[SwapArgs](call)
	if err != nil {
		return nil, "", err
	}
	if !c.mine(args.Replacement) {
		return nil, "", fault.New(fault.Invalid, "%s was neither restored beside %s nor kept by a swap.", clip(args.Replacement, 63), c.database).
			Hinted("Only such databases are swapped in: %s or %s.", c.sibling("restore", time.Time{}), c.sibling("replaced", time.Time{}))
	}
	return c, args.Replacement, nil
}

func (c *Conn) side(ctx context.Context, desk *pgx.Conn, name string) (side, error) {
	var s side
	err := desk.QueryRow(ctx, `SELECT oid, datallowconn, CASE WHEN has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_monitor', 'USAGE') THEN pg_database_size(oid) ELSE 0 END,
			(SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid AND backend_type = 'client backend'),
			(SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid AND backend_type = 'client backend' AND xact_start IS NOT NULL)
		FROM pg_database d WHERE datname = $1`, name).Scan(&s.oid, &s.admits, &s.bytes, &s.sessions, &s.open)
	if err == pgx.ErrNoRows {
		err = fault.New(fault.NotFound, "There is no database %s at %s.", name, c.place()).Hinted("Was it swapped or dropped already?")
	}
	return s, err
}

// Preview says which database takes the name, and what is cut.
func (s swap) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, with, err := s.plan(call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	p := runbooks.Preview{Effect: runbooks.Destructive}
	if p.Identity, err = c.restoreIdentity(ctx); err != nil {
		return runbooks.Preview{}, err
	}
	err = c.restoring(ctx, frontDesk, "look at", func(desk *pgx.Conn) error {
		now, err := c.side(ctx, desk, c.database)
		if err != nil {
			return err
		}
		next, err := c.side(ctx, desk, with)
		if err != nil {
			return err
		}
		p.Impact = []string{
			fmt.Sprintf("%s (%s) becomes %s; the present one (%s) is kept under another name", with, size(next.bytes), c.database, size(now.bytes)),
			fmt.Sprintf("cuts %s of %s and rolls back %s", things(now.sessions, "session"), c.database, things(now.open, "open transaction")),
		}
		if next.sessions > 0 {
			p.Impact = append(p.Impact, fmt.Sprintf("cuts %s of %s", things(next.sessions, "session"), with))
		}
		p.Live = []runbooks.Live{
			{Name: c.database, Text: fmt.Sprint(now.oid), Tolerance: runbooks.Exact},
			{Name: with, Text: fmt.Sprint(next.oid), Tolerance: runbooks.Exact},
		}
		return nil
	})
	return p, err
}

// Run swaps the names in one transaction. Nothing is dropped. Whatever
// happens, the database that has the name in the end lets clients in again.
func (s swap) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, with, err := s.plan(call)
	if err != nil {
		return nil, err
	}
	r := Swapped{Database: c.database}
	c.pool.Reset() // opsbot's own sessions would be in the way
	err = c.restoring(ctx, frontDesk, "swap databases of", func(desk *pgx.Conn) (err error) {
		if _, err := c.side(ctx, desk, c.database); err != nil {
			return err
		}
		next, err := c.side(ctx, desk, with)
		if err != nil {
			return err
		}
		if r.Kept, err = c.unused(ctx, desk, "replaced"); err != nil {
			return err
		}
		defer func() {
			// Its own connection and time: ctx or desk may have ended.
			if e := c.admit(ctx, c.database); e != nil && err == nil {
				err = fault.New(fault.Conflict, "The names are swapped, but %s lets nobody in.", c.database).
					Hinted("Run ALTER DATABASE %s ALLOW_CONNECTIONS true.", quoted(c.database)).Because(e)
			}
			if err != nil && next.admits {
				if e := c.admit(ctx, with); e != nil {
					fmt.Fprintf(out, "%s lets nobody in: %s\n", with, fault.Say(e))
				}
			}
		}()
		for _, name := range []string{c.database, with} {
			if err := run(ctx, desk, "ALTER DATABASE "+quoted(name)+" ALLOW_CONNECTIONS false"); err != nil {
				return err
			}
		}
		if r.Ended, err = c.cut(ctx, desk, c.database, with); err != nil {
			return err
		}
		fmt.Fprintf(out, "cut %s\n", things(r.Ended, "session"))
		return pgx.BeginFunc(ctx, desk, func(tx pgx.Tx) error {
			if err := run(ctx, tx, "ALTER DATABASE "+quoted(c.database)+" RENAME TO "+quoted(r.Kept)); err != nil {
				return err
			}
			return run(ctx, tx, "ALTER DATABASE "+quoted(with)+" RENAME TO "+quoted(c.database))
		})
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(out, r.Found())
	return r, nil
}

// admit lets clients into a database.
func (c *Conn) admit(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyWithin)
	defer cancel()
	return c.restoring(ctx, frontDesk, "open", func(desk *pgx.Conn) error {
		return run(ctx, desk, "ALTER DATABASE "+quoted(name)+" ALLOW_CONNECTIONS true")
	})
}

// cut ends the sessions of the databases, and returns how many there were.
func (c *Conn) cut(ctx context.Context, desk *pgx.Conn, names ...string) (int, error) {
	deadline, ended := time.Now().Add(cutWithin), 0
	for {
		var told, left int
		err := desk.QueryRow(ctx, `SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)), count(*) FROM pg_stat_activity
			WHERE datname = ANY ($1) AND backend_type = 'client backend' AND pid <> pg_backend_pid()`, names).Scan(&told, &left)
		if err != nil {
			return ended, err
		}
		ended = max(ended, told)
		if left == 0 {
			return ended, nil
		}
		if time.Now().After(deadline) {
			return ended, fault.New(fault.Conflict, "%s of %s did not end.", things(left, "session"), c.place()).Hinted("Nothing was renamed. Look at them with postgres.activity.")
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return ended, err
		}
	}
}
