package postgres

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type vacuum struct{}

// VacuumArgs are the arguments of postgres.vacuum.
type VacuumArgs struct {
	Tables      []string      `arg:"tables" help:"with their schema; none: all that the maintenance user owns"`
	AnalyzeOnly bool          `arg:"analyze_only" default:"false" help:"only renew the planner's statistics"`
	Window      time.Duration `arg:"window" default:"18m" min:"1s" max:"6h" help:"no further table is begun after that"`
}

// A Vacuumed table was cleaned, or not.
type Vacuumed struct {
	Name       string        `json:"name" help:"with its schema"`
	Took       time.Duration `json:"took"`
	DeadBefore int           `json:"dead_before" help:"rows to clean, as estimated before"`
	DeadAfter  int           `json:"dead_after"`
	Skipped    bool          `json:"skipped" help:"it was locked, and left as it was"`
}

// Cleaned is the result of postgres.vacuum.
type Cleaned struct {
	Tables []Vacuumed `json:"tables" help:"in the order in which they were done, largest first"`
	Done   int        `json:"done" help:"tables that were cleaned"`
	Left   []string   `json:"left" help:"tables that the window had no room for, and locked ones"`
}

// Found says the result in one line.
func (r Cleaned) Found() string {
	text := "cleaned " + things(r.Done, "table")
	if len(r.Left) > 0 {
		text += fmt.Sprintf(", left %d", len(r.Left))
	}
	return text
}

func (vacuum) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.vacuum",
		Summary: "Vacuum and analyze tables one by one, or only analyze them.",
		Timeout: 20 * time.Minute,
		Args:    VacuumArgs{},
		Result:  Cleaned{},
	}
}

// A relation is a table as it is listed for maintenance.
type relation struct {
	name  string // with its schema, quoted
	shown string
	dead  int
}

// owned lists what the connection's user owns, or is a member of the owner of,
// largest first. Named tables are listed whoever owns them.
func owned(ctx context.Context, conn *pgx.Conn, named []string, kinds string) ([]relation, error) {
	missing, err := texts(ctx, conn, "SELECT w FROM unnest($1::text[]) w WHERE to_regclass(w) IS NULL", named)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return nil, fault.New(fault.NotFound, "There is no table %s.", strings.Join(missing, ", ")).Hinted("Check the name and the schema.")
	}
	rows, err := conn.Query(ctx, `
		SELECT format('%I.%I', n.nspname, c.relname), n.nspname || '.' || c.relname, coalesce(s.n_dead_tup, 0)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
		WHERE c.relkind::text = ANY (string_to_array($2, ',')) AND CASE WHEN cardinality($1::text[]) > 0
			THEN c.oid IN (SELECT to_regclass(w) FROM unnest($1::text[]) w)
			ELSE pg_has_role(c.relowner, 'USAGE') AND `+userTables+` END
		ORDER BY pg_total_relation_size(c.oid) DESC, 1`, named, kinds)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (relation, error) {
		var r relation
		err := row.Scan(&r.name, &r.shown, &r.dead)
		return r, err
	})
}

// A warning is what the server says beside the result: for maintenance it may
// be all that tells that nothing was done.
type warning struct {
	skipped bool // something was left as it was
	locked  bool // because somebody else has it
	text    string
}

// readNotice classifies a notice; false is one that only informs. Source:
// PostgreSQL 15, vacuum.c and analyze.c.
func readNotice(n *pgconn.Notice) (warning, bool) {
	if n.Severity != "WARNING" && n.SeverityUnlocalized != "WARNING" {
		return warning{}, false
	}
	w := warning{text: clip(n.Message, 200)}
	w.locked = n.Code == "55P03"
	w.skipped = w.locked || n.Code == "42501" || strings.Contains(n.Message, "skipping") || strings.Contains(n.Message, "permission denied")
	return w, true
}

