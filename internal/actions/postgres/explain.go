package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type explain struct{}

// ExplainArgs are the arguments of postgres.explain.
type ExplainArgs struct {
	Name    string `arg:"name" help:"of a query in the connection's configuration; or give queryid"`
	QueryID string `arg:"queryid" pattern:"^-?[0-9]{1,20}$" help:"of postgres.slow_queries: planned without values and never run"`
	Args    []any  `arg:"args" help:"values for $1, $2, … of a named query"`
	Analyze bool   `arg:"analyze" default:"true" help:"run a named query, read-only, and measure it"`
	Runs    int    `arg:"runs" default:"1" min:"1" max:"5" help:"how often it is measured; the best counts"`
}

// A SeqScan is a table that is read as a whole for a few of its rows.
type SeqScan struct {
	Rel      string  `json:"rel" help:"the table"`
	Removed  float64 `json:"removed" help:"rows that were read and thrown away; an estimate if it was not run"`
	Returned float64 `json:"returned" help:"rows that were kept"`
	Bytes    int     `json:"bytes" help:"size of the table"`
	Filter   string  `json:"filter" help:"the condition"`
}

// A Plan is the result of postgres.explain.
type Plan struct {
	Executed    bool      `json:"executed" help:"it was run and measured"`
	ExecMS      *float64  `json:"exec_ms" help:"milliseconds of the best run; no data if it was not run"`
	PlanningMS  *float64  `json:"planning_ms" help:"milliseconds of planning"`
	Cost        float64   `json:"cost" help:"as the planner estimates it, in its own unit"`
	Rows        float64   `json:"rows" help:"returned, or estimated if it was not run"`
	SeqScans    []SeqScan `json:"seq_scans" help:"tables above 8 MiB that are read as a whole, with most rows thrown away"`
	IndexesUsed []string  `json:"indexes_used"`
	Plan        []string  `json:"plan" help:"the plan's nodes, indented, without values"`
}

// Found says the result in one line.
func (r Plan) Found() string {
	var parts []string
	if r.ExecMS != nil {
		parts = append(parts, fmt.Sprintf("%.1f ms", *r.ExecMS))
	} else {
		parts = append(parts, "planned, not run")
	}
	for _, s := range r.SeqScans {
		parts = append(parts, "reads all of "+s.Rel)
	}
	if len(r.IndexesUsed) > 0 {
		parts = append(parts, "uses "+strings.Join(r.IndexesUsed, ", "))
	}
	return strings.Join(parts, ", ")
}

func (explain) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.explain",
		Summary: "Show how a query is carried out, and measure a named one.",
		Timeout: 15 * time.Second,
		Args:    ExplainArgs{},
		Result:  Plan{},
	}
}

const (
	// wholeTable is the size from which reading a table as a whole is said.
	wholeTable = 8 << 20
	// wasted is how many rows are thrown away for each that is kept, from which
	// on an index would be worth it.
	wasted = 10
	// maxNodes bounds the plan that is read.
	maxNodes = 500
)

func (explain) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := aimed[ExplainArgs](call)
	if err != nil {
		return nil, err
	}
	if (args.Name == "") == (args.QueryID == "") {
		return nil, fault.New(fault.Invalid, "postgres.explain needs either the name of a query or a queryid.")
	}
	var r Plan
	if args.QueryID != "" {
		r, err = c.explainGeneric(ctx, args.QueryID)
	} else {
		r, err = c.explainNamed(ctx, args)
	}
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(out, strings.Join(r.Plan, "\n"))
	return r, nil
}

