package postgres

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/internal/fault"
)

// An indexState is what is there under an index's name.
type indexState struct {
	there  bool
	valid  bool
	same   bool // as the definition says, on its table
	bound  bool // belongs to a constraint
	def    string
	bytes  int
	scans  int // since the statistics began
	table  int // bytes of the table
	rows   float64
	wanted string // the definition, as the server would write it
}

// word names the state for comparison after a click.
func (s indexState) word() string {
	switch {
	case !s.there:
		return "missing"
	case !s.same:
		return "another definition"
	case !s.valid:
		return "invalid"
	}
	return "valid"
}

func (i Index) schema() string { s, _ := split(i.Table); return s }

// quoted is the index's own name, with its schema.
func (i Index) quoted() string { return quoted(i.schema(), i.Name) }

func (i Index) fullName() string { return i.schema() + "." + i.Name }

func (i Index) quotedTable() string {
	schema, table := split(i.Table)
	return quoted(schema, table)
}

// create is the statement that builds the index; how is CONCURRENTLY or
// nothing.
func (i Index) create(how, on string) string {
	unique, method, where := "", "btree", ""
	if i.Unique {
		unique = "UNIQUE "
	}
	if i.Method != "" {
		method = i.Method
	}
	if i.Where != "" {
		where = " WHERE " + i.Where
	}
	return "CREATE " + unique + "INDEX " + how + quoted(i.Name) + " ON " + on + " USING " + quoted(method) + " (" + i.On + ")" + where
}

// inspect looks at what is there. What the definition means in the server's own
// words is found out on an empty copy of the table, which is gone again at once.
func (i Index) inspect(ctx context.Context, conn *pgx.Conn) (indexState, error) {
	var s indexState
	var there bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", i.quotedTable()).Scan(&there); err != nil {
		return s, err
	}
	if !there {
		return s, fault.New(fault.NotFound, "There is no table %s.", i.Table).Hinted("Correct the index %s in the configuration.", i.Name)
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return s, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := run(ctx, tx, "CREATE TEMPORARY TABLE opsbot_like (LIKE "+i.quotedTable()+")"); err != nil {
		return s, err
	}
	if err := run(ctx, tx, i.create("", "pg_temp.opsbot_like")); err != nil {
		return s, err
	}
	if err := tx.QueryRow(ctx, "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'pg_temp.opsbot_like'::regclass").Scan(&s.wanted); err != nil {
		return s, err
	}
	if err := tx.Rollback(ctx); err != nil {
		return s, err
	}
	if err := conn.QueryRow(ctx, "SELECT pg_table_size(c.oid), greatest(c.reltuples, 0) FROM pg_class c WHERE c.oid = $1::regclass", i.quotedTable()).Scan(&s.table, &s.rows); err != nil {
		return s, err
	}
	var kind string
	var onTable bool
	err = conn.QueryRow(ctx, `
		SELECT c.relkind::text, coalesce(x.indisvalid AND x.indisready, false), coalesce(pg_get_indexdef(x.indexrelid), ''), coalesce(pg_relation_size(c.oid), 0),
			coalesce(x.indrelid = $3::regclass, false), EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid), coalesce(st.idx_scan, 0)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_index x ON x.indexrelid = c.oid
			LEFT JOIN pg_stat_all_indexes st ON st.indexrelid = c.oid
		WHERE n.nspname = $1 AND c.relname = $2`, i.schema(), i.Name, i.quotedTable()).
		Scan(&kind, &s.valid, &s.def, &s.bytes, &onTable, &s.bound, &s.scans)
	if err == pgx.ErrNoRows {
		return s, nil
	}
	s.there = true
	s.same = kind == "i" && onTable && essence(s.def) == essence(s.wanted)
	return s, err
}

// essence is what a definition says besides names.
func essence(def string) string {
	head, rest, _ := strings.Cut(def, " USING ")
	if strings.HasPrefix(head, "CREATE UNIQUE ") {
		rest = "UNIQUE " + rest
	}
	return rest
}

// other is the error of an index that is not what the configuration says.
func (i Index) other(s indexState) error {
	return fault.New(fault.Conflict, "There is something else named %s: %s.", i.fullName(), clip(s.def, 200)).
		Hinted("The configuration wants %s. Rename one of the two.", clip(essence(s.wanted), 200))
}