// Run cleans one table after the other. A table that the server skips is a
// failure: its success tag says nothing.
func (vacuum) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := aimed[VacuumArgs](call)
	if err != nil {
		return nil, err
	}
	if c.config.Maintenance.User == "" {
		return nil, c.maintain(ctx, "clean", nil)
	}
	var warnings []warning
	conn, err := c.login(ctx, c.config.Maintenance, c.database, func(n *pgconn.Notice) {
		if w, ok := readNotice(n); ok {
			warnings = append(warnings, w)
		}
	})
	if err != nil {
		return nil, err
	}
	defer hangUp(conn)
	kinds, verb := "r,m", "VACUUM (ANALYZE, SKIP_LOCKED) "
	if args.AnalyzeOnly {
		kinds, verb = "r,m,p", "ANALYZE (SKIP_LOCKED) "
	}
	list, err := owned(ctx, conn, args.Tables, kinds)
	if err != nil {
		return nil, c.explain("list the tables of", err)
	}
	if len(list) == 0 {
		return nil, fault.New(fault.NotFound, "%s owns no table of %s, so there is nothing to clean.", c.config.Maintenance.User, c.place()).
			Hinted("Make it a member of the tables' owner.")
	}
	r := Cleaned{Tables: []Vacuumed{}, Left: []string{}}
	var failed []string
	end := time.Now().Add(args.Window)
	clean := func(t relation) (Vacuumed, error) {
		warnings = nil
		start := time.Now()
		if err := run(ctx, conn, verb+t.name); err != nil {
			return Vacuumed{}, c.explain("clean "+t.shown+" of", err)
		}
		v := Vacuumed{Name: t.shown, Took: time.Since(start), DeadBefore: t.dead}
		if err := conn.QueryRow(ctx, "SELECT coalesce((SELECT n_dead_tup FROM pg_stat_all_tables WHERE relid = to_regclass($1)), 0)", t.name).Scan(&v.DeadAfter); err != nil {
			return Vacuumed{}, c.explain("measure "+t.shown+" of", err)
		}
		for _, w := range warnings {
			fmt.Fprintf(out, "%s: %s\n", t.shown, w.text)
			v.Skipped = v.Skipped || w.skipped
			if w.skipped && !w.locked {
				failed = append(failed, t.shown+" ("+w.text+")")
			}
		}
		return v, nil
	}
	var locked []relation
	for i, t := range list {
		if time.Now().After(end) {
			for _, rest := range list[i:] {
				r.Left = append(r.Left, rest.shown)
			}
			break
		}
		v, err := clean(t)
		if err != nil {
			return r, err
		}
		if v.Skipped {
			locked = append(locked, t)
			continue
		}
		r.Tables = append(r.Tables, v)
		r.Done++
		fmt.Fprintf(out, "%s in %s, %d dead rows before, %d after\n", v.Name, age(v.Took), v.DeadBefore, v.DeadAfter)
	}
	for _, t := range locked { // once more: locks go as they come
		v := Vacuumed{Name: t.shown, DeadBefore: t.dead, DeadAfter: t.dead, Skipped: true}
		if len(failed) == 0 && time.Now().Before(end) {
			if v, err = clean(t); err != nil {
				return r, err
			}
		}
		r.Tables = append(r.Tables, v)
		if v.Skipped {
			r.Left = append(r.Left, t.shown)
			continue
		}
		r.Done++
	}
	fmt.Fprintln(out, r.Found())
	switch {
	case len(failed) > 0:
		return r, fault.New(fault.Forbidden, "%s skipped %s.", c.subject(), clip(strings.Join(failed, ", "), 300)).
			Hinted("Make %s a member of the owner, or leave such tables out.", c.config.Maintenance.User)
	case len(locked) > 0 && len(r.Left) > 0 && r.Tables[len(r.Tables)-1].Skipped:
		return r, fault.New(fault.Conflict, "%s skipped %s: locked by others.", c.subject(), clip(strings.Join(r.Left, ", "), 300)).
			Hinted("Look at who holds the locks with postgres.activity, and try again.")
	}
	return r, nil
}