func (c *Conn) explainNamed(ctx context.Context, args *ExplainArgs) (Plan, error) {
	sql, values, err := c.statement("postgres.explain", args.Name, "", args.Args)
	if err != nil {
		return Plan{}, err
	}
	options, runs := "VERBOSE, FORMAT JSON", 1
	if args.Analyze {
		options, runs = "ANALYZE, BUFFERS, VERBOSE, FORMAT JSON", args.Runs
	}
	var best Plan
	err = c.read(ctx, "explain a query of", func(tx pgx.Tx) error {
		for i := range max(runs, 1) {
			var text string
			if err := tx.QueryRow(ctx, "EXPLAIN ("+options+") "+sql, values...).Scan(&text); err != nil {
				return err
			}
			p, err := c.judge(ctx, tx, []byte(text))
			if err != nil {
				return err
			}
			if i == 0 || *p.ExecMS < *best.ExecMS {
				best = p
			}
		}
		return nil
	})
	return best, err
}

// explainGeneric plans a statement whose values nobody knows, without running
// it: as a prepared statement with a generic plan.
func (c *Conn) explainGeneric(ctx context.Context, queryid string) (Plan, error) {
	id, err := strconv.ParseInt(queryid, 10, 64)
	if err != nil {
		return Plan{}, fault.New(fault.Invalid, "The queryid %s is not one.", queryid)
	}
	var r Plan
	err = c.read(ctx, "explain a statement of", func(tx pgx.Tx) error {
		schema, err := c.extension(ctx, tx, "pg_stat_statements", "it is what remembers statements")
		if err != nil {
			return err
		}
		sql, err := texts(ctx, tx, `SELECT s.query FROM `+quoted(schema, "pg_stat_statements")+` s JOIN pg_database d ON d.oid = s.dbid
			WHERE s.queryid = $1 AND d.datname = current_database() AND s.query IS NOT NULL LIMIT 1`, id)
		if err != nil {
			return err
		}
		if len(sql) == 0 {
			return fault.New(fault.NotFound, "%s knows no statement with the queryid %s any more.", c.subject(), queryid).
				Hinted("Look again with postgres.slow_queries.")
		}
		if err := plannable(sql[0]); err != nil {
			return fault.New(fault.Invalid, "The statement %s, so it is not planned.", err).Hinted("Only statements that read or change rows have a plan.")
		}
		if err := run(ctx, tx, "SET LOCAL plan_cache_mode = force_generic_plan"); err != nil {
			return err
		}
		// What a failed attempt has prepared outlives its transaction.
		if err := run(ctx, tx, "DEALLOCATE ALL"); err != nil {
			return err
		}
		if err := run(ctx, tx, "PREPARE opsbot_generic AS "+sql[0]); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRow(ctx, "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'opsbot_generic'").Scan(&n); err != nil {
			return err
		}
		values := ""
		if n > 0 {
			values = "(" + strings.TrimSuffix(strings.Repeat("NULL, ", n), ", ") + ")"
		}
		var text string
		err = tx.QueryRow(ctx, "EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE opsbot_generic"+values).Scan(&text)
		if err == nil {
			r, err = c.judge(ctx, tx, []byte(text))
		}
		return err
	})
	return r, err
}

// plannable reports what speaks against planning a remembered statement.
func plannable(sql string) error {
	l := newLexer()
	statements, first := 0, ""
	l.onStatement = func(words []string, _ [2]string) {
		if statements++; statements == 1 {
			first = strings.ToUpper(words[0])
		}
	}
	_, _ = l.Write([]byte(sql))
	l.Close()
	if statements != 1 {
		return fmt.Errorf("is not a single one")
	}
	if !slices.Contains([]string{"SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE", "("}, first) {
		return fmt.Errorf("begins with %s", clip(first, 30))
	}
	return nil
}

// A planNode is one of EXPLAIN's, as far as it is judged.
type planNode struct {
	Type     string     `json:"Node Type"`
	Schema   string     `json:"Schema"`
	Rel      string     `json:"Relation Name"`
	Alias    string     `json:"Alias"`
	Index    string     `json:"Index Name"`
	Filter   string     `json:"Filter"`
	PlanRows float64    `json:"Plan Rows"`
	Cost     float64    `json:"Total Cost"`
	Rows     *float64   `json:"Actual Rows"`
	Loops    float64    `json:"Actual Loops"`
	Removed  float64    `json:"Rows Removed by Filter"`
	MS       *float64   `json:"Actual Total Time"`
	Plans    []planNode `json:"Plans"`
}

