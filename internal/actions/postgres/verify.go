package postgres

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type verify struct{}

// VerifyArgs are the arguments of postgres.verify.
type VerifyArgs struct {
	Database string `arg:"database" help:"a restored one; none: the connection's own"`
	Backup   string `arg:"backup" required:"true" help:"path of the dump that it must be like"`
}

// A Verdict is the result of postgres.verify.
type Verdict struct {
	Database       string      `json:"database"`
	OK             bool        `json:"ok" help:"every count is equal, and nothing below is listed"`
	Rows           int         `json:"rows" help:"in all tables of the dump"`
	Tables         []TableRows `json:"tables" help:"of the dump, with exact counts"`
	Different      []string    `json:"different" help:"tables whose counts are not equal, and missing ones"`
	Sequences      []string    `json:"sequences" help:"that would give out numbers that are in use"`
	InvalidIndexes []string    `json:"invalid_indexes"`
	NotValidated   []string    `json:"not_validated" help:"constraints that are declared NOT VALID and were not in the dump"`
	Newest         string      `json:"newest" help:"latest created_at of all tables; empty: none"`
}

// Found says the result in one line.
func (r Verdict) Found() string {
	if r.OK {
		return fmt.Sprintf("%s: %s in %s, all as in the dump", r.Database, things(r.Rows, "row"), things(len(r.Tables), "table"))
	}
	var parts []string
	for _, l := range []struct {
		says  string
		names []string
	}{
		{"other counts", r.Different}, {"sequences behind", r.Sequences},
		{"invalid indexes", r.InvalidIndexes}, {"constraints not validated", r.NotValidated},
	} {
		if len(l.names) > 0 {
			parts = append(parts, l.says+": "+clip(strings.Join(l.names, ", "), 120))
		}
	}
	return r.Database + " is not as the dump: " + strings.Join(parts, "; ")
}

func (verify) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.verify",
		Summary: "Compare a database with the dump that it came from, row by row count.",
		Timeout: 15 * time.Minute,
		Args:    VerifyArgs{},
		Result:  Verdict{},
	}
}

// Run counts exactly, and fails when anything is not as in the dump.
func (verify) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := aimed[VerifyArgs](call)
	if err != nil {
		return nil, err
	}
	name := c.database
	if args.Database != "" {
		name = args.Database
	}
	if name != c.database && !c.mine(name) {
		return nil, fault.New(fault.Invalid, "%s is neither the database of this connection nor one that was restored beside it.", clip(name, 63))
	}
	b, err := c.openBackup(args.Backup)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	d, err := b.scan(ctx)
	if err != nil {
		return nil, err
	}
	r := Verdict{Database: name, Rows: d.rows()}
	err = c.restoring(ctx, name, "verify", func(conn *pgx.Conn) error {
		// One snapshot, so that a database in use is compared with itself.
		return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(pgx.Tx) error {
			var err error
			if r.Tables, err = countRows(ctx, conn, d); err != nil {
				return err
			}
			r.Different = different(r.Tables)
			if r.Sequences, err = sequencesBehind(ctx, conn); err != nil {
				return err
			}
			if r.InvalidIndexes, err = texts(ctx, conn, invalidSQL); err != nil {
				return err
			}
			if r.NotValidated, err = texts(ctx, conn, notValidatedSQL); err != nil {
				return err
			}
			if len(r.NotValidated) <= d.notValid { // they were so before
				r.NotValidated = []string{}
			}
			r.Newest, err = newest(ctx, conn, d)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	for _, t := range r.Tables {
		fmt.Fprintf(out, "%s: %s in the dump, %s restored\n", t.Name, number(t.Dump), number(t.Restored))
	}
	r.OK = len(r.Different)+len(r.Sequences)+len(r.InvalidIndexes)+len(r.NotValidated) == 0
	fmt.Fprintln(out, r.Found())
	if !r.OK {
		return r, fault.New(fault.Conflict, "%s.", r.Found()).Hinted("Do not swap it in.")
	}
	return r, nil
}

// sequencesBehind lists the sequences whose next number is in use in the
// column that they belong to.
func sequencesBehind(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	type owned struct{ sequence, table, column string }
	rows, err := conn.Query(ctx, `
		SELECT format('%I.%I', sn.nspname, s.relname), format('%I.%I', tn.nspname, t.relname), quote_ident(a.attname)
		FROM pg_class s JOIN pg_namespace sn ON sn.oid = s.relnamespace
			JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
			JOIN pg_class t ON t.oid = d.refobjid JOIN pg_namespace tn ON tn.oid = t.relnamespace
			JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
			JOIN pg_sequence q ON q.seqrelid = s.oid
		WHERE s.relkind = 'S' AND q.seqincrement > 0 AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o owned, err error) {
		err = row.Scan(&o.sequence, &o.table, &o.column)
		return o, err
	})
	if err != nil {
		return nil, err
	}
	behind := []string{}
	for _, o := range list {
		var next, largest int64
		err := conn.QueryRow(ctx, "SELECT last_value + is_called::int, coalesce((SELECT max("+o.column+") FROM "+o.table+"), 0)::bigint FROM "+o.sequence).Scan(&next, &largest)
		if err != nil {
			return nil, err
		}
		if next <= largest {
			behind = append(behind, fmt.Sprintf("%s (next %d, %s.%s has %d)", o.sequence, next, o.table, o.column, largest))
		}
	}
	return behind, nil
}

// newest is the latest created_at of the dump's tables.
func newest(ctx context.Context, conn *pgx.Conn, d *dump) (string, error) {
	var latest time.Time
	for _, t := range d.tables {
		var has bool
		err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = 'created_at' AND NOT attisdropped
			AND atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype))`, quoted(t.parts...)).Scan(&has)
		if err != nil {
			return "", err
		}
		if !has {
			continue
		}
		var at *time.Time
		if err := conn.QueryRow(ctx, "SELECT nullif(max(created_at)::timestamptz, 'infinity') FROM "+quoted(t.parts...)).Scan(&at); err != nil {
			return "", err
		}
		if at != nil && at.After(latest) {
			latest = *at
		}
	}
	if latest.IsZero() {
		return "", nil
	}
	return strings.TrimSuffix(latest.UTC().Format(time.RFC3339Nano), ".0"), nil
}
