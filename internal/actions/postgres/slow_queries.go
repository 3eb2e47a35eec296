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
	Order   string        `arg:"order" default:"mean" values:"mean|total|since" help:"by time of one call, of all, or of those since since"`
	Since   string        `arg:"since" help:"counts of an earlier call: what was taken since then is told as well"`
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
	// Of the calls since the counts that were given; nil: that cannot be known.
	CallsSince *int     `json:"calls_since" help:"of the calls since the counts that were given; no data if that cannot be known"`
	MSSince    *float64 `json:"ms_since" help:"milliseconds of the calls since the counts that were given; no data if that cannot be known"`
}

// Slow is the result of postgres.slow_queries.
type Slow struct {
	Queries    []Statement `json:"queries" help:"of this database, without opsbot's own"`
	StatsReset time.Time   `json:"stats_reset" help:"what is counted since"`
	Dealloc    int         `json:"dealloc" help:"how often the rarest statements were forgotten for lack of room"`
	Since      *time.Time  `json:"since" help:"when the counts were taken that were given; no data if none were, or the database has begun to count anew"`
	Counts     string      `json:"counts" help:"what the statements have taken until now: to save, and to give as since the next time"`
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
	before, err := readCounts(args.Since)
	if err != nil {
		return nil, err
	}
	r := Slow{Queries: []Statement{}}
	err = c.read(ctx, "read the statistics of", func(tx pgx.Tx) error {
		r = Slow{Queries: []Statement{}}
		view, err := c.extension(ctx, tx, "pg_stat_statements", "it is what counts how long statements take")
		if err != nil {
			return err
		}
		now, err := c.counts(ctx, tx, view)
		if err != nil {
			return err
		}
		r.StatsReset, r.Dealloc = now.Reset, now.Dealloc
		if before != nil && before.Reset.Equal(now.Reset) {
			r.Since = &before.At
		}
		if err := c.statements(ctx, tx, view, *args, before, now, &r); err != nil {
			return err
		}
		r.Counts, err = now.most().text()
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, q := range r.Queries {
		fmt.Fprintf(out, "%.1f ms × %d: %s\n", q.MeanMS, q.Calls, clip(q.Text, 200))
	}
	return r, nil
}

// theirs selects the statements of this database that are not opsbot's own.
const theirs = ` s JOIN pg_database d ON d.oid = s.dbid
	WHERE d.datname = current_database() AND s.toplevel AND s.queryid IS NOT NULL
		AND s.userid NOT IN (SELECT oid FROM pg_roles WHERE rolname = ANY ($1))`

// counts reads what all statements have taken.
func (c *Conn) counts(ctx context.Context, tx pgx.Tx, view string) (statementCounts, error) {
	now := statementCounts{Of: map[string][2]float64{}, All: true}
	var dealloc int64
	err := tx.QueryRow(ctx, "SELECT now(), stats_reset, dealloc FROM "+quoted(view, "pg_stat_statements_info")).Scan(&now.At, &now.Reset, &dealloc)
	if err != nil {
		return now, err
	}
	now.At, now.Reset, now.Dealloc = now.At.UTC(), now.Reset.UTC(), int(dealloc)
	rows, err := tx.Query(ctx, "SELECT s.userid, s.queryid, s.calls, s.total_exec_time FROM "+quoted(view, "pg_stat_statements")+theirs, c.roles())
	if err != nil {
		return now, err
	}
	var role uint32
	var id int64
	var calls, ms float64
	_, err = pgx.ForEachRow(rows, []any{&role, &id, &calls, &ms}, func() error {
		now.Of[countsKey(role, id)] = [2]float64{calls, ms}
		return nil
	})
	return now, err
}

// statements lists those that the arguments ask for.
func (c *Conn) statements(ctx context.Context, tx pgx.Tx, view string, args SlowQueriesArgs, before *statementCounts, now statementCounts, r *Slow) error {
	order := map[string]string{"mean": "s.mean_exec_time", "total": "s.total_exec_time", "since": "coalesce(w.ms, -1) DESC, s.total_exec_time"}[args.Order]
	keys, since := []string{}, []float64{}
	for key := range now.Of {
		if _, ms, ok := before.since(key, now); ok {
			keys, since = append(keys, key), append(since, ms)
		}
	}
	rows, err := tx.Query(ctx, `
		SELECT s.userid, s.queryid, coalesce(s.query, ''), s.calls, s.mean_exec_time, s.max_exec_time, s.total_exec_time, s.rows
		FROM (SELECT s.* FROM `+quoted(view, "pg_stat_statements")+theirs+` AND s.mean_exec_time >= $2) s
			LEFT JOIN unnest($4::text[], $5::float8[]) w (key, ms) ON w.key = s.userid::text || '/' || s.queryid::text
		ORDER BY `+order+` DESC LIMIT $3`,
		c.roles(), float64(args.MinMean)/float64(time.Millisecond), args.Limit, keys, since)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var q Statement
		var role uint32
		var id, calls, count int64
		if err := rows.Scan(&role, &id, &q.Text, &calls, &q.MeanMS, &q.MaxMS, &q.TotalMS, &count); err != nil {
			return err
		}
		q.QueryID, q.Calls, q.Rows, q.Text = strconv.FormatInt(id, 10), int(calls), int(count), clip(q.Text, 2000)
		if q.Text == "<insufficient privilege>" {
			return fault.New(fault.Forbidden, "%s hides the statements of others from %s.", c.subject(), c.base.User).
				Hinted("Grant it pg_monitor.")
		}
		if n, ms, ok := before.since(countsKey(role, id), now); ok {
			calls := int(n)
			q.CallsSince, q.MSSince = &calls, &ms
		}
		r.Queries = append(r.Queries, q)
	}
	return rows.Err()
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