// readPlan reads what EXPLAIN says in JSON.
func readPlan(text []byte) (root planNode, planning, exec *float64, err error) {
	var list []struct {
		Plan     *planNode
		Planning *float64 `json:"Planning Time"`
		Exec     *float64 `json:"Execution Time"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return planNode{}, nil, nil, fmt.Errorf("read a plan: %w", err)
	}
	if len(list) != 1 || list[0].Plan == nil {
		return planNode{}, nil, nil, fmt.Errorf("read a plan: there are %d", len(list))
	}
	return *list[0].Plan, list[0].Planning, list[0].Exec, nil
}

// walk visits the nodes from the top, with their depths, as far as they are read.
func (n *planNode) walk(visit func(n *planNode, depth int)) {
	seen := 0
	var down func(n *planNode, depth int)
	down = func(n *planNode, depth int) {
		if seen++; seen > maxNodes {
			return
		}
		visit(n, depth)
		for i := range n.Plans {
			down(&n.Plans[i], depth+1)
		}
	}
	down(n, 0)
}

// judge reads a plan and looks for tables that are read as a whole in vain.
func (c *Conn) judge(ctx context.Context, on querier, text []byte) (Plan, error) {
	root, planning, exec, err := readPlan(text)
	if err != nil {
		return Plan{}, err
	}
	r := Plan{Executed: exec != nil, ExecMS: exec, PlanningMS: planning, Cost: root.Cost, Rows: root.PlanRows,
		SeqScans: []SeqScan{}, IndexesUsed: []string{}, Plan: []string{}}
	if root.Rows != nil {
		r.Rows = *root.Rows
	}
	var scans []*planNode
	root.walk(func(n *planNode, depth int) {
		line := strings.Repeat("  ", depth) + n.Type
		if n.Rel != "" {
			line += " on " + n.Rel
		}
		if n.Index != "" {
			line += " using " + n.Index
			if !slices.Contains(r.IndexesUsed, n.Index) {
				r.IndexesUsed = append(r.IndexesUsed, n.Index)
			}
		}
		if n.Rows != nil {
			line += fmt.Sprintf(", %.0f rows", *n.Rows*n.Loops)
			if n.MS != nil {
				line += fmt.Sprintf(", %.1f ms", *n.MS*n.Loops)
			}
		} else {
			line += fmt.Sprintf(", about %.0f rows", n.PlanRows)
		}
		r.Plan = append(r.Plan, line)
		if n.Type == "Seq Scan" && n.Rel != "" && n.Filter != "" {
			scans = append(scans, n)
		}
	})
	for _, n := range scans {
		s, err := c.measure(ctx, on, n)
		if err != nil {
			return Plan{}, err
		}
		if s.Bytes > wholeTable && s.Removed > wasted*max(s.Returned, 1) {
			r.SeqScans = append(r.SeqScans, s)
		}
	}
	return r, nil
}

// measure says what reading a table as a whole costs.
func (c *Conn) measure(ctx context.Context, on querier, n *planNode) (SeqScan, error) {
	s := SeqScan{Rel: n.Rel, Filter: quiet(n.Filter)}
	var estimate float64
	name := quoted(n.Rel)
	if n.Schema != "" {
		name = quoted(n.Schema, n.Rel)
	}
	err := on.QueryRow(ctx, `SELECT coalesce(pg_relation_size(c.oid), 0), greatest(c.reltuples, 0) FROM pg_class c
		WHERE c.oid = to_regclass($1) UNION ALL SELECT 0, 0 LIMIT 1`, name).Scan(&s.Bytes, &estimate)
	if n.Rows != nil {
		s.Removed, s.Returned = n.Removed*n.Loops, *n.Rows*n.Loops
	} else {
		s.Removed, s.Returned = max(estimate-n.PlanRows, 0), n.PlanRows
	}
	return s, err
}
