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

type tables struct{}

// TablesArgs are the arguments of postgres.tables.
type TablesArgs struct {
	Tables  []string `arg:"tables" help:"that must be there, with their schema if it is not on the search path"`
	Indexes []string `arg:"indexes" help:"that must be there and valid"`
}

// Inventory is the result of postgres.tables.
type Inventory struct {
	Count          int      `json:"count" help:"tables of users: none in a fresh database"`
	Names          []string `json:"names" help:"of them, with their schema, at most 1,000"`
	MissingTables  []string `json:"missing_tables" help:"that must be there and are not"`
	MissingIndexes []string `json:"missing_indexes"`
	InvalidIndexes []string `json:"invalid_indexes" help:"of all tables: their building failed or is not over"`
	NotValidated   []string `json:"not_validated" help:"constraints that are declared NOT VALID"`
}

// Found says the result in one line.
func (r Inventory) Found() string {
	parts := []string{things(r.Count, "table")}
	for _, l := range []struct {
		says  string
		names []string
	}{
		{"missing", r.MissingTables}, {"missing indexes", r.MissingIndexes},
		{"invalid indexes", r.InvalidIndexes}, {"constraints not validated", r.NotValidated},
	} {
		if len(l.names) > 0 {
			parts = append(parts, l.says+": "+clip(strings.Join(l.names, ", "), 120))
		}
	}
	return fmt.Sprint(strings.Join(parts, "; "))
}

func (tables) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.tables",
		Summary: "Count tables, and look for those and the indexes that must be there.",
		Timeout: 15 * time.Second,
		Args:    TablesArgs{},
		Result:  Inventory{},
	}
}

// userTables is the condition of pg_class c and pg_namespace n that leaves out
// what belongs to the system, to sessions or to extensions.
const userTables = `n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`

const (
	invalidSQL = `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
		JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT (i.indisvalid AND i.indisready) AND ` + userTables + ` ORDER BY 1`
	notValidatedSQL = `SELECT format('%s on %s', conname, conrelid::regclass) FROM pg_constraint WHERE NOT convalidated ORDER BY 1`
)

func (tables) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := aimed[TablesArgs](call)
	if err != nil {
		return nil, err
	}
	r := Inventory{}
	err = c.read(ctx, "list the tables of", func(tx pgx.Tx) error {
		var err error
		if err = tx.QueryRow(ctx, "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND "+userTables).Scan(&r.Count); err != nil {
			return err
		}
		for _, l := range []struct {
			into *[]string
			sql  string
			args []any
		}{
			{&r.Names, "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND " + userTables + " ORDER BY 1 LIMIT 1000", nil},
			{&r.MissingTables, `SELECT w FROM unnest($1::text[]) w WHERE NOT EXISTS
				(SELECT FROM pg_class WHERE oid = to_regclass(w) AND relkind IN ('r', 'p', 'f', 'm', 'v'))`, []any{args.Tables}},
			{&r.MissingIndexes, `SELECT w FROM unnest($1::text[]) w WHERE NOT EXISTS
				(SELECT FROM pg_index WHERE indexrelid = to_regclass(w) AND indisvalid AND indisready)`, []any{args.Indexes}},
			{&r.InvalidIndexes, invalidSQL, nil},
			{&r.NotValidated, notValidatedSQL, nil},
		} {
			if *l.into, err = texts(ctx, tx, l.sql, l.args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(out, strings.Join(r.Names, "\n"))
	return r, nil
}

// texts returns the only column of a query.
func texts(ctx context.Context, on querier, sql string, args ...any) ([]string, error) {
	rows, err := on.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	list, err := pgx.AppendRows([]string{}, rows, pgx.RowTo[string])
	return list, err
}
