package postgres

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type reindex struct{}

// ReindexArgs are the arguments of postgres.reindex.
type ReindexArgs struct {
	Tables   []string      `arg:"tables" help:"whose indexes are looked at; none and no indexes: all that the maintenance user owns"`
	Indexes  []string      `arg:"indexes" help:"that are looked at"`
	MinBloat float64       `arg:"min_bloat" default:"30" min:"0" max:"100" help:"percent of its pages' room that is unused, from which an index is rebuilt"`
	Window   time.Duration `arg:"window" default:"55m" min:"1s" max:"6h" help:"no further index is begun after that"`
}

// A Rebuilt index and what it gained.
type Rebuilt struct {
	Name        string        `json:"name" help:"with its schema"`
	Before      float64       `json:"before" help:"percent unused before"`
	After       float64       `json:"after" help:"percent unused after"`
	BytesBefore int           `json:"bytes_before"`
	BytesAfter  int           `json:"bytes_after"`
	Took        time.Duration `json:"took"`
}

// Reindexed is the result of postgres.reindex.
type Reindexed struct {
	Looked    int       `json:"looked" help:"indexes whose room was measured"`
	Indexes   []Rebuilt `json:"indexes" help:"that were rebuilt"`
	Leftovers []string  `json:"leftovers" help:"invalid remains of former attempts that were removed"`
	Left      []string  `json:"left" help:"bloated indexes that the window had no room for"`
}

// Found says the result in one line.
func (r Reindexed) Found() string {
	freed := 0
	for _, i := range r.Indexes {
		freed += i.BytesBefore - i.BytesAfter
	}
	text := fmt.Sprintf("rebuilt %d of %s", len(r.Indexes), things(r.Looked, "index"))
	if r.Looked != 1 {
		text = fmt.Sprintf("rebuilt %d of %s indexes", len(r.Indexes), number(r.Looked))
	}
	if freed > 0 {
		text += ", freed " + size(freed)
	}
	if n := len(r.Leftovers); n > 0 {
		text += fmt.Sprintf(", removed %d invalid", n)
	}
	if n := len(r.Left); n > 0 {
		text += fmt.Sprintf(", left %d", n)
	}
	return text
}

func (reindex) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.reindex",
		Summary: "Rebuild bloated indexes without blocking, one by one.",
		Effect:  runbooks.Change,
		Timeout: time.Hour,
		Args:    ReindexArgs{},
		Result:  Reindexed{},
	}
}

// A bloatedIndex is one that was measured.
type bloatedIndex struct {
	name   string // with its schema, quoted
	shown  string
	bytes  int
	unused float64 // percent of its leaf pages' room
	pages  int
}

// fewPages is how many leaf pages an index must have for its room to matter,
// unless it is named.
const fewPages = 20

// survey lists the invalid leftovers and measures the B-tree indexes.
func (c *Conn) survey(ctx context.Context, conn *pgx.Conn, args *ReindexArgs) (leftovers []string, list []bloatedIndex, err error) {
	schema, err := c.extension(ctx, conn, "pgstattuple", "it is what measures indexes")
	if err != nil {
		return nil, nil, err
	}
	wanted := slices.Concat(args.Tables, args.Indexes)
	missing, err := texts(ctx, conn, "SELECT w FROM unnest($1::text[]) w WHERE to_regclass(w) IS NULL", wanted)
	if err != nil {
		return nil, nil, err
	}
	if len(missing) > 0 {
		return nil, nil, fault.New(fault.NotFound, "There is no table or index %s.", strings.Join(missing, ", ")).Hinted("Check the name and the schema.")
	}
	const chosen = ` FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'i' AND CASE WHEN cardinality($1::text[]) > 0
			THEN i.indexrelid IN (SELECT to_regclass(w) FROM unnest($1::text[]) w) OR i.indrelid IN (SELECT to_regclass(w) FROM unnest($1::text[]) w)
			ELSE pg_has_role(c.relowner, 'USAGE') AND ` + userTables + ` END `
	// What a rebuild that is going on has there is not a leftover.
	leftovers, err = texts(ctx, conn, `SELECT format('%I.%I', n.nspname, c.relname)`+chosen+`AND NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$'
		AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.relid = i.indrelid) ORDER BY 1`, wanted)
	if err != nil {
		return nil, nil, err
	}
	rows, err := conn.Query(ctx, `SELECT format('%I.%I', n.nspname, c.relname), n.nspname || '.' || c.relname, pg_relation_size(c.oid)`+chosen+`
		AND i.indisvalid AND c.relam = (SELECT oid FROM pg_am WHERE amname = 'btree') ORDER BY 3 DESC, 1`, wanted)
	if err != nil {
		return nil, nil, err
	}
	list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (bloatedIndex, error) {
		var i bloatedIndex
		err := row.Scan(&i.name, &i.shown, &i.bytes)
		return i, err
	})
	for n := range list {
		if err == nil {
			err = list[n].measure(ctx, conn, schema)
		}
	}
	return leftovers, list, err
}

// measure reads the index as a whole.
func (i *bloatedIndex) measure(ctx context.Context, conn *pgx.Conn, schema string) error {
	var density float64
	err := conn.QueryRow(ctx, "SELECT avg_leaf_density, leaf_pages, pg_relation_size($1::regclass) FROM "+quoted(schema, "pgstatindex")+"($1::regclass)", i.name).
		Scan(&density, &i.pages, &i.bytes)
	if i.unused = 100 - density; math.IsNaN(density) { // no leaf pages
		i.unused = 0
	}
	i.unused = math.Round(i.unused*10) / 10
	return err
}

