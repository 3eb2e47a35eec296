package postgres

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/runbooks"
)

type archivable struct{}

// ArchivableArgs are the arguments of postgres.archivable: those of
// postgres.archive that choose.
type ArchivableArgs struct {
	Table     string        `arg:"table" required:"true" help:"id of an archive in the connection's configuration"`
	OlderThan time.Duration `arg:"older_than" default:"2160h" min:"720h" help:"rows of a younger age stay; by the database's clock"`
}

// Archivable is the result of postgres.archivable.
type Archivable struct {
	Cutoff   time.Time `json:"cutoff" help:"rows before it would be moved"`
	Matching int       `json:"matching" help:"rows before the cutoff"`
}

// Found says the result in one line.
func (r Archivable) Found() string {
	return fmt.Sprintf("%s before %s", things(r.Matching, "row"), r.Cutoff.UTC().Format(time.DateOnly))
}

func (archivable) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.archivable",
		Summary: "Count the rows that postgres.archive would move, with its checks.",
		Effect:  runbooks.Read,
		Timeout: 5 * time.Minute,
		Args:    ArchivableArgs{},
		Result:  Archivable{},
	}
}

// Run refuses what postgres.archive would refuse.
func (archivable) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := aimed[ArchivableArgs](call)
	if err != nil {
		return nil, err
	}
	a, err := lookUp(c, "archive", c.config.Archives, args.Table)
	if err != nil {
		return nil, err
	}
	var r Archivable
	err = c.maintain(ctx, "count rows of", func(conn *pgx.Conn) error {
		if err := run(ctx, conn, "SET row_security = off"); err != nil {
			return err
		}
		if _, _, err := a.check(ctx, conn); err != nil {
			return err
		}
		r.Cutoff, r.Matching, err = a.cutoff(ctx, conn, args.OlderThan)
		return err
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(out, r.Found())
	return r, nil
}
