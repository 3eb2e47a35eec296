package postgres

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/runbooks"
)

type tableSizes struct{}

// TableSizesArgs are the arguments of postgres.table_sizes.
type TableSizesArgs struct {
	Limit int `arg:"limit" default:"20" min:"1" max:"200"`
}

// A TableSize is what one table takes on disk.
type TableSize struct {
	Schema  string `json:"schema"`
	Name    string `json:"name"`
	Total   int    `json:"total" help:"bytes of all of it"`
	Heap    int    `json:"heap" help:"bytes of its rows, with what is stored out of line"`
	Index   int    `json:"index" help:"bytes of its indexes"`
	EstRows int    `json:"est_rows" help:"rows as last estimated; -1: never"`
}

// Sizes is the result of postgres.table_sizes.
type Sizes struct {
	Database int         `json:"database" help:"bytes of the whole database"`
	Tables   []TableSize `json:"tables" help:"largest first; a partitioned table is the sum of its partitions"`
}

// Found says the result in one line.
func (r Sizes) Found() string {
	text := size(r.Database)
	if len(r.Tables) > 0 {
		t := r.Tables[0]
		text += fmt.Sprintf(", the largest table %s.%s %s", t.Schema, t.Name, size(t.Total))
	}
	return text
}

func (tableSizes) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.table_sizes",
		Summary: "List the largest tables.",
		Timeout: 15 * time.Second,
		Args:    TableSizesArgs{},
		Result:  Sizes{},
	}
}

func (tableSizes) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := aimed[TableSizesArgs](call)
	if err != nil {
		return nil, err
	}
	r := Sizes{Tables: []TableSize{}}
	err = c.read(ctx, "measure the tables of", func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "SELECT pg_database_size(current_database())").Scan(&r.Database); err != nil {
			return err
		}
		// Partitions count for the table at their root. A table that is dropped
		// meanwhile has no size.
		rows, err := tx.Query(ctx, `
			WITH t AS (
				SELECT coalesce(pg_partition_root(c.oid), c.oid) AS root, c.oid, c.reltuples
				FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm') AND `+userTables+`)
			SELECT n.nspname, c.relname, sum(coalesce(pg_total_relation_size(t.oid), 0))::bigint AS total,
				sum(coalesce(pg_table_size(t.oid), 0))::bigint, sum(coalesce(pg_indexes_size(t.oid), 0))::bigint,
				CASE WHEN min(t.reltuples) < 0 THEN -1 ELSE sum(t.reltuples)::bigint END
			FROM t JOIN pg_class c ON c.oid = t.root JOIN pg_namespace n ON n.oid = c.relnamespace
			GROUP BY 1, 2 ORDER BY total DESC, 1, 2 LIMIT $1`, args.Limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var t TableSize
			if err := rows.Scan(&t.Schema, &t.Name, &t.Total, &t.Heap, &t.Index, &t.EstRows); err != nil {
				return err
			}
			r.Tables = append(r.Tables, t)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	for _, t := range r.Tables {
		fmt.Fprintf(out, "%10s  %s.%s (rows %s, indexes %s)\n", size(t.Total), t.Schema, t.Name, size(t.Heap), size(t.Index))
	}
	return r, nil
}