// worth reports whether an index is rebuilt.
func (i bloatedIndex) worth(args *ReindexArgs) bool {
	return i.unused >= args.MinBloat && (i.pages >= fewPages || len(args.Indexes) > 0)
}

// Preview measures, and lists what would be rebuilt.
func (reindex) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, args, err := aimed[ReindexArgs](call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	p := runbooks.Preview{Effect: runbooks.Change}
	if p.Identity, err = c.Identity(ctx); err != nil {
		return runbooks.Preview{}, err
	}
	err = c.maintain(ctx, "measure the indexes of", func(conn *pgx.Conn) error {
		leftovers, list, err := c.survey(ctx, conn, args)
		if err != nil {
			return err
		}
		n, largest := 0, 0
		for _, i := range list {
			if i.worth(args) {
				if n++; n <= 10 {
					p.Impact = append(p.Impact, fmt.Sprintf("rebuilds %s (%s, %.0f %% unused)", i.shown, size(i.bytes), i.unused))
				}
				largest = max(largest, i.bytes)
			}
		}
		switch {
		case n == 0:
			p.Impact = append(p.Impact, fmt.Sprintf("rebuilds nothing: none of %d indexes has %.0f %% unused", len(list), args.MinBloat))
		case n > 10:
			p.Impact = append(p.Impact, fmt.Sprintf("and %d more", n-10))
		}
		if largest > 0 {
			p.Impact = append(p.Impact, "needs "+size(largest)+" of room on the disk meanwhile; reading and writing go on")
		}
		if len(leftovers) > 0 {
			p.Impact = append(p.Impact, "removes invalid remains of former attempts: "+clip(strings.Join(leftovers, ", "), 200))
		}
		h, there, err := oldest(ctx, conn)
		if there && h.age > time.Second {
			p.Impact = append(p.Impact, "waits for "+h.String())
		}
		return err
	})
	return p, err
}

// Run rebuilds the worst first, and leaves no invalid index behind.
func (reindex) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := aimed[ReindexArgs](call)
	if err != nil {
		return nil, err
	}
	r := Reindexed{Indexes: []Rebuilt{}, Leftovers: []string{}, Left: []string{}}
	err = c.maintain(ctx, "rebuild indexes of", func(conn *pgx.Conn) error {
		leftovers, list, err := c.survey(ctx, conn, args)
		if err != nil {
			return err
		}
		for _, name := range leftovers {
			if err := run(ctx, conn, "DROP INDEX CONCURRENTLY "+name); err != nil {
				return err
			}
			fmt.Fprintf(out, "removed %s, which was invalid\n", name)
			r.Leftovers = append(r.Leftovers, name)
		}
		r.Looked = len(list)
		schema, err := c.extension(ctx, conn, "pgstattuple", "it is what measures indexes")
		if err != nil {
			return err
		}
		end := time.Now().Add(args.Window)
		for _, i := range list {
			switch {
			case !i.worth(args):
			case time.Now().After(end):
				r.Left = append(r.Left, i.shown)
			default:
				done, err := c.rebuild(ctx, conn, schema, i, out)
				if err != nil {
					return err
				}
				r.Indexes = append(r.Indexes, done)
			}
		}
		return nil
	})
	fmt.Fprintln(out, r.Found())
	if err != nil {
		return r, err // what is done stays done
	}
	return r, nil
}

func (c *Conn) rebuild(ctx context.Context, conn *pgx.Conn, schema string, i bloatedIndex, out io.Writer) (Rebuilt, error) {
	if err := c.unhindered(ctx, conn, "Rebuilding "+i.shown); err != nil {
		return Rebuilt{}, err
	}
	done := Rebuilt{Name: i.shown, Before: i.unused, BytesBefore: i.bytes}
	start := time.Now()
	f := c.follow(ctx, conn.PgConn().PID(), out)
	err := run(ctx, conn, "REINDEX INDEX CONCURRENTLY "+i.name)
	f.stop()
	done.Took = time.Since(start)
	if err != nil {
		err = c.blocked(err, f.blocker)
		return done, c.tidy(ctx, i, err)
	}
	if err := i.measure(ctx, conn, schema); err != nil {
		return done, err
	}
	done.After, done.BytesAfter = i.unused, i.bytes
	fmt.Fprintf(out, "%s: %.0f %% → %.0f %% unused, %s → %s, in %s\n", i.shown, done.Before, done.After, size(done.BytesBefore), size(done.BytesAfter), age(done.Took))
	return done, nil
}

// tidy removes what a failed rebuild has left, and returns the failure.
func (c *Conn) tidy(ctx context.Context, i bloatedIndex, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.config.DDLWait+30*time.Second)
	defer cancel()
	var left []string
	err := c.maintain(ctx, "look for remains in", func(conn *pgx.Conn) (err error) {
		left, err = texts(ctx, conn, `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
			JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE NOT x.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$' AND x.indrelid = (SELECT indrelid FROM pg_index WHERE indexrelid = to_regclass($1))`, i.name)
		return err
	})
	for _, name := range left {
		if err == nil {
			err = c.dropInvalid(ctx, name)
		}
	}
	if err != nil {
		return c.leftover(strings.Join(append(left, "of "+i.shown), " "), why, err)
	}
	return why
}
