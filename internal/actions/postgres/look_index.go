package postgres

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/runbooks"
)

type lookIndex struct{}

// An IndexLook is the result of postgres.index.
type IndexLook struct {
	Name       string `json:"name" help:"with its schema"`
	Table      string `json:"table" help:"with its schema"`
	State      string `json:"state" help:"valid, invalid, missing, or other: something else has that name"`
	Def        string `json:"def" help:"its definition, as the server has it; empty: it is missing"`
	Want       string `json:"want" help:"the configured definition, in the server's words"`
	Bytes      int    `json:"bytes" help:"its size"`
	TableBytes int    `json:"table_bytes" help:"size of its table, without indexes"`
	Scans      int    `json:"scans" help:"how often it was used since the statistics began"`
}

// Found says the result in one line.
func (r IndexLook) Found() string {
	switch r.State {
	case "missing":
		return r.Name + " is missing"
	case "other":
		return "something else is named " + r.Name + ": " + clip(r.Def, 200)
	case "invalid":
		return r.Name + " is invalid: a former attempt left it so"
	}
	return fmt.Sprintf("%s is valid, %s, used %s", r.Name, size(r.Bytes), things(r.Scans, "time"))
}

func (lookIndex) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.index",
		Summary: "Look whether a configured index is there, valid and as configured.",
		Effect:  runbooks.Read,
		Timeout: 15 * time.Second,
		Args:    IndexArgs{},
		Result:  IndexLook{},
	}
}

// Run looks with the maintenance user, who alone may ask the server for its own
// words of a definition.
func (lookIndex) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, i, err := indexOf(call)
	if err != nil {
		return nil, err
	}
	r := IndexLook{Name: i.fullName(), Table: i.Table}
	err = c.maintain(ctx, "look at an index of", func(conn *pgx.Conn) error {
		s, err := i.inspect(ctx, conn)
		r.State, r.Def, r.Want, r.Bytes, r.TableBytes, r.Scans = s.word(), s.def, essence(s.wanted), s.bytes, s.table, s.scans
		if s.there && !s.same {
			r.State = "other"
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(out, r.Found())
	if r.Def != "" {
		fmt.Fprintln(out, r.Def)
	}
	return r, nil
}
