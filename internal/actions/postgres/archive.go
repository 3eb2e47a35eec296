package postgres

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/runbooks"
)

type archive struct{}

// ArchiveArgs are the arguments of postgres.archive.
type ArchiveArgs struct {
	Table     string        `arg:"table" required:"true" help:"id of an archive in the connection's configuration"`
	OlderThan time.Duration `arg:"older_than" default:"2160h" min:"720h" help:"rows of a younger age stay; by the database's clock"`
	Batch     int           `arg:"batch" default:"5000" min:"1" max:"20000" help:"rows moved in one transaction"`
	DryRun    bool          `arg:"dry_run" default:"false" help:"only count"`
	Window    time.Duration `arg:"window" default:"28m" min:"1s" max:"6h" help:"no further batch is begun after that"`
}

// Archived is the result of postgres.archive.
type Archived struct {
	Cutoff   time.Time `json:"cutoff" help:"rows before it are moved"`
	Matching int       `json:"matching" help:"rows before the cutoff when it began"`
	Moved    int       `json:"moved"`
	Batches  int       `json:"batches"`
	Left     int       `json:"left" help:"rows before the cutoff that stayed: locked, late or out of time"`
	First    string    `json:"first" help:"lowest key that was moved"`
	Last     string    `json:"last" help:"highest key that was moved"`
	Run      string    `json:"run" help:"under which they can be moved back; empty: the archive has no column for it"`
}

// Found says the result in one line.
func (r Archived) Found() string {
	if r.Moved == 0 && r.Batches == 0 {
		return fmt.Sprintf("%s before %s", things(r.Matching, "row"), r.Cutoff.UTC().Format(time.DateOnly))
	}
	text := fmt.Sprintf("moved %s before %s in %s", things(r.Moved, "row"), r.Cutoff.UTC().Format(time.DateOnly), batches(r.Batches))
	if r.Left > 0 {
		text += fmt.Sprintf(", %s left", number(r.Left))
	}
	return text
}

func (archive) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.archive",
		Summary: "Move old rows into an archive table, in batches, without losing one.",
		Effect:  runbooks.Change,
		Timeout: 30 * time.Minute,
		Args:    ArchiveArgs{},
		Result:  Archived{},
	}
}

// older is the condition of rows that go, for a cutoff in $1.
func (a Archive) older() string { return quoted(a.Time) + " < $1::timestamptz" }

// cutoff asks the database's clock, once for all batches.
func (a Archive) cutoff(ctx context.Context, conn *pgx.Conn, age time.Duration) (at time.Time, rows int, err error) {
	if err := conn.QueryRow(ctx, "SELECT now() - make_interval(secs => $1)", age.Seconds()).Scan(&at); err != nil {
		return at, 0, err
	}
	at = at.UTC()
	err = conn.QueryRow(ctx, "SELECT count(*) FROM "+a.live()+" WHERE "+a.older(), at).Scan(&rows)
	return at, rows, err
}

// Preview counts what would be moved.
func (archive) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, args, err := aimed[ArchiveArgs](call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	a, err := lookUp(c, "archive", c.config.Archives, args.Table)
	if err != nil {
		return runbooks.Preview{}, err
	}
	p := runbooks.Preview{Effect: runbooks.Change}
	if p.Identity, err = c.Identity(ctx); err != nil {
		return runbooks.Preview{}, err
	}
	err = c.maintain(ctx, "look at "+a.Table+" of", func(conn *pgx.Conn) error {
		if _, _, err := a.check(ctx, conn); err != nil {
			return err
		}
		at, n, err := a.cutoff(ctx, conn, args.OlderThan)
		if err != nil {
			return err
		}
		day := at.Format("2006-01-02 15:04 MST")
		if args.DryRun {
			p.Impact = []string{fmt.Sprintf("only counts: %s of %s before %s", things(n, "row"), a.Table, day)}
			return nil
		}
		p.Impact = []string{fmt.Sprintf("moves %s of %s before %s into %s, in %s", things(n, "row"), a.Table, day, a.Into, batches((n+args.Batch-1)/args.Batch))}
		if a.RunColumn == "" {
			p.Impact = append(p.Impact, "cannot be moved back by itself: the archive has no column for the run")
		}
		p.Live = []runbooks.Live{{Name: "rows to move", Number: float64(n), Tolerance: runbooks.Within10Percent}}
		return nil
	})
	return p, err
}

// Run moves what is old. Stopped at any moment, it has moved whole batches;
// run again, it goes on.
func (archive) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := aimed[ArchiveArgs](call)
	if err != nil {
		return nil, err
	}
	a, err := lookUp(c, "archive", c.config.Archives, args.Table)
	if err != nil {
		return nil, err
	}
	var r Archived
	end := time.Now().Add(args.Window)
	err = c.maintain(ctx, "move rows of", func(conn *pgx.Conn) error {
		// What a policy would hide must be an error, not be left out.
		if err := run(ctx, conn, "SET row_security = off"); err != nil {
			return err
		}
		columns, keyType, err := a.check(ctx, conn)
		if err != nil {
			return err
		}
		if r.Cutoff, r.Matching, err = a.cutoff(ctx, conn, args.OlderThan); err != nil {
			return err
		}
		r.Left = r.Matching
		if args.DryRun {
			return nil
		}
		m := move{from: a.live(), to: a.archive(), key: a.Key, keyType: keyType, columns: columns,
			where: a.older(), value: r.Cutoff, mark: a.RunColumn, run: call.Run, batch: args.Batch}
		if a.RunColumn != "" {
			r.Run = call.Run
		}
		done, err := m.all(ctx, conn, end, out)
		r.Moved, r.Batches, r.First, r.Last = done.rows, done.batches, done.first, done.last
		if err != nil {
			return err
		}
		return conn.QueryRow(ctx, "SELECT count(*) FROM "+a.live()+" WHERE "+a.older(), r.Cutoff).Scan(&r.Left)
	})
	if err != nil {
		return r, err
	}
	fmt.Fprintln(out, r.Found())
	return r, nil
}
