package postgres

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type slowQueries struct{}

// SlowQueriesArgs are the arguments of postgres.slow_queries.
type SlowQueriesArgs struct {
	MinMean time.Duration `arg:"min_mean" default:"1s" min:"0s" help:"statements with a smaller mean time are left out"`
	Limit   int           `arg:"limit" default:"10" min:"1" max:"50"`
	Order   string        `arg:"order" default:"mean" values:"mean|total" help:"by time of one call, or of all"`
}

// A Statement is one kind of statement and what it took.
type Statement struct {
	QueryID string  `json:"queryid" help:"for postgres.explain"`
	Text    string  `json:"text" help:"with $1 in the place of values"`
	Calls   int     `json:"calls"`
	MeanMS  float64 `json:"mean_ms" help:"milliseconds of one call"`
	MaxMS   float64 `json:"max_ms" help:"milliseconds of the slowest call"`
	TotalMS float64 `json:"total_ms" help:"milliseconds of all calls"`
	Rows    int     `json:"rows" help:"of all calls"`
}

// Slow is the result of postgres.slow_queries.
type Slow struct {
	Queries    []Statement `json:"queries" help:"of this database, without opsbot's own"`
	StatsReset time.Time   `json:"stats_reset" help:"what is counted since"`
	Dealloc    int         `json:"dealloc" help:"how often the rarest statements were forgotten for lack of room"`
}

// Found says the result in one line.
func (r Slow) Found() string {
	if len(r.Queries) == 0 {
		return "no slow query"
	}
	worst := r.Queries[0]
	return fmt.Sprintf("%d slow, the first %.0f ms on average over %s: %s", len(r.Queries), worst.MeanMS, things(worst.Calls, "call"), clip(worst.Text, 80))
}

func (slowQueries) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.slow_queries",
		Summary: "List the statements that take longest, by pg_stat_statements.",
		Timeout: 10 * time.Second,
		Args:    SlowQueriesArgs{},
		Result:  Slow{},
	}
}

func (slowQueries) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := aimed[SlowQueriesArgs](call)
	if err != nil {
		return nil, err
	}
	order := "mean_exec_time"
	if args.Order == "total" {
		order = "total_exec_time"
	}
	r := Slow{Queries: []Statement{}}
	err = c.read(ctx, "read the statistics of", func(tx pgx.Tx) error {
		view, err := c.extension(ctx, tx, "pg_stat_statements", "it is what counts how long statements take")
		if err != nil {
			return err
		}
		var dealloc int64
		if err := tx.QueryRow(ctx, "SELECT stats_reset, dealloc FROM "+quoted(view, "pg_stat_statements_info")).Scan(&r.StatsReset, &dealloc); err != nil {
			return err
		}
		r.Dealloc = int(dealloc)
		r.StatsReset = r.StatsReset.UTC()
		rows, err := tx.Query(ctx, `
			SELECT s.queryid, coalesce(s.query, ''), s.calls, s.mean_exec_time, s.max_exec_time, s.total_exec_time, s.rows
			FROM `+quoted(view, "pg_stat_statements")+` s JOIN pg_database d ON d.oid = s.dbid
			WHERE d.datname = current_database() AND s.toplevel AND s.queryid IS NOT NULL AND s.mean_exec_time >= $1
				AND s.userid NOT IN (SELECT oid FROM pg_roles WHERE rolname = ANY ($2))
			ORDER BY `+order+` DESC LIMIT $3`,
			float64(args.MinMean)/float64(time.Millisecond), c.roles(), args.Limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var q Statement
			var id, calls, count int64
			if err := rows.Scan(&id, &q.Text, &calls, &q.MeanMS, &q.MaxMS, &q.TotalMS, &count); err != nil {
				return err
			}
			q.QueryID, q.Calls, q.Rows, q.Text = strconv.FormatInt(id, 10), int(calls), int(count), clip(q.Text, 2000)
			if q.Text == "<insufficient privilege>" {
				return fault.New(fault.Forbidden, "%s hides the statements of others from %s.", c.subject(), c.base.User).
					Hinted("Grant it pg_monitor.")
			}
			r.Queries = append(r.Queries, q)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	for _, q := range r.Queries {
		fmt.Fprintf(out, "%.1f ms × %d: %s\n", q.MeanMS, q.Calls, clip(q.Text, 200))
	}
	return r, nil
}

// roles are the users that opsbot works as.
func (c *Conn) roles() []string {
	return []string{c.base.User, c.config.Maintenance.User, c.config.Restore.User}
}

// A querier is what a statement can be sent by.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// extension returns the schema in which an extension is installed.
func (c *Conn) extension(ctx context.Context, on querier, name, why string) (string, error) {
	var schema string
	err := on.QueryRow(ctx, "SELECT coalesce((SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = $1), '')", name).Scan(&schema)
	if err == nil && schema == "" {
		err = fault.New(fault.NotFound, "%s does not have the extension %s: %s.", c.subject(), name, why).
			Hinted("Run CREATE EXTENSION %s there, as a superuser.", name)
	}
	return schema, err
}