// A holder is a session that others may have to wait for.
type holder struct {
	pid int
	app string
	age time.Duration
}

func (h holder) String() string {
	return fmt.Sprintf("pid %d (%s, transaction of %s)", h.pid, h.app, age(h.age))
}

const holderColumns = `SELECT pid, coalesce(nullif(application_name, ''), host(client_addr), 'local'),
	coalesce((extract(epoch FROM clock_timestamp() - xact_start) * 1e9)::bigint, 0) FROM pg_stat_activity `

// oldest returns the session of the database whose transaction is the oldest.
func oldest(ctx context.Context, on querier) (h holder, there bool, err error) {
	err = on.QueryRow(ctx, holderColumns+`WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
		AND backend_type = 'client backend' ORDER BY xact_start LIMIT 1`).Scan(&h.pid, &h.app, &h.age)
	if err == pgx.ErrNoRows {
		return h, false, nil
	}
	return h, err == nil, err
}

// unhindered refuses what would have to wait for an old transaction: all that
// is queued behind it would wait too.
func (c *Conn) unhindered(ctx context.Context, on querier, doing string) error {
	h, there, err := oldest(ctx, on)
	if limit := 2 * c.config.DDLWait; err == nil && there && h.age > limit {
		return fault.New(fault.Conflict, "%s would wait for %s, so it was not begun.", doing, h).
			Hinted("End that transaction first; postgres.activity lists it.")
	}
	return err
}

// A follower watches a long statement of another session from the side: how
// far it is, and whom it waits for.
type follower struct {
	cancel  context.CancelFunc
	done    chan struct{}
	blocker string // whom it waited for last; read after stop
}

const followEvery = time.Second

// follow begins to watch the process. What is seen goes to out until stop.
func (c *Conn) follow(ctx context.Context, pid uint32, out io.Writer) *follower {
	ctx, cancel := context.WithCancel(ctx)
	f := &follower{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(f.done)
		last := ""
		for pause(ctx, min(followEvery, c.config.DDLWait/4)) == nil {
			says := c.glance(ctx, pid, f)
			if says != "" && says != last {
				fmt.Fprintln(out, says)
				last = says
			}
		}
	}()
	return f
}

func (f *follower) stop() {
	f.cancel()
	<-f.done
}

func (c *Conn) glance(ctx context.Context, pid uint32, f *follower) string {
	var phase string
	var done, total int64
	_ = c.pool.QueryRow(ctx, `SELECT phase, coalesce(nullif(blocks_done, 0), tuples_done), coalesce(nullif(blocks_total, 0), tuples_total)
		FROM pg_stat_progress_create_index WHERE pid = $1`, pid).Scan(&phase, &done, &total)
	var h holder
	if err := c.pool.QueryRow(ctx, holderColumns+"WHERE pid = ANY (pg_blocking_pids($1)) ORDER BY xact_start LIMIT 1", pid).Scan(&h.pid, &h.app, &h.age); err == nil {
		f.blocker = h.String()
		return "waits for " + f.blocker
	}
	if total > 0 {
		return fmt.Sprintf("%s, %d %%", phase, done*100/total)
	}
	return phase
}

// blocked puts the name of the blocker into the error of a lock that was not
// got in time.
func (c *Conn) blocked(err error, blocker string) error {
	if code(err) != "55P03" || blocker == "" {
		return err
	}
	return fault.New(fault.Conflict, "Blocked by %s for longer than %s.", blocker, age(c.config.DDLWait)).
		Hinted("Wait for that transaction or end it; postgres.activity lists it.").Because(err)
}

// dropInvalid removes an index that is not valid, on a connection of its own
// and even when the step's time is up.
func (c *Conn) dropInvalid(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.config.DDLWait+30*time.Second)
	defer cancel()
	return c.maintain(ctx, "remove an index of", func(conn *pgx.Conn) error {
		var invalid bool
		err := conn.QueryRow(ctx, `SELECT NOT (indisvalid AND indisready) FROM pg_index WHERE indexrelid = to_regclass($1)`, name).Scan(&invalid)
		if err == pgx.ErrNoRows || err == nil && !invalid {
			return nil
		}
		if err != nil {
			return err
		}
		return run(ctx, conn, "DROP INDEX CONCURRENTLY IF EXISTS "+name)
	})
}
