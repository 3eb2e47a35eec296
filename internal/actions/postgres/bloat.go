package postgres

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/runbooks"
)

type bloat struct{}

// BloatArgs are the arguments of postgres.bloat: those of postgres.reindex that
// choose.
type BloatArgs struct {
	Tables   []string `arg:"tables" help:"whose indexes are measured; none and no indexes: all that the maintenance user owns"`
	Indexes  []string `arg:"indexes" help:"that are measured"`
	MinBloat float64  `arg:"min_bloat" default:"30" min:"0" max:"100" help:"percent of its pages' room that is unused, from which an index counts as bloated"`
}

// A BloatedIndex is one that postgres.reindex would rebuild.
type BloatedIndex struct {
	Name   string  `json:"name" help:"with its schema"`
	Unused float64 `json:"unused" help:"percent of its pages' room"`
	Bytes  int     `json:"bytes"`
}

// Bloat is the result of postgres.bloat.
type Bloat struct {
	Looked    int            `json:"looked" help:"indexes that were measured"`
	Bloated   []BloatedIndex `json:"bloated" help:"that postgres.reindex would rebuild"`
	Leftovers []string       `json:"leftovers" help:"invalid remains of former attempts, which it would remove"`
	Bytes     int            `json:"bytes" help:"of the largest bloated index: the room that its rebuilding needs"`
}

// Found says the result in one line.
func (r Bloat) Found() string {
	text := fmt.Sprintf("%d of %s indexes bloated", len(r.Bloated), number(r.Looked))
	if n := len(r.Leftovers); n > 0 {
		text += fmt.Sprintf(", %d invalid", n)
	}
	return text
}

func (bloat) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.bloat",
		Summary: "Measure which indexes postgres.reindex would rebuild.",
		Effect:  runbooks.Read,
		Timeout: 10 * time.Minute,
		Args:    BloatArgs{},
		Result:  Bloat{},
	}
}

func (bloat) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := aimed[BloatArgs](call)
	if err != nil {
		return nil, err
	}
	chosen := &ReindexArgs{Tables: args.Tables, Indexes: args.Indexes, MinBloat: args.MinBloat}
	r := Bloat{Bloated: []BloatedIndex{}, Leftovers: []string{}}
	err = c.maintain(ctx, "measure the indexes of", func(conn *pgx.Conn) error {
		leftovers, list, err := c.survey(ctx, conn, chosen)
		if err != nil {
			return err
		}
		r.Looked = len(list)
		r.Leftovers = append(r.Leftovers, leftovers...)
		for _, i := range list {
			if i.worth(chosen) {
				r.Bloated = append(r.Bloated, BloatedIndex{Name: i.shown, Unused: i.unused, Bytes: i.bytes})
				r.Bytes = max(r.Bytes, i.bytes)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, i := range r.Bloated {
		fmt.Fprintf(out, "%s: %.0f %% unused of %s\n", i.Name, i.Unused, size(i.Bytes))
	}
	if len(r.Leftovers) > 0 {
		fmt.Fprintf(out, "invalid: %s\n", strings.Join(r.Leftovers, ", "))
	}
	fmt.Fprintln(out, r.Found())
	return r, nil
}
